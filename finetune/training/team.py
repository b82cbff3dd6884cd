"""The processes that train one detector together: one alone, or those that torchrun started."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from timm.layers import convert_sync_batchnorm
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from cache.errors import UserError
from extract.ranks import meet, together


@dataclass(frozen=True)
class Team:
    """rank of size processes, each with a device of its own."""

    device_name: str
    rank: int = 0
    size: int = 1

    @property
    def device(self) -> torch.device:
        return torch.device(self.device_name)

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

    def share_statistics(self, network: nn.Module) -> None:
        """Buffers as the first process has them: without synchronised BatchNorm each counts its own images."""
        for buffer in network.buffers() if self.size > 1 else ():
            distributed.broadcast(buffer, 0)

    def agreed(self, value: bool) -> bool:
        """What the first process says: the others may look at a disk a moment later."""
        values = [value]
        if self.size > 1:
            distributed.broadcast_object_list(values, 0)
        return values[0]

    def refuse_difference(self, value: object, *, what: str) -> None:
        """Raises: UserError if the processes do not have the same value."""
        values = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        if len(set(values)) > 1:
            raise UserError(f"{what} differs between the processes ({values}): RUNS_DIR must be a disk that all share")

    def wait(self) -> None:
        """Return only when every process of the team has called this."""
        meet()


@contextmanager
def team(device: str) -> Iterator[Team]:
    """All processes that torchrun started, or this one alone."""
    with together(device):
        alone = not distributed.is_initialized()
        yield Team(device) if alone else Team(device, distributed.get_rank(), distributed.get_world_size())
