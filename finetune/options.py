"""How a detector is trained end to end."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache.errors import UserError
from cache.options import Options, option, section
from finetune.trackers import check_tracker
from heads.options import HeadsConfig

if TYPE_CHECKING:
    from finetune.recipes import Asked

DEFAULT_RECIPE = "two-phase"


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Options):
    """Train a detector end to end, from the chosen head or as another recipe says."""

    heads: HeadsConfig = section(HeadsConfig)
    recipe: str = option(DEFAULT_RECIPE, "a name in finetune/recipes.py, a JSON file, or JSON itself")
    epochs: int = option(0, "epochs in which the network trains (default: the recipe's)")
    seed: int = option(0, "of the order of images, their augmentation, and layers without weights")
    head: str = option("", "a sweep's run folder or head.safetensors to start from (default: the chosen head)")
    checkpoint: str = option("", "a last.pt of the same training to go on from, with best.safetensors beside it")
    save_every: int = option(0, "steps between two writings of last.pt (default: 2 minutes, and every epoch)")
    keep_every: int = option(0, "epochs between two checkpoints that are kept for good (default: none)")
    log_images: bool = option(False, "keep the images of every step, in their order: images-001.csv, one an epoch")
    auto_accumulate: bool = option(False, "out of memory: go on with the same batch in more parts")
    tracker: str = option("", "mlflow or wandb, beside TensorBoard")
    unseen: bool = option(False, "also train without each generator in turn, to see what is known of one never seen")
    smoke: bool = option(False, "one epoch on a few small images, to see that everything runs")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.asked  # a bad recipe is known before anything is computed
        check_tracker(self.tracker)
        if min(self.epochs, self.seed, self.save_every, self.keep_every) < 0:
            raise UserError("EPOCHS, SEED, SAVE_EVERY and KEEP_EVERY must not be negative")
        if self.unseen:
            self._refuse_what_saw_all()

    def _refuse_what_saw_all(self) -> None:
        """Raises: UserError for what a training without a generator cannot start from or be made of."""
        if self.head or self.checkpoint:
            given = "HEAD" if self.head else "CHECKPOINT"
            raise UserError(f"UNSEEN=1: what {given} names was trained with every generator: leave one of them out")
        if self.smoke:
            raise UserError("UNSEEN=1: the few images of SMOKE do not hold every generator: leave one of them out")

    @property
    def asked(self) -> "Asked":
        """RECIPE with the EPOCHS that were given beside it. Raises: UserError as finetune.recipes.read_recipe."""
        from finetune.recipes import read_recipe

        return read_recipe(self.recipe, epochs=self.epochs)
