"""Convex heads over a whole penalty path: the floor that every trained head must beat.

One eigendecomposition of the features serves both families and all penalties. In its basis ridge regression is a
division, and the Hessian of logistic regression starts out diagonal, so that L-BFGS for all penalties together needs
tens of steps where it needs hundreds on the features themselves.
"""

import time
from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from heads.families import Logistic, Ridge
from heads.fitting.lbfgs import lbfgs
from heads.fitting.task import Fitted, Member, Task, judge

CHUNK = 8192  # rows turned into float64 at once
SMALLEST_VALUE = 1e-12  # of the largest eigenvalue; smaller ones are rounding
USUAL_STEPS = 300  # until the last penalty has converged; for the estimate of time alone
ROUNDING = 1e-14  # of a leverage of one
SMALLEST_PENALTY = 1e-10  # of the largest eigenvalue; below it scores of left-out rows are rounding
LARGEST = 256  # rows of a group that are left out together
TOLERANCE = 1e-6  # bound on the distance of weights and intercept from the optimum
FLATTEST = 0.05  # the intercept has no penalty; its curvature is that of its scores, at most 1 / 4


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
    """Ridge and logistic heads, fold by fold: whole paths on the fold's training rows, judged on its held-out ones.

    Ridge scores are scaled into logits by the training rows too, so that every head's score means the same.
    """
    fitted: dict[Member, Fitted] = {}
    for fold in dict.fromkeys(member.fold for member in members):
        X, fake = task.training_rows(fold)
        principal = Principal(X)
        paths = {Ridge: partial(ridge_logits, groups=task.training_groups(fold)), Logistic: logistic_path}
        for kind, path in paths.items():
            mine = [member for member in members if member.fold == fold and isinstance(member.config, kind)]
            if mine:
                fitted |= _judged(mine, *path(principal, fake, [member.config.penalty for member in mine]), task)
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


def ridge_path(principal: Principal, fake: np.ndarray, penalties: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (P, D) and intercepts (P,), float64, of ridge regression on targets -1 and 1 for every penalty.

    Minimises |Xw + b - t|^2 + penalty * |w|^2 (Hoerl and Kennard 1970).

    Args:
        fake: (N,) bool.
    """
    targets = np.where(fake, 1.0, -1.0)
    level = targets.mean()
    solutions = principal.gather((targets - level)[:, None]) / (principal.values[:, None] + np.asarray(penalties))
    weights = principal.weights(solutions)
    return weights, level - weights @ principal.mean


def ridge_logits(principal: Principal, fake: np.ndarray, penalties: list[float], *,
                 groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The ridge path with scores that are logits: scaled by what each row's head says that its group left alone.

    Args:
        fake: (N,) bool. groups: (N,) int64.
    """
    weights, intercepts = ridge_path(principal, fake, penalties)
    fair = left_out_scores(principal, fake, penalties, groups=groups)
    slopes, offsets = np.array([to_logits(scores, fake) for scores in fair.T]).T
    return weights * slopes[:, None], intercepts * slopes + offsets


def left_out_scores(principal: Principal, fake: np.ndarray, penalties: list[float], *,
                    groups: np.ndarray) -> np.ndarray:  # fmt: skip
    """Scores (N, P) of every row by the ridge heads that are fitted without its group; nothing is fitted again.

    Without the rows B of a group their residuals are (I - H_BB)^-1 times those of all rows, H being the hat matrix
    (of one row: Allen 1974). The intercept is then that of all rows: one that lacks a row's label lies on the other
    side of it, which would turn the scores of strongly penalised heads round. Of a group of more than LARGEST rows so
    many are left out at a time.

    Args:
        fake: (N,) bool. groups: (N,) int64.
    """
    targets = np.where(fake, 1.0, -1.0)
    level, count = targets.mean(), len(fake)
    shares = 1 / (principal.values[:, None] + np.maximum(penalties, SMALLEST_PENALTY * principal.values.max(initial=0)))
    solved = principal.gather((targets - level)[:, None]) * shares
    residuals = (targets - level)[:, None] - principal.scores(solved)
    scores = np.empty_like(residuals)
    for rows in _blocks(groups):
        size = rows.shape[1]
        hats = 1 / count + _products(principal.coordinates(rows), shares)
        left = np.linalg.solve((1 + ROUNDING) * np.eye(size) - hats, residuals[rows].transpose(2, 0, 1)[..., None])
        without = (count * level - targets[rows].sum(axis=1, keepdims=True)) / max(count - size, 1)
        scores[rows] = (targets[rows] + level - without)[..., None] - left[..., 0].transpose(1, 2, 0)
    return scores


def _blocks(groups: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers (G, s) of groups that have as many rows, so many groups at a time that they stay small."""
    order = np.argsort(groups, kind="stable")
    _, first, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, counts)  # within its group
    starts = np.flatnonzero(rank % LARGEST == 0)
    sizes = np.diff(np.append(starts, len(order)))
    for size in np.unique(sizes):
        alike = order[np.repeat(sizes == size, sizes)].reshape(-1, size)
        together = max(1, CHUNK // size)
        yield from np.split(alike, range(together, len(alike), together))


def _products(coordinates: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Of the rows of each group with one another, weighted: (G, s, r), (r, P) -> (P, G, s, s)."""
    if coordinates.shape[1] == 1:  # the usual case, one product for all
        return (coordinates[:, 0] ** 2 @ shares).T[..., None, None]
    return np.stack([(coordinates * share) @ coordinates.transpose(0, 2, 1) for share in shares.T])


def logistic_path(principal: Principal, fake: np.ndarray, penalties: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (P, D) and intercepts (P,), float64, of L2-penalised logistic regression for every penalty.

    Minimises the mean log loss plus penalty / 2 * |w|^2, all penalties together. A penalty that has not converged
    after heads.fitting.lbfgs.MAX_STEPS stays where it is: an early-stopped head like any other.

    Args:
        fake: (N,) bool.
    """
    strength, rows = np.asarray(penalties), len(fake)

    def evaluate(v: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loss (p,) and gradient (r + 1, p) of some penalties at v, whose last row is the intercept."""
        scores = principal.scores(v[:-1]) + v[-1]
        loss = (np.logaddexp(0, scores) - fake[:, None] * scores).mean(axis=0)
        errors = (expit(scores) - fake[:, None]) / rows
        shrinking = strength[which] * v[:-1]
        gradient = np.concatenate([principal.gather(errors) + shrinking, errors.sum(axis=0, keepdims=True)])
        return loss + 0.5 * (shrinking * v[:-1]).sum(axis=0), gradient

    # The Hessian at zero, where every probability is one half.
    curvature = np.concatenate([principal.values[:, None] / (4 * rows) + strength, np.full((1, len(strength)), 0.25)])
    found = lbfgs(evaluate, curvature, tolerance=TOLERANCE * np.minimum(strength, FLATTEST))
    weights = principal.weights(found[:-1])
    return weights, found[-1] - weights @ principal.mean


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
