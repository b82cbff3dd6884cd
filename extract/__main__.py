"""`make extract`: fill the feature cache. `python -m extract --help` lists the options."""

from cache.command import main
from extract.options import ExtractConfig

if __name__ == "__main__":
    main(ExtractConfig, "extract.run:run_each", command="python -m extract")
