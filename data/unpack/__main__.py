"""`make unpack`: images and a manifest out of what holds them. `python -m data.unpack --help` lists the options."""

from cache.command import main
from data.unpack.options import UnpackConfig

if __name__ == "__main__":
    main(UnpackConfig, "data.unpack.run:run", command="python -m data.unpack")
