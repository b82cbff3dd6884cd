"""`make report DATA="a b"`: the best models of several data sets side by side, and each on the data of the others.

runs/report/<a>+<b>/ holds a page like that of a single data set, which it links to.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.found.changed_images import NAMED
from analysis.found.commands import command
from analysis.found.models import Model, find_models
from analysis.judge.intervals import Interval
from analysis.page.html import PAGE, write_page
from analysis.page.pictures.charts import Picture
from analysis.page.pictures.training_charts import heat_map
from analysis.page.tables import Table
from cache import paths
from cache.atomic import write_json
from cache.environment import describe_environment
from data.audit.examined import audit_of
from data.manifest import Manifest

TEMPLATE = "comparison.html.j2"


@dataclass(frozen=True)
class DataSet:
    """One data set with its best model. warnings: of its audit."""

    manifest: Manifest
    best: Model
    warnings: list[str]

    @property
    def name(self) -> str:
        return self.manifest.dataset

    def on(self, dataset: str) -> Interval | None:
        """AUC of its best model on a data set; None where that is not known or not defined."""
        if dataset == self.name:
            return self.best.evaluation.metrics.get("auc")
        other = self.best.other.get(dataset)
        return other.auc if other else None


@dataclass(frozen=True)
class ComparisonConfig:
    """datasets: names of data sets with finished runs."""

    datasets: tuple[str, ...]


def run(config: ComparisonConfig) -> Path:
    """Write the page of several data sets; its folder.

    Raises:
        UserError: a data set without a manifest or a finished run.
    """
    datasets = config.datasets
    found = [_data_set(name) for name in datasets]
    folder = paths.report_dir("+".join(datasets))
    write_json(folder / "summary.json", {each.name: _summary(each, datasets) for each in found})
    write_page(
        folder, TEMPLATE, tables=[_overview(found), _transfer(found)], pictures=_pictures(found), keep=(),
        found=found, environment=(made_by := describe_environment()), again=command(made_by),
        links={each.name: f"../{paths.report_dir(each.name).name}/{PAGE}" for each in found},
    )  # fmt: skip
    print(f"report of {len(found)} data sets: {', '.join(datasets)} -> {folder / PAGE}")
    return folder


def _data_set(name: str) -> DataSet:
    manifest = Manifest.load(paths.manifest_file(name))
    return DataSet(manifest, find_models(manifest)[0], audit_of(manifest).warnings)


def _overview(found: list[DataSet]) -> Table:
    rows = []
    for each in found:
        metrics, perturbed = each.best.evaluation.metrics, each.best.perturbed
        after = {f"AUC after {kind.name}": perturbed.strengths[kind.name].auc if perturbed else None for kind in NAMED}
        rows.append({
            "data": each.name, "run": each.best.run, "best model": each.best.title, "judged on": each.best.split,
            "images": each.best.evaluation.images, "AUC": metrics.get("auc"), "accuracy": metrics["accuracy"],
            "ECE": metrics["ece"], **after,
        })  # fmt: skip
    return Table("overview", rows, hidden=("run",))


def _transfer(found: list[DataSet]) -> Table:
    rows = [{"trained on": each.name} | {f"tested on {other.name}": each.on(other.name) for other in found}
            for each in found]  # fmt: skip
    return Table("transfer", rows)


def _pictures(found: list[DataSet]) -> list[Picture]:
    """The matrix of AUCs, training sets by test sets."""
    values = np.array([[auc.value if (auc := row.on(column.name)) else np.nan for column in found] for row in found])
    names = [each.name for each in found]
    apart = values[~np.eye(len(found), dtype=bool)]
    at_home = ", ".join("not defined" if np.isnan(value) else f"{value:.3f}" for value in np.diag(values))
    worst = f"; the lowest elsewhere is {np.nanmin(apart):.3f}" if np.isfinite(apart).any() else ""
    return [Picture(
        "matrix",
        heat_map(values, names, names, tried=np.zeros(values.shape, bool), marked=None,
                 labels=("trained on", "tested on"), title="AUC of the best model of each data set"),
        f"AUC of {len(found)} models on {len(found)} data sets; at home {at_home}{worst}",
        "On the diagonal the held-out images of the model's own data, elsewhere all images of the other data set that "
        "its own does not hold. Everything was fixed at home.",
    )]  # fmt: skip


def _summary(each: DataSet, datasets: tuple[str, ...]) -> dict:
    found = {name: each.on(name) for name in datasets}
    return {
        "run": each.best.run, "split": each.best.split,
        "auc_on": {name: [auc.value, auc.low, auc.high] if auc else None for name, auc in found.items()},
    }  # fmt: skip
