"""Convex heads over a whole penalty path: the floor that every trained head must beat."""

import time
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from heads.families import Fitted, Member
from heads.fitting.products import times
from heads.fitting.task import Task, judge
from heads.fitting.training import FAIR, Training, Trainings

USUAL_STEPS = 300  # until the last penalty has converged; for the estimate of time alone


def fit_convex(members: list[Member], task: Task) -> list[Fitted]:
    """Convex heads, fold by fold: each family's whole path on the fold's training rows, judged on its held-out ones.

    They are computed in float64 on the task's device, which must know it.

    Args:
        members: of families that are Penalised (heads.families.penalised).
    """
    fitted: dict[Member, Fitted] = {}
    trainings = Trainings(task, apart=any(member.config.apart for member in members))
    for fold in dict.fromkeys(member.fold for member in members):
        of_fold = [member for member in members if member.fold == fold]
        kinds = dict.fromkeys(type(member.config) for member in of_fold)
        training = trainings.of(fold)
        for kind in kinds:
            mine = [member for member in of_fold if type(member.config) is kind]
            fitted |= _judged(mine, *kind.path(training, [member.config for member in mine]), task)
    return [fitted[member] for member in members]


def seconds_a_path(rows: int, columns: int, penalties: int) -> float:
    """About what the paths of one fold take: decomposition and steps, from how fast this machine does small ones."""
    side = min(rows, columns)
    per_multiplication, per_cube = _speeds()
    products = (rows + min(rows, FAIR)) * columns * side + USUAL_STEPS * 2 * rows * side * penalties
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

    weights: (P, D). intercepts: (P,). fair: (M, P), scores of the rows Training.fair by heads that were fitted without
    them.
    """

    weights: torch.Tensor
    intercepts: torch.Tensor
    fair: torch.Tensor

    def scaled(self, slopes: torch.Tensor, offsets: torch.Tensor | float = 0.0) -> "Lines":
        """slope * score + offset, (P,) each."""
        return Lines(self.weights * slopes[:, None], self.intercepts * slopes + offsets, self.fair * slopes + offsets)

    def logits(self, training: Training) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and intercepts whose scores are logits of fake, by those of rows that they did not see."""
        fair, fake = self.fair.cpu().numpy(), training.fake[training.fair]
        scaled = self.scaled(*self.weights.new_tensor([to_logits(scores, fake) for scores in fair.T]).T)
        return scaled.weights, scaled.intercepts


def _judged(members: list[Member], weights: torch.Tensor, intercepts: torch.Tensor,
            task: Task) -> dict[Member, Fitted]:  # fmt: skip
    fold = members[0].fold
    rows, (mean, std) = task.judged(fold), task.moments(fold)
    raw = (weights / std).T  # of rows as they are
    level = intercepts - mean.double() @ raw
    scores = torch.cat([times(values, raw) for _, values in rows.doubles(task.device)]) + level
    scores = scores.unflatten(0, (rows.views, -1)).mean(dim=0)  # (m, P)
    auc, loss = judge(scores.cpu().numpy(), task.fake.cpu().numpy()[rows.rows])
    return {
        member: Fitted(member, _tensors(w, b) | task.standardisation(fold), float(a), float(e))
        for member, w, b, a, e in zip(members, weights, intercepts, auc, loss, strict=True)
    }


def _tensors(weight: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"weight": weight.float().cpu(), "bias": bias.float().cpu()}
