"""The processes that torchrun started: where they wait, so that none takes for missing what another still writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from extract.computing.machine import processes

PATIENCE = timedelta(hours=12)  # how long the first wait for the last


@contextmanager
def together(device: str) -> Iterator[None]:
    """Inside, all processes that torchrun started can meet; a process alone just goes on. device: its name."""
    if processes() == 1:
        yield
        return
    import torch
    from torch import distributed

    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def meet() -> None:
    """Wait until all processes of torchrun are here."""
    if processes() == 1:
        return
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
