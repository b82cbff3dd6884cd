"""runs/perturbed/* -> how a model does on images that went through JPEG, blur, scaling and others on their way."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.judge.bootstrap import Draws, bootstrap
from analysis.judge.calibrate import Calibration
from analysis.judge.intervals import Interval
from analysis.judge.metrics import interval_of
from analysis.judge.ranking import Verdicts
from cache import runs
from data.perturb import COPIES, VERSION, Perturbation
from heads.elsewhere import CHANGED, UNCHANGED, PerturbedResult
from heads.predictions import read_scores, validation_digest

NAMED = (Perturbation("jpeg", 50), Perturbation("messenger", 1))  # what the summary asks for
FLIPS, ANY_COPY = "flips", "any copy"  # a figure of a perturbation, and the name under which that of COPIES stands


@dataclass(frozen=True)
class Strength:
    """What a model reaches at one strength; what the classes scored do not define is None.

    accuracy, of all and of each class, is that at the threshold fixed on validation. flips: the share of images that
    are called otherwise than as they are; None of the images as they are.
    """

    name: str
    auc: Interval | None
    accuracy: Interval
    accuracy_real: Interval | None
    accuracy_fake: Interval | None
    flips: Interval | None = None

    @property
    def words(self) -> str:
        """For people."""
        return "as they are" if self.name == UNCHANGED else Perturbation.named(self.name).words


@dataclass(frozen=True)
class Perturbed:
    """One model on perturbed images, by name of the perturbation; `none` are the images as they are.

    flips: the share of images that one of data.perturb.COPIES or more calls otherwise than the image as it is; None
    where not all of these were tried.
    """

    result: PerturbedResult
    strengths: dict[str, Strength]
    flips: Interval | None = None
    folder: Path | None = None

    @property
    def changed(self) -> list[Strength]:
        """All but the images as they are."""
        return [each for name, each in self.strengths.items() if name != UNCHANGED]

    @cached_property
    def worst(self) -> Strength:
        """The lowest accuracy at the fixed threshold."""
        return min(self.changed, key=lambda each: each.accuracy.value)

    @cached_property
    def worst_ranked(self) -> Strength | None:
        """The lowest AUC; None where one class alone was scored."""
        return min(self.changed, key=lambda each: each.auc.value) if self.changed[0].auc else None


def read_perturbed(run: Path, calibration: Calibration) -> Perturbed | None:
    """The scores of a run on the most images, judged by what validation fixed; None where it was never tried."""
    tried = runs.find(CHANGED, run=run.name, scored=validation_digest(run), version=VERSION)
    found = [(folder, record.into(PerturbedResult)) for folder, record in tried]
    if not found:
        return None
    folder, result = max(found, key=lambda each: each[1].images)
    return _judged(folder, result, calibration.threshold)


def _judged(folder: Path, result: PerturbedResult, threshold: float) -> Perturbed:
    names = (UNCHANGED, *result.perturbations)
    table = read_scores(folder / "predictions.csv", names)
    fake, groups = (table.label == "fake").to_numpy(), table.group.to_numpy()
    judged = {name: Verdicts(table[name].to_numpy(float), fake, threshold) for name in names}

    called = table[list(names)].to_numpy(float) >= threshold  # (N, names)
    flips = _flips(called, names)

    def figures_of(weights: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
        found = {(name, what): got for name, each in judged.items() for what, got in each.figures(weights).items()}
        shares = weights @ np.stack(list(flips.values()), axis=1).astype(np.float64) / weights.sum(axis=1)[:, None]
        return found | {(name, FLIPS): share for name, share in zip(flips, shares.T, strict=True)}

    drawn = {name: _interval(name[1], each) for name, each in bootstrap(figures_of, fake, groups).items()}
    what = ("auc", "accuracy", "accuracy_real", "accuracy_fake", FLIPS)
    strengths = {name: Strength(name, *(drawn.get((name, each)) for each in what)) for name in judged}
    return Perturbed(result, strengths, drawn.get((ANY_COPY, FLIPS)), folder)


def _flips(called: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Which images are called otherwise than as they are, (N,) bool: under each name, and on any of COPIES."""
    flipped = {name: called[:, at] != called[:, 0] for at, name in enumerate(names) if at}
    copies = [each.name for each in COPIES]
    if set(copies) <= set(flipped):
        flipped[ANY_COPY] = np.any([flipped[name] for name in copies], axis=0)
    return flipped


def _interval(what: str, draws: Draws) -> Interval:
    return Interval.of_proportion(draws, draws.all) if what == FLIPS else interval_of(what, draws)
