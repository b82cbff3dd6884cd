"""`make backbones`: the backbones that are written down."""

from cache.command import main
from extract.networks.options import BackbonesConfig

if __name__ == "__main__":
    main(BackbonesConfig, "extract.networks.overview:run", command="python -m extract.networks")
