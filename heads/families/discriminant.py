"""The family `discriminant`: Fisher's discriminant, whitened by what real images vary in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cache.settings import setting
from heads.families.penalised import Penalised

if TYPE_CHECKING:
    import torch

    from heads.fitting.convex import Lines, Principal

INNER = 3  # fits on parts of the training rows, which give the scores of rows that their head did not see


@dataclass(frozen=True)
class Discriminant(Penalised):
    """The difference of the class means, divided by a covariance: (C + penalty)^-1 (mean of fakes - mean of reals).

    reals: C is so much of the covariance of the real images and else of that within both classes, as in Friedman's
    regularised discriminant (1989). With 0 its direction is that of ridge regression. With 1 the fakes give no more
    than their mean: what the images of some generators vary in is not taken for noise, as where a detector is whitened
    by a background alone (Hariharan, Malik and Ramanan 2012). penalty: added to the variance along every direction;
    that of a column is 1.
    """

    family: ClassVar[str] = "discriminant"
    reals: float = setting(1.0, least=0, most=1)

    @classmethod
    def path(cls, principal: "Principal", fake: np.ndarray, configs: "list[Discriminant]", *,
             groups: np.ndarray) -> "tuple[torch.Tensor, torch.Tensor]":  # fmt: skip
        return discriminant_lines(principal, fake, configs, groups=groups).logits(fake)


@dataclass(frozen=True)
class Sums:
    """Of some rows in principal coordinates: how many, their sum (r,) and their products (r, r)."""

    count: int
    total: "torch.Tensor"
    square: "torch.Tensor"

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(self.count - other.count, self.total - other.total, self.square - other.square)

    @property
    def mean(self) -> "torch.Tensor":
        return self.total / self.count

    @property
    def scatter(self) -> "torch.Tensor":
        """About their mean."""
        return self.square - self.total.outer(self.mean)


def discriminant_lines(principal: "Principal", fake: np.ndarray, configs: list[Discriminant], *,
                       groups: np.ndarray) -> "Lines":  # fmt: skip
    """Every setting's head, float64, and what heads that are fitted without a part of the rows say of it.

    Args:
        fake: (N,) bool. groups: (N,) int64.
    """
    import torch

    from heads.fitting.convex import Lines

    parts = _parts(fake, groups)  # (k, N) bool
    real = [_sums(principal, part & ~fake) for part in parts]
    made = [_sums(principal, part & fake) for part in parts]
    both = [_added(each) for each in (real, made)]
    axes, levels = _heads(*both, configs)
    fair = principal.scores(axes) + levels  # of a class in one group, for which there is nothing else
    if len(parts) > 1:
        for part, of_real, of_made in zip(parts, real, made, strict=True):
            inner, inner_levels = _heads(both[0] - of_real, both[1] - of_made, configs)
            at = torch.from_numpy(part).to(fair.device)
            fair[at] = (principal.scores(inner) + inner_levels)[at]
    weights = principal.weights(axes)
    return Lines(weights, levels - weights @ principal.offset, fair)


def _parts(fake: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(k, N) bool: every row in one part, groups kept together."""
    from heads.folds import stratified

    fits = min(INNER, *(len(np.unique(groups[label])) for label in (fake, ~fake)))
    return stratified(fake, groups, fits) if fits > 1 else np.ones((1, len(fake)), bool)


def _sums(principal: "Principal", rows: np.ndarray) -> Sums:
    return Sums(int(rows.sum()), *principal.moments(np.flatnonzero(rows)))


def _added(each: list[Sums]) -> Sums:
    return Sums(*(sum(getattr(one, name) for one in each) for name in ("count", "total", "square")))


def _heads(real: Sums, made: Sums, configs: list[Discriminant]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Axes (r, P) and levels (P,): a score is coordinates @ axis + level, 0 half way between the classes."""
    import torch

    apart, between = made.mean - real.mean, (made.mean + real.mean) / 2
    of_real, of_both = real.scatter / real.count, (real.scatter + made.scatter) / (real.count + made.count)
    axes = []
    for config in configs:
        covariance = of_real.lerp(of_both, 1 - config.reals)
        covariance.diagonal().add_(config.penalty)
        axes.append(torch.cholesky_solve(apart[:, None], torch.linalg.cholesky(covariance)))
    found = torch.cat(axes, dim=1)
    return found, -between @ found
