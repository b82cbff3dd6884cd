"""Images that stand where they must not: in two splits, or under both labels, byte for byte or as near copies."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from cache.errors import UserError
from data.audit.copies import Copy, families
from data.manifest import BLACK_DIGEST, Manifest

SHELTER = {"train": 0, "val": 1, "test": 2}  # the copy in the most sheltered split is kept


def leaking(rows: pd.DataFrame, image: pd.Series | None = None) -> pd.DataFrame:
    """The usable rows whose image, or whose group, stands in more than one split or under both labels.

    image: what rows of one image have in common, by default the digest.
    """
    real_images = rows[(rows.status == "ok") & (rows.digest != BLACK_DIGEST)]
    by_image = real_images.groupby(rows.digest if image is None else image)
    two_labels = by_image.label.transform("nunique") > 1
    two_splits = (by_image.split.transform("nunique") > 1) | (
        real_images.groupby("group").split.transform("nunique") > 1
    )
    return real_images[two_labels | two_splits]


def refuse_leaks(manifest: Manifest) -> None:
    """Raises: UserError naming the images that stand in two splits or under two labels."""
    rows = leaking(manifest.rows).sort_values(["digest", "split"])
    if len(rows):
        lines = "\n".join(f"  {row.path}  {row.label}  {row.split}" for row in rows.head(10).itertuples())
        raise UserError(
            f"{manifest.dataset}: {len(rows)} rows share an image (same bytes) or a group with a row in another split "
            f"or under the other label, so no figure from it could be believed:\n{lines}\n"
            "Correct the data, or run again with LEAKS=drop: it keeps the test copy (then val's) "
            "and leaves out images that have both labels."
        )


def drop_leaks(rows: pd.DataFrame, copies: Iterable[Copy] = ()) -> pd.DataFrame:
    """`rows` with status `leak` on every leaking row but those in the most sheltered split (test, then val).

    copies: near ones, which count as the same image.
    """
    image = pd.Series(families(rows.digest, copies), rows.index)
    leaks = leaking(rows, image)
    shelter, image = leaks.split.map(SHELTER), image[leaks.index]
    best = np.maximum(shelter.groupby(image).transform("max"), shelter.groupby(leaks.group).transform("max"))
    both = leaks.label.groupby(image).transform("nunique") > 1
    dropped = leaks.index[(shelter < best) | both]
    rows = rows.copy()
    rows.loc[dropped, ["status", "note"]] = ["leak", "the same image or group stands in another split or class"]
    return rows
