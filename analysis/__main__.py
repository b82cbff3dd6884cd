"""`make report`: everything that is missing, then the page. `python -m analysis --help` lists the options."""

from dataclasses import dataclass
from pathlib import Path

from analysis import report
from analysis.trainings import trainings_on
from cache import paths, runs
from cache.command import main, option
from cache.errors import UserError
from data.manifest import Manifest
from finetune.other import run_other as run_detector_elsewhere
from heads.run import HeadsConfig, run_each, run_other


@dataclass(frozen=True, kw_only=True)
class ReportCommand(HeadsConfig):
    """Extract and train what is missing, then write the report of the data set."""

    eval: str = option("", "other data sets to score all heads and detectors on, everything fixed; as DATA names them")


def run(config: ReportCommand) -> Path:
    """The folder of the report."""
    for each, folder in zip(config.each_backbone(), run_each(config), strict=True):
        if not runs.is_complete(folder):
            raise UserError("other parts have not finished their heads: run the same command again when they have")
        for data in config.eval.split():
            run_other(each, folder, data)
    for folder, _ in trainings_on(Manifest.load(paths.manifest_file(config.dataset))):
        for data in config.eval.split():
            run_detector_elsewhere(config, folder, data)
    return report.run(report.ReportConfig(config.dataset))


if __name__ == "__main__":
    main(ReportCommand, run, command="python -m analysis")
