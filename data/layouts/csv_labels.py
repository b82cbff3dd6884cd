"""The labels of a table in words, whatever its column is called and whichever class it calls 1.

Words say what they mean. Of numbers half of the world has 1 = fake, and the Kaggle sets 1 = real: what they mean is
said by the name of their column (is_fake), by LABELS, or by a witness beside them. What contradicts it is refused.
"""

from pathlib import Path, PurePosixPath

import pandas as pd

from cache.errors import UserError
from data.labels import LABELS, WRITTEN
from data.layouts.base import Source

# The first that is there; of those behind `label` only one may be.
LABEL_COLUMNS = ("label", "labels", "class", "target", "is_fake", "is_real", "label_str")
MEANS = {"is_fake": "fake", "is_real": "real"}  # columns whose name says what a 1 in them is
ONES, ZEROS = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
KAGGLE = "real"  # what 1 means in the sets of Kaggle, where witnesses agree
FIRST = 10  # rows that a message names


def labels_of(table: pd.DataFrame, path: Path, source: Source) -> pd.Series:
    """real or fake of every row of a table with a column `path`.

    Raises:
        UserError: no such column or several, a word of neither class, numbers of which nobody says what they mean,
            rows that a folder or another column contradicts.
    """
    column = label_column(table, path)
    words = table[column].str.strip().str.lower()
    own = words.isin(list(source.classes.own))
    ones, zeros = words.isin(ONES) & ~own, words.isin(ZEROS) & ~own
    labels = words.map(source.classes.of)
    unknown = (labels == "") & ~ones & ~zeros
    if unknown.any():
        raise _of_neither_class(table, column, path, row=int(unknown.idxmax()))
    witnesses = {name: says for name, says in _witnesses(table, column, source).items() if (says != "").any()}
    numbers = ones | zeros
    meaning = cure = ""
    if numbers.any():
        one = _meaning(column, path, source, witnessed=any((says[numbers] != "").any() for says in witnesses.values()))
        labels = labels.mask(ones, one).mask(zeros, _other(one))
        meaning = f" (1 = {one}, 0 = {_other(one)})"
        cure = "" if source.one or column in MEANS else f'\nIf 1 = {_other(one)} here, say LABELS="{_other(one)}=1"'
    for name, says in witnesses.items():
        rows = table.index[(says != "") & (says != labels)]
        if len(rows):
            raise UserError(
                f"{path}: in {len(rows)} rows `{column}`{meaning} and {name} disagree:\n"
                + "\n".join(f"  line {row + 2}: {table.path[row]} label {labels[row]}" for row in rows[:FIRST])
                + cure
            )
    return labels


def label_column(table: pd.DataFrame, path: Path) -> str:
    """The column that says the class. Raises: UserError if none does, or several could."""
    found = [name for name in LABEL_COLUMNS if name in table]
    if "label" in found or len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            f"{path}: no column 'label'; found {', '.join(table.columns)}. It is called label, or one of "
            f"{', '.join(LABEL_COLUMNS[1:])}"
        )
    if set(found) <= {*MEANS, "label_str"}:
        return found[0]
    raise UserError(f"{path}: the columns {' and '.join(found)} could each be the label: call the one that is `label`")


def _of_neither_class(table: pd.DataFrame, column: str, path: Path, *, row: int) -> UserError:
    others = sorted(set(table[column].str.strip()) - {""})
    some = ", ".join(others[:6]) + (", ..." if len(others) > 6 else "")
    return UserError(
        f"{path} line {row + 2}: {column} {table[column][row]!r}; expected 1 or real, 0 or fake, or words like them. "
        f"It has {some}: say which are which with {WRITTEN}"
    )


def _meaning(column: str, path: Path, source: Source, *, witnessed: bool) -> str:
    """What a 1 in the column is."""
    named = MEANS.get(column, "")
    if named and source.one not in ("", named):
        raise UserError(f'{path}: a 1 in the column {column} is {named}, and LABELS="{source.one}=1" says otherwise')
    if named or source.one:
        return named or source.one
    if not witnessed:
        raise UserError(
            f"{path}: {column} holds 0 and 1, and nothing says which of them is fake: no words, no class folders in "
            'the paths. Say LABELS="fake=1" or LABELS="real=1" (as the Kaggle sets have it); for a set in EVAL or in a '
            "joined one, make its manifest with `make data` and LABELS first, and name it by its name"
        )
    return KAGGLE


def _witnesses(table: pd.DataFrame, column: str, source: Source) -> dict[str, pd.Series]:
    """What else speaks of the class: words -> label of every row, '' where it says nothing."""
    found = {"the class folder in its path": _folder_labels(table.path, source)}
    if "label_str" in table and column != "label_str":
        found["label_str"] = table.label_str.map(source.classes.of)
    for name, one in MEANS.items():
        if name in table and column != name:
            words = table[name].str.strip().str.lower()
            found[name] = pd.Series("", table.index).mask(words.isin(ONES), one).mask(words.isin(ZEROS), _other(one))
    return found


def _folder_labels(paths: pd.Series, source: Source) -> pd.Series:
    """The class of the last class folder in each path.

    Words other than real and fake count only where folders of both classes are named: `original/` alone may be the
    folder of the images as they were made.
    """
    folders = paths.map(lambda path: [part.lower() for part in reversed(PurePosixPath(path).parts[:-1])])
    plain = folders.map(lambda parts: next((part for part in parts if part in LABELS), ""))
    named = folders.map(lambda parts: next(filter(None, map(source.classes.of, parts)), ""))
    return named if set(LABELS) <= set(named) else plain


def _other(label: str) -> str:
    return LABELS[1 - LABELS.index(label)]
