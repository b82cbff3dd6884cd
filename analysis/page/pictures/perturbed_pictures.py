"""AUC and accuracy of models over the strengths of each perturbation."""

from collections.abc import Callable

from analysis.found.changed_images import NAMED, Perturbed, Strength
from analysis.judge.intervals import Interval
from analysis.page.pictures import charts
from analysis.page.pictures.charts import Panel, Picture
from data.perturb import KINDS, Perturbation
from heads.elsewhere import UNCHANGED

Pick = Callable[[Strength], Interval]


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


def _picture(name: str, what: str, models: dict[str, Perturbed], pick: Pick) -> Picture:
    panels = [_panel(kind, models, pick) for kind in KINDS]
    label, chosen = next(iter(models.items()))
    lowest = min(chosen.changed, key=lambda each: pick(each).value)
    plain, jpeg, worst = (pick(each) for each in (chosen.strengths[UNCHANGED], chosen.strengths[NAMED[0].name], lowest))
    return Picture(
        name,
        charts.panels(panels, ylabel=what, title=f"{what[0].upper()}{what[1:]} after perturbations"),
        f"{what} of {label} after perturbations: {plain.value:.3f} without any, {jpeg.value:.3f} after JPEG of quality "
        f"50, {worst.value:.3f} at the lowest, {lowest.words}",
        f"Bands are 95 % intervals over {chosen.result.images} images of the {chosen.result.split} split, the same in "
        "each panel.",
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
