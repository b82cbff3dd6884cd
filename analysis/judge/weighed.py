"""Images, their scores and what validation fixed -> all that a metric is computed from, in many weightings at once.

A weighting says how much each image counts. All ones give the figure itself, random ones its interval (`bootstrap`).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import expit, logit

from analysis.judge.bootstrap import Units
from analysis.judge.calibrate import Calibration
from analysis.judge.ranking import Called, Counts, Ranking
from analysis.judge.rules import DEFAULT_RULE
from analysis.judge.score_parts import Parts

BINS = 15  # of the calibration error


class Judged:
    """N images from the highest score to the lowest: scores (N,) float64, logits of fake, and fake (N,) bool.

    calibration: what validation fixed. real_groups: how many groups of real images there are.
    """

    def __init__(self, scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, calibration: Calibration) -> None:
        self._ranking = Ranking(scores, fake)
        self.scores, self.fake = self._ranking.scores, self._ranking.fake
        self.calibration, self.real_groups = calibration, Units.of(groups[~fake]).groups
        self.calibrated = Forecast(self.scores / calibration.temperature, self.fake)
        self.plain = Forecast(self.scores, self.fake)
        self.columns = {rule: self._ranking.column(threshold) for rule, threshold in calibration.thresholds.items()}
        decided = ~calibration.uncertain(self.scores)
        right = (self.scores >= calibration.threshold) == self.fake
        self.band = np.stack([decided, decided & right], axis=1).astype(np.float64)  # (N, 2)

    @property
    def cuts(self) -> list[float]:
        """Scores at which something changes: thresholds, the band, the bins of the calibration error."""
        bins = logit(np.arange(1, BINS) / BINS)
        return [*self.calibration.thresholds.values(), *self.calibration.band, *bins,
                *bins * self.calibration.temperature]  # fmt: skip

    def of_parts(self, parts: Parts) -> "Judged":
        """These images, cut into parts at the cuts and elsewhere."""
        found = Judged(parts.scores, parts.fake, np.arange(len(parts.scores)), self.calibration)
        found.real_groups = self.real_groups
        return found

    def weighed(self, weights: np.ndarray) -> "Weighed":
        """In weightings (B, N) in the order in which the images were given."""
        ordered = weights[:, self._ranking.order]
        return Weighed(self, ordered, self._ranking.counts_in_order(ordered))


@dataclass(frozen=True)
class Weighed:
    """Images in B weightings, which a metric turns into (B,) figures; what it asks for is computed once.

    weights (B, N) float64 in the order of `judged`. counts: at every distinct threshold. rule: whose threshold decides.
    """

    judged: Judged
    weights: np.ndarray
    counts: Counts
    rule: str = DEFAULT_RULE

    def at(self, rule: str) -> "Weighed":
        """These images, called by the threshold of another rule of rules.RULES."""
        return replace(self, rule=rule)

    @cached_property
    def images(self) -> np.ndarray:
        """(B,): what all images weigh."""
        return self.weights.sum(axis=1)

    @cached_property
    def called(self) -> Called:
        """What the threshold makes of the images."""
        return self.counts.at(self.judged.columns[self.rule])

    @cached_property
    def auc(self) -> np.ndarray:
        """(B,); both classes must be there."""
        return self.counts.auc()

    @cached_property
    def calibrated(self) -> "Losses":
        """How far the calibrated probabilities are off."""
        return self.judged.calibrated.losses(self.weights)

    @cached_property
    def plain(self) -> "Losses":
        """How far the plain sigmoids of the scores are off."""
        return self.judged.plain.losses(self.weights)

    @property
    def decided(self) -> np.ndarray:
        """(B,): what the images outside the uncertain band weigh."""
        return self._band[0]

    @property
    def decided_rightly(self) -> np.ndarray:
        """(B,): what those among them weigh that are called rightly."""
        return self._band[1]

    @cached_property
    def _band(self) -> np.ndarray:
        return (self.weights @ self.judged.band).T  # (B, N) @ (N, 2) -> (2, B)


@dataclass(frozen=True)
class Losses:
    """How far probabilities are from what came true, each (B,). log_loss in nats."""

    log_loss: np.ndarray
    brier: np.ndarray
    ece: np.ndarray


class Forecast:
    """Probabilities of fake from logits (N,), which are sorted from high to low, and so are their bins."""

    def __init__(self, logits: np.ndarray, fake: np.ndarray) -> None:
        came_true = fake.astype(np.float64)
        probability = expit(logits)
        self._excess = probability - came_true
        self._losses = np.stack([np.logaddexp(0, logits) - came_true * logits, self._excess**2], axis=1)  # (N, 2)
        bins = np.minimum((probability * BINS).astype(int), BINS - 1)
        self._starts = np.flatnonzero(np.append(True, bins[1:] != bins[:-1]))

    def losses(self, weights: np.ndarray) -> Losses:
        """How far the probabilities are off in weightings (B, N) in the same order."""
        images = weights.sum(axis=1)
        log_loss, brier = (weights @ self._losses).T / images
        excess = np.add.reduceat(weights * self._excess, self._starts, axis=1)  # (B, N) -> (B, bins that hold images)
        return Losses(log_loss, brier, np.abs(excess).sum(axis=1) / images)
