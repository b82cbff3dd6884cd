"""`make report`: run folders -> one HTML page with its tables and pictures beside it.

runs/report/<dataset>/index.html      opens offline, everything inside
                      summary.json    the same figures for programs
                      models.csv, sweep.csv (the leaderboard of the best sweep, if there is one), *.png
"""

import base64
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis import figures
from analysis.compared import auc_gain, compared_inputs
from analysis.evaluate import Evaluation, Interval, roc
from analysis.figures import Picture
from analysis.models import Model, find_models, of_stage
from analysis.other import Other, other_data
from analysis.sweep_pictures import sweep_pictures
from analysis.sweeps import Sweep, leaders
from analysis.trainings import Training, training_picture
from cache import paths, runs
from cache.atomic import replacing, write_bytes, write_json, write_text
from data.audit import Audit, examine
from data.manifest import Manifest

TEMPLATE = "report.html.j2"
METRICS = {
    "auc": "AUC", "ap": "AP", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy",
    "precision": "precision", "recall": "recall", "f1": "F1", "eer": "EER",
    "accuracy_real": "accuracy on real", "accuracy_fake": "accuracy on fake",
}  # fmt: skip


@dataclass(frozen=True)
class ReportConfig:
    """dataset: the name of a data set with finished runs."""

    dataset: str


@dataclass(frozen=True)
class Gain:
    """What fine-tuning changed on the test split. before: the cached head that `after` started from."""

    before: Model
    after: Model
    difference: Interval


def run(config: ReportConfig) -> Path:
    """Write the page of a data set from its finished runs; its folder.

    Made anew at each call, from saved predictions alone: it takes seconds and must not lag behind the runs.

    Raises:
        UserError: no manifest, or no finished run on the data as it is now.
    """
    manifest = Manifest.load(paths.manifest_file(config.dataset))
    models = find_models(manifest)
    folder = paths.report_dir(config.dataset)
    sections = {
        "results": _results(models), "sweep": _sweep_section(of_stage(models, Sweep.stage)),
        "finetune": _finetune_section(of_stage(models, Training.stage)),
    }  # fmt: skip
    images = {each.name: _saved(each, folder) for pictures in sections.values() for each in pictures}
    with replacing(folder / "models.csv") as temporary:
        _table(models).to_csv(temporary, index=False)
    _copy_leaderboard(models, folder / "sweep.csv")
    write_json(folder / "summary.json", _summary(manifest, models))
    write_text(folder / "index.html", _page(manifest, models, sections, images))
    _remove_other_pictures(folder, images.keys())
    best, auc = models[0], models[0].shown.metrics["auc"]
    print(
        f"report {manifest.dataset}{' (synthetic)' if manifest.synthetic else ''}: {best.made.title} {best.made.name}, "
        f"{'test' if best.test else 'validation'} AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}] -> "
        f"{folder / 'index.html'}"
    )
    return folder


def _results(models: list[Model]) -> list[Picture]:
    """How the best model does on the test split, or on validation where there is none."""
    best = models[0]
    split = "test" if best.test else "val"
    shown, predictions, curves = best.shown, best.predictions(split), _curves(models, split)
    (real, lost), (missed, fake) = shown.confusion
    return [
        Picture(
            "confusion", figures.confusion(shown.confusion, title=f"{best.made.title}, {split}"),
            f"Confusion matrix: {real} real called real, {lost} real called fake, {missed} fake called real, {fake} "
            "fake called fake", "Counts, and the share of each true class.",
        ),
        Picture(
            "roc", figures.roc(curves, title=f"ROC, {split}"),
            f"ROC curves of {len(curves)} models; the chosen one has AUC {shown.metrics['auc'].value:.3f}",
            "The chosen model is drawn heaviest. The figures are AUCs.",
        ),
        Picture(
            "scores", figures.scores(predictions.scores, predictions.fake, shown.threshold, title=f"Scores, {split}"),
            f"Histogram of scores: {missed} fake images are below the threshold of {shown.threshold:.2f} and {lost} "
            "real ones above", "Scores of both classes.",
        ),
    ]  # fmt: skip


def _curves(models: list[Model], split: str) -> list[figures.Curve]:
    """Of the best models that were scored there, as many as there are colours."""
    curves = []
    for model in models:
        reached, each = model.test if split == "test" else model.val, model.predictions(split)
        if reached and len(curves) < len(figures.CYCLE):
            name = f"{model.made.label}, {reached.metrics['auc'].value:.3f}"
            curves.append(figures.Curve(name, *roc(each.scores, each.fake)))
    return curves


