"""`make report`, the whole pipeline from top to bottom: whoever wants to know how the parts fit begins at `_report`."""

from pathlib import Path

from analysis.found.models import ranked_runs
from analysis.found.trainings import best_trainings
from analysis.gradcam import run as gradcam
from analysis.gradcam.options import GradcamConfig
from analysis.options import ReportCommand
from analysis.page import datasets, report_page
from cache import runs
from cache.errors import UserError
from data.build import run as build
from data.manifest import Manifest
from data.naming import suggestion
from data.options import SAMPLE
from data.perturb import PERTURBATIONS
from extract.computing.machine import training_device
from extract.options import AUTO, TORCH
from extract.ranks import together
from finetune.detectors.image_scorer import open_detector, open_scorer
from heads.elsewhere import (
    changed_folder,
    chosen_images,
    judged_split,
    other_data_folder,
    score_changed_images,
    score_other_data,
)
from heads.predictions import predictions_file
from heads.run import extract_features, refuse_tails_without_maps, train_heads
from heads.scorer import HeadScorer, Scorer, extract_missing


def run(config: ReportCommand) -> Path:
    """The folder of the page of a data set, or of several side by side; what it needs is made first."""
    each_data = config.each_data()
    if len(each_data) == 1:
        return _report(config)
    names = []
    for data in each_data:
        one = config.but(data=data, eval=" ".join([*each_data, *config.eval.split()]))
        _report(one)
        names.append(one.heads.extract.data.dataset)
    return datasets.run(datasets.ComparisonConfig(tuple(names)))


def _report(config: ReportCommand) -> Path:
    """Of one data set, a line a stage, each with what it leaves. What is there already is not made again."""
    extraction = config.heads.extract
    _refuse_missing(config)
    for one in config.heads.each_backbone():
        refuse_tails_without_maps(one)
    with together(training_device(extraction.device)):
        manifest = Manifest.load(build(extraction.data)).usable  # data/<dataset>/manifest.csv, audit.json
        sweeps = []
        for one in config.heads.each_backbone():
            features = extract_features(one, manifest)  # cache/features/<backbone>-<tap>-<pooling>-<key>/*.h5
            sweeps.append(train_heads(one, features))  # runs/heads/<dataset>-<backbone>-<key>/
    _refuse_unfinished(sweeps)
    trainings = best_trainings(manifest)  # runs/finetune/*/, as far as `make finetune` left some
    for data in config.each_other():
        _score_other_data(config, sweeps + trainings, data)  # runs/other/<run>-on-<dataset>-<key>/
    _score_changed_images(config, sweeps, trainings[:1], manifest)  # runs/perturbed/<run>-<key>/
    no_heat_maps = _draw_heat_maps(config, manifest)  # runs/gradcam/<run>-<key>/
    page = report_page.ReportConfig(manifest.dataset, config.faces, config.num_samples > 0, no_heat_maps)
    return report_page.run(page)  # runs/report/<dataset>/index.html


def _refuse_missing(config: ReportCommand) -> None:
    """EVAL is read an hour after it was mistyped: raise a UserError where a set of it is not there."""
    for data in config.each_other():
        elsewhere = config.heads.extract.data.elsewhere(data)
        for each in elsewhere.sets or [elsewhere]:
            if each.data != SAMPLE and not each.source.exists():
                raise UserError(f"EVAL={data}: no such folder, file or data set.{suggestion(each.data, 'EVAL')}")


def _refuse_unfinished(sweeps: list[Path]) -> None:
    if not all(map(runs.is_complete, sweeps)):
        raise UserError("other parts have not finished their heads: run the same command again when they have")


def _score_other_data(config: ReportCommand, judged: list[Path], data: str) -> None:
    """With what did not score these images yet: everything fixed, every image once."""
    elsewhere = Manifest.load(build(config.heads.extract.data.elsewhere(data))).usable
    left = [each for each in filter(_can_be_judged, judged) if not runs.is_complete(other_data_folder(each, elsewhere))]
    scorers = [open_scorer(each, **_how(config)) for each in left]
    extract_missing(scorers, elsewhere, config.heads.extract)
    while scorers:  # taken out one by one: each holds a network on the device
        score_other_data(scorers.pop(0), elsewhere)


def _score_changed_images(config: ReportCommand, sweeps: list[Path], best: list[Path], manifest: Manifest) -> None:
    """The heads, and the best of the fine-tuned detectors, on images after JPEG, blur, scaling and others."""
    chosen = chosen_images(manifest, config.perturb)
    if not config.perturb or not len(chosen):
        return
    if judged_split(manifest) == "val" and config.heads.crosses:
        print("report: perturbed images are left out: without a test split, heads of FOLDS saw all of them in training")
        sweeps = []
    judged = filter(_can_be_judged, (*sweeps, *best))
    left = [each for each in judged if not runs.is_complete(changed_folder(each, chosen))]
    scorers = [_scorer_of_changes(each, config) for each in left]
    extract_missing(scorers, chosen, config.heads.extract.but(part="0/1"), PERTURBATIONS)
    while scorers:
        score_changed_images(scorers.pop(0), manifest, chosen)


def _scorer_of_changes(folder: Path, config: ReportCommand) -> Scorer:
    """Of a head that reads maps, which would be gigabytes for all changes, the detector, as far as it is one."""
    scorer = open_scorer(folder, **_how(config))
    maps = isinstance(scorer, HeadScorer) and any(spec.pooling == "map" for spec in scorer.record.inputs)
    one_input = maps and len({spec.preprocess for spec in scorer.record.inputs}) == 1
    return open_detector(folder, **_how(config)) if one_input else scorer


def _how(config: ReportCommand) -> dict:
    """ENGINE=auto is of features: a trained detector is then judged by what trained it."""
    extraction = config.heads.extract
    engine = TORCH if extraction.engine == AUTO else extraction.engine
    return {name: getattr(extraction, name) for name in ("device", "batch", "workers")} | {"engine": engine}


def _can_be_judged(folder: Path) -> bool:
    """The page says which runs lost their validation scores, and leaves them out."""
    return predictions_file(folder, "val").exists()


def _draw_heat_maps(config: ReportCommand, manifest: Manifest) -> str:
    """Of the best model; why there are none, if so: no gradient passes through the heads of scikit-learn."""
    if not config.num_samples or not config.faces:
        return f"Not shown: {'NUM_SAMPLES=0' if config.faces else 'FACES=0'}."
    ranked = ranked_runs(manifest)
    if not ranked:
        return "There is no finished run."
    asked = GradcamConfig.of(
        run=str(ranked[0].folder), num_samples=config.num_samples, split=judged_split(manifest),
        device=config.heads.extract.device,
    )  # fmt: skip
    try:
        gradcam.run(asked)
    except UserError as error:
        print(f"report: no heat maps: {error}")
        return f"No heat maps: {error}."
    return ""
