"""Randomness as a function of numbers, not of history: what is resumed draws what it would have drawn."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(device: str, *numbers: int) -> Iterator[None]:
    """PyTorch's randomness inside is a function of the numbers; outside goes on as before."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield
