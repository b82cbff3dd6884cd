"""What a finished sweep says of itself in result.json, and where its head is. Reading it needs no PyTorch."""

from dataclasses import dataclass

STAGE = "heads"
HEAD_FILE = "head.safetensors"
VERSION = 3  # of result.json; in the sweep's key, so that a run of another version is made anew


@dataclass(frozen=True)
class SweepResult:
    """result.json of runs/heads/*.

    offered: all features; features: those that the chosen head reads. members: how many it averages, one for each of
    the folds and seeds. val_auc, val_auc_std: mean and spread over them. floor_auc: of the best convex head.
    """

    dataset: str
    manifest_key: str
    synthetic: bool
    backbone: str
    random_weights: bool
    offered: list[str]
    features: list[str]
    inputs: str
    head: str
    family: str
    settings: int
    heads: int
    folds: int
    members: int
    views: int
    seconds: float
    val_auc: float
    val_auc_std: float | None
    floor_auc: float | None
    version: int = VERSION
