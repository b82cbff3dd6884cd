"""How far one model is ahead of another on the same images, with its interval.

Both are judged on the same resamples, so that what is hard for both does not blur the difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.judge.bootstrap import bootstrap
from analysis.judge.intervals import Interval
from analysis.judge.metrics import interval_of
from analysis.judge.ranking import Pairs
from heads.predictions import Predictions


@dataclass(frozen=True)
class Lead:
    """How far the first of two models is above the second.

    ahead: share of the resamples in which it is, those in which both are equal counted half.
    """

    difference: Interval
    ahead: float


@dataclass(frozen=True)
class Pair:
    """What two runs said of the same images: scores (N, 2), fake (N,) bool, groups (N,)."""

    scores: np.ndarray
    fake: np.ndarray
    groups: np.ndarray

    @property
    def two_classes(self) -> bool:
        return bool(self.fake.any() and not self.fake.all())


def joined(first: Predictions, second: Predictions) -> Pair:
    """The images that both have, by path."""
    _, one, two = np.intersect1d(first.paths, second.paths, assume_unique=True, return_indices=True)
    return Pair(np.stack([first.scores[one], second.scores[two]], axis=1), first.fake[one], first.groups[one])


def auc_lead(pair: Pair) -> Lead:
    """How far the AUC of the first is ahead; both classes must be there."""
    first, second = (Pairs(column, pair.fake).auc for column in pair.scores.T)
    return _lead("auc", pair, lambda weights: {"first": first(weights), "second": second(weights)})


def accuracy_lead(pair: Pair, thresholds: np.ndarray) -> Lead:
    """How far the accuracy of the first is ahead; thresholds: (2,), of each its own."""
    right = ((pair.scores >= thresholds) == pair.fake[:, None]).astype(np.float64)

    def both(weights: np.ndarray) -> dict[str, np.ndarray]:
        first, second = (weights @ right).T / weights.sum(axis=1)
        return {"first": first, "second": second}

    return _lead("accuracy", pair, both)


def _lead(name: str, pair: Pair, both: Callable[[np.ndarray], dict[str, np.ndarray]]) -> Lead:
    """name: of the figure. both: weights (B, N) -> what it is of the first and of the second (B,)."""
    first, second = bootstrap(both, pair.fake, pair.groups).values()
    return Lead(Interval.of_difference(first, second, partial(interval_of, name)), first.minus(second).ahead)
