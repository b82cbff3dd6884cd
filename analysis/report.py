"""`make report`: run folders -> one HTML page with its tables and pictures beside it.

runs/report/<dataset>/index.html      opens offline, everything inside
                      summary.json    the same figures for programs
                      models.csv, sweep.csv (the leaderboard of the best model), *.png
"""

import base64
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis import figures
from analysis.compared import comparable_aucs, compared_inputs
from analysis.evaluate import Evaluation, choose_threshold, evaluate, read_predictions, roc
from analysis.figures import Picture
from analysis.other import Other, other_data, read_other, scored_elsewhere
from analysis.sweeps import Sweep, how_chosen, leaders, read_sweep, sweep_pictures
from cache import paths, runs
from cache.atomic import replacing, write_bytes, write_json, write_text
from cache.errors import UserError
from data.audit import Audit, examine
from data.manifest import Manifest
from heads.outcome import VERSION, SweepResult

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
class Model:
    """One chosen head with what it reached; test is None where a data set has no test split. other: by data set."""

    run: str
    folder: Path
    sweep: Sweep
    val: Evaluation
    test: Evaluation | None
    other: dict[str, Other]

    @property
    def result(self) -> SweepResult:
        return self.sweep.result

    @property
    def title(self) -> str:
        return f"{self.result.backbone}{' (random weights)' if self.result.random_weights else ''}"

    @property
    def features(self) -> str:
        names = self.result.features
        return " ".join(names) if len(names) < 4 else f"{len(names)} features, {names[0]} to {names[-1]}"


def run(config: ReportConfig) -> Path:
    """Write the page of a data set from its finished runs; its folder.

    Made anew at each call, from saved predictions alone: it takes seconds and must not lag behind the runs.

    Raises:
        UserError: no manifest, or no finished run on the data as it is now.
    """
    manifest = Manifest.load(paths.manifest_file(config.dataset))
    models = _models(manifest)
    folder = paths.report_dir(config.dataset)
    sections = {"results": _results(models), "sweep": _sweep_section(models)}
    images = {each.name: _saved(each, folder) for pictures in sections.values() for each in pictures}
    with replacing(folder / "models.csv") as temporary:
        _table(models).to_csv(temporary, index=False)
    write_bytes(folder / "sweep.csv", (models[0].folder / "leaderboard.csv").read_bytes())
    write_json(folder / "summary.json", _summary(manifest, models))
    write_text(folder / "index.html", _page(manifest, models, sections, images))
    _remove_other_pictures(folder, images.keys())
    best = models[0]
    shown = best.test or best.val
    auc = shown.metrics["auc"]
    print(
        f"report {manifest.dataset}{' (synthetic)' if manifest.synthetic else ''}: {best.title} {best.result.head}, "
        f"{'test' if best.test else 'validation'} AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}] -> "
        f"{folder / 'index.html'}"
    )
    return folder


def _models(manifest: Manifest) -> list[Model]:
    """The finished runs on the data as it is now, the best first: on the validation images that all have in common."""
    found = []
    for folder in runs.complete_runs("heads"):
        record = runs.result(folder)
        if record.get("version") != VERSION:
            print(f"report: {folder.name} was made by another version of the program and is left out")
        elif record["dataset"] == manifest.dataset and record["manifest_key"] == manifest.key:
            found.append(folder)
    if not found:
        raise UserError(f"no finished run on {manifest.dataset} as it is now: run `make heads DATA=...` first")
    elsewhere = scored_elsewhere([folder.name for folder in found])
    models = [_model(folder, elsewhere[folder.name]) for folder in found]
    aucs = comparable_aucs(found) or [model.val.metrics["auc"].value for model in models]
    ranked = sorted(zip(aucs, models, strict=True), key=lambda each: -each[0])
    return [model for _, model in ranked]


