"""What the page shows as a table and the folder holds as a CSV: one record for both, so that neither lags behind."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from analysis.judge.intervals import Interval
from analysis.predict.spreadsheet import write_for_people

WORD = re.compile(r"(?:'[^']*'|\S)+")  # of a command, as shlex.join writes it


@dataclass(frozen=True)
class Table:
    """rows: column -> text, number, Interval or None (there is none), the same columns in each row.

    name: of the CSV. chosen: the row to mark. hidden: columns that only the CSV has. digits: of floats, by
    column or by what stands first in their row; others have three. limit: rows on the page, where the CSV has more.
    """

    name: str
    rows: list[Mapping[str, Any]]
    chosen: int | None = None
    hidden: tuple[str, ...] = ()
    digits: Mapping[str, int] = field(default_factory=dict)
    limit: int | None = None

    @cached_property
    def columns(self) -> list[str]:
        """Those on the page: what no row has a value of is left to the CSV."""
        return [name for name in (self.rows[0] if self.rows else ()) if name not in self.hidden
                and not all(_is_nothing(row[name]) for row in self.rows)]  # fmt: skip

    @property
    def rows_on_page(self) -> list[Mapping[str, Any]]:
        """The first ones."""
        return self.rows[: self.limit]

    @property
    def left_to_csv(self) -> int:
        """Rows that the page leaves to the CSV."""
        return len(self.rows) - len(self.rows_on_page)

    @cached_property
    def numbers(self) -> set[str]:
        """Columns that are set flush right: numbers, and words where there is none."""
        return {
            name for name in self.columns if any(isinstance(row[name], int | float | Interval) for row in self.rows)
        }

    def cell(self, row: Mapping[str, Any], column: str) -> Markup:
        """A value as HTML."""
        first = next(iter(row.values()))
        return _as_html(row[column], self.digits.get(column, self.digits.get(first, 3)))

    def save(self, folder: Path) -> None:
        """Write it as CSV: an interval is three columns, the bounds with `low` and `high` behind the name."""
        write_for_people(folder / f"{self.name}.csv", pd.DataFrame([_flat(row) for row in self.rows]))


def interval(value: Interval, digits: int = 3) -> Markup:
    """.950 [.926, .969], with the bounds in a softer colour."""
    low, high = f"{value.low:.{digits}f}", f"{value.high:.{digits}f}"
    return Markup('{} <span class="soft">[{}, {}]</span>').format(f"{value.value:.{digits}f}", low, high)


def command(line: str) -> Markup:
    """A command, which breaks between its words: a browser would break flags behind their hyphens too."""
    words = (Markup('<span class="word">{}</span>').format(each) for each in WORD.findall(line))
    return Markup("<code>{}</code>").format(Markup(" ").join(words))


def _as_html(value: Any, digits: int) -> Markup:
    if _is_nothing(value):
        return Markup('<span class="soft">–</span>')
    if isinstance(value, Interval):
        return interval(value, digits)
    if isinstance(value, bool | np.bool_):
        return Markup("yes" if value else "no")
    if isinstance(value, int | np.integer):
        return escape(f"{value:,}".replace(",", "\u202f"))
    return escape(f"{value:.{digits}f}" if isinstance(value, float) else value)


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and bool(np.isnan(value)))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Interval):
            flat |= {name: value.value, f"{name} low": value.low, f"{name} high": value.high}
        else:
            flat[name] = value
    return flat
