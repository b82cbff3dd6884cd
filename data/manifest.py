"""The manifest: one row an image, a CSV with a JSON beside it that says where the images are.

digest        sha256 of the file's bytes, 64 hex digits
path          relative to the root, with forward slashes
label         real or fake
split         train, val or test
group         what must stay in one split together: a video, an identity; by default the image itself
status        ok, or why it cannot be used: missing, empty, unreadable, truncated, enormous; black, leak
note          what was done to a usable image (CMYK, alpha, EXIF), or the reason in full
width, height pixels, after the EXIF rotation; bytes of the file; format as Pillow names it
quantisation  mean of the first JPEG table (0 = no JPEG): a compression shortcut shows here
brightness, colour, sharpness    mean grey level; mean channel range; variance of the Laplacian
generator     what made a fake image, '' where that is not known and for real ones; not in every manifest
...           further columns of a CSV that was given, as text
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from cache.atomic import replacing, write_text
from cache.errors import UserError
from data.labels import LABELS, SPLITS
from data.naming import suggestion

COLUMNS = ("digest", "path", "label", "split", "group", "status", "note", "width", "height", "bytes", "format")
INTEGERS = ("width", "height", "bytes")
STATISTICS = ("quantisation", "brightness", "colour", "sharpness")
SAID = 200  # characters of another program's error
BLACK_DIGEST = hashlib.sha256(b"").hexdigest()  # of the black image that can stand in for an unreadable one


@dataclass(frozen=True)
class Manifest:
    """Rows in a fixed order plus where they came from.

    synthetic: whether it is the built-in sample. salt: of the hash that places groups in splits, as data.splits has it.
    part_of: the data set from which a stage took the images of this one; '' where somebody gave them.
    """

    dataset: str
    root: Path
    synthetic: bool
    rows: pd.DataFrame
    salt: int = 0
    part_of: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def usable(self) -> "Manifest":
        """Only the rows that have an image to train on: status ok, or black by the user's choice."""
        return replace(self, rows=self.rows[self.rows.status.isin(("ok", "black"))].reset_index(drop=True))

    @property
    def unusable(self) -> pd.DataFrame:
        """The rows left out, with their reasons."""
        return self.rows[~self.rows.status.isin(("ok", "black"))]

    @cached_property
    def digests(self) -> np.ndarray:
        """(N, 32) uint8."""
        return np.frombuffer(bytes.fromhex("".join(self.rows.digest.to_numpy(object))), np.uint8).reshape(-1, 32)

    @property
    def fake(self) -> np.ndarray:
        """(N,) bool: the positive class."""
        return (self.rows.label == "fake").to_numpy()

    @property
    def y(self) -> np.ndarray:
        """(N,) int64: 0 = real, 1 = fake."""
        return self.fake.astype(np.int64)

    @property
    def split(self) -> np.ndarray:
        """(N,) text: train, val or test."""
        return self.rows.split.to_numpy(object)

    @property
    def group(self) -> np.ndarray:
        """(N,) text."""
        return self.rows.group.to_numpy(object)

    @property
    def generator(self) -> np.ndarray:
        """(N,) text: what made a fake image; '' of real ones, and where it is not known."""
        named = self.rows.generator.to_numpy(object) if "generator" in self.rows else ""
        return np.where(self.fake, named, "").astype(object)

    def where(self, split: str) -> np.ndarray:
        """Row numbers of a split, (k,) int64."""
        return np.flatnonzero(self.rows.split == split)

    @cached_property
    def key(self) -> str:
        """12 hex digits over every usable row's image, label, split and group: what results depend on."""
        columns = self.usable.rows[["digest", "label", "split", "group"]]
        return hashlib.sha256(_as_csv(columns)).hexdigest()[:12]

    def save(self, path: Path) -> None:
        """Write the CSV, and beside it the JSON without which it is no manifest.

        Where the JSON will say something else than now it goes first: stopped anywhere, there is none, or one whose
        halves belong together.
        """
        source = {"dataset": self.dataset, "root": str(self.root), "synthetic": self.synthetic}
        source |= {name: value for name in ("salt", "part_of") if (value := getattr(self, name))}
        beside, text = _beside(path), json.dumps(source, indent=2) + "\n"
        if beside.exists() and beside.read_bytes() != text.encode():
            beside.unlink()
        with replacing(path) as temporary:
            self.rows.to_csv(temporary, index=False)
        write_text(beside, text)

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Raises: UserError if there is none, or it is damaged."""
        if not path.exists():
            raise UserError(f"no manifest at {path}: run `make data DATA=...`.{suggestion(path.parent.name)}")
        if not _beside(path).exists():
            raise _damaged(path, f"{_beside(path).name}, which is written last, is not there")
        try:
            source = json.loads(_beside(path).read_bytes())
            dataset, root, synthetic = str(source["dataset"]), Path(source["root"]), source["synthetic"] is True
            salt, part_of = int(source.get("salt", 0)), str(source.get("part_of", ""))
            return cls(dataset, root, synthetic, _read_rows(path), salt, part_of)
        except (OSError, ValueError, LookupError, TypeError, RecursionError, OverflowError) as error:
            raise _damaged(path, f"{type(error).__name__}: {str(error)[:SAID]}") from error


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged ({why}): `make data DATA=<the folder of its images>` makes it anew")


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def _as_csv(text: pd.DataFrame) -> bytes:
    """What to_csv makes of columns of text, in a twentieth of its time where no cell must be quoted."""
    try:
        table = pa.Table.from_pandas(text, preserve_index=False)
        lines = pa.BufferOutputStream()
        lines.write((",".join(text) + "\n").encode())
        csv.write_csv(table, lines, csv.WriteOptions(include_header=False, quoting_style="none"))
    except pa.ArrowException:  # a cell that is not text, or must be quoted
        return text.to_csv(index=False).encode()
    is_text = all(pa.types.is_string(each) or pa.types.is_large_string(each) for each in table.schema.types)
    return lines.getvalue().to_pybytes() if is_text else text.to_csv(index=False).encode()


def _read_rows(path: Path) -> pd.DataFrame:
    """Raises: ValueError or LookupError where a cell has what no manifest has."""
    rows = _read_csv(path)
    rows[[*COLUMNS, *STATISTICS]]  # a KeyError names those that are not there
    right = {"digest": rows.digest.str.fullmatch("[0-9a-f]{64}"), "label": rows.label.isin(LABELS),
             "split": rows.split.isin(SPLITS), "path": ~rows.path.duplicated()}  # fmt: skip
    for name, fits in right.items():
        if not fits.all():
            raise ValueError(f"line {int((~fits).argmax()) + 2}: {name} {rows[name][int((~fits).argmax())]!r}")
    return rows


def _read_csv(path: Path) -> pd.DataFrame:
    """By Arrow, which takes a fifth of pandas' time: numbers where a manifest has them, all else as it is written."""
    with csv.open_csv(path) as opened:
        types = dict.fromkeys(opened.schema.names, pa.string())
    types |= {name: pa.int64() for name in INTEGERS} | {name: pa.float64() for name in STATISTICS}
    convert = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False)
    table = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=convert)
    for name in set(INTEGERS) & set(table.column_names):
        if table[name].null_count:
            raise ValueError(f"a cell of {name} is empty")
    return table.to_pandas()
