"""Saved scores of a run, as every stage writes them: path, digest, label, group, score."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Predictions:
    """paths (N,) text, scores (N,) float64: logits of fake, fake (N,) bool, groups (N,) text."""

    paths: np.ndarray
    scores: np.ndarray
    fake: np.ndarray
    groups: np.ndarray


def predictions_file(folder: Path, split: str) -> Path:
    """Where a run has its scores of a split, if it scored it."""
    return folder / f"predictions-{split}.csv"


def read_predictions(path: Path) -> Predictions | None:
    """What a run saved of one split or data set; None where it has none."""
    if not path.exists():
        return None
    table = pd.read_csv(path, dtype={"path": str, "group": str}, keep_default_na=False)
    return Predictions(
        table.path.to_numpy(object), table.score.to_numpy(float), (table.label == "fake").to_numpy(),
        table.group.to_numpy(object),
    )  # fmt: skip
