"""data.csv beside class folders: ids of images and their labels, which must say what the folders say."""

from pathlib import Path, PurePosixPath

import pandas as pd

from cache.errors import UserError
from data.layouts.base import Source
from data.layouts.csv_file import read_table
from data.layouts.csv_labels import labels_of

ID_COLUMNS = ("images_id", "image_id", "id", "path", "filename")


def check_ids(path: Path, rows: pd.DataFrame, source: Source) -> None:
    """Raises: UserError where the CSV and the class folders contradict each other."""
    table = read_table(path)
    ids = next((column for column in ID_COLUMNS if column in table), None)
    if ids is None or "label" not in table:
        raise UserError(f"{path}: expected columns images_id and label; found {', '.join(table.columns)}")
    known = dict(zip(map(_stem, rows.path), rows.path, strict=True))
    lost = sorted({_stem(each) for each in table[ids]} - known.keys())
    if lost:
        raise UserError(f"{path} lists {len(lost)} images that no class folder holds, first {', '.join(lost[:5])}")
    twice = set(rows.path.map(_stem)[rows.path.map(_stem).duplicated()])  # of these the id does not say which is meant
    table = table.assign(path=[known[_stem(each)] for each in table[ids]])
    labels_of(table[~table[ids].map(_stem).isin(twice)], path, source)


def _stem(path: str) -> str:
    """How such tables name an image: its file name without folder and ending."""
    return PurePosixPath(path).stem
