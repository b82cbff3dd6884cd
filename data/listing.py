"""DATA -> a listing: which files, which label, which split, before a single one is opened.

folder of class folders       real/ fake/, alone or under train/, valid|val/, test/
folder with CSVs              train.csv valid.csv test.csv with `path` and `label` (1 = real, 0 = fake)
class folders + data.csv      `images_id` (or id, path) and `label`: checked against the folders
manifest                      a CSV with `path` and `label`; split, group and digest are taken over
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from cache.errors import UserError
from data.images import SUFFIXES
from data.manifest import LABELS

CODES = {"1": "real", "0": "fake"}  # the Kaggle sets' convention, translated here and nowhere else
SPLIT_WORDS = {"train": "train", "training": "train", "valid": "val", "val": "val", "validation": "val", "test": "test"}
IMAGE_ROOTS = ("real_vs_fake/real-vs-fake", "real_vs_fake/real_vs_fake", "real-vs-fake", ".")
ID_COLUMNS = ("images_id", "image_id", "id", "path", "filename")
EXPECTED = (
    "Expected class folders real/ and fake/ (alone or under train/, valid/, test/), "
    "or train.csv, valid.csv and test.csv, or a manifest CSV."
)


@dataclass(frozen=True)
class Listing:
    """rows: path, label, split ('' = not given), and every further column of a CSV. ignored: files skipped."""

    root: Path
    rows: pd.DataFrame
    ignored: int = 0


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
    if not data.exists():
        raise UserError(f"DATA={data}: no such folder or file (looked for {data.resolve()})")
    listing = _from_csvs(data, root, csvs) or _from_folders(data)
    if listing is None:
        raise UserError(f"DATA={data}: {_what_is_there(data)}. {EXPECTED}{_hint(data)}")
    rows = listing.rows
    twice = rows.path[rows.path.duplicated()]
    if len(twice):
        raise UserError(f"DATA={data}: {len(twice)} paths are listed twice, first {twice.iloc[0]}")
    return listing


def _from_csvs(data: Path, root: str, csvs: Csvs) -> Listing | None:
    if data.is_file():
        rows = _read_csv(data)
        return _checked(Path(root) if root else data.parent, rows, data)
    names = {"train": csvs.train, "val": csvs.val, "test": csvs.test}
    if not any(names.values()) and not (data / "train.csv").exists():
        return None
    defaults = {"train": "train.csv", "val": "valid.csv", "test": "test.csv"}
    tables = []
    for split, name in names.items():
        path = data / (name or defaults[split])
        if name or path.exists():
            tables.append(_read_csv(path).assign(split=split))
    rows = pd.concat(tables, ignore_index=True).fillna("")
    return _checked(Path(root) if root else _image_root(data, rows), rows, data)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise UserError(f"no such CSV: {path}") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from error
    for column in ("path", "label"):
        if column not in table:
            raise UserError(f"{path}: no column {column!r}; found {', '.join(table.columns)}")
    if not len(table):
        raise UserError(f"{path}: no rows")
    table["label"] = _words(table, path)
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
        if any((data / name / path).exists() for path in some):
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
    if given.is_absolute() or ".." in given.parts or not given.parts:
        raise UserError(f"{source}: the path {path!r} leaves the image root {root.resolve()}")
    return str(given)


def _from_folders(data: Path) -> Listing | None:
    if not data.is_dir():
        return None
    splits = [(SPLIT_WORDS[d.name.lower()], d) for d in _folders(data) if d.name.lower() in SPLIT_WORDS]
    places = splits if splits and not _class_folders(data) else [("", data)]
    found, ignored = [], 0
    for split, place in places:
        for folder in _class_folders(place):
            images, others = _files(folder)
            ignored += others
            found += [(p.relative_to(data).as_posix(), folder.name.lower(), split) for p in images]
    if not found:
        return None
    rows = pd.DataFrame(found, columns=["path", "label", "split"])
    if (data / "data.csv").exists():
        _check_data_csv(data / "data.csv", rows)
    return Listing(data.resolve(), rows, ignored)


def _check_data_csv(path: Path, rows: pd.DataFrame) -> None:
    """Raises: UserError where the CSV of ids and labels and the class folders contradict each other."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
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
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_folders(place: Path) -> list[Path]:
    return [path for path in _folders(place) if path.name.lower() in LABELS]


def _files(folder: Path) -> tuple[list[Path], int]:
    """Images anywhere below `folder` in a fixed order, and how many other files are there."""
    files = [path for path in _walk(folder) if not path.name.startswith(".")]
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    return images, len(files) - len(images)


def _walk(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _what_is_there(data: Path) -> str:
    if data.is_file():
        return "a file that is no CSV"
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
