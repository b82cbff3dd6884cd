"""`make report`: run folders -> one HTML page with its tables and pictures beside it.

runs/report/<dataset>/index.html      opens offline, everything inside
                      summary.json    the same figures for programs
                      models.csv      all figures, a row for each model and split
                      sweep.csv       the leaderboard of the best sweep, if there is one
                      *.csv           every table of the page;  *.png, *.svg every picture
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.found.changed_images import Perturbed, perturbed_pictures
from analysis.found.cost import cost_table, extractions_on, saving
from analysis.found.models import Model, find_models, of_stage
from analysis.found.other_data import other_data
from analysis.found.sweeps import TRAINED, Sweep, leaders
from analysis.found.trainings import Training, training_picture
from analysis.gradcam.run import find_heat_maps
from analysis.gradcam.shown import KINDS, HeatMaps
from analysis.judge.intervals import Interval
from analysis.judge.leads import auc_gain, compare, compared_inputs
from analysis.judge.metrics import METRICS
from analysis.judge.slices import Slices, slices
from analysis.page import results, words
from analysis.page.figures import Picture
from analysis.page.gallery import gallery
from analysis.page.html import write_page
from analysis.page.summary import summary, wide_table
from analysis.page.sweep_pictures import sweep_pictures
from analysis.page.tables import Table, write_for_people
from cache import paths, runs
from cache.atomic import write_json
from cache.environment import describe_environment
from cache.key import file_digest
from data.audit import Audit, examine
from data.manifest import Manifest
from extract.outcome import ExtractResult
from finetune.training.job import BEST
from heads.head_file import load_head
from heads.sweep.conclusion import HEAD_FILE

TEMPLATE = "report.html.j2"
SLICES = 15  # on the page; the CSV has all


@dataclass(frozen=True)
class ReportConfig:
    """dataset: the name of a data set with finished runs. faces: whether images of the data set are shown.

    heat_maps: whether those of the best model are shown; no_heat_maps: why there are none, if there are none.
    """

    dataset: str
    faces: bool = True
    heat_maps: bool = True
    no_heat_maps: str = "Not tried: make gradcam."


@dataclass(frozen=True)
class Gain:
    """What fine-tuning changed on the test split. before: the cached head that `after` started from."""

    before: Model
    after: Model
    difference: Interval


@dataclass(frozen=True)
class Report:
    """What a page is made of."""

    manifest: Manifest
    audit: Audit
    models: list[Model]
    parts: Slices
    heat: HeatMaps | None
    config: ReportConfig

    @property
    def best(self) -> Model:
        return self.models[0]

    @property
    def sweeps(self) -> list[Model]:
        return of_stage(self.models, Sweep.stage)

    @property
    def trainings(self) -> list[Model]:
        return of_stage(self.models, Training.stage)

    @cached_property
    def extractions(self) -> list[ExtractResult]:
        """Of the data set, also of its perturbed copies."""
        return extractions_on(self.manifest.dataset)

    @cached_property
    def perturbed(self) -> dict[str, Perturbed]:
        """By a name of its own, the best model first; those that were tried on other images than it are left out."""
        tried = [model for model in self.models if model.perturbed]
        same = [model for model in tried if model.perturbed.result.images == tried[0].perturbed.result.images]
        titles = Counter(model.title for model in same)
        named = {model.run: f" ({model.run.rpartition('-')[2]})" if titles[model.title] > 1 else "" for model in same}
        return {model.title + named[model.run]: model.perturbed for model in same}


def run(config: ReportConfig) -> Path:
    """Write the page of a data set from its finished runs; its folder.

    Made anew at each call, from saved predictions alone: it takes seconds and must not lag behind the runs.

    Raises:
        UserError: no manifest, or no finished run on the data as it is now.
    """
    manifest = Manifest.load(paths.manifest_file(config.dataset))
    models = find_models(manifest)
    best = models[0]
    parts = slices(best.predictions(best.split), manifest, best.calibration)
    heat = find_heat_maps(best.folder, best.split) if config.faces and config.heat_maps else None
    report = Report(manifest, examine(manifest), models, parts, heat, config)
    folder = paths.report_dir(config.dataset)
    write_for_people(folder / "models.csv", wide_table(report.models))
    _copy_leaderboard(report.sweeps, folder / "sweep.csv")
    write_json(folder / "summary.json", summary(report.manifest, report.models))
    pictures = _pictures(report)
    write_page(
        folder, TEMPLATE, tables=_tables(report), pictures=[each for part in pictures.values() for each in part],
        keep=("models.csv", "sweep.csv"), sweep_pictures=[each.name for each in pictures["sweep"]], **_context(report),
    )  # fmt: skip
    _say(report, folder)
    return folder


def _pictures(report: Report) -> dict[str, list[Picture]]:
    """By section."""
    compared = compared_inputs([model.made for model in report.sweeps]) if report.sweeps else None
    training = training_picture(report.trainings[0].made) if report.trainings else None
    return {
        "results": results.result_pictures(report.models),
        "perturbed": perturbed_pictures(report.perturbed) if report.perturbed else [],
        "heat": [_heat_maps(report.heat)] if report.heat else [],
        "images": gallery(report.best, report.manifest) if report.config.faces else [],
        "sweep": (sweep_pictures(report.sweeps[0].made) if report.sweeps else []) + ([compared] if compared else []),
        "finetune": [training] if training else [],
    }


def _heat_maps(heat: HeatMaps) -> Picture:
    kinds = Counter(each.kind for each in heat.shown)
    found = ", ".join(f"{count} {KINDS[kind].lower()}" for kind, count in kinds.items())
    return Picture(
        "heat_maps", heat.sheet, f"{len(heat.shown)} images beside themselves with their heat maps: {found}",
        "Each image, and beside it where the evidence for what it was called lies. The largest value of each map is 1. "
        "p is the calibrated probability of fake.",
    )  # fmt: skip


def _tables(report: Report) -> list[Table]:
    best, models = report.best, report.models
    made = [
        *_of_data(report), results.ranking_table(models), results.comparison_table(models, compare(models)),
        results.metrics_table(best), results.thresholds_table(best), results.calibration_table(best),
        results.slices_table(report.parts, shown=SLICES), cost_table(models, report.extractions),
        _provenance(report),
    ]  # fmt: skip
    others = sorted({name for model in models for name in model.other})
    if others:
        made += [results.transfer_table(models, report.manifest.dataset, others), results.other_table(models)]
    if report.perturbed:
        made.append(results.perturbed_table(report.perturbed))
    if report.sweeps:
        made.append(_leaders(report.sweeps[0].made))
    if report.trainings:
        made.append(_trainings(report))
    return made


def _of_data(report: Report) -> list[Table]:
    audit = report.audit
    made = [
        Table("splits", [{"split": split, **counts} for split, counts in audit.counts.items()]),
        Table("shortcuts", [audit.shortcuts], digits=dict.fromkeys(audit.shortcuts, 2)),
    ]
    unusable = report.manifest.unusable[["path", "status", "note"]].to_dict("records")
    return [*made, Table("left_out", unusable, limit=20)] if unusable else made


def _leaders(sweep: Sweep) -> Table:
    rows = [
        {
            "head": row["head"], "inputs": row["inputs"], "val AUC": row["val_auc"], "±": row["val_auc_std"],
            "val loss": row["val_loss"], "members": row["members"],
            "epoch kept": row["epoch"] + 1 if row["family"] in TRAINED else None, "chosen": row["chosen"],
        }
        for row in leaders(sweep).to_dict("records")
    ]  # fmt: skip
    chosen = next((number for number, row in enumerate(rows) if row["chosen"]), None)
    return Table(
        "sweep_leaders", rows, chosen, hidden=("chosen",), digits={"val AUC": 4, "±": 4, "val loss": 4, "epoch kept": 1}
    )


def _trainings(report: Report) -> Table:
    rows = []
    for model in report.trainings:
        result = model.made.result
        rows.append({
            "run": model.run, "network and recipe": model.title, "started from": model.made.origin,
            "epoch kept": f"{result.best_epoch} of {result.epochs}", "train accuracy": result.train_accuracy,
            "val accuracy at logit 0": result.val_accuracy, "val AUC": model.val.metrics["auc"],
            "test AUC": model.test.metrics.get("auc") if model.test else None,
            "images/s in an epoch": result.images_per_second,
        })  # fmt: skip
    chosen = next((number for number, row in enumerate(rows) if row["run"] == report.best.run), None)
    return Table("trainings", rows, chosen, hidden=("run",), digits={"images/s in an epoch": 1})


def _provenance(report: Report) -> Table:
    """What must be the same for the figures to be the same."""
    best = report.best
    rows = [{"what": f"data {report.manifest.dataset}: images, labels, splits, groups", "key": report.manifest.key},
            {"what": "run", "key": best.run}]  # fmt: skip
    if isinstance(best.made, Training) and best.made.result.head_run:
        rows.append({"what": "run of the head that it started from", "key": best.made.result.head_run})
    for name in (HEAD_FILE, BEST):
        if (best.folder / name).exists():
            rows.append({"what": f"sha256 of {name}", "key": file_digest(best.folder / name)})
    if (best.folder / HEAD_FILE).exists():
        inputs = load_head(best.folder / HEAD_FILE)[1].inputs
        weights = {spec.backbone: spec.weights for spec in inputs}
        rows += [{"what": f"sha256 of the weights of {name}", "key": key} for name, key in weights.items()]
        rows += [{"what": f"feature {spec.backbone} {spec.feature}", "key": spec.key} for spec in inputs]
    return Table("provenance", rows)


def _context(report: Report) -> Mapping[str, Any]:
    """What the words of the page need beside tables and pictures."""
    saved = saving(report.models, report.extractions, distinct=report.manifest.usable.rows.digest.nunique())
    first, environment = next(iter(report.perturbed.values()), None), describe_environment()
    others = other_data(each for model in report.models for each in model.other.values())
    return {
        "manifest": report.manifest, "audit": report.audit, "models": report.models, "best": report.best,
        "shown": report.best.shown, "split": "test" if report.best.test else "validation", "sweeps": report.sweeps,
        "gain": _gain(report), "other_data": others, "perturbed": first.result if first else None, "saved": saved,
        "scorings": runs.test_scorings(report.manifest.dataset), "too_small": report.parts.too_small,
        "heat": report.heat, "no_heat": report.config.no_heat_maps, "environment": environment,
        "again": words.command(environment),
        **words.of_data(report.manifest, report.audit), **words.of_model(report.best, saved),
    }  # fmt: skip


def _gain(report: Report) -> Gain | None:
    """Of the best fine-tuned detector, if the head that it started from is on the page and both have test figures."""
    for after in report.trainings[:1]:
        before = next((model for model in report.models if model.run == after.made.result.head_run), None)
        if before and before.test and after.test:
            difference = auc_gain(before.folder, after.folder)
            return Gain(before, after, difference) if difference else None
    return None


def _copy_leaderboard(sweeps: list[Model], path: Path) -> None:
    """Of the best sweep; one of an earlier page goes where there is none any more."""
    if sweeps:
        board = pd.read_csv(sweeps[0].folder / "leaderboard.csv", dtype=str, keep_default_na=False)  # digit by digit
        write_for_people(path, board)
    else:
        path.unlink(missing_ok=True)


def _say(report: Report, folder: Path) -> None:
    best, shown = report.best, report.best.shown
    name = "auc" if "auc" in shown.metrics else "accuracy"
    figure, label = shown.metrics[name], METRICS[name].label
    print(
        f"report {report.manifest.dataset}{' (synthetic)' if report.manifest.synthetic else ''}: {best.made.title} "
        f"{best.made.name}, {'test' if best.test else 'validation'} {label} {figure.value:.3f} "
        f"[{figure.low:.3f}, {figure.high:.3f}] -> {folder / 'index.html'}"
    )
