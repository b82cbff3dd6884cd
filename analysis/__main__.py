"""`make report`: everything that is missing, then the page. `python -m analysis --help` lists the options."""

from dataclasses import dataclass, replace
from pathlib import Path

from analysis import comparison, gradcam, report
from analysis.chosen import detector_of
from analysis.gradcam import GradcamConfig
from analysis.models import ranked_runs
from analysis.trainings import trainings_on
from cache import paths, runs
from cache.command import main, option
from cache.errors import UserError
from data.manifest import Manifest
from finetune.other import run_other as run_detector_elsewhere
from finetune.perturbed import run_perturbed as run_detector_perturbed
from heads.families import Tail
from heads.outcome import HEAD_FILE
from heads.perturbed import chosen_images, judged_split, perturbed_folder
from heads.run import HeadsConfig, run_each, run_other, run_perturbed
from heads.saved import load_head


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
        if min(self.perturb, self.num_samples) < 0:
            raise UserError("PERTURB and NUM_SAMPLES must not be negative")
        if len(self.each_data()) > 1 and self.name:
            raise UserError(f"NAME={self.name} cannot stand for {len(self.each_data())} data sets: leave NAME out")

    def each_data(self) -> list[str]:
        """The data sets that DATA names; a path with spaces in it that is there is one of them."""
        return [self.data] if Path(self.data).expanduser().exists() else self.data.split() or [self.data]


def run(config: ReportCommand) -> Path:
    """The folder of the report."""
    each_data = config.each_data()
    if len(each_data) == 1:
        return _run_one(config)
    names = []
    for data in each_data:
        others = [other for other in each_data if other != data]
        one = replace(config, data=data, eval=" ".join(dict.fromkeys([*others, *config.eval.split()])))
        _run_one(one)
        names.append(one.dataset)
    return comparison.run(names)


def _run_one(config: ReportCommand) -> Path:
    sweeps = run_each(config)
    for each, folder in zip(config.each_backbone(), sweeps, strict=True):
        if not runs.is_complete(folder):
            raise UserError("other parts have not finished their heads: run the same command again when they have")
        for data in config.eval.split():
            run_other(each, folder, data)
    manifest = Manifest.load(paths.manifest_file(config.dataset)).usable
    for folder, _ in trainings_on(manifest):
        for data in config.eval.split():
            run_detector_elsewhere(config, folder, data)
    if config.perturb:
        _perturb(config, sweeps, manifest)
    why_not = _draw_heat_maps(config, manifest) if config.num_samples else "Not tried: NUM_SAMPLES=0."
    return report.run(report.ReportConfig(config.dataset, faces=config.faces, no_heat_maps=why_not))


def _perturb(config: ReportCommand, sweeps: list[Path], manifest: Manifest) -> None:
    """Score perturbed images with what was not scored yet: the heads, and the best of the fine-tuned detectors."""
    chosen = chosen_images(manifest, config.perturb)
    best = sorted(trainings_on(manifest), key=lambda each: -each[1].val_auc)[:1]
    left = [folder for folder in sweeps if not runs.is_complete(perturbed_folder(folder, chosen))]
    maps = [folder for folder in left if isinstance(load_head(folder / HEAD_FILE)[1].config, Tail)]
    run_perturbed(config, [folder for folder in left if folder not in maps], manifest, chosen)
    for folder in maps + [folder for folder, _ in best]:
        if not runs.is_complete(perturbed_folder(folder, chosen)):
            run_detector_perturbed(config, folder, detector_of(folder), manifest, chosen)


def _draw_heat_maps(config: ReportCommand, manifest: Manifest) -> str:
    """Of the best model; why there are none, if so: no gradient passes through the heads of scikit-learn."""
    best = ranked_runs(manifest)[0].folder
    asked = GradcamConfig(
        run=str(best), num_samples=config.num_samples, split=judged_split(manifest), device=config.device
    )
    try:
        gradcam.run(asked)
    except UserError as error:
        print(f"report: no heat maps: {error}")
        return f"No heat maps: {error}."
    return ""


if __name__ == "__main__":
    main(ReportCommand, run, command="python -m analysis")
