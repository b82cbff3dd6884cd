"""Half of the built-in sample's fakes have a blending seam, and seams.json says where: do heat maps lie on it?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from analysis.gradcam.faithfulness import mean_interval
from analysis.gradcam.findings import Seams
from cache.features import Preprocess
from cache.runs import read_json
from data.preprocess import to_input
from data.sample import SIDE, Ellipse

HALF_WIDTH = 8  # pixels of the original image on either side of the seam


def seams_of(file: Path) -> dict[str, list[float]]:
    """seams.json of data.sample: path -> the ellipse."""
    return read_json(file)["seams"]


def seam_bands(file: Path, paths: Sequence[str], how: Preprocess) -> np.ndarray:
    """The bands around the seams of some of the sample's fakes, through the images' preprocess: (N, crop, crop) bool.

    Args:
        file: seams.json of data.sample. paths: as it names them.
    """
    known = seams_of(file)
    return np.stack([_through(_band(tuple(known[path]), SIDE), how) for path in paths])


def seam_shares(maps: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Share of each map's sum that lies on its band: (N, side, side) twice -> (N,), NaN for a map without a sum."""
    sums = maps.sum(axis=(1, 2), dtype=np.float64)
    inside = (maps * bands).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(inside, sums, out=np.full(len(maps), np.nan), where=sums > 0)


def on_seams(maps: np.ndarray, bands: np.ndarray) -> Seams | None:
    """What maps and bands (N, side, side) of different images say together; None where no map has a sum."""
    shares, covered = seam_shares(maps, bands), bands.mean(axis=(1, 2))
    kept = np.isfinite(shares)
    if not kept.any():
        return None
    elsewhere = seam_shares(maps, np.roll(bands, 1, axis=0))[kept]
    return Seams(
        int(kept.sum()), int((~kept).sum()), mean_interval(shares[kept]), float(covered[kept].mean()),
        mean_interval(shares[kept] - covered[kept]), float(elsewhere.mean()),
    )  # fmt: skip


def _band(seam: Ellipse, side: int) -> Image.Image:
    """White where the seam is near, in an image of side pixels."""
    left, top, right, bottom = seam
    image = Image.new("RGB", (side, side))
    draw, wide = ImageDraw.Draw(image), HALF_WIDTH
    draw.ellipse((left - wide, top - wide, right + wide, bottom + wide), fill="white")
    draw.ellipse((left + wide, top + wide, right - wide, bottom - wide), fill="black")
    return image


def _through(mask: Image.Image, how: Preprocess) -> np.ndarray:
    return to_input(mask, how)[..., 0] > 127
