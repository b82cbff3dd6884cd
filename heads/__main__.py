"""`make heads`: train heads on cached features. `python -m heads --help` lists the options."""

from cache.command import main
from heads.options import HeadsConfig

if __name__ == "__main__":
    main(HeadsConfig, "heads.run:run_each", command="python -m heads")
