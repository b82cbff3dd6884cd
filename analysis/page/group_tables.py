"""Figures of groups of images, such as videos or people, beside those of the images themselves."""

from collections.abc import Mapping
from typing import Any

from analysis.found.models import Model
from analysis.found.other_data import Other
from analysis.judge.metrics import METRICS
from analysis.judge.per_group import GroupFigures
from analysis.page.tables import Table

RANKED = ("auc", "accuracy")  # of groups, in the table of all models
BESIDE = {"auc": "AUC by group", "accuracy": "accuracy by group"}  # in that of other data


def groups_table(model: Model) -> Table:
    """Every metric of the chosen model, of images and of groups; the model must have groups."""
    found = model.by_group
    columns = {f"images, {model.split}": model.evaluation, "groups, validation": found.val.evaluation}
    if found.test:
        columns["groups, test"] = found.test.evaluation
    rows = [{"metric": metric.label} | {name: each.metrics.get(metric.name) for name, each in columns.items()}
            for metric in METRICS.values()]  # fmt: skip
    return Table("groups", rows, digits={metric.label: metric.digits for metric in METRICS.values()})


def ranked_by_group(model: Model, models: list[Model]) -> Mapping[str, Any]:
    """Further cells of a model's row in the table of all models; none where no model has groups."""
    if not any(each.by_group for each in models):
        return {}
    test = model.by_group.test if model.by_group else None
    return {f"test {METRICS[name].label} by group": _metric(test, name) for name in RANKED}


def beside(other: Other, others: list[Other]) -> Mapping[str, Any]:
    """Further cells of a row of another data set; none where none of them has groups."""
    if not any(each.groups for each in others):
        return {}
    return {label: _metric(other.groups, name) for name, label in BESIDE.items()}


def _metric(found: GroupFigures | None, name: str) -> Any:
    return found.evaluation.metrics.get(name) if found else None
