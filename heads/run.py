"""`make heads`: features if they are missing, then the sweep over them.

python -m heads --data=path --backbone="resnet18 cvt_13"
"""

from dataclasses import dataclass
from pathlib import Path

from cache import paths
from cache.command import option
from cache.errors import UserError
from extract.run import ExtractConfig, device_of, specs_of
from extract.run import run as extract
from heads.grid import read_grid
from heads.sweep import SweepConfig
from heads.sweep import run as sweep


@dataclass(frozen=True, kw_only=True)
class HeadsConfig(ExtractConfig):
    """Train a grid of heads on cached features and choose one on validation data."""

    grid: str = option("", "a JSON file of heads (default: linear, mlp, logistic and ridge)")
    seeds: int = option(3, "how often each trained head is initialised anew")
    epochs: int = option(30, "epochs of the trained heads")
    head_batch: int = option(256, "rows a step of the trained heads")

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.seeds, self.epochs, self.head_batch) < 1:
            raise UserError("SEEDS, EPOCHS and HEAD_BATCH must be at least 1")
        read_grid(self.grid, seeds=1)  # a bad grid is known before the features are computed


def run(config: HeadsConfig) -> Path:
    """Extract what is missing of one backbone and sweep; the sweep's run folder."""
    specs = specs_of(extract(config))
    device = device_of(config.device).type
    return sweep(
        SweepConfig(
            paths.manifest_file(config.dataset), specs, config.grid, config.seeds, config.epochs, config.head_batch,
            device=device if device == "cuda" else "cpu",
        )
    )  # fmt: skip


def run_each(config: HeadsConfig) -> list[Path]:
    """One backbone after the other."""
    return [run(each) for each in config.each_backbone()]
