"""How a model does on parts of a split: where images come from, how they were stored, what they look like."""

from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from analysis.judge.bootstrap import bootstrap
from analysis.judge.calibrate import Calibration
from analysis.judge.intervals import Interval
from analysis.judge.metrics import interval_of
from analysis.judge.ranking import Pairs, Verdicts
from analysis.judge.score_parts import Coarse, Parts
from cache.errors import UserError
from data.manifest import COLUMNS, STATISTICS, Manifest
from heads.predictions import Predictions

SMALLEST = 10  # images; what fewer say is chance
AS_THEY_ARE = 8  # distinct sizes or qualities at most; more are put into ranges
WORDS = 20  # distinct values of a further text column; a column with more of them names images, not kinds of them
QUALITY_FROM = (1, 50, 70, 80, 90, 95)  # where ranges of JPEG quality begin
LUMINANCE = np.array([  # the luminance table of the JPEG standard (ITU-T T.81, table K.1), quality 50 in libjpeg
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """The images with one value of a column; what their classes do not define is None.

    accuracy, of all and of each class, is that at the threshold that validation fixed. auc: of a part of one class, a
    generator's fakes for example, against all images of the other class.
    """

    column: str
    value: str
    images: int
    real: int
    fake: int
    accuracy: Interval
    accuracy_real: Interval | None
    accuracy_fake: Interval | None
    auc: Interval | None


@dataclass(frozen=True)
class Slices:
    """found: worst accuracy first, the same images once. too_small: how many more have fewer than SMALLEST images."""

    found: list[Slice]
    too_small: int


def slices(predictions: Predictions, manifest: Manifest, calibration: Calibration) -> Slices:
    """Parts of the images predicted, by every column of the manifest that has several values among them.

    Source folder (unless it is the class again), group (where groups hold several images), size, JPEG quality, format,
    note, quarters of brightness, colour, sharpness and bytes, and the manifest's further columns: texts with at most
    20 values, numbers by quarters. Intervals are over groups; within one group, over images.

    Raises:
        UserError: an image that the manifest does not have.
    """
    rows = _rows(predictions, manifest)
    parts = [
        (column, str(value), where)
        for column, values in _columns(rows).items()
        if values.nunique() > 1
        for value, where in values.groupby(values).indices.items()
    ]
    same = {where.tobytes(): (column, value, where) for column, value, where in parts}  # a folder may be a generator
    large = [part for part in same.values() if len(part[2]) >= SMALLEST]
    groups = np.unique(predictions.groups, return_inverse=True)[1]
    found = [
        _slice(column, value, predictions.scores[where], predictions.fake[where], groups[where], calibration.threshold)
        for column, value, where in large
    ]
    found = [each if each.auc else replace(each, auc=_against_the_others(predictions, where, groups))
             for each, (_, _, where) in zip(found, large, strict=True)]  # fmt: skip
    return Slices(sorted(found, key=lambda each: each.accuracy.value), len(same) - len(large))


def jpeg_quality(quantisation: np.ndarray) -> np.ndarray:
    """Quality 1 to 100 (N,) int64 whose luminance table, as libjpeg scales it, has the mean closest to each (N,).

    An estimate: other encoders have tables of their own.
    """
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    means = np.clip((LUMINANCE * scale[:, None] + 50) // 100, 1, 255).mean(axis=1)
    values, which = np.unique(quantisation, return_inverse=True)  # few, of however many images
    return quality[np.abs(means - values[:, None]).argmin(axis=1)][which]


def _slice(
    column: str, value: str, scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, threshold: float
) -> Slice:
    units = groups if len(np.unique(groups)) > 1 else np.arange(len(groups))

    def coarse() -> Coarse:
        parts = Parts.by_score(scores, fake, [threshold])
        return Coarse([parts], Verdicts(parts.scores, parts.fake, threshold).figures)

    draws = bootstrap(Verdicts(scores, fake, threshold).figures, fake, units, coarse=coarse)
    found = {name: interval_of(name, each) for name, each in draws.items()}
    return Slice(
        column, value, len(fake), int((~fake).sum()), int(fake.sum()), found["accuracy"],
        found.get("accuracy_real"), found.get("accuracy_fake"), found.get("auc"),
    )  # fmt: skip


def _against_the_others(predictions: Predictions, where: np.ndarray, groups: np.ndarray) -> Interval | None:
    """AUC of images of one class against all of the other; None where there is no other."""
    fake = predictions.fake
    both = np.concatenate([where, np.flatnonzero(fake != fake[where[0]])])
    if len(both) == len(where):
        return None
    pairs = Pairs(predictions.scores[both], fake[both])
    draws = bootstrap(lambda weights: {"auc": pairs.auc(weights)}, fake[both], groups[both])
    return interval_of("auc", draws["auc"])


def _rows(predictions: Predictions, manifest: Manifest) -> pd.DataFrame:
    """The rows of the manifest, in the order of the predictions."""
    at = pd.Index(manifest.rows.path).get_indexer(predictions.paths)
    if (at < 0).any():
        raise UserError(
            f"{(at < 0).sum()} images with predictions are not in the manifest of {manifest.dataset}, the first is "
            f"{predictions.paths[at < 0][0]}: the predictions are of another data set or older than the manifest"
        )
    return manifest.rows.iloc[at].reset_index(drop=True)


def _columns(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Column -> which slice each image is in (N,) text, nan for none."""
    further = [name for name in rows if name not in (*COLUMNS, *STATISTICS)]
    return {
        "source folder": _folder(rows),
        "group": _group(rows),
        "size": _size(rows),
        "JPEG quality": _quality(rows.quantisation),
        "format": rows.format.mask(rows.format == ""),
        "note": rows.note.mask(rows.note == "", "nothing"),
        **{name: _quarters(rows[name]) for name in ("brightness", "colour", "sharpness", "bytes")},
        **{name: _further(rows[name]) for name in further},
    }


def _folder(rows: pd.DataFrame) -> pd.Series:
    """Below the folder that all share; none where each class has a single folder, which says no more than the class."""
    folders = rows.path.map(lambda path: str(PurePosixPath(path).parent))
    if folders.groupby(rows.label).nunique().max() == 1:
        return _none(rows)
    shared = commonpath(folders.unique())
    return folders.map(lambda folder: str(PurePosixPath(folder).relative_to(shared)))


def _group(rows: pd.DataFrame) -> pd.Series:
    """Groups of several images, if they are more than copies: by default the image itself is the group."""
    several = rows.group.map(rows.group.value_counts()) > 1
    return rows.group.where(several & (rows.group != rows.digest))


def _size(rows: pd.DataFrame) -> pd.Series:
    """Width x height; of more than AS_THEY_ARE sizes the shorter side, in doublings."""
    sizes = rows.width.astype(str) + " x " + rows.height.astype(str)
    if sizes.nunique() > AS_THEY_ARE:
        from_side = 2 ** np.log2(rows[["width", "height"]].min(axis=1).clip(lower=1)).astype(int)
        sizes = "shorter side " + from_side.astype(str) + " to " + (2 * from_side - 1).astype(str)
    return sizes.mask(rows.width == 0)  # a black image stands in for one that could not be read


def _quality(quantisation: pd.Series) -> pd.Series:
    """The JPEG quality of each image; where there are more than AS_THEY_ARE of them, ranges."""
    quality = pd.Series(jpeg_quality(quantisation.to_numpy(float)), quantisation.index)
    names = quality.astype(str)
    if quality[quantisation > 0].nunique() > AS_THEY_ARE:
        last = [*(np.array(QUALITY_FROM[1:]) - 1), 100]
        ranges = np.array([f"{low} to {high}" for low, high in zip(QUALITY_FROM, last, strict=True)], object)
        names = pd.Series(ranges[np.searchsorted(QUALITY_FROM, quality, side="right") - 1], quality.index)
    return names.where(quantisation > 0, "not JPEG")


def _quarters(values: pd.Series) -> pd.Series:
    """Quarters of the images by a number, equal ones together."""
    known = values.dropna().astype(float)
    if known.empty:
        return _none(values)
    quarter = np.searchsorted(np.unique(known.quantile([0.25, 0.5, 0.75])), known)
    ends = known.groupby(quarter).agg(["min", "max"]).map(_number)
    names = ends["min"].where(ends["min"] == ends["max"], ends["min"] + " to " + ends["max"])
    return names.loc[quarter].set_axis(known.index).reindex(values.index)


def _further(values: pd.Series) -> pd.Series:
    """A column that this program does not know: few numbers as they are, many by quarters; texts if few."""
    known = values.mask(values.astype(str) == "").dropna()
    numbers = pd.to_numeric(known, errors="coerce")
    if known.nunique() > AS_THEY_ARE and numbers.notna().all():
        return _quarters(numbers.reindex(values.index))
    return known.astype(str).reindex(values.index) if known.nunique() <= WORDS else _none(values)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _none(like: pd.DataFrame | pd.Series) -> pd.Series:
    return pd.Series(np.nan, like.index, object)
