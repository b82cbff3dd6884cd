"""`make report`: everything that is missing, then the page. `python -m analysis --help` lists the options."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from analysis.found.models import ranked_runs
from analysis.found.run_option import detector_of
from analysis.found.trainings import trainings_on
from analysis.gradcam import run as gradcam
from analysis.gradcam.run import GradcamConfig
from analysis.page import datasets as comparison
from analysis.page import report_page as report
from analysis.predict.predictor import views_of
from cache import paths, runs
from cache.command import option
from cache.errors import UserError
from data.manifest import Manifest
from finetune.other import run_other as run_detector_elsewhere
from finetune.perturbed import run_perturbed as run_detector_perturbed
from heads.head_file import load_head
from heads.perturbed import chosen_images, judged_split, perturbed_folder
from heads.predictions import predictions_file
from heads.run import HeadsConfig, run_each, run_other, run_perturbed
from heads.sweep.conclusion import HEAD_FILE

OF_ONE = ("name", "root", "train_csv", "valid_csv", "test_csv", "group")  # options that describe one data set


@dataclass(frozen=True, kw_only=True)
class ReportCommand(HeadsConfig):
    """Extract and train what is missing, then write the report of a data set, or of several side by side.

    DATA="a b" makes the page of each, scores each one's models on the others, and compares their best ones.
    """

    eval: str = option("", "other data sets to score all heads and detectors on, everything fixed; as DATA names them")
    perturb: int = option(1000, "test images to score again after JPEG, blur, scaling and others; 0 = none")
    num_samples: int = option(12, "heat maps to draw of the best model; 0 = none")
    faces: bool = option(True, "show images of the data set on the page")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.perturb < 0 or not 0 <= self.num_samples <= gradcam.MOST:
            raise UserError(f"PERTURB must not be negative, and NUM_SAMPLES between 0 and {gradcam.MOST}")
        own = [name.upper() for name in OF_ONE if getattr(self, name)]
        if len(self.each_data()) > 1 and own:
            raise UserError(f"{', '.join(own)} cannot be meant for {len(self.each_data())} data sets: leave it out, or "
                            "make the manifest of each with `make data` and name those in DATA")  # fmt: skip

    def each_data(self) -> list[str]:
        """The data sets that DATA names; a path with spaces in it that is there is one of them."""
        return [self.data] if Path(self.data).expanduser().exists() else self.data.split() or [self.data]

    def each_other(self) -> list[str]:
        """The data sets that EVAL names, but for the own one."""
        return [data for data in dict.fromkeys(self.eval.split()) if data != self.data]


def run(config: ReportCommand) -> Path:
    """The folder of the report."""
    each_data = config.each_data()
    if len(each_data) == 1:
        return _run_one(config)
    names = []
    for data in each_data:
        one = replace(config, data=data, eval=" ".join([*each_data, *config.eval.split()]))
        _run_one(one)
        names.append(one.dataset)
    return comparison.run(comparison.ComparisonConfig(tuple(names)))


def _run_one(config: ReportCommand) -> Path:
    sweeps = run_each(config)
    for each, folder in zip(config.each_backbone(), sweeps, strict=True):
        if not runs.is_complete(folder):
            raise UserError("other parts have not finished their heads: run the same command again when they have")
        for data in config.each_other() if _can_be_judged(folder) else ():
            run_other(each, folder, data)
    manifest = Manifest.load(paths.manifest_file(config.dataset)).usable
    for folder in filter(_can_be_judged, [folder for folder, _ in trainings_on(manifest)]):
        for data in config.each_other():
            run_detector_elsewhere(config, folder, data)
    if config.perturb:
        _perturb(config, sweeps, manifest)
    why_not = _draw_heat_maps(config, manifest)
    shown = {"faces": config.faces, "heat_maps": config.num_samples > 0, "no_heat_maps": why_not}
    return report.run(report.ReportConfig(config.dataset, **shown))


def _perturb(config: ReportCommand, sweeps: list[Path], manifest: Manifest) -> None:
    """Score perturbed images with what was not scored yet: the heads, and the best of the fine-tuned detectors."""
    chosen = chosen_images(manifest, config.perturb)
    best = [folder for folder, _ in sorted(trainings_on(manifest), key=lambda each: -each[1].val_auc)[:1]]
    if judged_split(manifest) == "val" and config.folds > 1:
        print("report: perturbed images are left out: without a test split, heads of FOLDS saw all of them in training")
        sweeps = []
    if not len(chosen):
        return
    judged = list(filter(_can_be_judged, (*sweeps, *best)))
    left = [each for each in judged if not runs.is_complete(perturbed_folder(each, chosen))]
    pooled = [folder for folder in left if folder not in best and not _reads_maps(folder)]
    run_perturbed(config, pooled, manifest, chosen)
    for folder in left:
        if folder not in pooled:
            run_detector_perturbed(config, folder, detector_of(folder), manifest, chosen, views=views_of(folder))


def _can_be_judged(folder: Path) -> bool:
    """The page says which runs lost their validation scores, and leaves them out."""
    return predictions_file(folder, "val").exists()


def _reads_maps(sweep: Path) -> bool:
    """Whether maps of all perturbed images would have to be kept for the head, and it can do without."""
    inputs = load_head(sweep / HEAD_FILE)[1].inputs
    return any(spec.pooling == "map" for spec in inputs) and len({spec.preprocess for spec in inputs}) == 1


def _draw_heat_maps(config: ReportCommand, manifest: Manifest) -> str:
    """Of the best model; why there are none, if so: no gradient passes through the heads of scikit-learn."""
    if not config.num_samples or not config.faces:
        return f"Not shown: {'NUM_SAMPLES=0' if config.faces else 'FACES=0'}."
    ranked = ranked_runs(manifest)
    if not ranked:
        return "There is no finished run."
    asked = GradcamConfig(
        run=str(ranked[0].folder), num_samples=config.num_samples, split=judged_split(manifest), device=config.device
    )
    try:
        gradcam.run(asked)
    except (UserError, torch.OutOfMemoryError) as error:
        print(f"report: no heat maps: {error}")
        return f"No heat maps: {error}."
    return ""
