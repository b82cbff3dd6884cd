"""The processes that torchrun started: where they wait, so that none takes for missing what another still writes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

PATIENCE = timedelta(hours=12)  # how long the first wait for the last


@contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Inside, all processes that torchrun started can meet; a process alone just goes on."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def meet() -> None:
    """Until all of them are here."""
    if distributed.is_initialized():
        distributed.barrier()
