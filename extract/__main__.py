"""`make extract`: fill the feature cache. `python -m extract --help` lists the options."""

from pathlib import Path

from cache.command import main
from extract.compute import device_of
from extract.options import ExtractConfig
from extract.ranks import together
from extract.run import run


def run_each(config: ExtractConfig) -> list[Path]:
    """One backbone after the other."""
    with together(device_of(config.device)):
        return [run(each) for each in config.each_backbone()]


if __name__ == "__main__":
    main(ExtractConfig, run_each, command="python -m extract")
