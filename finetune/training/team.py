"""The processes that train one detector together: one alone, or those that torchrun started."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from cache.errors import UserError
from extract.computing.machine import processes
from extract.ranks import meet, together

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Team:
    """rank of size processes, each with a device of its own."""

    device_name: str
    rank: int = 0
    size: int = 1

    @property
    def device(self) -> "torch.device":
        import torch  # what a single process asks of a team needs none

        return torch.device(self.device_name)

    @property
    def leads(self) -> bool:
        """Only the first process writes."""
        return self.rank == 0

    def wrapped(self, network: "nn.Module") -> "nn.Module":
        """With gradients averaged over the processes."""
        if self.size == 1:
            return network
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(network, device_ids=[self.device] if self.device.type == "cuda" else None)

    def synchronised(self, network: "nn.Module") -> "nn.Module":
        """With BatchNorm over the images of all processes, which only GPUs can."""
        if self.size == 1 or self.device.type != "cuda":
            return network
        from timm.layers import convert_sync_batchnorm

        # timm's conversion knows its layers of norm and activation; PyTorch's would drop the activation.
        return convert_sync_batchnorm(network)

    def share(self, rows: np.ndarray) -> np.ndarray:
        """This process's part of them."""
        return rows[self.rank :: self.size]

    def sum(self, values: "torch.Tensor") -> "torch.Tensor":
        """Over all processes, in place."""
        if self.size > 1:
            _distributed().all_reduce(values)
        return values

    def gathered(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """values (k,) of `share(rows)` in every process -> those of all `rows`, each exactly once."""
        parts: list[np.ndarray] = [values]
        if self.size > 1:
            parts = [values] * self.size
            _distributed().all_gather_object(parts, values)
        found = np.empty(len(rows), values.dtype)
        for rank, part in enumerate(parts):
            found[rank :: self.size] = part
        return found

    def share_statistics(self, network: "nn.Module") -> None:
        """Buffers as the first process has them: without synchronised BatchNorm each counts its own images."""
        for buffer in network.buffers() if self.size > 1 else ():
            _distributed().broadcast(buffer, 0)

    def agreed(self, value: bool) -> bool:
        """What the first process says: the others may look at a disk a moment later."""
        values = [value]
        if self.size > 1:
            _distributed().broadcast_object_list(values, 0)
        return values[0]

    def refuse_difference(self, value: object, *, what: str) -> None:
        """Raises: UserError if the processes do not have the same value."""
        values = [value] * self.size
        if self.size > 1:
            _distributed().all_gather_object(values, value)
        if len(set(values)) > 1:
            raise UserError(f"{what} differs between the processes ({values}): RUNS_DIR must be a disk that all share")

    def wait(self) -> None:
        """Return only when every process of the team has called this."""
        meet()


@contextmanager
def team(device: str) -> Iterator[Team]:
    """All processes that torchrun started, or this one alone."""
    with together(device):
        yield Team(device) if processes() == 1 else Team(device, _distributed().get_rank(), processes())


def _distributed() -> ModuleType:
    """What several processes talk through."""
    from torch import distributed

    return distributed
