"""Which images a head is trained on and which it is judged by: the given split, or k folds of train and val together.

Folds ride in one pass over the features: every head carries a weight for each row, 0 where the row is held out.
"""

from dataclasses import dataclass

import numpy as np

from cache.errors import UserError
from data.manifest import Manifest


@dataclass(frozen=True)
class Folds:
    """trained, held_out: (F, N) bool over the manifest's rows. A row of the test split is in neither.

    groups: (N,) int64; rows of one group are no evidence for one another.
    """

    trained: np.ndarray
    held_out: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.trained)

    @property
    def rows(self) -> np.ndarray:
        """Rows that any fold trains on, (n,) int64."""
        return np.flatnonzero(self.trained.any(axis=0))

    @property
    def judged(self) -> np.ndarray:
        """Rows that some fold holds out, (n,) int64."""
        return np.flatnonzero(self.held_out.any(axis=0))


def cut(manifest: Manifest, count: int) -> Folds:
    """count = 1: the manifest's own train and val. More: train and val joined and cut anew, groups kept together.

    Raises:
        UserError: a side without both classes, or fewer groups of a class than folds.
    """
    if count == 1:
        folds = Folds(*(_mask(manifest, split)[None] for split in ("train", "val")), _numbered(manifest.group))
    else:
        folds = _stratified(manifest, count)
    for number, sides in enumerate(zip(folds.trained, folds.held_out, strict=True)):
        for rows, side in zip(sides, ("train", "val"), strict=True):
            _refuse_one_class(manifest, rows, f"the {side} split" if count == 1 else f"fold {number} ({side} side)")
    return folds


def _mask(manifest: Manifest, split: str) -> np.ndarray:
    return manifest.split == split


def _stratified(manifest: Manifest, count: int) -> Folds:
    rows = np.flatnonzero(_mask(manifest, "train") | _mask(manifest, "val"))
    groups, fake = manifest.group[rows], manifest.fake[rows]
    for label, of_label in (("real", ~fake), ("fake", fake)):
        found = len(set(groups[of_label]))
        if found < count:
            raise UserError(
                f"FOLDS={count}: {manifest.dataset} has only {found} groups of {label} images in train and val, and a "
                f"group stays in one fold. Use FOLDS={found} or fewer, or give more images."
            )
    held_out = np.zeros((count, len(manifest)), bool)
    held_out[:, rows] = stratified(fake, groups, count)
    return Folds(held_out.any(axis=0) & ~held_out, held_out, _numbered(manifest.group))


def stratified(fake: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Rows (n,) cut into `count` parts alike in their share of fakes, groups kept together: (count, n) bool."""
    held_out = np.zeros((count, len(fake)), bool)
    from sklearn.model_selection import StratifiedGroupKFold  # seconds to import, and a given split is not cut

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    for part, (_, held) in zip(held_out, splitter.split(fake, fake, groups), strict=True):
        part[held] = True
    return held_out


def _numbered(groups: np.ndarray) -> np.ndarray:
    """Names (N,) -> (N,) int64."""
    return np.unique(groups.astype(str), return_inverse=True)[1]


def _refuse_one_class(manifest: Manifest, rows: np.ndarray, where: str) -> None:
    fake = int(manifest.fake[rows].sum())
    if not 0 < fake < rows.sum():
        raise UserError(
            f"{manifest.dataset}: {where} holds {int(rows.sum()) - fake} real and {fake} fake images; both are "
            "needed. Give more images, another split in the CSVs or folders, or another number of FOLDS."
        )
