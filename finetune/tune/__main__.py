"""`make tune`: search a recipe's settings. `python -m finetune.tune --help` lists the options."""

from cache.command import main
from finetune.tune.options import TuneConfig

if __name__ == "__main__":
    main(TuneConfig, "finetune.tune.run:run", command="python -m finetune.tune")
