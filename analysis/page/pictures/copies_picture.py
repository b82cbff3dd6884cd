"""Near copies side by side, as they are found by `make data`."""

from pathlib import Path

from analysis.page.pictures import charts
from analysis.page.pictures.charts import Picture, Tile
from analysis.page.pictures.gallery import COLUMNS, thumbnail
from data.audit.examined import Copies, Shown

PAIRS = 12  # on the sheet


def copies_picture(copies: Copies | None, root: Path) -> list[Picture]:
    """The gravest and most alike pairs, one beside the other; nothing where there are none."""
    if not copies or not copies.shown:
        return []
    shown = copies.shown[:PAIRS]
    tiles = [tile for each in shown for tile in _side_by_side(each, root)]
    return [Picture(
        "copies", charts.tiles(tiles, columns=COLUMNS, title=f"{len(shown)} of {copies.pairs} pairs of near copies"),
        f"{len(shown)} of {copies.pairs} pairs of images that show the same picture, side by side",
        "Pairs from left to right, the gravest first. A cross marks those in two splits or sets, or under both labels.",
    )]  # fmt: skip


def _side_by_side(pair: Shown, root: Path) -> list[Tile]:
    relation = f"other {pair.across}" if pair.across else "same split and label"
    about = ((pair.first, f"alike {pair.alike:.3f}"), (pair.second, relation))
    return [Tile(thumbnail(root / path), f"{Path(path).name[-20:]}\n{what}", wrong=bool(pair.across))
            for path, what in about]  # fmt: skip
