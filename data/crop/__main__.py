"""`make crop`: the faces of a data set. `python -m data.crop --help` lists the options."""

from cache.command import main
from data.crop.options import CropConfig

if __name__ == "__main__":
    main(CropConfig, "data.crop.run:run", command="python -m data.crop")
