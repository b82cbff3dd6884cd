"""`make report`: everything that is missing, then the page. `python -m analysis --help` lists the options."""

from dataclasses import dataclass
from pathlib import Path

from analysis import report
from analysis.chosen import detector_of
from analysis.trainings import trainings_on
from cache import paths, runs
from cache.command import main, option
from cache.errors import UserError
from data.manifest import Manifest
from finetune.other import run_other as run_detector_elsewhere
from finetune.perturbed import run_perturbed as run_detector_perturbed
from heads.families import Tail
from heads.outcome import HEAD_FILE
from heads.perturbed import chosen_images, perturbed_folder
from heads.run import HeadsConfig, run_each, run_other, run_perturbed
from heads.saved import load_head


@dataclass(frozen=True, kw_only=True)
class ReportCommand(HeadsConfig):
    """Extract and train what is missing, then write the report of the data set."""

    eval: str = option("", "other data sets to score all heads and detectors on, everything fixed; as DATA names them")
    perturb: int = option(1000, "test images to score again after JPEG, blur, scaling and others; 0 = none")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.perturb < 0:
            raise UserError("PERTURB must not be negative")


def run(config: ReportCommand) -> Path:
    """The folder of the report."""
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
    return report.run(report.ReportConfig(config.dataset))


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


if __name__ == "__main__":
    main(ReportCommand, run, command="python -m analysis")
