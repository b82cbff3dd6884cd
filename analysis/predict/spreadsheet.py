"""CSVs for people, who open them in a spreadsheet: names of files and groups, which anybody may choose, are no formula.

What this program reads again is written by cache.runs.write_table, exactly as it is.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from cache.runs import write_table

FORMULA = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")  # what makes one of a cell that begins with it


def write_for_people(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    texts = table.apply(lambda column: column if is_numeric_dtype(column) else column.map(as_text))
    write_table(path, texts.rename(columns=as_text))


def as_text(value: Any) -> Any:
    """A cell: a text that a spreadsheet would carry out gets an apostrophe in front (OWASP, CSV injection).

    A number stays one, a negative one too. A carriage return is written out: the csv module does not quote it, and what
    comes behind would be a line of its own.
    """
    if not isinstance(value, str):
        return value
    value = value.replace("\r", "\\r")
    return f"'{value}" if value.startswith(FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
