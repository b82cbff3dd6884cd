"""What a finished sweep says of itself in result.json, and where its head is. Reading it needs no PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cache.errors import counted
from data.labels import LABELS
from heads.sweep import VALIDATION

STAGE = "heads"
HEAD_FILE = "head.safetensors"
UNSEEN_FILE = "scores-unseen.csv"
SIDES = SEEN, UNSEEN = "seen", "unseen"  # behind a word of CHOOSE, columns of that file: by what heads knew in training
FEW = 50  # images of a class; of fewer an AUC of .9 has a standard error of some .04, and the best of many is lucky
VERSION = 3  # of result.json; in the sweep's key, so that a run of another version is made anew


@dataclass(frozen=True)
class SweepResult:
    """result.json of runs/heads/*.

    offered: all features; features: those that the chosen head reads. members: how many it averages, one for each of
    the folds and seeds. val_auc, val_auc_std: mean and spread over them. floor_auc: of the best convex head.

    chosen_on: label -> how many images the choice went by; empty in results from before it was written.

    Where generators were left out one at a time: choose, what the head was chosen by; unseen_auc, generator -> AUC of
    the chosen setting's members that did not see it, on train and val; candidates, word of CHOOSE -> the setting that
    it would choose, of those in scores-unseen.csv; dates, generator -> when it came out, where the heads that did not
    see it saw older ones alone.
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
    chosen_on: dict[str, int] = field(default_factory=dict)
    dates: dict[str, str] = field(default_factory=dict)
    version: int = VERSION

    @property
    def doubt(self) -> str:
        """One sentence where so few images chose among several settings that luck did; else empty."""
        more = "" if self.folds > 1 or self.candidates else "; with FOLDS=5 all images of train and val would"
        return luck(self.chosen_on, self.settings, "settings", more)

    @property
    def chosen(self) -> str:
        """What was chosen, in a line."""
        floor = "" if self.floor_auc is None else f", best convex {self.floor_auc:.4f}"
        return (
            f"chose {self.head} among {counted(self.settings, 'setting')}, val AUC {self.val_auc:.4f} over "
            f"{counted(self.members, 'member')}{floor}"
        )


def luck(chosen_on: Mapping[str, int], count: int, what: str, more: str = "") -> str:
    """One sentence where so few images chose among `count` of something that luck did; else empty.

    Args:
        chosen_on: label -> images. more: what would help.
    """
    if count < 2 or min(chosen_on.values(), default=FEW) >= FEW:
        return ""
    images = " and ".join(f"{chosen_on.get(label, 0)} {label}" for label in LABELS)  # JSON has them in another order
    return (
        f"Only {images} images chose among {count} {what}: which one is best is partly luck, and its validation AUC is "
        f"too high{more}."
    )
