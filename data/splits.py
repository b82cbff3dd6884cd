"""Splits by hash of the group, so that adding images moves nobody and an image's copies stay together.

A rule that never moves anybody, whichever images are added, places each group by its name alone: what it says of a
group among others it must have said when the group was alone. So it cannot also see to the share of each class, which a
small set then misses. What can be chosen is the hash: where the plain one leaves a class too small in a split, another
salt is taken when the data set is made, and kept with its manifest. Images that are added later are placed by the same
hash, and move nobody.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from data.labels import LABELS

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
OF_TRAIN = {"val": 0.25, "train": 0.75}  # of the training groups, where a data set has no validation
UNEVEN = 0.25  # of what a split should have of a class: it may be off by as much
SALTS = 100
MANY = 5000  # groups of a class that any hash spreads evenly
ENOUGH = 30  # images of a class; the standard error of an AUC of .9 is .04 then (Hanley and McNeil, 1982), and grows


def place(group: str, salt: int = 0) -> float:
    """Where a group falls in [0, 1): a function of its name and the salt alone; 0 is none."""
    text = f"{salt} {group}" if salt else group
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def settled(given: pd.Series, groups: pd.Series, salt: int = 0) -> pd.Series:
    """The split of every image: as it is given, and where it is not ('') by hash of its group.

    Where nothing is marked val, a quarter of the training groups becomes it.
    """
    splits = given.copy()
    free = given == ""
    splits[free] = _by_hash(groups[free], SHARES, salt)
    if not (splits == "val").any():
        train = splits == "train"
        splits[train] = _by_hash(groups[train], OF_TRAIN, salt)
    return splits


def salt_for(given: pd.Series, groups: pd.Series, labels: pd.Series) -> int:
    """The first salt with which each split has its share of each class, 0 being none; else the best of those tried."""
    free, shares = given == "", SHARES
    if not free.any():
        free, shares = given == ("" if (given == "val").any() else "train"), OF_TRAIN
    table = pd.crosstab(groups[free], labels[free])
    table = table.loc[:, (table > 0).sum() < MANY]
    table = table[(table > 0).any(axis=1)]
    names, counts = table.index, table.to_numpy()
    expected = np.outer(list(shares.values()), counts.sum(axis=0))

    def off(salt: int) -> float:
        """The largest share by which a split misses what it should have of a class."""
        splits = _by_hash(names, shares, salt)
        found = np.array([counts[splits == split].sum(axis=0) for split in shares])
        return float((np.abs(found - expected) / expected).max(initial=0))

    tried: dict[int, float] = {}
    while len(tried) < SALTS and min(tried.values(), default=1) > UNEVEN:
        tried[len(tried)] = off(len(tried))
    return min(tried, key=tried.__getitem__)


def warnings(counts: dict[str, dict[str, int]]) -> dict[str, str]:
    """Split -> what to say of it where it is there and has too few images of a class to choose or to judge by."""
    what = {"val": "to choose among settings", "test": "to judge by"}
    both = all(sum(each[label] for each in counts.values()) for label in LABELS)  # else the audit says so
    few = [split for split in what if both and any(counts[split].values()) and min(counts[split].values()) < ENOUGH]
    return {split: _warning(split, counts[split], what[split]) for split in few}


def _warning(split: str, counts: dict[str, int], purpose: str) -> str:
    there = " and ".join(f"{counts[label]} {label}" for label in LABELS)
    cure = " Take more, or FOLDS=5, which chooses by the training images too." if split == "val" else ""
    return f"Few images {purpose}: {split} has {there}; with fewer than {ENOUGH} of a class chance decides much.{cure}"


def _by_hash(groups: Iterable[str], shares: dict[str, float], salt: int) -> np.ndarray:
    """The split of each group, (N,) of words: the shares one after another on [0, 1)."""
    ends = np.cumsum(list(shares.values()))[:-1]
    places = [place(group, salt) for group in groups]
    return np.array(list(shares), object)[np.searchsorted(ends, places, side="right")]
