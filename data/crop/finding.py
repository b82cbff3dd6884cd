"""An upright RGB image -> the faces in it, the largest first; and how each is turned.

CenterFace finds faces from about 16 to 1 000 pixels. So an image is looked at with its long side at COARSE, where large
faces are found, and, where it is larger, at FINE, where small ones are. It finds faces in any position but tells badly
how one is turned that is turned far, and misses some: where nothing is found the image is turned by quarters, and
before a face is cut out upright it is looked at closely, from all four sides.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from data.crop.centerface import Face, detect, detect_each
from data.crop.mirrored import Square, cut

COARSE, FINE = 640, 1280  # pixels of the long side
QUARTERS = (90, 180, 270)  # degrees
PART = 0.5  # of the smaller of two boxes in the larger from which, found in two looks, they are one face
MOST = 3.0  # times the image's long side that a face may have; what is larger is a slip
CLOSE, AROUND = 128, 2.0  # pixels of a close look, and how much wider it is than the face
NEAR = 0.25  # of a close look's side by which the centre of the face may lie beside its middle
DOUBT = 0.2  # score that is enough in a close look, where a face is known to be
TURNS = 2  # close looks at most behind the one from all sides
STILL = 1.0  # degrees; turned by less a face is not looked at again
# Where the points of an upright face lie to each other: the mean of many, as ArcFace's aligned faces have it.
UPRIGHT = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


def faces_in(image: Image.Image, *, least: float, every: bool = True) -> list[Face]:
    """The faces of an upright RGB image that are at least so sure, by their size.

    Args:
        every: whether small ones are looked for where there are larger ones.
    """
    found = _look(image, COARSE, least)
    if max(image.size) > COARSE and (every or not found):
        found += [each for each in _look(image, FINE, least) if not any(_same(each, other) for other in found)]
    if not found:
        found = next(filter(None, (_turned(image, angle, least) for angle in QUARTERS)), [])
    real = [each for each in found if 0 < each.side < MOST * max(image.size)]
    return sorted(real, key=lambda face: (-face.side, face.box))


def turned(image: Image.Image, face: Face) -> tuple[float, Face]:
    """By how many degrees a face is turned anticlockwise, and the face as it is, upright, around its centre.

    Its box, and its points, are those of the image turned back by the angle around the box's centre.
    """
    square = Square(face.centre, face.side * AROUND)
    sides = _closely(image, [replace(square, angle=90.0 * quarter) for quarter in range(4)])
    best = max(range(4), key=lambda number: sides[number].score if sides[number] else 0.0)
    if not sides[best]:
        return 0.0, face
    square, seen = replace(square, angle=90.0 * best), sides[best]
    for _ in range(TURNS):
        by = angle_of(seen.points)
        square = _around(square, seen, by)
        again = _closely(image, [square])[0]
        if again is None:
            break
        seen = again
        if abs(angle_of(seen.points)) < STILL:
            break
    (centre,), upright = square.back(np.array([seen.centre]), CLOSE), seen.mapped(square.side / CLOSE)
    return _wrapped(square.angle), upright.mapped(1, tuple(np.subtract(centre, upright.centre).tolist()))


def angle_of(points: np.ndarray) -> float:
    """Degrees by which five points are turned anticlockwise against UPRIGHT: least squares, scale and place free."""
    there, upright = (each[:, 0] + 1j * each[:, 1] for each in (np.asarray(points), UPRIGHT))
    return -float(np.degrees(np.angle(((there - there.mean()) * (upright - upright.mean()).conj()).sum())))


def _look(image: Image.Image, side: int, least: float) -> list[Face]:
    """At an image, made smaller if its long side is longer than `side`."""
    scale = min(1.0, side / max(image.size))
    size = tuple(max(1, round(length * scale)) for length in image.size)
    small = image if scale == 1 else image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3)
    return [face.mapped(1 / scale) for face in detect(np.asarray(small), least=least)]


def _turned(image: Image.Image, angle: int, least: float) -> list[Face]:
    """Faces of the image turned clockwise, where they are in the image as it is."""
    quarter = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
    small = image.copy()
    small.thumbnail((COARSE, COARSE), Image.Resampling.BICUBIC)
    scale, way = image.width / small.width, quarter[angle]
    found = detect(np.asarray(small.transpose(way)), least=least)
    return [_turned_back(face, angle, small.size).mapped(scale) for face in found]


def _turned_back(face: Face, angle: int, size: tuple[int, int]) -> Face:
    """From an image that was turned clockwise to the image of this size that it was made of."""
    width, height = size
    turn = {90: lambda x, y: (y, height - x), 180: lambda x, y: (width - x, height - y),
            270: lambda x, y: (width - y, x)}[angle]  # fmt: skip
    corners = np.array([turn(*face.box[:2]), turn(*face.box[2:])])
    box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
    return Face(box, face.score, np.array([turn(x, y) for x, y in face.points]))


def _closely(image: Image.Image, squares: list[Square]) -> list[Face | None]:
    """Of each square the face in its middle, in pixels of the CLOSE x CLOSE cutting."""
    looks = np.stack([np.asarray(cut(image, square, CLOSE)) for square in squares])
    middle = [[face for face in found if np.abs(np.subtract(face.centre, CLOSE / 2)).max() < NEAR * CLOSE]
              for found in detect_each(looks, least=DOUBT)]  # fmt: skip
    return [found[0] if found else None for found in middle]


def _around(square: Square, seen: Face, by: float) -> Square:
    """A square around what was seen in another one, turned further."""
    (centre,) = square.back(np.array([seen.centre]), CLOSE)
    return Square(tuple(centre.tolist()), seen.side * square.side / CLOSE * AROUND, square.angle + by)


def _same(one: Face, other: Face) -> bool:
    """Whether two boxes, of which one may be a part of a face, show the same."""
    sides = np.minimum(one.box[2:], other.box[2:]) - np.maximum(one.box[:2], other.box[:2])
    areas = [(face.box[2] - face.box[0]) * (face.box[3] - face.box[1]) for face in (one, other)]
    return bool(sides.min() > 0 and sides.prod() > PART * min(areas))


def _wrapped(angle: float) -> float:
    """The same angle between -180 and 180 degrees."""
    return (angle + 180) % 360 - 180
