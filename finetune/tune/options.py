"""What is searched of a recipe, and how long."""

from dataclasses import dataclass

from cache.errors import UserError
from cache.options import Options, option, section
from finetune.options import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class TuneConfig(Options):
    """Search the settings of a recipe on validation data, and train and test the best."""

    finetune: FinetuneConfig = section(FinetuneConfig)
    trials: int = option(20, "finished trials until the search ends, those of earlier calls and machines included")
    storage: str = option("", "an Optuna storage URL for many machines (default: a file in the study's folder)")

    def __post_init__(self) -> None:
        from finetune.recipes import refuse_bad_ranges

        super().__post_init__()
        if self.trials < 1:
            raise UserError("TRIALS must be at least 1")
        if self.finetune.unseen:
            raise UserError(
                "UNSEEN=1: the settings that a search finds are those that suit all generators, so none of them would "
                "be unseen: leave it out"
            )
        if self.finetune.heads.extract.cluster not in ("", "local") and not self.storage:
            raise UserError(
                "CLUSTER: trials on several machines need a database that all of them reach: "
                "STORAGE=postgresql://user:password@host/name, for example"
            )
        refuse_bad_ranges(self.finetune.asked)
