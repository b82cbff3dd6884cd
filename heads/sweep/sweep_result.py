"""What a finished sweep says of itself in result.json, and where its head is. Reading it needs no PyTorch."""

from dataclasses import dataclass, field

from heads.sweep import VALIDATION

STAGE = "heads"
HEAD_FILE = "head.safetensors"
UNSEEN_FILE = "scores-unseen.csv"
SIDES = SEEN, UNSEEN = "seen", "unseen"  # behind a word of CHOOSE, columns of that file: by what heads knew in training
VERSION = 3  # of result.json; in the sweep's key, so that a run of another version is made anew


@dataclass(frozen=True)
class SweepResult:
    """result.json of runs/heads/*.

    offered: all features; features: those that the chosen head reads. members: how many it averages, one for each of
    the folds and seeds. val_auc, val_auc_std: mean and spread over them. floor_auc: of the best convex head.

    Where generators were left out one at a time: choose, what the head was chosen by; unseen_auc, generator -> AUC of
    the chosen setting's members that did not see it, on train and val; candidates, word of CHOOSE -> the setting that
    it would choose, of those in scores-unseen.csv.
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
    choose: str = VALIDATION
    unseen_auc: dict[str, float] = field(default_factory=dict)
    candidates: dict[str, str] = field(default_factory=dict)
    version: int = VERSION
