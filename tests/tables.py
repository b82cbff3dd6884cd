"""Small seeded tables of features and the tasks on them."""

import numpy as np
import pytest

from heads.families import Source
from heads.fitting.task import Task
from heads.folds import Folds


def features(rows: int, columns: int, *, views: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """X (V, N, D) float32 of uneven scale, with some signal, and fake (N,)."""
    rng = np.random.default_rng(seed)
    fake = rng.random(rows) < 0.4
    X = rng.standard_normal((views, rows, columns)) + 0.5 * fake[None, :, None]
    return (X * np.geomspace(0.1, 10, columns) + 3).astype(np.float32), fake


def folds(rows: int, count: int) -> Folds:
    """Every count-th row is held out of a fold; count = 1 holds out the last third."""
    number = np.arange(rows)
    held_out = (
        np.stack([number % count == fold for fold in range(count)]) if count > 1 else number[None] >= 2 * rows / 3
    )
    return Folds(~held_out, held_out, number)


def task(rows: int = 120, columns: int = 12, *, count: int = 1, views: int = 1, mean_views: bool = False,
         seed: int = 0) -> Task:  # fmt: skip
    X, fake = features(rows, columns, views=views, seed=seed)
    return Task.of(X, fake, folds(rows, count), mean_views=mean_views)


def source(on: Task) -> Source:
    """As a sweep hands a task to a family."""
    rows = int(on.folds.trained[0].sum()) * len(on.X)
    return Source(on.columns, rows, len(on.folds), lambda: on, lambda: pytest.fail("these heads read no maps"))
