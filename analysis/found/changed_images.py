"""runs/perturbed/* -> how a model does on images that went through JPEG, blur, scaling and others on their way."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.judge.bootstrap import bootstrap
from analysis.judge.calibrate import Calibration
from analysis.judge.intervals import Interval
from analysis.judge.metrics import interval_of
from analysis.judge.ranking import Verdicts
from cache import runs
from data.perturb import VERSION, Perturbation
from heads.elsewhere import CHANGED, UNCHANGED, PerturbedResult
from heads.predictions import read_scores, validation_digest

NAMED = (Perturbation("jpeg", 50), Perturbation("messenger", 1))  # what the summary asks for


@dataclass(frozen=True)
class Strength:
    """What a model reaches at one strength; what the classes scored do not define is None.

    accuracy, of all and of each class, is that at the threshold fixed on validation.
    """

    name: str
    auc: Interval | None
    accuracy: Interval
    accuracy_real: Interval | None
    accuracy_fake: Interval | None

    @property
    def words(self) -> str:
        """For people."""
        return "as they are" if self.name == UNCHANGED else Perturbation.named(self.name).words


@dataclass(frozen=True)
class Perturbed:
    """One model on perturbed images, by name of the perturbation; `none` are the images as they are."""

    result: PerturbedResult
    strengths: dict[str, Strength]

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
    return Perturbed(result, _strengths(folder, result, calibration.threshold))


def _strengths(folder: Path, result: PerturbedResult, threshold: float) -> dict[str, Strength]:
    names = (UNCHANGED, *result.perturbations)
    table = read_scores(folder / "predictions.csv", names)
    fake, groups = (table.label == "fake").to_numpy(), table.group.to_numpy()
    judged = {name: Verdicts(table[name].to_numpy(float), fake, threshold) for name in names}

    def figures_of(weights: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
        return {(name, what): values for name, each in judged.items() for what, values in each.figures(weights).items()}

    drawn = {name: interval_of(name[1], each) for name, each in bootstrap(figures_of, fake, groups).items()}
    what = ("auc", "accuracy", "accuracy_real", "accuracy_fake")
    return {name: Strength(name, *(drawn.get((name, each)) for each in what)) for name in judged}
