"""A square of an image, turned and scaled as one likes; what lies outside of the image is its mirror image.

Mirrored, because a black bar or a stretched edge is something to learn from, where one class is framed more tightly.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

ENOUGH = 3  # times a side may be longer than what is made of it; beyond, pixels are averaged before they are turned
SLACK = 2  # pixels around what is turned, for the filter


@dataclass(frozen=True)
class Square:
    """centre: x, y in pixels of the image. side: pixels. angle: degrees by which what stands in it is turned
    anticlockwise, so that it is upright in what is cut out."""

    centre: tuple[float, float]
    side: float
    angle: float = 0.0

    def corners(self) -> np.ndarray:
        """(4, 2) x, y."""
        ways = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * self.side / 2
        return ways @ _turn(self.angle).T + self.centre

    def back(self, points: np.ndarray, size: int) -> np.ndarray:
        """Where points (k, 2) of a `size` x `size` cutting lie in the image."""
        return (np.asarray(points, float) / size - 0.5) * self.side @ _turn(self.angle).T + self.centre

    def outside(self, width: int, height: int) -> float:
        """The share of it that lies outside of an image, 0..1, counted at 32 x 32 points."""
        steps = (np.arange(32) + 0.5) / 32
        found = self.back(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2), 1)
        return float(1 - ((found >= 0) & (found < (width, height))).all(axis=1).mean())


def cut(image: Image.Image, square: Square, size: int) -> Image.Image:
    """`size` x `size` RGB pixels of a square of an RGB image.

    An upright square is resampled once (Lanczos); a turned one at the image's own resolution first (bicubic).
    """
    factor = max(1, int(square.side / size / ENOUGH))
    if factor > 1:
        near = _region(image, square, margin=SLACK * factor)
        image, square = near[0].reduce(factor), _moved(square, near[1], 1 / factor)
    region, corner = _region(image, square, margin=SLACK)
    square = _moved(square, corner, 1)
    if square.angle % 360:
        region, square = _upright(region, square)
    left, top = np.subtract(square.centre, square.side / 2)
    box = np.clip([left, top, left + square.side, top + square.side], 0, [*region.size, *region.size])
    return region.resize((size, size), Image.Resampling.LANCZOS, box=tuple(box.tolist()))


def _region(image: Image.Image, square: Square, *, margin: int) -> tuple[Image.Image, tuple[int, int]]:
    """The upright part of an image around a square, and its left and top."""
    corners = square.corners()
    left, top = (int(each) - margin for each in np.floor(corners.min(axis=0)))
    right, bottom = (int(each) + margin for each in np.ceil(corners.max(axis=0)))
    if left >= 0 and top >= 0 and right <= image.width and bottom <= image.height:
        return image.crop((left, top, right, bottom)), (left, top)
    across, down = _mirror(left, right, image.width), _mirror(top, bottom, image.height)
    inside = image.crop((across.min(), down.min(), across.max() + 1, down.max() + 1))
    pixels = np.asarray(inside)[down - down.min()][:, across - across.min()]
    return Image.fromarray(pixels), (left, top)


def _mirror(start: int, stop: int, length: int) -> np.ndarray:
    """start..stop as indices of something of this length that is mirrored at its ends, again and again."""
    period = max(2 * (length - 1), 1)
    there = np.arange(start, stop) % period
    return np.where(there < length, there, period - there)


def _upright(region: Image.Image, square: Square) -> tuple[Image.Image, Square]:
    """A turned square, resampled pixel by pixel: what it shows, with SLACK around."""
    side = int(np.ceil(square.side)) + 2 * SLACK
    turn = _turn(square.angle)
    start = square.centre - turn @ np.full(2, side / 2)
    data = (*turn[0], start[0], *turn[1], start[1])
    turned = region.transform((side, side), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    return turned, Square((side / 2, side / 2), square.side)


def _moved(square: Square, corner: tuple[int, int], scale: float) -> Square:
    """The same square in an image that begins at `corner` and is scaled."""
    x, y = np.subtract(square.centre, corner) * scale
    return Square((float(x), float(y)), square.side * scale, square.angle)


def _turn(angle: float) -> np.ndarray:
    """(2, 2): from what is cut out to the image, x and y with y downwards."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.array([[c, s], [-s, c]])
