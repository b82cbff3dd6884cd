"""Images with what they are and what they were called: a sample, the mistakes, and some beside their heat maps."""

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.found.models import Model
from analysis.gradcam.findings import KINDS, HeatMaps
from analysis.page.pictures import charts
from analysis.page.pictures.charts import Picture, Tile
from data.disk import BadImageError, read_file
from data.images import decode
from data.manifest import Manifest
from heads.predictions import Predictions

THUMBNAIL = 128  # pixels
COLUMNS = 6
SAMPLE, ERRORS = 24, 24  # tiles


def gallery(model: Model, manifest: Manifest) -> list[Picture]:
    """A random sample of the split, and the most confident mistakes, if there are any."""
    found = model.predictions(model.split)
    order = np.argsort(manifest.rows.set_index("path").digest[found.paths].to_numpy())  # by chance, and always the same
    wrong = np.flatnonzero((found.scores >= model.calibration.threshold) != found.fake)
    worst = wrong[np.argsort(-np.abs(found.scores[wrong] - model.calibration.threshold))]
    made = [_sample(model, found, np.sort(order[:SAMPLE]), manifest)]
    return made + ([_errors(model, found, worst, manifest)] if len(worst) else [])


def heat_maps_picture(heat: HeatMaps) -> Picture:
    """The sheet that `make gradcam` drew."""
    kinds = Counter(each.kind for each in heat.explained)
    found = ", ".join(f"{count} {KINDS[kind].lower()}" for kind, count in kinds.items())
    return Picture(
        "heat_maps", heat.sheet, f"{len(heat.explained)} images beside themselves with their heat maps: {found}",
        "Each image, and beside it where the evidence for what it was called lies. The largest value of each map is 1. "
        "p is the calibrated probability of fake.",
    )  # fmt: skip


def _sample(model: Model, found: Predictions, chosen: np.ndarray, manifest: Manifest) -> Picture:
    tiles = _tiles(model, found, chosen, manifest)
    wrong = sum(tile.wrong for tile in tiles)
    return Picture(
        "sample",
        charts.tiles(tiles, columns=COLUMNS, title=f"{len(tiles)} images of the {model.split} split"),
        f"{len(tiles)} images of the {model.split} split, their labels and what they were called; {wrong} are wrong",
        f"Drawn by chance. Each caption is the true label, what the image was called, and the probability of fake; "
        f"fake is called from p = {model.calibration.probability(model.calibration.threshold):.3f} on.",
    )


def _errors(model: Model, found: Predictions, worst: np.ndarray, manifest: Manifest) -> Picture:
    tiles = _tiles(model, found, worst[:ERRORS], manifest)
    number = "All" if len(tiles) == len(worst) else f"{len(tiles)} of"
    at = f"p = {model.calibration.probability(model.calibration.threshold):.3f}"
    said = f"{number} {len(worst)} mistakes on the {model.split} split, those farthest from the threshold, {at}, first"
    sheet = charts.tiles(tiles, columns=COLUMNS, title=f"Mistakes on the {model.split} split")
    return Picture("errors", sheet, said, f"{said}. Captions as above.")


def _tiles(model: Model, found: Predictions, chosen: np.ndarray, manifest: Manifest) -> list[Tile]:
    probability = model.calibration.probability(found.scores)
    tiles = []
    for number in chosen:
        truth, called = ("fake" if each else "real" for each in
                         (found.fake[number], found.scores[number] >= model.calibration.threshold))  # fmt: skip
        caption = f"{truth}, called {called}\np = {probability[number]:.3f}"
        tiles.append(Tile(thumbnail(manifest.root / found.paths[number]), caption, truth != called))
    return tiles


def thumbnail(path: Path) -> np.ndarray:
    """(h, w, 3) uint8 of at most THUMBNAIL pixels a side; a grey square for a file that is gone or is no image."""
    try:
        image = decode(read_file(path)[0])[0]
    except BadImageError:
        image = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "grey")
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BICUBIC)
    return np.asarray(image)
