"""DATA -> a listing: which files, which label, which split, before a single one is opened.

folder of class folders       real/ fake/, alone or under train/, valid/, test/; a folder in fake/ names a generator
folder with CSVs              train.csv valid.csv test.csv with `path` and `label` (1 = real, 0 = fake)
class folders + data.csv      `images_id` (or id, path) and `label`: checked against the folders
manifest                      a CSV with `path` and `label`; split, group and digest are taken over
folder with manifest.csv      the same, as `make unpack` writes it

valid, val, validation, validate and dev are one word. What is not taken is counted, and what could be meant in two
ways is refused.
"""

import functools
import io
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cache.errors import UserError
from data.disk import OTHER_ENDING, SUFFIXES, BadImageError, Named, read_file, stamp, walk
from data.manifest import LABELS

CODES = {"1": "real", "0": "fake"}  # the Kaggle sets' convention, translated here and nowhere else
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("valid", "val", "validation", "validate", "dev"),
    "test": ("test",),
}
SPLIT_WORDS = {word: split for split, words in SPLIT_NAMES.items() for word in words}
IMAGE_ROOTS = ("real_vs_fake/real-vs-fake", "real_vs_fake/real_vs_fake", "real-vs-fake", ".")
ID_COLUMNS = ("images_id", "image_id", "id", "path", "filename")
MANIFEST = "manifest.csv"  # beside images; one with a JSON beside it is of data/ and has its images elsewhere
LONGEST_PATH = 4096  # bytes; no system opens more
LONGEST_CELL = 131_072  # characters; a longer one is a quotation mark that was not closed, or no table
INNER_SPLIT = "split that a folder inside of a class names"
EXPECTED = (
    "Expected class folders real/ and fake/ (alone or under train/, valid/, test/), "
    "or train.csv, valid.csv and test.csv, or a manifest CSV."
)


@dataclass(frozen=True)
class Listing:
    """rows: path, label, split ('' = not given), every further column of a CSV, and `generator` where folders name it.

    ignored: what was left out, in words -> how many files. outside: rows whose file lies, by a link, outside of root.
    stamps (N, 2) int64: size in bytes and time of the last change in ns of each file, -1 where there is none.
    """

    root: Path
    rows: pd.DataFrame
    ignored: dict[str, int] = field(default_factory=dict)
    outside: int = 0
    stamps: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))


@dataclass(frozen=True)
class Csvs:
    """The CSV of each split, relative to DATA; '' = the default name if it is there."""

    train: str = ""
    val: str = ""
    test: str = ""


def list_images(data: Path, *, root: str, csvs: Csvs) -> Listing:
    """Find the images of DATA in any of the layouts above.

    Raises:
        UserError: nothing there, no layout recognised, columns missing, labels that contradict each other,
            a path that leaves the root.
    """
    if not os.path.exists(data):
        raise UserError(f"DATA={data}: no such folder or file (looked for {os.path.realpath(data)})")
    listing = _from_csvs(data, root, csvs) or _from_folders(data)
    if listing is None:
        raise UserError(f"DATA={data}: {_what_is_there(data)}. {EXPECTED}{_hint(data)}")
    rows = listing.rows
    twice = rows.path[rows.path.duplicated()]
    if len(twice):
        raise UserError(f"DATA={data}: {len(twice)} paths are listed twice, first {twice.iloc[0]}")
    return _looked_at(listing)


def _from_csvs(data: Path, root: str, csvs: Csvs) -> Listing | None:
    if (data / MANIFEST).is_file() and not (data / MANIFEST).with_suffix(".json").exists() and csvs == Csvs():
        data = data / MANIFEST
    if data.is_file():
        rows = _read_csv(data)
        return _checked(Path(root) if root else data.parent, rows, data)
    named = {"train": csvs.train, "val": csvs.val, "test": csvs.test}
    found = {split: data / name if name else _default_csv(data, split) for split, name in named.items()}
    if not any(named.values()) and not found["train"]:
        return None
    tables = [_read_csv(path).assign(split=split) for split, path in found.items() if path]
    rows = pd.concat(tables, ignore_index=True).fillna("")
    return _checked(Path(root) if root else _image_root(data, rows), rows, data)


