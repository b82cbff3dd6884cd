"""All figures of all models for programs: summary.json, and models.csv with a row for each model and split."""

from dataclasses import asdict

import pandas as pd

from analysis.found.changed_images import Perturbed
from analysis.found.models import Model
from analysis.found.other_data import Other
from analysis.judge.evaluate import Evaluation
from analysis.judge.intervals import Interval
from analysis.judge.metrics import METRICS
from cache import runs
from data.manifest import Manifest


def summary(manifest: Manifest, models: list[Model]) -> dict:
    """summary.json: every model with every figure, the best first."""
    return {
        "dataset": manifest.dataset,
        "synthetic": manifest.synthetic,
        "manifest": manifest.key,
        "test_scorings": runs.test_scorings(manifest.dataset),
        "models": [
            {
                "run": model.run, "stage": model.made.stage, **model.made.facts,
                "calibration": asdict(model.calibration),
                "val": _figures(model.val), "test": _figures(model.test),
                "other": {dataset: _other_figures(each) for dataset, each in model.other.items()},
                "perturbed": _perturbed_figures(model.perturbed),
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
    return pd.DataFrame(rows).drop(columns="confusion")


def _figures(evaluation: Evaluation | None) -> dict | None:
    """Metrics as summary.json has them: `auc`, `auc_ci` and so on, null where one class alone defines none."""
    if evaluation is None:
        return None
    flat: dict = {"images": evaluation.images, "threshold": evaluation.threshold, "confusion": evaluation.confusion}
    for name in METRICS:
        interval = evaluation.metrics.get(name)
        flat[name] = interval.value if interval else None
        flat[f"{name}_ci"] = _bounds(interval)
    return flat


def _bounds(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def _other_figures(other: Other) -> dict:
    """What `_figures` has of a split, and which images of the other data set were scored."""
    return {"synthetic": other.result.synthetic, "known": other.result.known, **_figures(other.evaluation)}


def _perturbed_figures(perturbed: Perturbed | None) -> dict | None:
    if perturbed is None:
        return None
    return {
        name: {"auc": each.auc.value if each.auc else None, "auc_ci": _bounds(each.auc),
               "accuracy": each.accuracy.value, "accuracy_ci": _bounds(each.accuracy)}
        for name, each in perturbed.strengths.items()
    }  # fmt: skip
