"""`make equalize`: images stored alike. `python -m data.equalize --help` lists the options."""

from cache.command import main
from data.equalize.options import EqualizeConfig

if __name__ == "__main__":
    main(EqualizeConfig, "data.equalize.run:run", command="python -m data.equalize")
