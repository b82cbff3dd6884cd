"""The processes that train one detector together: one alone, or those that torchrun started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from timm.layers import convert_sync_batchnorm
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(hours=12)  # how long the others wait for the one that computes features


@dataclass(frozen=True)
class Team:
    """rank of size processes, each with a device of its own."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Only the first process writes."""
        return self.rank == 0

    def wrapped(self, network: nn.Module) -> nn.Module:
        """With gradients averaged over the processes."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=[self.device] if self.device.type == "cuda" else None)

    def synchronised(self, network: nn.Module) -> nn.Module:
        """With BatchNorm over the images of all processes, which only GPUs can."""
        # timm's conversion knows its layers of norm and activation; PyTorch's would drop the activation.
        return convert_sync_batchnorm(network) if self.size > 1 and self.device.type == "cuda" else network

    def share(self, rows: np.ndarray) -> np.ndarray:
        """This process's part of them."""
        return rows[self.rank :: self.size]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def gathered(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """values (k,) of `share(rows)` in every process -> those of all `rows`, each exactly once."""
        parts: list[np.ndarray] = [values]
        if self.size > 1:
            parts = [values] * self.size
            distributed.all_gather_object(parts, values)
        found = np.empty(len(rows), values.dtype)
        for rank, part in enumerate(parts):
            found[rank :: self.size] = part
        return found

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """All processes that torchrun started, or this one alone."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield Team(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Team(device, distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
