"""Random changes of an image, each a function of the image's digest and a seed: a drawn image can be made again."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cache.settings import Settings, setting
from data.perturb import through_jpeg

WINDOW_STEP = 32  # pixels
BEST_QUALITY = 95  # of JPEG; above, files grow and nothing changes


@dataclass(frozen=True)
class Augmentation(Settings):
    """How much an image is changed; the defaults change nothing.

    flip: probability of a mirror image. rotation: largest angle in degrees. zoom: smallest side of a random square,
    as a share of the shorter side, which then takes the whole image's place; 1 = the whole image. colour: largest
    relative change of brightness, of contrast and of saturation.

    jpeg, blur: probabilities of a compression of quality `lowest_quality` to 95 and of a Gaussian blur of up to
    `largest_blur` pixels, the pair that Wang et al. (2020, arXiv:1912.11035) train detectors with.

    window: side of a random window that is cut out at the input's own scale in place of the centre crop, as a share of
    the crop's side and rounded to WINDOW_STEP pixels, 0 = the centre crop. Rescaling blurs what a generator leaves in
    the finest detail, a window does not.
    """

    flip: float = setting(0.0, least=0, most=1)
    rotation: float = setting(0.0, least=0, most=180)
    zoom: float = setting(1.0, above=0, most=1)
    colour: float = setting(0.0, least=0, most=0.99)
    jpeg: float = setting(0.0, least=0, most=1)
    lowest_quality: int = setting(50, least=1, most=BEST_QUALITY)
    blur: float = setting(0.0, least=0, most=1)
    largest_blur: float = setting(3.0, least=0, most=100)
    window: float = setting(0.0, least=0, most=1)

    @property
    def idle(self) -> bool:
        """Whether it never changes an image."""
        return (
            not (self.flip or self.rotation or self.colour or self.jpeg or self.blur or self.window) and self.zoom == 1
        )

    def side(self, crop: int) -> int:
        """The side in pixels of the images that come out; networks that halve it five times like multiples of 32."""
        if self.window in (0, 1):
            return crop
        return min(crop, max(1, round(self.window * crop / WINDOW_STEP)) * WINDOW_STEP)


@dataclass(frozen=True)
class Draw:
    """One drawing of an augmentation: with the image's digest, `seed` is all that it depends on."""

    augmentation: Augmentation
    seed: tuple[int, ...]

    def generator(self, digest: str) -> np.random.Generator:
        """The random numbers that one image's drawing uses; digest: 64 hex digits."""
        return np.random.default_rng([*self.seed, *bytes.fromhex(digest)])


def changed(image: Image.Image, how: Augmentation, rng: np.random.Generator) -> Image.Image:
    """Everything but the window, in a fixed order; a change that `how` leaves out draws nothing from rng."""
    if how.flip and rng.random() < how.flip:
        image = ImageOps.mirror(image)
    if how.rotation:
        image = image.rotate(rng.uniform(-how.rotation, how.rotation), Image.Resampling.BILINEAR)
    if how.zoom < 1:
        side = round(min(image.size) * rng.uniform(how.zoom, 1.0))
        image = random_window(image, side, rng)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color) if how.colour else ():
        image = enhance(image).enhance(rng.uniform(1 - how.colour, 1 + how.colour))
    if how.blur and rng.random() < how.blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, how.largest_blur)))
    if how.jpeg and rng.random() < how.jpeg:
        image = through_jpeg(image, int(rng.integers(how.lowest_quality, BEST_QUALITY + 1)))
    return image


def random_window(image: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """A square of `side` pixels; black where the image is smaller."""
    left, top = (int(rng.integers(max(0, length - side) + 1)) for length in image.size)
    return image.crop((left, top, left + side, top + side))
