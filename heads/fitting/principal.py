"""Rows by their principal axes, and the sums of some of them that a covariance is made of.

One eigendecomposition serves ridge and logistic regression and all their penalties. In its basis ridge regression is a
division, and the Hessian of logistic regression starts out diagonal, so that L-BFGS for all penalties together needs
tens of steps where it needs hundreds on the features themselves.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from heads.fitting.products import Products, across, added, doubled, less, times
from heads.fitting.task import PART_NUMBERS, SomeRows

SMALLEST_VALUE = 1e-12  # of the largest eigenvalue; smaller ones are rounding

Answer = Callable[[slice, torch.Tensor], torch.Tensor]  # positions, and what v says of them (k, P) -> (k, P)


@dataclass(frozen=True)
class Sums:
    """Of some rows: how many, their sum (f,) and their products (f, f), float64, about one point for all."""

    count: int
    total: torch.Tensor
    square: torch.Tensor

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.count + other.count, self.total + other.total, self.square + other.square)

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(self.count - other.count, self.total - other.total, self.square - other.square)

    @property
    def mean(self) -> torch.Tensor:
        return self.total / self.count

    @property
    def scatter(self) -> torch.Tensor:
        """About their mean."""
        return self.square - self.total.outer(self.mean)

    def without(self, other: "Sums") -> "Sums":
        """self - other, in place of the products of `other`: they are large."""
        return Sums(self.count - other.count, self.total - other.total, other.square.neg_().add_(self.square))

    def about(self, point: torch.Tensor, scale: torch.Tensor) -> "Sums":
        """Of the rows less `point` (f,), divided by `scale` (f,); in place of the products of `self`."""
        total = self.total - self.count * point
        square = self.square.addr_(self.total, point, alpha=-1).addr_(point, total, alpha=-1)
        return Sums(self.count, total / scale, square.div_(scale).div_(scale[:, None]))


class Principal(ABC):
    """Standardised rows by their principal axes: (X - centre) / std = coordinates (N, r) @ vectors' (r, D).

    Rows stay as they are stored and are turned into float64 part by part, on the device of `std`.

    centre: (D,), their mean. offset: (D,), how far that is from the mean by which heads standardise, standardised.
    values: (r,), squares of the coordinates summed over rows. sums: of parts of the rows, in a frame of their own,
    which `turned` leads out of.
    """

    rows: SomeRows
    centre: torch.Tensor
    offset: torch.Tensor
    std: torch.Tensor
    values: torch.Tensor
    sums: list[Sums]

    @property
    def device(self) -> torch.device:
        return self.std.device

    @abstractmethod
    def swept(self, v: torch.Tensor, answer: Answer) -> torch.Tensor:
        """coordinates' @ answer(coordinates @ v) in one pass over the rows: (r, P) -> (r, P)."""

    def gather(self, errors: torch.Tensor) -> torch.Tensor:
        """coordinates' @ errors: (N, P) -> (r, P)."""
        nothing = torch.zeros(len(self.values), 0, dtype=torch.float64, device=self.device)
        return self.swept(nothing, lambda at, _: errors[at])

    @abstractmethod
    def coordinates(self, positions: np.ndarray) -> torch.Tensor:
        """Of some rows, by number: (...) int64 -> (..., r)."""

    @abstractmethod
    def scores(self, v: torch.Tensor, positions: np.ndarray) -> torch.Tensor:
        """Of some rows, by number, coordinates @ v: (r, P), (k,) -> (k, P)."""

    @abstractmethod
    def weights(self, v: torch.Tensor) -> torch.Tensor:
        """On the standardised columns of X: (r, P) -> (P, D)."""

    @abstractmethod
    def turned(self, axes: torch.Tensor) -> torch.Tensor:
        """From the frame of `sums` to principal coordinates: (f, P) -> (r, P)."""

    def _parts(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Positions, and rows (k, D) float64 less the centre, valid until the next ones."""
        for at, values in self.rows.doubles(self.device):
            yield at, less(values, self.centre)


def sums_of(rows: SomeRows, point: torch.Tensor, parts: list[np.ndarray], device: torch.device) -> list[Sums]:
    """Of the rows of each part, masks (N,) bool, less the point (D,), in one pass."""
    found = [Products(rows.columns, device) for _ in parts]
    for at, values in rows.doubles(device):
        shifted = less(values, point)
        for each, part in zip(found, parts, strict=True):
            each.add(shifted, part[at])
    squares = [each.square for each in found]  # asked for first: the last rows are added here
    return [Sums(each.count, each.total, square) for each, square in zip(found, squares, strict=True)]


class ByColumns(Principal):
    """By the products of the columns. The rows' coordinates are not kept but computed on the way.

    Args:
        mean, std: (D,), by which heads standardise. The rows need not have exactly this mean.
        sums: of parts of the rows, each row in one, less the point (D,); taken over. Their frame are then the
            standardised columns less their mean.
    """

    def __init__(self, rows: SomeRows, mean: torch.Tensor, std: torch.Tensor, point: torch.Tensor,
                 sums: list[Sums]) -> None:  # fmt: skip
        every = sum(each.total for each in sums) / len(rows)
        self.rows, self.std, self.centre = rows, std, point + every
        self.offset = (self.centre - mean) / std
        self.sums = [each.about(every, std) for each in sums]
        self.values, self.vectors = _decomposed(sum(each.square for each in self.sums))
        self.axes = self.vectors / std[:, None]

    def swept(self, v: torch.Tensor, answer: Answer) -> torch.Tensor:
        """The centre is taken off what comes out, which is small, and not off the rows."""
        weights = times(self.axes, v)
        level = self.centre @ weights
        found, total = 0.0, 0.0
        for at, rows in self.rows.doubles(self.device):
            said = answer(at, times(rows, weights) - level)
            found, total = found + across(rows, said), total + said.sum(dim=0)
        return across(self.axes, found - self.centre.outer(total))

    def coordinates(self, positions: np.ndarray) -> torch.Tensor:
        return times(self._read(positions.ravel()), self.axes).unflatten(0, positions.shape)

    def scores(self, v: torch.Tensor, positions: np.ndarray) -> torch.Tensor:
        weights = times(self.axes, v)
        at_once = max(1, PART_NUMBERS // self.rows.columns)
        some = np.array_split(positions, range(at_once, len(positions), at_once))
        return torch.cat([times(self._read(each), weights) for each in some])

    def weights(self, v: torch.Tensor) -> torch.Tensor:
        return times(self.vectors, v).T

    def turned(self, axes: torch.Tensor) -> torch.Tensor:
        return across(self.vectors, axes)

    def _read(self, positions: np.ndarray) -> torch.Tensor:
        return less(doubled(self.rows.read(positions).to(self.device), None), self.centre)


class ByRows(Principal):
    """By the products of the rows: of few rows of many columns, of which no matrix of D x D is made.

    Args:
        mean, std: (D,), as of ByColumns. parts: masks (N,) bool of those whose sums are wanted. Their frame are the
            coordinates.
    """

    def __init__(self, rows: SomeRows, mean: torch.Tensor, std: torch.Tensor, parts: list[np.ndarray]) -> None:
        self.rows, self.centre, self.std = rows, mean, std
        left = sum(added(part) for _, part in self._parts()) / len(rows)
        self.offset, self.centre = left / std, mean + left
        self.values, self.vectors = _decomposed(self._kernel())
        self.sums = [self._sums(np.flatnonzero(part)) for part in parts]

    def swept(self, v: torch.Tensor, answer: Answer) -> torch.Tensor:
        root = self.values.sqrt()[:, None]
        return root * (self.vectors.T @ answer(slice(0, len(self.rows)), self.vectors @ (root * v)))

    def coordinates(self, positions: np.ndarray) -> torch.Tensor:
        return self.vectors[torch.from_numpy(positions).to(self.device)] * self.values.sqrt()

    def scores(self, v: torch.Tensor, positions: np.ndarray) -> torch.Tensor:
        return self.coordinates(positions) @ v

    def weights(self, v: torch.Tensor) -> torch.Tensor:
        of_rows = self.vectors @ (v / self.values.sqrt()[:, None])  # (N, P)
        return sum(of_rows[at].T @ (part / self.std) for at, part in self._parts())

    def turned(self, axes: torch.Tensor) -> torch.Tensor:
        return axes

    def _sums(self, positions: np.ndarray) -> Sums:
        mine = self.coordinates(positions)
        return Sums(len(mine), mine.sum(dim=0), mine.T @ mine)

    def _kernel(self) -> torch.Tensor:
        """The products (N, N) of the standardised rows."""
        square = self.std.new_empty(len(self.rows), len(self.rows))
        for at, part in self._parts():
            standard = part / self.std**2
            for other_at, other in self._parts():
                square[at, other_at] = standard @ other.T
        return (square + square.T) / 2


def _decomposed(square: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues (r,) and eigenvectors (n, r) of what is not rounding."""
    values, vectors = torch.linalg.eigh(square)
    kept = values > SMALLEST_VALUE * values[-1].clamp_min(1e-300)
    return values[kept], vectors[:, kept]
