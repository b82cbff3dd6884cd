"""DATA -> a listing: which files, which label, which split, before a single one is opened.

Each layout is asked in turn, those of plugins first. What is not taken is counted, and what could be meant in two ways
is refused.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cache.errors import UserError
from data.disk import SUFFIXES, stamp
from data.labels import LABELS
from data.layouts import class_folders, csv_tables, deepfakebench
from data.layouts.base import Layout, Listing, Source
from data.naming import suggestion

LAYOUTS: dict[str, Layout] = {
    "DeepfakeBench's lists": deepfakebench.listing,
    "CSV tables": csv_tables.listing,
    "class folders": class_folders.listing,
}
EXPECTED = (
    "Expected class folders real/ and fake/ (or other words for the two, alone, under train/, valid/, test/, or in a "
    "folder for each generator), or train.csv, valid.csv and test.csv, or a CSV or one of DeepfakeBench's JSON lists."
)


def register(name: str) -> Callable[[Layout], Layout]:
    """Take a function into LAYOUTS, before all that are there.

    Raises:
        UserError: there is one of this name.
    """
    if name in LAYOUTS:
        raise UserError(f"there is a layout {name!r} already: give yours another name")

    def registered(layout: Layout) -> Layout:
        before = dict(LAYOUTS)
        LAYOUTS.clear()
        LAYOUTS.update({name: layout, **before})
        return layout

    return registered


def list_images(source: Source) -> Listing:
    """Find the images of DATA in any of the layouts.

    Raises:
        UserError: nothing there, no layout recognised, columns missing, labels that contradict each other or that
            nobody can read, a path that leaves the root.
    """
    data = source.data
    if not os.path.exists(data):
        looked = f"looked for {os.path.realpath(data)}"
        raise UserError(f"DATA={data}: no such folder or file ({looked}).{suggestion(str(data))}")
    if data.suffix.lower() in SUFFIXES and data.is_file():
        raise UserError(
            f"DATA={data} is an image: expected a folder or a list. A run judges it: make predict IMAGES={data}"
        )
    found = next(filter(None, (layout(source) for layout in LAYOUTS.values())), None)
    if found is None:
        raise UserError(f"DATA={data}: {_what_is_there(data)}. {EXPECTED}{class_folders.hint(data)}")
    _check(found, data)
    return _looked_at(found)


def _check(listing: Listing, data: Path) -> None:
    """Raises: UserError for what no manifest can hold, whichever layout has found it."""
    rows = listing.rows
    wrong = rows.label[~rows.label.isin(LABELS)]
    if len(wrong):
        raise UserError(f"DATA={data}: label {wrong.iloc[0]!r}; expected real or fake")
    twice = rows.path[rows.path.duplicated()]
    if len(twice):
        raise UserError(f"DATA={data}: {len(twice)} paths are listed twice, first {twice.iloc[0]}: leave each out once")


def _looked_at(listing: Listing) -> Listing:
    """The listing with the stamps of its files, and how many of them lie, by a link, outside of its root."""
    top = os.path.join(os.path.realpath(listing.root), "")
    inside = functools.cache(lambda folder: os.path.join(os.path.realpath(folder), "").startswith(top))
    stamps, outside, above = [], 0, os.path.join(listing.root, "")
    for path in listing.rows.path.to_numpy(object):  # a column of text is ten times as slow to go through
        file = above + path
        found, link = stamp(file)
        stamps.append(found)
        outside += not (os.path.realpath(file).startswith(top) if link else inside(file.rpartition("/")[0]))
    return replace(listing, stamps=np.array(stamps, np.int64), outside=outside)


def _what_is_there(data: Path) -> str:
    if not data.is_dir():
        return "neither a folder nor a file"
    names = sorted(path.name for path in data.iterdir())
    if not names:
        return "the folder is empty"
    some = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return f"found {len(names)} entries ({some}) but no images in a known layout"