def _model(folder: Path, elsewhere: list[Path]) -> Model:
    val, test = (read_predictions(_predictions(folder, split)) for split in ("val", "test"))
    threshold = choose_threshold(val.scores, val.fake)
    two_classes = test is not None and 0 < test.fake.sum() < len(test.fake)
    evaluated = {
        name: evaluate(each.scores, each.fake, each.groups, threshold=threshold)
        for name, each in (("val", val), ("test", test if two_classes else None))
        if each is not None
    }
    other = {each.result.dataset: each for each in (read_other(path, threshold) for path in elsewhere)}
    sweep = read_sweep(folder, SweepResult(**runs.result(folder)))
    return Model(folder.name, folder, sweep, evaluated["val"], evaluated.get("test"), other)


def _predictions(folder: Path, split: str) -> Path:
    return folder / f"predictions-{split}.csv"


def _results(models: list[Model]) -> list[Picture]:
    """How the best model does on the test split, or on validation where there is none."""
    best = models[0]
    split = "test" if best.test else "val"
    shown, predictions = best.test or best.val, read_predictions(_predictions(best.folder, split))
    (real, lost), (missed, fake) = shown.confusion
    return [
        Picture(
            "confusion", figures.confusion(shown.confusion, title=f"{best.title}, {split}"),
            f"Confusion matrix: {real} real called real, {lost} real called fake, {missed} fake called real, {fake} "
            "fake called fake", "Counts, and the share of each true class.",
        ),
        Picture(
            "roc", figures.roc(_curves(models, split), title=f"ROC, {split}"),
            f"ROC curves of {len(models)} models; the chosen one has AUC {shown.metrics['auc'].value:.3f}",
            "The chosen model is drawn heaviest.",
        ),
        Picture(
            "scores", figures.scores(predictions.scores, predictions.fake, shown.threshold, title=f"Scores, {split}"),
            f"Histogram of scores: {missed} fake images are below the threshold of {shown.threshold:.2f} and {lost} "
            "real ones above", "Scores of both classes.",
        ),
    ]  # fmt: skip


def _curves(models: list[Model], split: str) -> list[figures.Curve]:
    curves = []
    for model in models[: len(figures.CYCLE)]:
        each = read_predictions(_predictions(model.folder, split))
        if each is not None:
            curves.append(figures.Curve(f"{model.title} {model.result.family}", *roc(each.scores, each.fake)))
    return curves


def _sweep_section(models: list[Model]) -> list[Picture]:
    compared = compared_inputs([model.sweep for model in models])
    return sweep_pictures(models[0].sweep) + ([compared] if compared else [])


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
                "run": model.run, "stage": "heads", "backbone": model.result.backbone,
                "random_weights": model.result.random_weights, "features": model.features, "head": model.result.head,
                "val": _figures(model.val), "test": _figures(model.test),
                "other": {dataset: _other_figures(each) for dataset, each in model.other.items()},
            }
            for model in models
        ],
    }  # fmt: skip


def _table(models: list[Model]) -> pd.DataFrame:
    rows = []
    for model in models:
        other = {f"other:{dataset}": each.evaluation for dataset, each in model.other.items()}
        for split, evaluation in {"val": model.val, "test": model.test, **other}.items():
            if evaluation:
                rows.append({"run": model.run, "backbone": model.title, "head": model.result.head,
                             "features": model.features, "split": split, **_figures(evaluation)})  # fmt: skip
    return pd.DataFrame(rows).drop(columns="confusion")


def _page(manifest: Manifest, models: list[Model], sections: dict[str, list[Picture]], images: dict[str, str]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    audit: Audit = examine(manifest)
    best = models[0]
    return environment.get_template(TEMPLATE).render(
        manifest=manifest, audit=audit, models=models, best=best, sections=sections, images=images, metrics=METRICS,
        shown=best.test or best.val, split="test" if best.test else "validation", how_chosen=how_chosen(best.sweep),
        leaders=leaders(best.sweep).to_dict("records"), left_out=manifest.unusable.head(20).to_dict("records"),
        extractions=[r for r in map(runs.result, runs.complete_runs("extract")) if r["dataset"] == manifest.dataset],
        other_data=other_data(each for model in models for each in model.other.values()),
        environment=runs.environment(), scorings=runs.test_scorings(manifest.dataset), config=_command(best),
    )  # fmt: skip


def _command(model: Model) -> str:
    return runs.read_json(model.folder / "environment.json")["command"]
