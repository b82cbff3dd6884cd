"""Saved scores, as every stage writes them: path, digest, label, group, score. Their one writer and one reader."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from cache.errors import UserError
from cache.key import file_digest
from cache.runs import DamagedRun, is_sealed, read_table, write_table
from data.manifest import LABELS

ABOUT = ["path", "digest", "label", "group"]  # columns of an image, text all


@dataclass(frozen=True)
class Predictions:
    """paths (N,) text, scores (N,) float64: logits of fake, fake (N,) bool, groups (N,) text.

    digests (N,) text, of the images' files; empty where they are not known.
    """

    paths: np.ndarray
    scores: np.ndarray
    fake: np.ndarray
    groups: np.ndarray
    digests: np.ndarray = field(default_factory=lambda: np.empty(0, object))


def predictions_file(folder: Path, split: str) -> Path:
    """Where a run has its scores of a split, if it scored it."""
    return folder / f"predictions-{split}.csv"


def write_predictions(path: Path, rows: pd.DataFrame, **scores: np.ndarray) -> None:
    """Write what was said of some images.

    Args:
        rows: of a manifest, N. scores: column -> (N,) logits of fake.
    """
    write_table(path, rows[ABOUT].assign(**scores))


def validation_digest(run: Path) -> str:
    """sha256 of the validation scores of a finished sweep or training: tells it from one made anew under its name.

    Raises:
        UserError: it has lost them.
    """
    file = predictions_file(run, "val")
    if not file.exists():
        raise UserError(f"{run} has no {file.name}: delete the folder and make the run again")
    return file_digest(file)


def read_predictions(path: Path) -> Predictions | None:
    """What a run saved of one split or data set; None where it has none.

    Raises:
        DamagedRun: as read_scores, or the run had them and they are gone.
    """
    if not path.exists() and not is_sealed(path):
        return None
    table = read_scores(path)
    return Predictions(
        table.path.to_numpy(object), table.score.to_numpy(float), (table.label == "fake").to_numpy(),
        table.group.to_numpy(object), table.digest.to_numpy(object),
    )  # fmt: skip


def read_scores(path: Path, names: Collection[str] = ("score",)) -> pd.DataFrame:
    """The table itself, a row an image: the columns ABOUT, and scores by one name or, of perturbed copies, several.

    Raises:
        DamagedRun: it is gone or is not what the run wrote; a column is missing; a label is neither real nor fake.
    """
    kinds = dict.fromkeys(ABOUT, str) | dict.fromkeys(names, float)
    table = read_table(path, kinds, dtype=kinds | {"generator": str}, keep_default_na=False)
    strange = set(table.label) - set(LABELS)
    if strange:
        raise DamagedRun(path, f"a label is {min(strange)!r}, neither real nor fake")
    return table
