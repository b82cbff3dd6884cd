"""Near copies side by side, as they are found by `make data`."""

from pathlib import Path

from analysis.page.pictures import charts
from analysis.page.pictures.charts import Picture, Tile
from analysis.page.pictures.gallery import COLUMNS, thumbnail
from data.audit.findings import Copies

PAIRS = 12  # on the sheet


def copies_picture(copies: Copies | None, root: Path) -> list[Picture]:
    """The gravest and most alike pairs, one beside the other; nothing where there are none."""
    if not copies or not copies.shown:
        return []
    shown = copies.shown[:PAIRS]
    both = [(each, path, about) for each in shown
            for path, about in ((each.first, f"alike {each.alike:.3f}"), (each.second, _relation(each.across)))]  # fmt: skip
    tiles = [Tile(thumbnail(root / path), f"{Path(path).name[-20:]}\n{about}", wrong=bool(each.across))
             for each, path, about in both]  # fmt: skip
    return [Picture(
        "copies", charts.tiles(tiles, columns=COLUMNS, title=f"{len(shown)} of {copies.pairs} pairs of near copies"),
        f"{len(shown)} of {copies.pairs} pairs of images that show the same picture, side by side",
        "Pairs from left to right, the gravest first. A cross marks those that are in two splits or sets, or under both labels.",
    )]  # fmt: skip


def _relation(across: str) -> str:
    return f"other {across}" if across else "same split and label"
