"""The tables beside the images, from the journals of their archives: what is there, without a label, and left out."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pandas as pd

from cache.atomic import remove, write_json
from cache.errors import UserError, printable
from cache.progress import spaced
from cache.runs import write_table
from data.labels import LABELS
from data.unpack.journal import Journal, Row

MANIFEST, UNLABELLED, LEFT_OUT, ABOUT = "manifest.csv", "unlabelled.csv", "left_out.csv", "unpack.json"
COLUMNS = ["path", "label", "split", "group", "generator"]
WHERE_KNOWN = COLUMNS[2:]  # columns that are there where one image has something in them
REST = "the rest of the file"
FEW = 5  # reasons that are named on the console


def is_written(out: Path, identity: str) -> bool:
    """Whether the tables of just these archives are there."""
    return _said_of(out).get("key") == identity and (out / LEFT_OUT).exists()


def write_tables(out: Path, journals: Sequence[Journal], *, identity: str, ignored: dict[str, int]) -> None:
    """Write them, unpack.json last.

    Raises:
        UserError: there is not one image.
    """
    remove(out / ABOUT)
    rows, left = _entries(journals)
    write_table(out / LEFT_OUT, left)
    if not len(rows):
        raise UserError(f"not one image could be unpacked: {_told(left)}. {out / LEFT_OUT} lists all")
    named = rows.drop(columns=[name for name in WHERE_KNOWN if not rows[name].any()])
    tables = {MANIFEST: named[rows.label != ""], UNLABELLED: named[rows.label == ""].drop(columns="label")}
    for name, table in tables.items():
        if len(table):
            write_table(out / name, table)
        else:
            remove(out / name)
    counts = {"images": len(rows), "unlabelled": len(tables[UNLABELLED]), "files": len(journals), "left_out": len(left),
              **{label: int((rows.label == label).sum()) for label in LABELS}, "why": _told(left)}  # fmt: skip
    write_json(out / ABOUT, {"key": identity, **counts, "ignored": ignored})


def say_complete(out: Path) -> None:
    """What was there already, in one line."""
    said = _said_of(out)
    left = f", {spaced(said['left_out'])} left out" if said["left_out"] else ""
    print(f"unpack: complete, {_there(out, said, left)}")


def say(out: Path) -> None:
    """What is there now, and what is not."""
    said = _said_of(out)
    print(f"unpack: {_there(out, said)}")
    if said["images"] > said["unlabelled"]:
        print(f"next: make data DATA={out}")
    if said["unlabelled"]:
        cure = "class folders, a column or CLASSES tell it"
        print(f"  {spaced(said['unlabelled'])} without a label, in {UNLABELLED}: {cure}")
    if said["left_out"]:
        print(f"  left out: {said['why']}; {LEFT_OUT} lists all")
    if said["ignored"]:
        print(f"  ignored: {', '.join(f'{count} x {what}' for what, count in said['ignored'].items())}")


def _there(out: Path, said: dict[str, Any], left: str = "") -> str:
    file = MANIFEST if said["images"] > said["unlabelled"] else UNLABELLED
    files = f"{spaced(said['files'])} file{'s' * (said['files'] != 1)}"
    kinds = ", ".join(f"{spaced(said[label])} {label}" for label in LABELS if said.get(label))
    return f"{spaced(said['images'])} images of {files}{f' ({kinds})' * bool(kinds)}{left} -> {out / file}"


def _entries(journals: Sequence[Journal]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Images, a row each, and what was left out with its reason."""
    rows, left = [], []
    for journal in journals:
        for entry in journal.entries():
            if isinstance(entry, Row):
                rows.append(astuple(entry)[1 : 1 + len(COLUMNS)])
            else:
                left.append(
                    (printable(str(journal.archive.file)), entry.name if entry.number >= 0 else REST, entry.reason)
                )
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(left, columns=["source", "item", "reason"])


def _told(left: pd.DataFrame) -> str:
    """Reasons, the commonest first, each with the first that it holds for."""
    counts = Counter(left.reason)
    first = left.drop_duplicates("reason").set_index("reason")
    told = [f"{count} x {reason} (first {first.source[reason]}, {first['item'][reason]})"
            for reason, count in counts.most_common(FEW)]  # fmt: skip
    more = len(counts) - FEW
    return "; ".join([*told, *([f"{more} further reasons"] if more > 0 else [])])


def _said_of(out: Path) -> dict[str, Any]:
    """unpack.json; nothing where there is none that can be read."""
    try:
        said = json.loads((out / ABOUT).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
