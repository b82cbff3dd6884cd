"""Convex heads over a whole penalty path: the floor that every trained head must beat.

One eigendecomposition of the features serves both families and all penalties. In its basis ridge regression is a
division, and the Hessian of logistic regression starts out diagonal, so that L-BFGS for all penalties together needs
tens of steps where it needs hundreds on the features themselves.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from heads.families import Fitted, Member
from heads.fitting.task import PART_NUMBERS, SomeRows, Task, judge

SMALLEST_VALUE = 1e-12  # of the largest eigenvalue; smaller ones are rounding
USUAL_STEPS = 300  # until the last penalty has converged; for the estimate of time alone


class Principal:
    """Standardised rows by their principal axes: (X - centre) / std = coordinates (N, r) @ vectors' (r, D).

    Rows stay as they are stored and are turned into float64 part by part, on the device of `std`; the division by std
    is part of the axes. Where there are more columns than rows the kernel X X' is decomposed and no matrix of D x D is
    ever made; where there are more rows the coordinates are not stored but computed on the way.

    Args:
        mean, std: (D,), by which heads standardise. The rows need not have exactly this mean: `offset` (D,) is what is
            left of it, standardised.
    """

    def __init__(self, rows: SomeRows, mean: torch.Tensor, std: torch.Tensor) -> None:
        self.rows, self.centre, self.std = rows, mean.double(), std.double()
        self.wide = rows.columns > len(rows)
        total, square = self._kernel() if self.wide else self._gram()
        self.offset = total / len(rows) / self.std
        self.centre = self.centre + total / len(rows)
        values, vectors = torch.linalg.eigh(square)
        kept = values > SMALLEST_VALUE * values[-1].clamp_min(1e-300)
        self.values, self.vectors = values[kept], vectors[:, kept]  # squares of the coordinates summed over rows
        self.axes = None if self.wide else self.vectors / self.std[:, None]

    @property
    def device(self) -> torch.device:
        return self.std.device

    def swept(self, v: torch.Tensor, answer: Callable[[slice, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """coordinates' @ answer(coordinates @ v) in one pass over the rows: (r, P) -> (r, P).

        Args:
            answer: positions and what v says of them (k, P) -> (k, P).
        """
        if self.wide:
            root = self.values.sqrt()[:, None]
            return root * (self.vectors.T @ answer(slice(0, len(self.rows)), self.vectors @ (root * v)))
        weights = self.axes @ v
        return self.axes.T @ sum(part.T @ answer(at, part @ weights) for at, part in self._parts())

    def gather(self, errors: torch.Tensor) -> torch.Tensor:
        """coordinates' @ errors: (N, P) -> (r, P)."""
        nothing = torch.zeros(len(self.values), 0, dtype=torch.float64, device=self.device)
        return self.swept(nothing, lambda at, _: errors[at])

    def scores(self, v: torch.Tensor) -> torch.Tensor:
        """coordinates @ v: (r, P) -> (N, P)."""
        if self.wide:
            return self.vectors @ (self.values.sqrt()[:, None] * v)
        weights = self.axes @ v
        return torch.cat([part @ weights for _, part in self._parts()])

    def coordinates(self, positions: np.ndarray) -> torch.Tensor:
        """Of some rows, by number: (...) int64 -> (..., r)."""
        if self.wide:
            return self.vectors[torch.from_numpy(positions).to(self.device)] * self.values.sqrt()
        read = self.rows.read(positions.ravel()).to(self.device)
        return ((read - self.centre) @ self.axes).unflatten(0, positions.shape)

    def moments(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Of some rows, by number, the sum (r,) and the products (r, r) of their coordinates."""
        total = torch.zeros(len(self.values), dtype=torch.float64, device=self.device)
        square = torch.zeros(len(total), len(total), dtype=torch.float64, device=self.device)
        at_once = max(1, PART_NUMBERS // max(1, len(total)))
        for some in np.array_split(positions, range(at_once, len(positions), at_once)):
            part = self.coordinates(some)
            total += part.sum(dim=0)
            square += _squared(part)
        return total, square

    def weights(self, v: torch.Tensor) -> torch.Tensor:
        """On the standardised columns of X: (r, P) -> (P, D)."""
        if not self.wide:
            return (self.vectors @ v).T
        of_rows = self.vectors @ (v / self.values.sqrt()[:, None])  # (N, P)
        return sum(of_rows[at].T @ (part / self.std) for at, part in self._parts())

    def _gram(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The distances from `centre` summed (D,), and the products (D, D) of the standardised columns, in one pass."""
        total, square = 0.0, 0.0
        for _, part in self._parts():
            total = total + part.sum(dim=0)
            square = square + _squared(part)
        square = square - torch.outer(total, total) / len(self.rows)  # now about the mean itself
        return total, square / torch.outer(self.std, self.std)

    def _kernel(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The same sum, and the products (N, N) of the standardised rows."""
        total = sum(part.sum(dim=0) for _, part in self._parts())
        left = total / len(self.rows)
        square = torch.empty(len(self.rows), len(self.rows), dtype=torch.float64, device=self.device)
        for at, part in self._parts():
            standard = (part - left) / self.std**2
            for other_at, other in self._parts():
                square[at, other_at] = standard @ (other - left).T
        return total, (square + square.T) / 2

    def _parts(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Positions, and rows (k, D) float64 less the centre."""
        for at, values in self.rows.parts(self.device):
            yield at, values - self.centre


def _squared(part: torch.Tensor) -> torch.Tensor:
    """part' @ part; NumPy knows that it is symmetric and takes half the time."""
    return torch.from_numpy(part.numpy().T @ part.numpy()) if part.device.type == "cpu" else part.T @ part


def fit_convex(members: list[Member], task: Task) -> list[Fitted]:
    """Convex heads, fold by fold: each family's whole path on the fold's training rows, judged on its held-out ones.

    They are computed in float64 on the task's device, which must know it.

    Args:
        members: of families that are Penalised (heads.families.penalised).
    """
    fitted: dict[Member, Fitted] = {}
    for fold in dict.fromkeys(member.fold for member in members):
        principal = Principal(task.training(fold), *task.moments(fold))
        fake, groups = task.training_labels(fold), task.training_groups(fold)
        of_fold = [member for member in members if member.fold == fold]
        for kind in dict.fromkeys(type(member.config) for member in of_fold):
            mine = [member for member in of_fold if type(member.config) is kind]
            path = kind.path(principal, fake, [member.config for member in mine], groups=groups)
            fitted |= _judged(mine, *path, task)
    return [fitted[member] for member in members]


def seconds_a_path(rows: int, columns: int, penalties: int) -> float:
    """About what the paths of one fold take: decomposition and steps, from how fast this machine does small ones."""
    side = min(rows, columns)
    per_multiplication, per_cube = _speeds()
    products = rows * columns * side + USUAL_STEPS * 2 * rows * side * penalties
    return products * per_multiplication + side**3 * per_cube


@cache
def _speeds() -> tuple[float, float]:
    """Seconds of one multiplication in a product of matrices, and of an eigendecomposition by its side cubed."""
    square = torch.from_numpy(np.random.default_rng(0).standard_normal((512, 512)))
    started = time.perf_counter()
    square @ square.T
    between = time.perf_counter()
    torch.linalg.eigh(square + square.T)
    return (between - started) / 512**3, (time.perf_counter() - between) / 512**3


def to_logits(scores: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """Slope and offset that turn scores (N,), of rows that their head did not see, into logits (Platt 1999).

    A slope of less than its own standard error is not told from nothing, and is set to that: the order of scores is
    never turned, and heads of several folds keep a common scale where there is nothing to find.
    """
    scale = scores.std() or 1.0
    model = LogisticRegression(C=1e3).fit(scores[:, None] / scale, fake)
    share = fake.mean()
    error = 1 / np.sqrt(len(fake) * share * (1 - share))
    return max(float(model.coef_[0, 0]), error) / scale, float(model.intercept_[0])


@dataclass(frozen=True)
class Lines:
    """Heads that are linear in standardised features, and what they say of rows that they did not see.

    weights: (P, D). intercepts: (P,). fair: (N, P), scores of all training rows by heads that were fitted without them.
    """

    weights: torch.Tensor
    intercepts: torch.Tensor
    fair: torch.Tensor

    def scaled(self, slopes: torch.Tensor, offsets: torch.Tensor | float = 0.0) -> "Lines":
        """slope * score + offset, (P,) each."""
        return Lines(self.weights * slopes[:, None], self.intercepts * slopes + offsets, self.fair * slopes + offsets)

    def logits(self, fake: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and intercepts whose scores are logits of fake, by those of rows that they did not see."""
        fair = self.fair.cpu().numpy()
        scaled = self.scaled(*self.weights.new_tensor([to_logits(scores, fake) for scores in fair.T]).T)
        return scaled.weights, scaled.intercepts


def _judged(members: list[Member], weights: torch.Tensor, intercepts: torch.Tensor,
            task: Task) -> dict[Member, Fitted]:  # fmt: skip
    fold = members[0].fold
    rows, (mean, std) = task.judged(fold), task.moments(fold)
    raw = (weights / std).T  # of rows that are centred alone
    scores = torch.cat([(values - mean.double()) @ raw for _, values in rows.parts(task.device)]) + intercepts
    scores = scores.unflatten(0, (rows.views, -1)).mean(dim=0)  # (m, P)
    auc, loss = judge(scores.cpu().numpy(), task.fake.cpu().numpy()[rows.rows])
    return {
        member: Fitted(member, _tensors(w, b) | task.standardisation(fold), float(a), float(e))
        for member, w, b, a, e in zip(members, weights, intercepts, auc, loss, strict=True)
    }


def _tensors(weight: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"weight": weight.float().cpu(), "bias": bias.float().cpu()}