def _sweep_section(models: list[Model]) -> list[Picture]:
    """What the best sweep found, and the inputs of all sweeps side by side."""
    if not models:
        return []
    compared = compared_inputs([model.made for model in models])
    return sweep_pictures(models[0].made) + ([compared] if compared else [])


def _finetune_section(models: list[Model]) -> list[Picture]:
    """How the best fine-tuned detector was trained."""
    drawn = training_picture(models[0].made) if models else None
    return [drawn] if drawn else []


def _gain(models: list[Model]) -> Gain | None:
    """Of the best fine-tuned detector, if the head that it started from is on the page and both have test figures."""
    for after in of_stage(models, Training.stage)[:1]:
        before = next((model for model in models if model.run == after.made.result.head_run), None)
        if before and before.test and after.test:
            return Gain(before, after, auc_gain(before.folder, after.folder))
    return None


def _copy_leaderboard(models: list[Model], path: Path) -> None:
    """Of the best sweep; one of an earlier page goes where there is none any more."""
    sweeps = of_stage(models, Sweep.stage)
    if sweeps:
        write_bytes(path, (sweeps[0].folder / "leaderboard.csv").read_bytes())
    else:
        path.unlink(missing_ok=True)


def _saved(picture: Picture, folder: Path) -> str:
    """Write a PNG and return it as a data URI, so that the page needs no second file."""
    buffer = io.BytesIO()
    picture.figure.savefig(buffer, format="png", dpi=130)
    write_bytes(folder / f"{picture.name}.png", buffer.getvalue())
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _remove_other_pictures(folder: Path, names: Collection[str]) -> None:
    """Pictures of an earlier page, which this one does not show."""
    for path in folder.glob("[!.]*.png"):  # hidden ones are being written by another process
        if path.stem not in names:
            path.unlink(missing_ok=True)


def _figures(evaluation: Evaluation | None) -> dict | None:
    """Metrics as summary.json has them: `auc`, `auc_ci` and so on, null where one class alone defines none."""
    if evaluation is None:
        return None
    flat: dict = {"images": evaluation.images, "threshold": evaluation.threshold, "confusion": evaluation.confusion}
    for name in METRICS:
        interval = evaluation.metrics.get(name)
        flat[name] = interval.value if interval else None
        flat[f"{name}_ci"] = [interval.low, interval.high] if interval else None
    return flat


def _other_figures(other: Other) -> dict:
    """The same, and what of the other data set was scored."""
    return {"synthetic": other.result.synthetic, "known": other.result.known, **_figures(other.evaluation)}


def _summary(manifest: Manifest, models: list[Model]) -> dict:
    return {
        "dataset": manifest.dataset,
        "synthetic": manifest.synthetic,
        "manifest": manifest.key,
        "models": [
            {
                "run": model.run, "stage": model.made.stage, **model.made.facts,
                "val": _figures(model.val), "test": _figures(model.test),
                "other": {dataset: _other_figures(each) for dataset, each in model.other.items()},
            }
            for model in models
        ],
    }  # fmt: skip


def _table(models: list[Model]) -> pd.DataFrame:
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


def _page(manifest: Manifest, models: list[Model], sections: dict[str, list[Picture]], images: dict[str, str]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    audit: Audit = examine(manifest)
    best, sweeps = models[0], of_stage(models, Sweep.stage)
    return environment.get_template(TEMPLATE).render(
        manifest=manifest, audit=audit, models=models, best=best, sections=sections, images=images, metrics=METRICS,
        shown=best.shown, split="test" if best.test else "validation", sweeps=sweeps,
        trainings=of_stage(models, Training.stage), gain=_gain(models),
        leaders=leaders(sweeps[0].made).to_dict("records") if sweeps else [],
        left_out=manifest.unusable.head(20).to_dict("records"),
        extractions=[r for r in map(runs.result, runs.complete_runs("extract")) if r["dataset"] == manifest.dataset],
        other_data=other_data(each for model in models for each in model.other.values()),
        environment=runs.environment(), scorings=runs.test_scorings(manifest.dataset), config=_command(best),
    )  # fmt: skip


def _command(model: Model) -> str:
    return runs.read_json(model.folder / "environment.json")["command"]
