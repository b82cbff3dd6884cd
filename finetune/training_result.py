"""result.json of a finished training, and all of them: what is known of a training without its network."""

from dataclasses import dataclass
from pathlib import Path

from cache import runs

STAGE = "finetune"
VERSION = 1  # of result.json; in a run's key, so that a run of another version is made anew


@dataclass(frozen=True)
class FinetuneResult:
    """result.json of runs/finetune/*.

    recipe: its name; started_from: head, pretrained or scratch. best_epoch: the one kept, whose figures the others
    are; train_accuracy is that of the epoch in training mode. images_per_second: median over the epochs. seconds: of
    training. head_run: the sweep that it started from, '' if none. detector: sha256 of best.safetensors.
    """

    dataset: str
    manifest_key: str
    synthetic: bool
    recipe: str
    network: str
    started_from: str
    random_weights: bool
    smoke: bool
    seed: int
    head_run: str
    parameters: int
    epochs: int
    best_epoch: int
    val_auc: float
    val_loss: float
    val_accuracy: float
    train_loss: float
    train_accuracy: float
    images_per_second: float
    seconds: float
    detector: str
    version: int = VERSION


def finished() -> list[tuple[Path, FinetuneResult]]:
    """Every finished training that this version of the program made, by name."""
    return [(folder, record.into(FinetuneResult)) for folder, record in runs.find(STAGE, version=VERSION)]
