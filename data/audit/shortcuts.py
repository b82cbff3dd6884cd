"""How well the classes can be told apart without looking at faces: by trivial numbers, and by the smallest of pictures.

Each is a small model of its own, fitted on four fifths of the images and asked of the rest, five times over, where
images of one group, and near copies, stay together. What it reaches is an AUC with a 95 % interval.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.manifest import STATISTICS
from data.thumbnails import SIDE

LIMIT = 0.65  # AUC; what separates the classes this well explains much of any result
CONTENT_LIMIT = 0.7  # of a thumbnail, which shows how heads are held: a fair set of aligned faces reaches .67 by it
SURE = 0.6  # its lower bound at least: with .5 a fourth of sets of 30 images would be warned of by chance
FOLDS = 5
FEWEST = 10  # families of a class, below which nothing is tried
ENOUGH = 20_000  # images that are tried; more make the interval no shorter than anybody needs
PENALTY = 0.01  # of the squared weights, a share of the images
Z = 1.96  # of a 95 % interval

# Columns of a manifest, in the words of people.
WORDS = {"bytes": "file size", "quantisation": "JPEG compression", "brightness": "brightness",
         "colour": "colourfulness", "sharpness": "sharpness", "width": "width", "height": "height"}  # fmt: skip
FORMAT, TOGETHER, THUMBNAIL = "file format", "all of these together", "a grey thumbnail of 8 x 8 pixels"
STORED = ("JPEG compression", "width", "height", FORMAT)  # how files were made, whatever they show


@dataclass(frozen=True)
class Shortcut:
    """What one trivial thing reaches: AUC with the bounds of a 95 % interval."""

    auc: float
    low: float
    high: float

    def is_strong(self, name: str) -> bool:
        """Whether it is warned of, by its name: it explains much, and is surely no chance."""
        return self.auc >= (CONTENT_LIMIT if name == THUMBNAIL else LIMIT) and self.low > SURE


def try_shortcuts(rows: pd.DataFrame, families: np.ndarray, grey: np.ndarray | None) -> dict[str, Shortcut]:
    """Name -> what it reaches, the strongest first; nothing where a class has too few families.

    Args:
        rows: of a manifest, N. families: (N,) int64; images of one are no evidence for one another.
        grey: (N, 16, 16) uint8 thumbnails, or None where there are none.
    """
    some = np.sort(np.random.default_rng(0).permutation(len(rows))[:ENOUGH])
    rows, families, fake = rows.iloc[some], families[some], (rows.label == "fake").to_numpy()[some]
    if min(len(np.unique(families[fake])), len(np.unique(families[~fake]))) < FEWEST:
        return {}
    tried = dict(_trivial(rows))
    tried[TOGETHER] = np.concatenate([*tried.values(), _products(tried)], axis=1)
    if grey is not None:
        tried[THUMBNAIL] = _quarter(grey[some])
    folds = _folds(families)
    found = {name: _reached(crossed(values, fake, folds), fake, families) for name, values in tried.items()}
    return dict(sorted(found.items(), key=lambda pair: -pair[1].auc))


def crossed(values: np.ndarray, fake: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Scores of each image by a ridge regression on the images of all other folds: values (N, D) -> (N,) float64."""
    scores = np.zeros(len(values))
    for fold in range(FOLDS):
        train, held = folds != fold, folds == fold
        mean, spread = values[train].mean(axis=0), values[train].std(axis=0) + 1e-9
        known, asked = ((values[part] - mean) / spread for part in (train, held))
        goal = np.where(fake[train], 0.5 / max(1, fake[train].sum()), -0.5 / max(1, (~fake[train]).sum()))
        square = known.T @ known / train.sum() + PENALTY * np.eye(known.shape[1])
        scores[held] = asked @ np.linalg.solve(square, known.T @ goal)
    return scores


def auc(values: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve by ranks; nan where a class is absent."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = _ranks(values)
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def _reached(scores: np.ndarray, fake: np.ndarray, families: np.ndarray) -> Shortcut:
    """AUC with the interval of DeLong et al. (1988), over families as Obuchowski (1997) has it."""
    ranks, value = _ranks(scores), auc(scores, fake)
    share = np.empty(len(scores))  # of the other class that an image is ranked rightly against
    share[fake] = (ranks[fake] - _ranks(scores[fake])) / (~fake).sum()
    share[~fake] = 1 - (ranks[~fake] - _ranks(scores[~fake])) / fake.sum()
    parts = (share - value) / np.where(fake, fake.sum(), (~fake).sum())
    error = float(np.sqrt((np.bincount(families, parts) ** 2).sum()))
    return Shortcut(*(round(float(np.clip(each, 0, 1)), 4) for each in (value, value - Z * error, value + Z * error)))


def _trivial(rows: pd.DataFrame) -> Iterable[tuple[str, np.ndarray]]:
    """Name -> (N, D): ranks between -1 and 1 with their squares, so that a middle can be told from both ends."""
    for name in (*STATISTICS, "bytes", "width", "height"):
        ranks = 2 * (_ranks(rows[name].fillna(0).to_numpy(float)) - 0.5) / len(rows) - 1
        yield WORDS[name], np.stack([ranks, ranks**2], axis=1)
    kinds = rows.format.value_counts().index[:FOLDS]
    yield FORMAT, np.stack([(rows.format == kind).to_numpy(float) for kind in kinds], axis=1)


def _products(tried: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of the ranks of each two numbers, (N, D)."""
    ranks = [tried[name][:, 0] for name in WORDS.values()]
    return np.stack([one * other for at, one in enumerate(ranks) for other in ranks[:at]], axis=1)


def _quarter(grey: np.ndarray) -> np.ndarray:
    """Thumbnails at half their size, (N, 16, 16) -> (N, 64) float64."""
    half = SIDE // 2
    return grey.reshape(len(grey), half, 2, half, 2).mean(axis=(2, 4)).reshape(len(grey), -1)


def _folds(families: np.ndarray) -> np.ndarray:
    """The fold of each image, (N,) int64, families whole."""
    names, at = np.unique(families, return_inverse=True)
    return (np.random.default_rng(0).permutation(len(names)) % FOLDS)[at]


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1 on; ties share their mean rank."""
    return pd.Series(values).rank().to_numpy()
