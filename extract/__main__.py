"""`make extract`: fill the feature cache. `python -m extract --help` lists the options."""

from pathlib import Path

from cache.command import main
from extract.run import ExtractConfig, run


def run_each(config: ExtractConfig) -> list[Path]:
    """One backbone after the other."""
    return [run(each) for each in config.each_backbone()]


if __name__ == "__main__":
    main(ExtractConfig, run_each, command="python -m extract")
