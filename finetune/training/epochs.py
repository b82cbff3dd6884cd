"""What an epoch is: its images in their order and steps, functions of seed and epoch alone; its row; which is kept."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from cache.errors import UserError
from data.augment import Augmentation, Draw
from finetune.recipes import Recipe

ORDER, DRAW = 0, 1  # kinds of randomness, so that the seeds of one are not those of the other


@dataclass(frozen=True)
class Epoch:
    """A row of metrics.csv. phase: 1 = head alone, 2 = with the network. lr: the head's, at the end.

    train_loss, train_accuracy: over the epoch, in training mode. val_*: of the weights that are judged (the average,
    with ema). Accuracies at logit 0. seconds: of training, without validation.
    """

    epoch: int
    phase: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_auc: float
    val_accuracy: float
    images_per_second: float
    seconds: float

    def curves(self) -> dict[str, float]:
        """The figures that TensorBoard and other trackers draw, by the names that they get there."""
        return {
            "train/loss": self.train_loss, "train/accuracy": self.train_accuracy, "val/loss": self.val_loss,
            "val/auc": self.val_auc, "val/accuracy": self.val_accuracy, "epoch": float(self.epoch),
            "images_per_second": self.images_per_second,
        }  # fmt: skip

    def to_json(self) -> dict:
        return asdict(self)


def steps_of(rows: np.ndarray, *, batch: int, seed: int, epoch: int, processes: int = 1) -> list[np.ndarray]:
    """Every row once, shuffled, in steps of at most `batch` rows whose sizes differ by one at most.

    Equal steps rather than a short last one: BatchNorm on two images is noise.

    Raises:
        UserError: a step would leave a process without an image.
    """
    order = np.random.default_rng([ORDER, seed, epoch]).permutation(rows)
    steps = np.array_split(order, -(-len(order) // batch))
    if len(steps[-1]) < processes:
        raise UserError(f"batches of {len(steps[-1])} images cannot be shared by {processes} processes: raise `batch`")
    return steps


def drawn(augmentation: Augmentation, *, seed: int, epoch: int) -> Draw | None:
    """What every image of an epoch goes through; None where nothing is changed."""
    return None if augmentation.idle else Draw(augmentation, (DRAW, seed, epoch))


def is_best(history: list[Epoch], best: int, recipe: Recipe) -> bool:
    """Whether the last epoch takes the place of number `best` (-1 = none): by AUC, ties by loss; or by loss alone.

    Never one before `best_after`, but of few epochs the last one can always be kept; never one that is not finite.
    """
    last, total = history[-1], recipe.total_epochs
    if last.epoch - 1 < min(recipe.best_after * total, total - 1) or not math.isfinite(last.val_loss):
        return False
    return best < 0 or _rank(last, recipe) > _rank(history[best - 1], recipe)


def _rank(epoch: Epoch, recipe: Recipe) -> tuple[float, float]:
    return (epoch.val_auc if recipe.best_by == "auc" else 0.0, -epoch.val_loss)
