"""What a finished sweep says of itself in result.json, and where its head is. Reading it needs no PyTorch."""

from dataclasses import dataclass, field

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
        if self.settings < 2 or min(self.chosen_on.values(), default=FEW) >= FEW:
            return ""
        counted = " and ".join(f"{count} {label}" for label, count in self.chosen_on.items())
        more = "" if self.folds > 1 or self.candidates else "; with FOLDS=5 all images of train and val would"
        return (
            f"Only {counted} images chose among {self.settings} settings: which one is best is partly luck, and its "
            f"validation AUC is too high{more}."
        )
