"""Images in a Parquet file, as data sets of Hugging Face are kept: a struct {bytes, path} or plain bytes.

What the schema says in its `huggingface` metadata is taken: which columns are images, and the names of numbered labels.
"""

import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import PurePath

import pyarrow as pa
import pyarrow.parquet as pq

from data.unpack.items import Archive, Asked, BadArchiveError, Found, Item, LeftOut, breaking, labelled, missing, named

BATCH = 16  # rows in memory at once
METADATA = b"huggingface"
ERRORS = (pa.ArrowException, OSError, ValueError)  # an ArrowInvalid is a ValueError too


@dataclass(frozen=True)
class Columns:
    """image: the column with the images. further: those that say something of them. names: of numbers in a column."""

    image: str
    further: tuple[str, ...]
    names: dict[str, list[str]]

    def explained(self, record: dict) -> dict:
        """A row with the names of its numbered labels."""
        return {column: self._name(column, record[column]) for column in self.further}

    def _name(self, column: str, value: object) -> object:
        known = self.names.get(column, [])
        return known[value] if isinstance(value, int) and 0 <= value < len(known) else value


def items(archive: Archive, asked: Asked, done: Set[int]) -> Found:
    """Its rows, but for those that are done.

    Raises:
        BadArchiveError: it cannot be read to its end, or has no column of images.
    """
    with breaking(*ERRORS):
        file = pq.ParquetFile(archive.file)
    with file:
        columns = _columns(file.schema_arrow, asked)
        rows = file.metadata.num_rows
        for number, record in _rows(file, [columns.image, *columns.further], done):
            yield _item(number, record, columns, archive, asked=asked, read=(number + 1) / rows)


def _rows(file: pq.ParquetFile, columns: list[str], done: Set[int]) -> Iterator[tuple[int, dict]]:
    """Row numbers and rows that are not done; groups of rows that are, are not read."""
    start = 0
    for group in range(file.metadata.num_row_groups):
        rows = range(start, start + file.metadata.row_group(group).num_rows)
        start = rows.stop
        if missing(rows, done):
            yield from ((number, row) for number, row in _in_group(file, group, columns, rows) if number not in done)


def _in_group(file: pq.ParquetFile, group: int, columns: list[str], rows: range) -> Iterator[tuple[int, dict]]:
    with breaking(*ERRORS):
        for batch in file.iter_batches(BATCH, row_groups=[group], columns=columns):
            for record in batch.to_pylist():
                yield rows.start, record
                rows = rows[1:]


def _item(number: int, record: dict, columns: Columns, archive: Archive, *, asked: Asked,
          read: float) -> Item | LeftOut:  # fmt: skip
    image = record[columns.image]
    content, path = (image.get("bytes"), image.get("path") or "") if isinstance(image, dict) else (image, "")
    if not content:
        return LeftOut(number, path, f"no bytes, only the path {path}" if path else "an empty cell", read)
    about = labelled(number, path, columns.explained(record), archive.place, asked=asked)
    return about if isinstance(about, LeftOut) else Item(number, named(number, PurePath(path).stem), content, *about,
                                                         read)  # fmt: skip


def _columns(schema: pa.Schema, asked: Asked) -> Columns:
    """Raises: BadArchiveError where no column holds images, or several do and nobody says which is meant."""
    features = _features(schema)
    images = [name for name in schema.names if features.get(name, {}).get("_type") == "Image"]
    images = images or [each.name for each in schema if _holds_bytes(each.type)]
    wanted = asked.columns.get("image")
    if wanted and wanted not in schema.names:
        raise BadArchiveError(f"no column {wanted!r}; found {_told(schema)}")
    if wanted and not _holds_bytes(schema.field(wanted).type):
        raise BadArchiveError(f"column {wanted!r} holds no bytes of images; found {_told(schema)}")
    if not wanted and len(images) != 1:
        what = f"{len(images)} columns of images" if images else "no column of images"
        raise BadArchiveError(f'{what}; found {_told(schema)}. COLUMNS="image=..." says which is meant')
    _refuse_unknown(schema, asked)
    further = {name for field in ("label", "split", "group", "generator") for name in asked.names(field)}
    names = {name: [str(word) for word in about["names"]] for name, about in features.items()
             if isinstance(about.get("names"), list)}  # fmt: skip
    image = wanted or images[0]
    return Columns(image, tuple(name for name in schema.names if name in further - {image}), names)


def _refuse_unknown(schema: pa.Schema, asked: Asked) -> None:
    for field, name in asked.columns.items():
        if name not in schema.names:
            raise BadArchiveError(f"no column {name!r} for {field}; found {_told(schema)}")


def _features(schema: pa.Schema) -> dict[str, dict]:
    """What Hugging Face's `datasets` says of each column; nothing where it says nothing that can be read."""
    try:
        found = json.loads((schema.metadata or {}).get(METADATA, b"{}"))["info"]["features"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return {name: about for name, about in found.items() if isinstance(about, dict)} if isinstance(found, dict) else {}


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column can hold images: bytes, or a struct with a field of that name."""
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _told(schema: pa.Schema) -> str:
    return ", ".join(f"{each.name} ({each.type})" for each in schema)[:300]
