"""runs/perturbed/* -> how a model does on images that went through JPEG, blur, scaling and others on their way."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.judge.bootstrap import bootstrap
from analysis.judge.calibrate import Calibration
from analysis.judge.intervals import Interval
from analysis.judge.metrics import interval_of
from analysis.judge.ranking import Verdicts
from analysis.page import figures
from analysis.page.figures import Panel, Picture
from cache import runs
from data.perturb import KINDS, VERSION, Perturbation
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


Pick = Callable[[Strength], Interval]


def read_perturbed(run: Path, calibration: Calibration) -> Perturbed | None:
    """The scores of a run on the most images, judged by what validation fixed; None where it was never tried."""
    asked = (run.name, validation_digest(run), VERSION)
    found = [(folder, record.into(PerturbedResult)) for folder, record in runs.results(CHANGED)
             if tuple(map(record.get, ("run", "scored", "version"))) == asked]  # fmt: skip
    if not found:
        return None
    folder, result = max(found, key=lambda each: each[1].images)
    return Perturbed(result, _strengths(folder, result, calibration.threshold))


def perturbed_pictures(models: dict[str, Perturbed]) -> list[Picture]:
    """AUC and accuracy over the strengths of each kind; models: by name in the legend, the chosen one first."""
    first = next(iter(models.values()))
    pictures = []
    if first.strengths[UNCHANGED].auc:
        pictures.append(_picture("perturbed_auc", "AUC", models, lambda each: each.auc))
    return [
        *pictures,
        _picture("perturbed_accuracy", "accuracy at the fixed threshold", models, lambda each: each.accuracy),
    ]


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


def _picture(name: str, what: str, models: dict[str, Perturbed], pick: Pick) -> Picture:
    panels = [_panel(kind, models, pick) for kind in KINDS]
    label, chosen = next(iter(models.items()))
    lowest = min(chosen.changed, key=lambda each: pick(each).value)
    plain, jpeg, worst = (pick(each) for each in (chosen.strengths[UNCHANGED], chosen.strengths[NAMED[0].name], lowest))
    return Picture(
        name,
        figures.panels(panels, ylabel=what, title=f"{what[0].upper()}{what[1:]} after perturbations"),
        f"{what} of {label} after perturbations: {plain.value:.3f} without any, {jpeg.value:.3f} after JPEG of quality "
        f"50, {worst.value:.3f} at the lowest, {lowest.words}",
        f"{'Accuracy at the threshold fixed on validation. ' if what == 'accuracy' else ''}Bands are 95 % "
        f"intervals over {chosen.result.images} images of the {chosen.result.split} split, the same in each panel.",
    )


def _panel(kind: str, models: dict[str, Perturbed], pick: Pick) -> Panel:
    """From the mildest strength on; of a kind that goes both ways, such as brightness, the mildest is in between."""
    how = KINDS[kind]
    below = sorted(each for each in how.strengths if each < how.mild)
    above = sorted(each for each in how.strengths if each > how.mild)
    order = [*below, None, *above] if below and above else [None, *(sorted(below, reverse=True) or above)]
    names = [UNCHANGED if each is None else Perturbation(kind, each).name for each in order]
    lines = {label: [pick(model.strengths[name]) for name in names] for label, model in models.items()}
    return Panel(how.meaning, ["as it is" if each is None else f"{each:g}" for each in order], lines)
