"""`make report`: everything that is missing, then the page. `python -m analysis --help` lists the options."""

from dataclasses import dataclass
from pathlib import Path

from analysis import report
from cache.command import main
from heads.run import HeadsConfig, run_each


@dataclass(frozen=True, kw_only=True)
class ReportCommand(HeadsConfig):
    """Extract and train what is missing, then write the report of the data set."""


def run(config: ReportCommand) -> Path:
    """The folder of the report."""
    run_each(config)
    return report.run(report.ReportConfig(config.dataset))


if __name__ == "__main__":
    main(ReportCommand, run, command="python -m analysis")
