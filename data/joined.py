"""Several data sets as one: DATA="a+b"."""

import os
from pathlib import Path

import pandas as pd

from cache.errors import UserError
from data.manifest import COLUMNS, STATISTICS, Manifest


def join(dataset: str, manifests: list[Manifest]) -> Manifest:
    """The rows of all, in the order of the sets. Splits are kept, and groups are those of their set alone.

    A fake image whose generator is not known is said to be of its set's.

    Raises:
        UserError: an image file stands in two of them.
    """
    root = Path(os.path.commonpath([each.root for each in manifests]))
    rows = pd.concat([_below(root, each) for each in manifests], ignore_index=True)
    twice = rows.path[rows.path.duplicated()]
    if len(twice):
        raise UserError(
            f"{dataset}: {len(twice)} images stand in two of the joined sets, first {root / twice.iloc[0]}: "
            "leave them out of one"
        )
    texts = [name for name in rows if name not in (*COLUMNS, *STATISTICS)]
    rows[texts] = rows[texts].fillna("")  # of columns that only one of them has
    return Manifest(dataset, root, any(each.synthetic for each in manifests), rows)


def _below(root: Path, manifest: Manifest) -> pd.DataFrame:
    """The rows of a set, its paths from a folder above its own root."""
    rows, below = manifest.rows, manifest.root.relative_to(root).as_posix()
    alone = rows.group == rows.digest  # an image that is its own group is so in every set, and with its copies there
    unknown = manifest.fake & (manifest.generator == "")
    return rows.assign(
        path=rows.path if below == "." else f"{below}/" + rows.path,
        group=rows.group.where(alone, f"{manifest.dataset}/" + rows.group),
        generator=pd.Series(manifest.generator, rows.index).mask(unknown, manifest.dataset),
    )