def _default_csv(data: Path, split: str) -> Path | None:
    found = [path for path in (data / f"{word}.csv" for word in SPLIT_NAMES[split]) if path.exists()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        variable = {"train": "TRAIN_CSV", "val": "VALID_CSV", "test": "TEST_CSV"}[split]
        raise UserError(f"DATA={data}: {names} could each be the {split} split: say which with {variable}=...")
    return found[0] if found else None


def _read_csv(path: Path) -> pd.DataFrame:
    table = _table(path)
    for column in ("path", "label"):
        if column not in table:
            raise UserError(f"{path}: no column {column!r}; found {', '.join(table.columns)}")
    if not len(table):
        raise UserError(f"{path}: no rows")
    table["label"] = _words(table, path)
    return table


def _table(path: Path) -> pd.DataFrame:
    """A CSV as text, '' where a cell is empty.

    Raises:
        UserError: it is none, or one that would be read as something else than is written there.
    """
    try:
        content, _ = read_file(path)
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except BadImageError as error:
        raise UserError(f"no such CSV: {path}" if error.status == "missing" else f"{path}: {error}") from error
    except ValueError as error:  # of pandas, and of text that is no UTF-8
        raise UserError(f"{path} cannot be read as CSV: {error}") from error
    if b"\0" in content:
        raise UserError(f"{path} holds NUL bytes, so it is no CSV in UTF-8: save it as one")
    if not isinstance(table.index, pd.RangeIndex):  # pandas has taken the first column for names of rows
        raise UserError(f"{path} line 2: more cells than the {len(table.columns)} columns of the first line")
    for name in table:
        long = table[name].str.len() > LONGEST_CELL
        if long.any():
            raise UserError(
                f"{path}: row {int(long.argmax()) + 1} has a cell of over {LONGEST_CELL:,} characters in {name!r}"
            )
    return table


def _words(table: pd.DataFrame, path: Path) -> pd.Series:
    """`label` as real or fake, checked against `label_str` and the class folder in the path."""
    words = table.label.str.strip().str.lower()
    words = words.map(lambda word: CODES.get(word.removesuffix(".0"), word))
    unknown = ~words.isin(LABELS)
    if unknown.any():
        row = int(unknown.idxmax())
        raise UserError(f"{path} line {row + 2}: label {table.label[row]!r}; expected 1 or real, 0 or fake")
    witnesses = {"the class folder in its path": table.path.map(_folder_label)}
    if "label_str" in table:
        witnesses["label_str"] = table.label_str.str.strip().str.lower()
    for name, says in witnesses.items():
        conflict = (says != "") & (says != words)
        if conflict.any():
            lines = [f"  line {row + 2}: {table.path[row]} label {words[row]}" for row in table.index[conflict][:10]]
            raise UserError(
                f"{path}: in {int(conflict.sum())} rows `label` (1 = real, 0 = fake) and {name} disagree:\n"
                + "\n".join(lines)
            )
    return words


def _folder_label(path: str) -> str:
    """The class folder an image lies in, '' if its path names none."""
    return next((part.lower() for part in reversed(PurePosixPath(path).parts[:-1]) if part.lower() in LABELS), "")


def _image_root(data: Path, rows: pd.DataFrame) -> Path:
    """The first known place below DATA where the listed images are."""
    some = rows.path.iloc[:: max(1, len(rows) // 20)]
    for name in IMAGE_ROOTS:
        if any(os.path.exists(data / name / path) for path in some):
            return data / name
    raise UserError(
        f"DATA={data}: none of the listed images is there, for example {rows.path.iloc[0]}; "
        f"looked under {', '.join(IMAGE_ROOTS)}. Give the folder their paths start from with ROOT=..."
    )


def _checked(root: Path, rows: pd.DataFrame, source: Path) -> Listing:
    if not root.is_dir():
        raise UserError(f"ROOT={root}: no such folder")
    split = rows.get("split", pd.Series("", index=rows.index)).map(lambda word: SPLIT_WORDS.get(word, word))
    unknown = ~split.isin({"", *SPLIT_WORDS.values()})
    if unknown.any():
        raise UserError(f"{source}: split {split[unknown].iloc[0]!r}; expected train, val or test")
    paths = [_inside(root, path, source) for path in rows.path]
    return Listing(root.resolve(), rows.assign(path=paths, split=split))


def _inside(root: Path, path: str, source: Path) -> str:
    """`path` relative to the root; absolute paths below the root are taken too."""
    given = PurePosixPath(path.strip())
    if given.is_absolute() and given.is_relative_to(root.resolve()):
        given = given.relative_to(root.resolve())
    if len(path.encode()) > LONGEST_PATH:
        raise UserError(f"{source}: a path of {len(path.encode()):,} bytes, over {LONGEST_PATH:,}: {path[:60]}...")
    if given.is_absolute() or ".." in given.parts or not given.parts:
        raise UserError(f"{source}: the path {path!r} leaves the image root {root.resolve()}")
    return str(given)


def _looked_at(listing: Listing) -> Listing:
    """The listing with the stamps of its files, and how many of them lie, by a link, outside of its root."""
    top = os.path.join(os.path.realpath(listing.root), "")
    inside = functools.cache(lambda folder: os.path.join(os.path.realpath(folder), "").startswith(top))
    stamps, outside, above = [], 0, f"{listing.root}/"
    for path in listing.rows.path.to_numpy(object):  # a column of text is ten times as slow to go through
        file = above + path
        found, link = stamp(file)
        stamps.append(found)
        outside += not (os.path.realpath(file).startswith(top) if link else inside(file.rpartition("/")[0]))
    return replace(listing, stamps=np.array(stamps, np.int64), outside=outside)


def _from_folders(data: Path) -> Listing | None:
    if not data.is_dir():
        return None
    places = _places(data)
    found, ignored = [], _beside(data, places)
    for split, place in places:
        for folder in _class_folders(place):
            label, inner = folder.name.lower(), len(str(folder.relative_to(data))) + 1
            above = len(str(folder)) + 1 - inner
            for each in walk(str(folder), hidden=True):
                path = each.path[above:]  # without pathlib, which takes longer than all the rest
                if why := _why_not(each, path):
                    ignored[why] += 1
                    continue
                ignored[INNER_SPLIT] += not split and any(word.lower() in SPLIT_WORDS for word in path.split("/")[1:-1])
                found.append((path, label, split, _generator(path[inner:]) if label == "fake" else ""))
    if not found:
        return None
    rows = pd.DataFrame(found, columns=["path", "label", "split", "generator"])
    if not rows.generator.any():
        rows = rows.drop(columns="generator")
    if (data / "data.csv").exists():
        _check_data_csv(data / "data.csv", rows)
    return Listing(data.resolve(), rows, dict(+ignored))


def _generator(path: str) -> str:
    """The folder in fake/ that an image lies in, called as what made it; '' where there is none, or it is a split's."""
    folder, below, _ = path.partition("/")
    return folder if below and folder.lower() not in SPLIT_WORDS else ""


def _places(data: Path) -> list[tuple[str, Path]]:
    """Split and folder of the class folders: those of the splits, or DATA itself.

    Raises:
        UserError: both hold images.
    """
    splits = [(SPLIT_WORDS[d.name.lower()], d) for d in _folders(data) if d.name.lower() in SPLIT_WORDS]
    inside = [folder for _, place in splits for folder in _class_folders(place) if _holds_images(folder)]
    alone = [folder for folder in _class_folders(data) if _holds_images(folder)]
    if alone and inside:
        raise UserError(
            f"DATA={data}: images in {alone[0].name}/ and in {inside[0].relative_to(data)}/, so their split could be "
            "given or not. Put one of them elsewhere, or list the images in a CSV with path, label and split."
        )
    return splits if inside else [("", data)]


def _beside(data: Path, places: list[tuple[str, Path]]) -> Counter:
    """Images in DATA and its splits that lie in no class folder: where -> how many."""
    folders = {data, *(place for _, place in places)}
    known = folders.union(*(_class_folders(place) for _, place in places))
    ignored: Counter = Counter()
    for place in sorted(folders):
        for path in sorted(place.iterdir()):
            if path.is_dir() and path not in known and not path.name.startswith("."):
                ignored[f"image in {path.relative_to(data)}/"] += sum(not each.status for each in walk(str(path)))
            elif path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
                ignored[f"image in no class folder of {place.name}/"] += 1
    return ignored


def _why_not(each: Named, path: str) -> str:
    """What is said of a file that is not taken, '' of one that is; its path below DATA must fit into a CSV."""
    if each.reason == OTHER_ENDING:
        return f"ending {PurePosixPath(path).suffix or 'of no kind'}"
    return each.reason or ("" if path.encode(errors="ignore").decode() == path else "name that is not UTF-8")


def _holds_images(folder: Path) -> bool:
    return any(not each.status for each in walk(str(folder), hidden=True))


def _check_data_csv(path: Path, rows: pd.DataFrame) -> None:
    """Raises: UserError where the CSV of ids and labels and the class folders contradict each other."""
    table = _table(path)
    ids = next((column for column in ID_COLUMNS if column in table), None)
    if ids is None or "label" not in table:
        raise UserError(f"{path}: expected columns images_id and label; found {', '.join(table.columns)}")
    said = _by_stem(table[ids], table.label.str.strip().str.lower().map(lambda word: CODES.get(word, word)))
    folders = _by_stem(rows.path, rows.label)
    wrong = sorted(name for name in said.keys() & folders.keys() if said[name] != folders[name])
    if wrong:
        lines = "\n".join(f"  {name}: {said[name]} in the CSV, {folders[name]} by its folder" for name in wrong[:10])
        raise UserError(f"{path}: {len(wrong)} labels contradict the class folders:\n{lines}")
    lost = sorted(said.keys() - folders.keys())
    if lost:
        raise UserError(f"{path} lists {len(lost)} images that no class folder holds, first {', '.join(lost[:5])}")


def _by_stem(paths: pd.Series, labels: pd.Series) -> dict[str, str]:
    """Label by file name without folder and ending: how such CSVs name an image."""
    return {PurePosixPath(path).stem: label for path, label in zip(paths, labels, strict=True)}


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{place} cannot be read: {error.strerror or error}") from error


def _class_folders(place: Path) -> list[Path]:
    return [path for path in _folders(place) if path.name.lower() in LABELS]


def _what_is_there(data: Path) -> str:
    if not data.is_dir():
        return "neither a folder nor a file"
    names = sorted(path.name for path in data.iterdir())
    if not names:
        return "the folder is empty"
    some = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return f"found {len(names)} entries ({some}) but no images in a known layout"


def _hint(data: Path) -> str:
    inner = (
        [path for path in _folders(data) if _class_folders(path) or (path / "train.csv").exists()]
        if data.is_dir()
        else []
    )
    return f" Did you mean DATA={inner[0]}?" if inner else ""
