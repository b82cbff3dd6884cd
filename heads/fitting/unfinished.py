"""The state of heads that are being trained, on disk from time to time: what was killed goes on from there."""

import time
from pathlib import Path

import torch

from cache.checkpoint import load_weights, save_weights

SECONDS = 60.0  # between two writings; a kill costs about as much, or an epoch where that is longer


class Unfinished:
    """One file of tensors and a record. path: where it is, while the training lasts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = time.monotonic()

    def load(self) -> tuple[dict[str, torch.Tensor], dict] | None:
        """None where nothing was left. Raises: UserError, what was left is damaged: it is named, to be deleted."""
        return load_weights(self.path) if self.path.exists() else None

    @property
    def due(self) -> bool:
        """Whether the latest writing is long enough ago."""
        return time.monotonic() - self.written >= SECONDS

    def save(self, tensors: dict[str, torch.Tensor], record: dict) -> None:
        save_weights(self.path, tensors, record)
        self.written = time.monotonic()

    def remove(self) -> None:
        """Nothing is left to go on with: what it became is kept elsewhere."""
        self.path.unlink(missing_ok=True)


def with_prefix(prefix: str, tensors: dict) -> dict[str, torch.Tensor]:
    """Tensors by name -> the same by `prefix name`."""
    return {f"{prefix} {name}": tensor for name, tensor in tensors.items()}


def part_of(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The inverse, of those that have the prefix."""
    return {name.removeprefix(f"{prefix} "): each for name, each in tensors.items() if name.startswith(f"{prefix} ")}
