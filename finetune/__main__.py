"""The command line of fine-tuning: `python -m finetune --help`."""

from cache.command import main
from finetune.options import FinetuneConfig

if __name__ == "__main__":
    main(FinetuneConfig, "finetune.run:run", command="python -m finetune")
