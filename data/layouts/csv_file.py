"""A CSV as text, refused where it would be read as something else than is written there."""

import io
from pathlib import Path

import pandas as pd

from cache.errors import UserError
from data.disk import BadImageError, read_file

SEPARATORS = ",;\t"  # the first of them that the first line has
LONGEST_CELL = 131_072  # characters; a longer one is a quotation mark that was not closed, or no table


def read_table(path: Path) -> pd.DataFrame:
    """Cells as text, '' where one is empty. Raises: UserError."""
    content = read_list(path, "CSV")
    try:
        table = pd.read_csv(io.BytesIO(content), sep=_separator(content), dtype=str, keep_default_na=False)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} cannot be read as CSV: no text in UTF-8 ({error.reason} at byte {error.start}); save it so"
        ) from error
    except ValueError as error:  # of pandas
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


def _separator(content: bytes) -> str:
    """A comma; in a table without one a semicolon or a tab, as spreadsheets write them in half of the world."""
    first = content.partition(b"\n")[0].decode(errors="replace")
    return next((mark for mark in SEPARATORS if mark in first), ",")


def read_list(path: Path, kind: str) -> bytes:
    """The bytes of a list of images. Raises: UserError where there is no such file, or it cannot be read."""
    try:
        return read_file(path)[0]
    except BadImageError as error:
        raise UserError(f"no such {kind}: {path}" if error.status == "missing" else f"{path}: {error}") from error
