"""result.json of a finished training, and all of them: what is known of a training without its network."""

from dataclasses import dataclass, field
from pathlib import Path

from cache import runs
from heads.sweep.sweep_result import luck

STAGE = "finetune"
VERSION = 1  # of result.json; in a run's key, so that a run of another version is made anew


@dataclass(frozen=True)
class FinetuneResult:
    """result.json of runs/finetune/*.

    recipe: its name; started_from: head, pretrained or scratch. best_epoch: the one kept, whose figures the others
    are; train_accuracy is that of the epoch in training mode. images_per_second: median over the epochs. seconds: of
    training. head_run: the sweep that it started from, '' if none. detector: sha256 of best.safetensors. chosen_on:
    label -> validation images, which chose the epoch; empty in results from before it was written.
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
    chosen_on: dict[str, int] = field(default_factory=dict)
    version: int = VERSION

    @property
    def doubt(self) -> str:
        """One sentence where the figures say little of the detector: a smoke run, or luck chose the epoch; else ''."""
        if self.smoke:
            return "A smoke run: it shows that everything runs, and says nothing of the detector."
        return luck(self.chosen_on, self.epochs, "epochs")

    @property
    def chosen(self) -> str:
        """What was kept, in a line."""
        figures = f"val AUC {self.val_auc:.4f}, val accuracy {self.val_accuracy:.4f}"
        return f"epoch {self.best_epoch} of {self.epochs}, {figures}"


def finished() -> list[tuple[Path, FinetuneResult]]:
    """Every finished training that this version of the program made, by name."""
    return [(folder, record.into(FinetuneResult)) for folder, record in runs.find(STAGE, version=VERSION)]
