"""All figures of all models for programs: summary.json, and models.csv with a row for each model and split."""

from collections.abc import Sequence
from dataclasses import asdict, fields

import pandas as pd

from analysis.found.changed_images import Perturbed
from analysis.found.models import Model
from analysis.found.other_data import Other
from analysis.found.unseen import Areas, Unseen
from analysis.judge.evaluate import OPERATING, Evaluation, Operating
from analysis.judge.false_alarms import of_splits
from analysis.judge.intervals import Interval
from analysis.judge.metrics import METRICS
from analysis.judge.per_group import ByGroup, GroupFigures
from analysis.judge.rules import DEFAULT_RULE, RULES
from cache import runs
from data.manifest import Manifest
from data.perturb import COPIES


def summary(manifest: Manifest, models: list[Model], unseen: Sequence[Unseen] = ()) -> dict:
    """summary.json: every model with every figure, the best first. unseen: of some models, on generators left out."""
    on_generators = {each.run: _generator_figures(each) for each in unseen}
    return {
        "dataset": manifest.dataset,
        "synthetic": manifest.synthetic,
        "manifest": manifest.key,
        "test_scorings": runs.test_scorings(manifest.dataset),
        "models": [
            {
                "run": model.run, "stage": model.made.stage, **model.made.facts,
                "calibration": asdict(model.calibration) | {"band": model.calibration.band}, "rule": DEFAULT_RULE,
                "thresholds": {rule: _threshold_figures(model, rule) for rule in RULES},
                "val": _figures(model.val), "test": _figures(model.test), "groups": _by_group(model.by_group),
                "other": {dataset: _other_figures(each) for dataset, each in model.other.items()},
                "generators": on_generators.get(model.run),
                "perturbed": _perturbed_figures(model.perturbed), "copies": [each.name for each in COPIES],
                **_valued("flips", model.perturbed.flips if model.perturbed else None),
            }
            for model in models
        ],
    }  # fmt: skip


def models_table(models: list[Model]) -> pd.DataFrame:
    """models.csv: a row for each model and split; what only the other stage has is empty."""
    names = dict.fromkeys(name for model in models for name in model.made.facts)
    rows = []
    for model in models:
        about = {"run": model.run, "stage": model.made.stage} | {name: model.made.facts.get(name) for name in names}
        other = {f"other:{dataset}": each.evaluation for dataset, each in model.other.items()}
        for split, evaluation in {"val": model.val, "test": model.test, **other}.items():
            if evaluation:
                rows.append(about | {"split": split} | _figures(evaluation))
        rows += [about | {"split": f"{split}, by group"} | _figures(each.evaluation)
                 for split, each in _groups_of(model).items()]  # fmt: skip
    return pd.DataFrame(rows).drop(columns="confusion")


def _figures(evaluation: Evaluation | None) -> dict | None:
    """Metrics as summary.json has them: `auc`, `auc_ci` and so on, null where one class alone defines none."""
    if evaluation is None:
        return None
    flat: dict = {"images": evaluation.images, "threshold": evaluation.threshold, "confusion": evaluation.confusion}
    for name in METRICS:
        flat |= _valued(name, evaluation.metrics.get(name))
    return flat


def _groups_of(model: Model) -> dict[str, GroupFigures]:
    """Split -> what the model reaches on its groups, as far as there are any."""
    own = {"val": model.by_group.val, "test": model.by_group.test} if model.by_group else {}
    other = {f"other:{dataset}": each.groups for dataset, each in model.other.items()}
    return {split: each for split, each in {**own, **other}.items() if each}


def _by_group(found: ByGroup | None) -> dict | None:
    """What validation groups fix, and what `_figures` has, of groups."""
    if found is None:
        return None
    figures = {"val": _group_figures(found.val), "test": _group_figures(found.test)}
    return {"calibration": asdict(found.calibration), **figures}


def _group_figures(found: GroupFigures | None) -> dict | None:
    """`images` is the number of all images here, and `groups` that of what was judged."""
    if found is None:
        return None
    counts = {"groups": found.groups, "images": found.images, "mixed": found.mixed}
    return _figures(found.evaluation) | counts


def _threshold_figures(model: Model, rule: str) -> dict:
    """Where a threshold lies, and what it gives by split, with the upper bound of its false alarms."""
    found = model.calibration.named(rule)
    scored = {split: model.predictions(split) for split in ("val", "test")}
    alarms = {split: asdict(each) for split, each in of_splits(scored, found.score).items()}
    rates = {
        split: {name: each.value if each else None for name, each in _rates(evaluation.operating[rule]).items()}
        for split, evaluation in (("val", model.val), ("test", model.test)) if evaluation
    }  # fmt: skip
    splits = {split: rates[split] | {"false_alarms": alarms.get(split)} for split in rates}
    return {"score": found.score, "probability": found.probability, "band": found.band, **splits}


def _rates(at: Operating) -> dict[str, Interval | None]:
    return {name: getattr(at, name) for name in OPERATING}


def _bounds(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def _other_figures(other: Other) -> dict:
    """What `_figures` has of a split, and which images of the other data set were scored."""
    return {"synthetic": other.result.synthetic, "known": other.result.known, **_figures(other.evaluation),
            "groups": _group_figures(other.groups)}  # fmt: skip


def _generator_figures(found: Unseen) -> dict:
    """Generator -> AUC by what saw it and by what did not, and of what stands beside; `mean` is that over them."""
    areas = {each.name: each.areas for each in found.generators}
    named = {"beside": found.beside, "dates": found.dates, "mean": _areas_figures(found.mean)}
    return named | {"each": {name: _areas_figures(each) for name, each in areas.items()}}


def _areas_figures(areas: Areas) -> dict:
    valued = [_valued(each.name, getattr(areas, each.name)) for each in fields(Areas)]
    return {name: value for each in valued for name, value in each.items()}


def _perturbed_figures(perturbed: Perturbed | None) -> dict | None:
    if perturbed is None:
        return None
    return {
        name: _valued("auc", each.auc) | _valued("accuracy", each.accuracy) | _valued("flips", each.flips)
        for name, each in perturbed.strengths.items()
    }


def _valued(name: str, interval: Interval | None) -> dict:
    return {name: interval.value if interval else None, f"{name}_ci": _bounds(interval)}
