"""Splits by hash of the group, so that adding images moves nobody and an image's copies stay together."""

import hashlib

import numpy as np
import pandas as pd

VAL_OF_TRAIN = 0.25  # share of the training groups that become validation where a data set has none


def place(group: str) -> float:
    """Where a group falls in [0, 1): a function of its name alone."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def by_hash(groups: pd.Series) -> np.ndarray:
    """60/20/20 train, val, test for a column of group names, (N,) of words."""
    places = groups.map(place)
    return np.select([places < 0.6, places < 0.8], ["train", "val"], "test")


def with_validation(splits: pd.Series, groups: pd.Series) -> pd.Series:
    """Where nothing is marked val, a quarter of the training groups becomes it; else unchanged."""
    if (splits == "val").any():
        return splits
    chosen = (splits == "train") & (groups.map(place) < VAL_OF_TRAIN)
    return splits.where(~chosen, "val")
