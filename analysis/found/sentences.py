"""What is said of a model in sentences, by the page and by the model card alike."""

from dataclasses import Field, fields
from math import ceil

import pandas as pd

from analysis.found.models import Model
from analysis.found.sweeps import Sweep
from analysis.found.trainings import Training
from analysis.judge.bootstrap import too_few
from analysis.judge.intervals import Interval
from heads.families import FAMILIES
from heads.sweep import VALIDATION
from heads.sweep.sweep_result import SweepResult

KEPT_BY = {"auc": "highest validation AUC", "loss": "lowest validation loss"}


def how_made(made: Sweep | Training) -> str:
    """How a head was chosen, or a detector trained."""
    return how_chosen(made) if isinstance(made, Sweep) else how_trained(made)


def caveats(made: Sweep | Training) -> list[str]:
    """What makes the choice of a head doubtful, in sentences."""
    return list(filter(None, [made.result.doubt, *edges(made)])) if isinstance(made, Sweep) else []


def chosen_by(sweep: Sweep) -> str:
    """What the chosen head is or has and no other one."""
    if sweep.one_se:
        return "is the simplest head within one standard error of the highest validation AUC"
    if sweep.result.choose != VALIDATION:
        of_all = f"{sweep.result.choose} of all"
        return f"has the highest AUC of heads on generators that were left out of their training ({of_all})"
    return "has the highest validation AUC"


def how_chosen(sweep: Sweep) -> str:
    """Judged on what, chosen by which rule, among what, averaged over whom."""
    result = sweep.result
    judged = "on the validation split"
    if result.folds > 1:
        judged = f"in {result.folds}-fold cross-validation over train and validation together"
    text = f"Every setting was judged {judged}. This one {chosen_by(sweep)}"
    if result.settings > 1:
        text += f" of {result.settings} settings ({result.heads} heads)"
    if len(result.offered) > 1:
        text += f"; its inputs, {quoted(result.inputs)}, are one of {len(result.offered)} choices"
    views = f" Heads were trained on {result.views} views of each image." if result.views > 1 else ""
    return f"{text}. {_averaged(result)}{views}"


def edges(sweep: Sweep) -> list[str]:
    """Settings of the chosen head whose value is the largest or smallest of those tried with its family, in sentences.

    A bound that the setting itself has, as a dropout of 0, is no edge.
    """
    chosen = sweep.settings[sweep.is_chosen]
    alike = sweep.settings[sweep.settings.family.isin(chosen.family)]
    kinds = [FAMILIES[name] for name in chosen.family if name in FAMILIES]
    known = [each for kind in kinds for each in fields(kind) if each.name in alike]
    return [_at_the_edge(each.name, *found) for each in known if (found := _edge(each, alike, chosen))]


def _edge(setting: Field, alike: pd.DataFrame, chosen: pd.DataFrame) -> tuple[float, str, int] | None:
    """The chosen value, at which end it lies, and of how many; None where it lies at none."""
    tried = pd.to_numeric(alike[setting.name], errors="coerce").dropna().unique()
    value = pd.to_numeric(chosen[setting.name], errors="coerce").iloc[0]
    for word, end, bound in (("largest", max, "most"), ("smallest", min, "least")):
        if len(tried) > 1 and value == end(tried) and value != setting.metadata.get(bound):
            return value, word, len(tried)
    return None


def _at_the_edge(name: str, value: float, word: str, count: int) -> str:
    what = name.replace("_", " ")
    return f"Its {what}, {value:g}, is the {word} of {count} that were tried; what lies beyond may be better."


def quoted(inputs: str) -> str:
    """A choice of inputs in a sentence."""
    return "all features" if inputs == "all" else f"“{inputs}”"


def how_trained(training: Training) -> str:
    """Started from what, which epoch was kept, by which rule, among which."""
    result, recipe = training.result, training.recipe
    started = f"It started from {training.origin}."
    first = ceil(recipe.best_after * recipe.total_epochs) + 1  # that could have been kept
    if first >= result.epochs:
        return f"{started} There was no choice of an epoch: {training.kept} was kept."
    among = f" among epochs {first} to {result.epochs}, where the recipe looks for it" if first > 1 else ""
    return (
        f"{started} What was kept is {training.kept}, the one of {KEPT_BY[recipe.best_by]}{among}; its validation "
        "figures flatter it, because the epoch was chosen by them."
    )


def drifts(model: Model) -> list[str]:
    """Where the threshold does not do on test what it did on validation, in sentences.

    By class, where the intervals of both splits are apart: other images, or few, can do that, and so can a choice of
    model, epoch and threshold on the same validation images.
    """
    found = []
    scored = [each for each in map(model.predictions, ("val", "test")) if each]
    if any(too_few(each.fake, each.groups) for each in scored):
        return found
    for label in ("real", "fake"):
        name = f"accuracy_{label}"
        before, now = model.val.metrics.get(name), model.test.metrics.get(name) if model.test else None
        if before and now and (now.high < before.low or before.high < now.low):
            found.append(
                f"Of the {label} images {_percent(now)} are called rightly on test, {_percent(before)} were on "
                "validation: at this threshold the two splits differ by more than chance."
            )
    return found


def _averaged(result: SweepResult) -> str:
    """What the detector is made of."""
    if result.members == 1:
        return "The detector is a single head."
    seeds = result.members // result.folds
    each = [f"{count} {what}" for count, what in ((result.folds, "folds"), (seeds, "seeds")) if count > 1]
    return f"The detector is the mean of {result.members} such heads ({' times '.join(each)})."


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
