"""What is trained on what, and where it is kept."""

from dataclasses import dataclass
from pathlib import Path

from data.manifest import Manifest
from finetune.detectors.detector_record import DetectorRecord
from finetune.recipes import Recipe

BEST = "best.safetensors"  # the detector of the epoch that is kept
EPOCHS_FILE = "metrics.csv"
STATE = "last.pt"  # what a stopped training goes on from


@dataclass(frozen=True)
class Job:
    """What is trained on what, and where it is kept.

    made_from: JSON-able, all that the numbers depend on. save_every: steps between two checkpoints, 0 = by the clock
    and at the end of every epoch. keep_every: epochs between two that are kept for good, 0 = none. log_images: a
    table an epoch of the images of each step. workers, batch: of decoding and of evaluation, as for extraction.
    """

    folder: Path
    manifest: Manifest
    recipe: Recipe
    record: DetectorRecord
    made_from: dict
    seed: int = 0
    save_every: int = 0
    keep_every: int = 0
    log_images: bool = False
    auto_accumulate: bool = False
    workers: int = -1
    batch: int = 0
