"""What validation scores fix, once: thresholds, a temperature, and the band of scores that are too close to call.

Test images, other data, perturbed images and new ones are then judged by it as it is.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from analysis.judge.rules import DEFAULT_RULE
from cache.errors import UserError
from heads.predictions import predictions_file, read_predictions

BAND = 0.05  # of each class lies on the wrong side of the band on validation
TEMPERATURES = (1e-3, 1e3)


@dataclass(frozen=True)
class Calibration:
    """thresholds: rule of RULES -> logit; a score at or above it is called fake. temperature: scores / temperature
    are the logits of calibrated probabilities. band: scores in [low, high) are uncertain. images: it was fixed on.
    """

    thresholds: dict[str, float]
    temperature: float
    band: tuple[float, float]
    images: int

    @property
    def threshold(self) -> float:
        """The threshold of the default rule."""
        return self.thresholds[DEFAULT_RULE]

    def probability(self, scores: np.ndarray | float) -> np.ndarray | float:
        """Calibrated probability of fake: of one score, or (N,) -> (N,)."""
        return expit(scores / self.temperature)

    def uncertain(self, scores: np.ndarray) -> np.ndarray:
        """(N,) -> (N,) bool."""
        return (scores >= self.band[0]) & (scores < self.band[1])


def calibrate(scores: np.ndarray, fake: np.ndarray) -> Calibration:
    """From validation scores (N,) and fake (N,) bool, both classes among them.

    Thresholds lie halfway between two neighbouring scores, equal ones together: `youden` has the highest balanced
    accuracy (Youden 1950), `eer` the closest error rates, `fpr_5` and `fpr_1` are the lowest that call at most that
    share of real images fake (none of fewer than 20, or 100). Of equally good ones the lowest is taken.

    The band reaches from the highest threshold that misses at most 5 % of the fake images to the lowest that calls at
    most 5 % of the real ones fake, and holds the default threshold: of each class at most 5 % are decided wrongly.
    A detector with fewer errors than that has an empty band, one that knows nothing a band that holds all.

    Raises:
        UserError: one class only.
    """
    if fake.all() or not fake.any():
        raise UserError("validation scores of one class fix no threshold: the val split needs real and fake images")
    cuts = _Cuts.of(scores, fake)
    threshold = cuts.at(np.argmin(cuts.missed + cuts.alarms))
    low, high = cuts.at(np.flatnonzero(cuts.missed / cuts.pairs <= BAND)[-1]), cuts.sparing(BAND)
    thresholds = {
        DEFAULT_RULE: threshold,
        "eer": cuts.at(np.argmin(np.abs(cuts.missed - cuts.alarms))),
        "fpr_5": cuts.sparing(0.05),
        "fpr_1": cuts.sparing(0.01),
        "half": 0.0,
    }
    band = (min(low, threshold), max(high, threshold))
    return Calibration(thresholds, _temperature(scores, fake), band, len(scores))


def calibration_of(folder: Path) -> Calibration:
    """What the validation scores of a finished sweep or training fix.

    Raises:
        UserError: the run has no validation predictions.
    """
    found = read_predictions(predictions_file(folder, "val"))
    if found is None:
        raise UserError(
            f"{folder} has no {predictions_file(folder, 'val').name}, so no threshold is known: delete the folder and "
            "run `make heads` or `make finetune` again"
        )
    return calibrate(found.scores, found.fake)


@dataclass(frozen=True)
class _Cuts:
    """Every place (U + 1,) that parts the sorted scores, equal ones together, from calling all fake to calling none.

    missed: share of the fake images below it, alarms: of the real ones at or above it; both (U + 1,) int64, in units
    of 1 / pairs (real times fake images), so that equal shares are equal numbers.
    """

    places: np.ndarray
    missed: np.ndarray
    alarms: np.ndarray
    pairs: int

    @classmethod
    def of(cls, scores: np.ndarray, fake: np.ndarray) -> "_Cuts":
        values, index = np.unique(scores, return_inverse=True)
        below = [np.cumsum(np.bincount(index[chosen], minlength=len(values))) for chosen in (fake, ~fake)]
        fakes, reals = (np.concatenate([[0], each]) for each in below)
        between = np.maximum((values[1:] + values[:-1]) / 2, np.nextafter(values[:-1], np.inf))  # of neighbours too
        places = np.concatenate([[values[0] - 1], between, [values[-1] + 1]])
        missed, alarms = fakes * reals[-1], (reals[-1] - reals) * fakes[-1]
        return cls(places, missed, alarms, int(fakes[-1] * reals[-1]))

    def at(self, number: int) -> float:
        return float(self.places[number])

    def sparing(self, share: float) -> float:
        """The lowest that calls at most that share of the real images fake."""
        return self.at(np.argmax(self.alarms / self.pairs <= share))


def _temperature(scores: np.ndarray, fake: np.ndarray) -> float:
    """The temperature of least log loss (Guo et al. 2017, arXiv:1706.04599).

    Targets are Platt's (1999), (n + 1) / (n + 2) and 1 / (n + 2) of n images of the class: classes that no score
    mixes up would otherwise give a temperature of 0.
    """
    targets = np.where(fake, (fake.sum() + 1) / (fake.sum() + 2), 1 / ((~fake).sum() + 2))

    def loss(log_temperature: float) -> float:
        logits = scores / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, logits) - targets * logits))

    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded").x))
