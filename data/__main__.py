"""`make data`: manifest and audit. `python -m data --help` lists the options."""

from cache.command import main
from data.options import DataConfig

if __name__ == "__main__":
    main(DataConfig, "data.build:run", command="python -m data")
