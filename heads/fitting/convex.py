"""Convex heads over a whole penalty path: the floor that every trained head must beat.

One eigendecomposition of the features serves both families and all penalties. In its basis ridge regression is a
division, and the Hessian of logistic regression starts out diagonal, so that L-BFGS for all penalties together needs
tens of steps where it needs hundreds on the features themselves.
"""

import time
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from scipy.linalg import eigh
from sklearn.linear_model import LogisticRegression

from heads.families import Fitted, Member
from heads.fitting.task import Task, judge

CHUNK = 8192  # rows turned into float64 at once
SMALLEST_VALUE = 1e-12  # of the largest eigenvalue; smaller ones are rounding
USUAL_STEPS = 300  # until the last penalty has converged; for the estimate of time alone


class Principal:
    """Rows in the basis of their principal axes: X - mean = coordinates (N, r) @ axes' (r, D).

    Where there are more columns than rows the kernel X X' is decomposed and no matrix of D x D is ever made; where
    there are more rows the coordinates are not stored but computed on the way.

    Args:
        X: (N, D) float32.
    """

    def __init__(self, X: np.ndarray) -> None:
        self.mean = X.mean(axis=0, dtype=np.float64)
        self.wide = X.shape[1] > X.shape[0]
        self.centred = X - self.mean if self.wide else None
        self.X = X
        square = self.centred @ self.centred.T if self.wide else sum(part.T @ part for part in self._parts())
        values, vectors = eigh(square, driver="evd")
        kept = values > SMALLEST_VALUE * max(values[-1], 1e-300)
        self.values, self.vectors = values[kept], vectors[:, kept]  # squares of the coordinates summed over rows

    def scores(self, v: np.ndarray) -> np.ndarray:
        """coordinates @ v: (r, P) -> (N, P)."""
        if self.wide:
            return self.vectors @ (np.sqrt(self.values)[:, None] * v)
        weights = self.vectors @ v
        return np.concatenate([part @ weights for part in self._parts()])

    def gather(self, errors: np.ndarray) -> np.ndarray:
        """coordinates' @ errors: (N, P) -> (r, P)."""
        if self.wide:
            return np.sqrt(self.values)[:, None] * (self.vectors.T @ errors)
        starts = range(0, len(self.X), CHUNK)
        parts = zip(self._parts(), starts, strict=True)
        return self.vectors.T @ sum(part.T @ errors[start : start + CHUNK] for part, start in parts)

    def coordinates(self, rows: np.ndarray) -> np.ndarray:
        """Of some rows, by number: (...) int64 -> (..., r)."""
        if self.wide:
            return self.vectors[rows] * np.sqrt(self.values)
        return (self.X[rows] - self.mean) @ self.vectors

    def weights(self, v: np.ndarray) -> np.ndarray:
        """On the columns of X: (r, P) -> (P, D)."""
        if self.wide:
            return (self.centred.T @ (self.vectors @ (v / np.sqrt(self.values)[:, None]))).T
        return (self.vectors @ v).T

    def _parts(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.X), CHUNK):
            yield self.X[start : start + CHUNK] - self.mean


def fit_convex(members: list[Member], task: Task) -> list[Fitted]:
    """Convex heads, fold by fold: each family's whole path on the fold's training rows, judged on its held-out ones.

    Args:
        members: of families that are Penalised (heads.families.penalised).
    """
    fitted: dict[Member, Fitted] = {}
    for fold in dict.fromkeys(member.fold for member in members):
        X, fake = task.training_rows(fold)
        principal = Principal(X)
        of_fold = [member for member in members if member.fold == fold]
        for kind in dict.fromkeys(type(member.config) for member in of_fold):
            mine = [member for member in of_fold if type(member.config) is kind]
            penalties = [member.config.penalty for member in mine]
            path = kind.path(principal, fake, penalties, groups=task.training_groups(fold))
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
    square = np.random.default_rng(0).standard_normal((512, 512))
    started = time.perf_counter()
    square @ square.T
    between = time.perf_counter()
    eigh(square + square.T, driver="evd")
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


def _judged(members: list[Member], weights: np.ndarray, intercepts: np.ndarray,
            task: Task) -> dict[Member, Fitted]:  # fmt: skip
    views, fake = task.judged_rows(members[0].fold)
    X = views.mean(axis=0)  # of a linear head, the mean of the scores is the score of the mean
    auc, loss = judge(X @ weights.T + intercepts, fake)
    return {
        member: Fitted(member, _tensors(w, b) | task.standardisation(member.fold), float(a), float(e))
        for member, w, b, a, e in zip(members, weights, intercepts, auc, loss, strict=True)
    }


def _tensors(weight: np.ndarray, bias: np.ndarray) -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor(weight).float(), "bias": torch.tensor(bias).float()}
