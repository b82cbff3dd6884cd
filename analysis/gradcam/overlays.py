"""Heat maps as pictures: an image beside itself with its map, one by one and on a sheet."""

import io
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure, SubFigure
from PIL import Image

COLOURS = "inferno"  # rises in lightness, so that it reads in grey and with any colour vision
SCALING = PowerNorm(0.5, 0, 1)  # of shallow layers few places reach far above the rest, which would not be seen
ABREAST = 4  # images side by side on a sheet
DARKEST, LIGHTEST = 50, 200  # grey levels of the image below a map, so that the map's darkest and lightest differ
COVER = 0.75  # of the image, where its map is 1
TILE, ROW, HEADING, SCALE = 1.4, 1.75, 0.3, 0.6  # inches: side of an image, heights
WRONG = "#D55E00"


@dataclass(frozen=True)
class Tile:
    """An image (side, side, 3) uint8, its map (side, side) in 0..1, and two lines on them. marked: a mistake."""

    pixels: np.ndarray
    heat: np.ndarray
    caption: str
    marked: bool


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image in grey, and over it the map where there is any: (side, side, 3) uint8, as both of Tile's."""
    luma = (pixels @ np.array([0.299, 0.587, 0.114]))[..., None] / 255
    grey = DARKEST + (LIGHTEST - DARKEST) * luma
    shown = np.asarray(SCALING(heat))
    cover = COVER * shown[..., None]
    colours = 255 * colormaps[COLOURS](shown)[..., :3]
    return np.clip(grey * (1 - cover) + colours * cover + 0.5, 0, 255).astype(np.uint8)


def side_by_side(pixels: np.ndarray, heat: np.ndarray) -> bytes:
    """A PNG: the image, and the image with its map."""
    buffer = io.BytesIO()
    Image.fromarray(np.hstack([pixels, overlay(pixels, heat)])).save(buffer, "PNG")
    return buffer.getvalue()


def sheet(sections: dict[str, list[Tile]], *, title: str, legend: str) -> Figure:
    """Tiles under the names of their sections, each an image with its map on its right, and the scale of the maps."""
    sections = {name: tiles for name, tiles in sections.items() if tiles}
    heights = [HEADING + ROW * -(-len(tiles) // ABREAST) for tiles in sections.values()] + [SCALE]
    figure = Figure(figsize=(2 * ABREAST * TILE, sum(heights) + HEADING), layout="constrained")
    figure.suptitle(title, fontsize=11)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights)
    for part, (name, tiles) in zip(parts, sections.items(), strict=False):
        _section(part, name, tiles)
    scale = parts[-1].add_axes((0.2, 0.6, 0.6, 0.25))
    parts[-1].colorbar(ScalarMappable(SCALING, COLOURS), cax=scale, orientation="horizontal")
    scale.set_xlabel(legend, fontsize=8)
    scale.tick_params(labelsize=7)
    return figure


def _section(part: SubFigure, name: str, tiles: list[Tile]) -> None:
    part.suptitle(name, fontsize=10, x=0.01, ha="left", weight="bold")
    pairs = part.subplots(-(-len(tiles) // ABREAST), 2 * ABREAST, squeeze=False).reshape(-1, 2)
    for axes in pairs.ravel():
        axes.set_axis_off()
    for (left, right), tile in zip(pairs, tiles, strict=False):
        left.imshow(tile.pixels)
        right.imshow(overlay(tile.pixels, tile.heat))
        caption = f"{'✗ ' if tile.marked else ''}{tile.caption}"
        left.set_title(caption, fontsize=7.5, loc="left", color=WRONG if tile.marked else "black")
