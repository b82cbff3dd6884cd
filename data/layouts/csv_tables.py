"""CSVs of paths and labels.

train.csv valid.csv test.csv    in a folder, as the "140k" set of Kaggle has them; or TRAIN_CSV= VALID_CSV= TEST_CSV=
folder with manifest.csv        as `make unpack` and `make crop` leave it
any.csv                         split, group and generator are taken over; a manifest is one
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from cache.errors import UserError
from data.labels import SPLIT_NAMES, SPLIT_WORDS
from data.layouts.base import Listing, Source
from data.layouts.csv_file import read_table
from data.layouts.csv_labels import LABEL_COLUMNS, MEANS, label_column, labels_of
from data.layouts.roots import common_root, first_there, none_there, paths_below, with_slashes
from data.manifest import Manifest

PATH_COLUMNS = (
    "path", "filepath", "file_path", "image_path", "img_path", "filename", "file_name", "image_name", "img_name",
    "image", "img", "file",
)  # fmt: skip
IMAGE_ROOTS = ("real_vs_fake/real-vs-fake", "real_vs_fake/real_vs_fake", "real-vs-fake", ".")
MANIFEST = "manifest.csv"
VARIABLES = {"train": "TRAIN_CSV", "val": "VALID_CSV", "test": "TEST_CSV"}


def listing(source: Source) -> Listing | None:
    """The images that one CSV lists, or the CSVs of the splits. None for a folder without any.

    Raises:
        UserError: a table that cannot be read, columns missing, labels nobody can read, images that are not there.
    """
    if _is_with_manifest(source):
        source = replace(source, data=source.data / MANIFEST)
    if source.data.is_file():
        rows, kinds = _read(source.data, source)
        root, places = _root_of_manifest(source.data), [source.data.parent]
    else:
        tables = {split: path for split, path in _csvs(source).items() if path}
        if not any(vars(source.csvs).values()) and "train" not in tables:
            return None
        read = {split: _read(path, source) for split, path in tables.items()}
        parts = [table.assign(split=split) for split, (table, _) in read.items()]
        rows = pd.concat(parts, ignore_index=True).fillna("")
        kinds = set().union(*(found for _, found in read.values()))
        root, places = None, [source.data / name for name in IMAGE_ROOTS]
    source.classes.refuse_unused(kinds, f"labels of {source.data}")
    return _checked(rows, Path(source.root) if source.root else root, places, source.data)


def _is_with_manifest(source: Source) -> bool:
    """Whether a list lies beside the images; one with a JSON beside it is of data/ and has its images elsewhere."""
    listed = source.data / MANIFEST
    return listed.is_file() and not listed.with_suffix(".json").exists() and not any(vars(source.csvs).values())


def _csvs(source: Source) -> dict[str, Path | None]:
    """The CSV of each split: as it is named, or the default if it is there."""
    named = vars(source.csvs).items()
    return {split: source.data / name if name else _default_csv(source.data, split) for split, name in named}


def _default_csv(data: Path, split: str) -> Path | None:
    found = [path for path in (data / f"{word}.csv" for word in SPLIT_NAMES[split]) if path.exists()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise UserError(f"DATA={data}: {names} could each be the {split} split: say which with {VARIABLES[split]}=...")
    return found[0] if found else None


def _read(path: Path, source: Source) -> tuple[pd.DataFrame, set[str]]:
    """The rows, with path and label, and what was written for the label."""
    table = read_table(path)
    table = table.rename(columns={name: _small(name) for name in table if _small(name) not in table})
    table = table.rename(columns={_path_column(table, path): "path"})
    column = label_column(table, path)
    if not len(table):
        raise UserError(f"{path}: no rows")
    table["path"] = with_slashes(table.path.str.strip())
    kinds = table[column].str.strip()
    table["label"] = labels_of(table, path, source)
    if source.classes.several("fake") and "generator" not in table:
        named = (table.label == "fake") & kinds.str.lower().isin(list(source.classes.own))
        table["generator"] = kinds.where(named, "")
    return table.drop(columns={column, *MEANS} & set(table) - {"label"}), set(kinds)


def _small(name: str) -> str:
    """Path as path, for the columns that are read here; others keep their names."""
    word = name.strip().lower()
    return word if word in (*PATH_COLUMNS, *LABEL_COLUMNS, "split") else name


def _path_column(table: pd.DataFrame, path: Path) -> str:
    found = [name for name in PATH_COLUMNS if name in table]
    if not found:
        raise UserError(
            f"{path}: no column 'path'; found {', '.join(table.columns)}. It is called path, or one of "
            f"{', '.join(PATH_COLUMNS[1:])}"
        )
    if found[0] != "path" and len(found) > 1:
        names = " and ".join(found)
        raise UserError(f"{path}: the columns {names} could each be the path: call the one that is `path`")
    return found[0]


def _root_of_manifest(path: Path) -> Path | None:
    """Where the images of a manifest are, which its JSON says; None for any other CSV."""
    if path.name != "manifest.csv" or not path.with_suffix(".json").exists():
        return None
    return Manifest.load(path).root


def _checked(rows: pd.DataFrame, root: Path | None, places: list[Path], source: Path) -> Listing:
    """With paths from the root and splits in our words."""
    if root and not root.is_dir():
        raise UserError(f"ROOT={root}: no such folder")
    split = rows.get("split", pd.Series("", index=rows.index)).str.strip().str.lower()
    split = split.map(lambda word: SPLIT_WORDS.get(word, word))
    unknown = ~split.isin({"", *SPLIT_WORDS.values()})
    if unknown.any():
        raise UserError(f"{source}: split {split[unknown].iloc[0]!r}; expected train, val or test")
    root = root or common_root(rows.path) or (places[0] if len(places) == 1 else first_there(places, rows.path))
    if root is None:
        raise none_there(rows.path, places, source)
    rows = rows.assign(path=paths_below(root, rows.path, source), split=split)
    if not first_there([root], rows.path):
        raise none_there(rows.path, [root], source)
    return Listing(root.resolve(), rows)
