"""FACES=1: an answer for each face of an image, cut out as those were that the run was trained on.

And a warning where a run that was trained on faces is to judge images that are none.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.predict.image_files import contents, upright
from cache import paths, runs
from cache.errors import printable
from data.crop.crop_folder import settings_of
from data.crop.cutting import Crop, crops, share
from data.crop.options import ALL, Cutting
from data.disk import BadImageError, Named
from data.manifest import Manifest

NO_FACE = "no face"  # the status of an image in which none was found
LOOKED_AT = 32  # images that are looked at before a warning is given, spread over all of them
ROOM = 1.1  # by which an image may be longer than any that a run was trained on
SMALL = 0.5  # of the share of the frame that a face of the training set takes; with less an image is no cut-out face


@dataclass(frozen=True)
class FaceFinder:
    """Which faces of an image are judged, and how they are cut out. trained: whether the run's own images were, too."""

    cutting: Cutting
    every: bool
    trained: bool

    @classmethod
    def of(cls, run: Path, faces: str) -> "FaceFinder | None":
        """For the folder of a finished run; None where FACES does not ask for one."""
        if not faces:
            return None
        trained = cutting_of(run)
        return cls(trained or Cutting(), faces == ALL, trained is not None)

    def crops(self, image: Image.Image) -> Iterator[Crop]:
        """The faces of an upright image, the largest first."""
        return crops(image, self.cutting, every=self.every)

    @property
    def why_none(self) -> str:
        return f"no face of a score of {self.cutting.least} or more was found"


def cutting_of(run: Path) -> Cutting | None:
    """How the images that a run was trained on were cut out; None where `make crop` did not, or its folder is gone."""
    found = {_cutting(name) for name in str(runs.result(run)["dataset"]).split("+")}
    return found.pop() if len(found) == 1 else None


def warning(run: Path, files: Sequence[Named], own: Manifest | None) -> str:
    """What is to be said of judging whole images by a run; '' where nothing is known to be wrong with it.

    Where nobody knows how its own images were cut out, only images of another shape than theirs are looked at.

    Args:
        own: the usable images of the run's data set; None where they are gone.
    """
    cutting = cutting_of(run)
    margin, shapes = (cutting or Cutting()).margin, None if cutting else _shapes(own)
    good = [each for each in files if not each.status]
    shares = dict(_shares(good[:: -(-len(good) // LOOKED_AT) or 1], cutting or Cutting(), shapes))
    strange = [path for path, taken in shares.items() if taken * margin < SMALL]
    if not strange:
        return ""
    without = sum(not shares[path] for path in strange)
    kinds = {"without a face": without, "with one that is small in its frame": len(strange) - without}
    said = ", ".join(f"{count} {words}" for words, count in kinds.items() if count)
    found, cure = f"({said}; first {printable(strange[0])})", "FACES=1 cuts the faces out and judges each"
    if cutting:
        return (
            f"warning: {run.name} was trained on faces that `make crop` cut out, and of {len(shares)} images looked at "
            f"{len(strange)} are none {found}, so their scores mean nothing: {cure}"
        )
    return (
        f"warning: {len(strange)} of {len(shares)} images looked at are of another shape than those that {run.name} "
        f"was trained on {found}: if those were faces, these scores mean nothing, and {cure}"
    )


def _shapes(own: Manifest | None) -> tuple[float, float]:
    """Least and greatest width / height of the run's own images, with some room; all where none are known."""
    if own is None:
        return 0.0, np.inf
    found = own.rows.width / own.rows.height
    return found.min() / ROOM, found.max() * ROOM


def _cutting(dataset: str) -> Cutting | None:
    try:
        root = json.loads(paths.manifest_file(dataset).with_suffix(".json").read_bytes())["root"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # the data set is gone: nobody knows
        return None
    settings = settings_of(Path(str(root)))
    return settings.cutting if settings else None


def _shares(files: Sequence[Named], cutting: Cutting,
            shapes: tuple[float, float] | None) -> Iterator[tuple[str, float]]:  # fmt: skip
    """Of each image that can be read how much of its frame its largest face takes; all of one within the shapes."""
    for each in files:
        try:
            with upright(contents(each)[0]) as (image, _):
                usual = shapes and shapes[0] <= image.width / image.height <= shapes[1]
                yield each.path, 1.0 if usual else share(image, cutting)
        except BadImageError:
            continue  # it has a row of its own, with the reason
