"""The command line of fine-tuning: `python -m finetune --help`."""

from cache.command import main
from finetune.options import FinetuneConfig
from finetune.run import run

if __name__ == "__main__":
    main(FinetuneConfig, run, command="python -m finetune")
