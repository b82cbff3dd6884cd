"""`make report`: everything that is missing, then the page. `python -m analysis --help` lists the options."""

from analysis.options import ReportCommand
from cache.command import main

if __name__ == "__main__":
    main(ReportCommand, "analysis.report:run", command="python -m analysis")
