"""A sweep's run folder -> what was tried, and what was chosen; validation only."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from cache import runs
from heads.families import FAMILIES, Family
from heads.predictions import read_scores
from heads.sweep.leaderboard import CURVE
from heads.sweep.sweep_result import SIDES, STAGE, UNSEEN_FILE, SweepResult

SHOWN = 15  # settings in the table and picture of leaders


@dataclass(frozen=True)
class Sweep:
    """A finished sweep.

    settings: leaderboard.csv, best first, with `kind` (the family, or which scikit-learn classifier). curves:
    curves.csv. scores: scores-inputs.csv, by path. one_se: the simplest setting near the best one was chosen. unseen:
    scores-unseen.csv, None where no generator was left out.
    """

    result: SweepResult
    settings: pd.DataFrame
    curves: pd.DataFrame
    scores: pd.DataFrame
    one_se: bool
    unseen: pd.DataFrame | None = None

    stage: ClassVar[str] = STAGE

    @property
    def title(self) -> str:
        """The backbone, or several."""
        return f"{self.result.backbone}{' (random weights)' if self.result.random_weights else ''}"

    @property
    def name(self) -> str:
        """The head that was chosen."""
        return self.result.head

    @property
    def detail(self) -> str:
        """What the head reads."""
        names = self.result.features
        return " ".join(names) if len(names) < 4 else f"{len(names)} features, {names[0]} to {names[-1]}"

    @property
    def crosses(self) -> bool:
        """Whether train and validation images were cut into folds, so that all of them chose."""
        return self.result.folds > 1

    @property
    def kept(self) -> str:
        """What the detector is made of."""
        members, folds = self.result.members, self.result.folds
        return f"mean of {members} heads{f', {folds} folds' if folds > 1 else ''}" if members > 1 else "one head"

    @property
    def label(self) -> str:
        """In a legend."""
        return f"{self.title} {self.result.family}"

    @property
    def facts(self) -> dict:
        """What summary.json and models.csv say of it."""
        return {"backbone": self.result.backbone, "random_weights": self.result.random_weights,
                "features": self.detail, "head": self.result.head, "doubt": self.result.doubt}  # fmt: skip

    @property
    def is_chosen(self) -> pd.Series:
        """Which row of `settings` it is."""
        return (self.settings["head"] == self.result.head) & (self.settings.inputs == self.result.inputs)

    @property
    def diverged(self) -> int:
        """Settings with a member whose loss stopped being finite."""
        return int((self.settings.diverged > 0).sum())

    @property
    def finite(self) -> pd.DataFrame:
        """Settings that could have been chosen."""
        return self.settings[np.isfinite(self.settings.val_auc) & np.isfinite(self.settings.val_loss)]

    @property
    def trained(self) -> pd.DataFrame:
        """Settings that were trained by gradient, diverged ones included."""
        return self.settings[self.settings.family.isin(trained_families())]


def trained_families() -> dict[str, type[Family]]:
    """Those whose heads are trained by gradient and have curves, by name."""
    return {family: kind for family, kind in FAMILIES.items() if kind.by_gradient}


def read_sweep(folder: Path, result: SweepResult) -> Sweep:
    """The tables of a finished run folder."""
    settings = runs.read_table(folder / "leaderboard.csv", ("inputs", "head", "val_auc", "val_loss", "family"))
    settings["kind"] = settings.family
    if "estimator" in settings:
        settings["kind"] = settings.estimator.str.rpartition(".")[2].fillna(settings.family)
    scores = read_scores(folder / "scores-inputs.csv", ()).set_index("path")
    config = runs.read_json(folder / "config.json")
    curves = runs.read_table(folder / "curves.csv", CURVE)
    return Sweep(result, settings, curves, scores, config["one_se"], _unseen(folder, result))


def _unseen(folder: Path, result: SweepResult) -> pd.DataFrame | None:
    """What heads say of each generator that saw it in training, and that did not."""
    if not result.candidates:
        return None
    names = [f"{word}_{side}" for word in result.candidates for side in SIDES]
    return read_scores(folder / UNSEEN_FILE, names)


def leaders(sweep: Sweep) -> pd.DataFrame:
    """The best of each family on each choice of inputs, filled up with the next best; the chosen one always there."""
    found = sweep.finite.assign(chosen=sweep.is_chosen)
    rank = found.groupby(["inputs", "kind"]).cumcount()
    first = found.assign(rank=rank).sort_values(["chosen", "rank"], ascending=[False, True], kind="stable")
    return first.head(SHOWN).sort_index()
