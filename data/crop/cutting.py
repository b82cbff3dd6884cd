"""An upright RGB image -> its faces, cut out: the one way of `make crop` and of `make predict FACES=1`."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from data.crop.centerface import Box, Face
from data.crop.finding import faces_in, turned
from data.crop.mirrored import Square, cut
from data.crop.options import Cutting

LOOK = 320  # pixels of the long side, enough to say whether an image is a face


@dataclass(frozen=True)
class Crop:
    """A face, cut out.

    image: RGB. score: how sure the detector was. box: of the face in the photograph, in pixels, before it was turned.
    angle: degrees by which it was turned anticlockwise there. outside: the share of the image that is mirrored.
    """

    image: Image.Image
    score: float
    box: Box
    angle: float
    outside: float

    @property
    def edges(self) -> str:
        """The box as tables write it: left, top, right, bottom in whole pixels."""
        return " ".join(str(round(edge)) for edge in self.box)


def crops(image: Image.Image, how: Cutting, *, every: bool) -> Iterator[Crop]:
    """The faces of an image, the largest first; only that one unless `every`."""
    for face in faces_in(image, least=how.least, every=every)[: None if every else 1]:
        yield _crop(image, face, how)


def _crop(image: Image.Image, face: Face, how: Cutting) -> Crop:
    angle, upright = turned(image, face) if how.align else (0.0, face)
    square = Square(upright.centre, max(upright.side * how.margin, 1), angle)
    if not how.size:
        square = _on_pixels(square)
    cropped = cut(image, square, how.size or round(square.side))
    return Crop(cropped, face.score, face.box, angle, square.outside(*image.size))


def _on_pixels(square: Square) -> Square:
    """The square whose edges lie between pixels, so that one that is not turned holds them as they are."""
    side = max(round(square.side), 1)
    left, top = (round(each - side / 2) for each in square.centre)
    return Square((left + side / 2, top + side / 2), side, square.angle)


def share(image: Image.Image, how: Cutting) -> float:
    """How much of the longer side of an image its largest face takes; 0 = there is none."""
    small = image.copy()
    small.thumbnail((LOOK, LOOK), Image.Resampling.BICUBIC)
    found = faces_in(small, least=how.least)
    return float(np.divide(found[0].side, max(small.size))) if found else 0.0
