"""How far one model is ahead of another on the same images, with its interval.

Both are judged on the same resamples, so that what is hard for both does not blur the difference.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.judge.bootstrap import Draws, bootstrap
from analysis.judge.intervals import Interval
from analysis.judge.metrics import interval_of
from analysis.judge.score_parts import Coarse, Parts, aucs, coarse_aucs
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
    columns = pair.scores.T
    drawn = bootstrap(aucs(columns, pair.fake), pair.fake, pair.groups, coarse=lambda: coarse_aucs(columns, pair.fake))
    return _lead("auc", *drawn.values())


def accuracy_lead(pair: Pair, thresholds: np.ndarray) -> Lead:
    """How far the accuracy of the first is ahead; thresholds: (2,), of each its own."""
    right = ((pair.scores >= thresholds) == pair.fake[:, None]).astype(np.float64)

    draws = bootstrap(partial(_shares, right), pair.fake, pair.groups, coarse=lambda: _coarse_shares(right, pair.fake))
    return _lead("accuracy", *draws.values())


def _shares(right: np.ndarray, weights: np.ndarray) -> dict[int, np.ndarray]:
    """For each column of (N, 2) the share of all images in weightings (B, N): (B,)."""
    return dict(enumerate((weights @ right).T / weights.sum(axis=1)))


def _coarse_shares(right: np.ndarray, fake: np.ndarray) -> Coarse:
    """In parts that are called alike by both: nothing is lost."""
    parts = Parts.by_score(right @ [1.0, 2.0], fake)  # which of the two is right, as one number
    return Coarse([parts], partial(_shares, np.stack([parts.scores % 2, parts.scores // 2], axis=1)))


def _lead(name: str, first: Draws, second: Draws) -> Lead:
    return Lead(Interval.of_difference(first, second, partial(interval_of, name)), first.minus(second).ahead)
