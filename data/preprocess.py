"""From a decoded image to the network's uint8 input: view 0 is the evaluation preprocess, views 1..k are augmented.

A view is a function of the image's digest and the view's number alone, so a cached augmentation can be made again.
Normalisation happens later, on the device (extract.backbones.Normalise).
"""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from cache.features import Preprocess

AUGMENTATION = "flip-rotate-crop-colour-jpeg-1"  # in the spec of views 1..k: change it with anything below
MAX_ROTATION = 10.0  # degrees
MIN_CROP = 0.8  # shortest crop side, as a share of the image's shorter side
COLOUR_RANGE = (0.8, 1.2)  # factors of brightness, contrast and saturation
JPEG_RANGE = (50, 96)  # quality
INTERPOLATION = {name.lower(): value for name, value in Image.Resampling.__members__.items()}


def to_input(image: Image.Image, how: Preprocess, *, digest: str = "", view: int = 0) -> np.ndarray:
    """(crop, crop, 3) uint8 of an RGB image.

    View 0: shorter side to how.resize (0 = as it is), centre crop, black where the image is smaller than the crop.
    """
    side = how.resize
    if view:
        side = side or min(image.size)  # an augmented crop returns to the image's own size
        image = _augmented(image, np.random.default_rng([view, *bytes.fromhex(digest)]))
    if side:
        image = _resized(image, side, INTERPOLATION[how.interpolation])
    left, top = round((image.width - how.crop) / 2), round((image.height - how.crop) / 2)
    return np.asarray(image.crop((left, top, left + how.crop, top + how.crop)))


def _resized(image: Image.Image, side: int, interpolation: Image.Resampling) -> Image.Image:
    scale = side / min(image.size)
    size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
    return image if size == image.size else image.resize(size, interpolation)


def _augmented(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    image = image.rotate(rng.uniform(-MAX_ROTATION, MAX_ROTATION), Image.Resampling.BILINEAR)
    side = round(min(image.size) * rng.uniform(MIN_CROP, 1.0))
    left, top = rng.integers(image.width - side + 1), rng.integers(image.height - side + 1)
    image = image.crop((left, top, left + side, top + side))
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(*COLOUR_RANGE))
    return _through_jpeg(image, int(rng.integers(*JPEG_RANGE))) if rng.random() < 0.5 else image


def _through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")
