"""What a layout is asked, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from data.labels import Classes


@dataclass(frozen=True)
class Csvs:
    """The CSV of each split, relative to DATA; '' = the default name if it is there."""

    train: str = ""
    val: str = ""
    test: str = ""


@dataclass(frozen=True)
class Source:
    """DATA, and what the options say of it.

    root: where the paths in a list start, '' = to be found. classes: which names stand for which class. one: the class
    that the number 1 stands for, '' = not said.
    """

    data: Path
    root: str = ""
    csvs: Csvs = Csvs()
    classes: Classes = field(default_factory=Classes)
    one: str = ""


@dataclass(frozen=True)
class Listing:
    """rows: path, label, split ('' = not given), every further column of a list, and `generator` where folders name it.

    ignored: what was left out, in words -> how many files. outside: rows whose file lies, by a link, outside of root.
    stamps (N, 2) int64: size in bytes and time of the last change in ns of each file, -1 where there is none.
    """

    root: Path
    rows: pd.DataFrame
    ignored: dict[str, int] = field(default_factory=dict)
    outside: int = 0
    stamps: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))


Layout = Callable[[Source], Listing | None]  # None: it is another layout
