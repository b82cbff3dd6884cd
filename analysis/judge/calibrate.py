"""What validation scores fix, once: thresholds, a temperature, and the band of scores that are too close to call.

Test images, other data, perturbed images and new ones are then judged by it as it is. Every threshold has its band.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from analysis.judge.rules import DEFAULT_RULE, GIVEN, RULES, given_probability
from cache.errors import UserError
from heads.predictions import predictions_file, read_predictions

BAND = 0.05  # of each class lies on the wrong side of the band on validation
TEMPERATURES = (1e-3, 1e3)


@dataclass(frozen=True)
class Threshold:
    """A score at or above it is called fake. rule: of rules.RULES, or GIVEN. meaning: of the rule.

    score: logit. probability: the same as a calibrated probability of fake. band: scores in [low, high) are uncertain.
    """

    rule: str
    meaning: str
    score: float
    probability: float
    band: tuple[float, float]

    def uncertain(self, scores: np.ndarray) -> np.ndarray:
        """(N,) -> (N,) bool."""
        return (scores >= self.band[0]) & (scores < self.band[1])


@dataclass(frozen=True)
class Calibration:
    """thresholds: rule of RULES -> logit. temperature: scores / temperature are the logits of calibrated probabilities.

    limits: the highest score below which at most BAND of the fake images lie, and the lowest from which on at most BAND
    of the real ones do. images: it was fixed on.
    """

    thresholds: dict[str, float]
    temperature: float
    limits: tuple[float, float]
    images: int

    @property
    def threshold(self) -> float:
        """The threshold of the default rule."""
        return self.thresholds[DEFAULT_RULE]

    @property
    def band(self) -> tuple[float, float]:
        """Of the default rule."""
        return self.band_of(self.threshold)

    def band_of(self, threshold: float) -> tuple[float, float]:
        """Which scores [low, high) are uncertain where `threshold` decides, which it holds.

        Outside it at most BAND of each class of the validation images are decided wrongly. A detector with fewer errors
        than that has an empty band, one that knows nothing a band that holds all.
        """
        return min(self.limits[0], threshold), max(self.limits[1], threshold)

    def named(self, word: str | float = DEFAULT_RULE) -> Threshold:
        """The threshold that THRESHOLD= names: a rule, or a calibrated probability of fake.

        Raises:
            UserError: neither.
        """
        given = given_probability(str(word))
        if given is None:
            return self._threshold(str(word), RULES[str(word)].meaning, self.thresholds[str(word)])
        at = self._threshold(GIVEN, f"probability {given:g}", float(logit(given)) * self.temperature)
        return replace(at, probability=given)  # there and back rounds

    def probability(self, scores: np.ndarray | float) -> np.ndarray | float:
        """Calibrated probability of fake: of one score, or (N,) -> (N,)."""
        return expit(scores / self.temperature)

    def uncertain(self, scores: np.ndarray) -> np.ndarray:
        """(N,) -> (N,) bool, at the threshold of the default rule."""
        return self.named().uncertain(scores)

    def _threshold(self, rule: str, meaning: str, score: float) -> Threshold:
        return Threshold(rule, meaning, score, float(self.probability(score)), self.band_of(score))


def calibrate(scores: np.ndarray, fake: np.ndarray) -> Calibration:
    """From validation scores (N,) and fake (N,) bool, both classes among them.

    Thresholds lie halfway between two neighbouring scores, equal ones together; analysis.judge.rules says which.

    Raises:
        UserError: one class only, or a rule whose threshold is no number.
    """
    if fake.all() or not fake.any():
        raise UserError("validation scores of one class fix no threshold: the val split needs real and fake images")
    cuts = Cuts.of(scores, fake)
    thresholds = {name: float(rule.place(cuts)) for name, rule in RULES.items()}
    for name, threshold in thresholds.items():
        if not np.isfinite(threshold):
            raise UserError(f"the threshold rule {name} gives {threshold} on {len(scores)} validation images: "
                            "expected a finite score")  # fmt: skip
    limits = cuts.at(np.flatnonzero(cuts.missed / cuts.pairs <= BAND)[-1]), cuts.sparing(BAND)
    return Calibration(thresholds, _temperature(scores, fake), limits, len(scores))


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
class Cuts:
    """Every place (U + 1,) that parts the sorted scores, equal ones together, from calling all fake to calling none.

    missed: share of the fake images below it, alarms: of the real ones at or above it; both (U + 1,) int64, in units
    of 1 / pairs (real times fake images), so that equal shares are equal numbers.
    """

    places: np.ndarray
    missed: np.ndarray
    alarms: np.ndarray
    pairs: int

    @classmethod
    def of(cls, scores: np.ndarray, fake: np.ndarray) -> "Cuts":
        values, index = np.unique(scores, return_inverse=True)
        below = [np.cumsum(np.bincount(index[chosen], minlength=len(values))) for chosen in (fake, ~fake)]
        fakes, reals = (np.concatenate([[0], each]) for each in below)
        between = np.maximum((values[1:] + values[:-1]) / 2, np.nextafter(values[:-1], np.inf))  # of neighbours too
        places = np.concatenate([[values[0] - 1], between, [values[-1] + 1]])
        missed, alarms = fakes * reals[-1], (reals[-1] - reals) * fakes[-1]
        return cls(places, missed, alarms, int(fakes[-1] * reals[-1]))

    def at(self, number: int) -> float:
        return float(self.places[number])

    def lowest(self, figure: np.ndarray) -> float:
        """Where a figure (U + 1,) of all places is lowest; the lowest of equally good ones."""
        return self.at(np.argmin(figure))

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
