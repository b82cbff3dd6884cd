"""Small seeded tables of features and the tasks on them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from heads.families import Source
from heads.fitting.task import Task
from heads.folds import Folds
from heads.stream import RowStream


@dataclass(frozen=True)
class Matrix:
    """Features (N, D) of one view with the face of a table on disk."""

    X: np.ndarray

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.X.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.X.dtype

    @property
    def row_bytes(self) -> int:
        return self.X[0].nbytes

    def __len__(self) -> int:
        return len(self.X)

    def location(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def read(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        return np.take(self.X, rows, axis=0, out=out)

    def scatter(self, rows: np.ndarray, out: np.ndarray, places: Iterable[int]) -> None:
        out[places] = self.X[rows]


def in_memory(X: np.ndarray) -> RowStream:
    """Features (V, N, D) in memory."""
    return RowStream([Matrix(view) for view in X], held=torch.from_numpy(X).flatten(0, 1))


def streamed(X: np.ndarray) -> RowStream:
    """The same, none of it held."""
    return RowStream([Matrix(view) for view in X], memory=0)


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
    return Task.of(in_memory(X), fake, folds(rows, count), mean_views=mean_views)


def source(on: Task) -> Source:
    """As a sweep hands a task to a family."""
    rows = int(on.folds.trained[0].sum()) * on.stream.views
    return Source(on.columns, rows, len(on.folds), lambda: on, lambda: pytest.fail("these heads read no maps"))


def raw(on: Task) -> torch.Tensor:
    """View 0 of a task's features, (N, D)."""
    return on.stream.held[: on.stream.images]
