"""Random changes of an image, each a function of the image's digest and a seed: a drawn image can be made again."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cache.errors import UserError
from cache.settings import Settings, setting
from data.perturb import scaled_size, through_jpeg

WINDOW_STEP = 32  # pixels
BEST_QUALITY = 95  # of JPEG; above, files grow and little changes
MOST_LINKS = 20  # of a chain: nobody waits for more


@dataclass(frozen=True)
class Augmentation(Settings):
    """How much an image is changed; the defaults change nothing.

    flip: probability of a mirror image. rotation: largest angle in degrees; shift: largest way to the side and up or
    down, as a share of the image's; scale: largest relative change of size. What these three leave empty is black.
    zoom: smallest side of a random square, as a share of the shorter side, which then takes the whole image's place;
    1 = the whole image. colour: largest relative change of brightness, of contrast and of saturation.

    jpeg, blur: probabilities of a compression of quality `lowest_quality` to `highest_quality` and of a Gaussian blur
    of up to `largest_blur` pixels, the pair that Wang et al. (2020, arXiv:1912.11035) train detectors with.

    chain: probability of a way from hand to hand, one to `links` times scaled and compressed again. The size of each
    link is `smallest` to 1 of the image's own, its quality that of jpeg, and the last has the own size again.

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
    shift: float = setting(0.0, least=0, most=1, later=True)
    scale: float = setting(0.0, least=0, most=0.99, later=True)
    highest_quality: int = setting(BEST_QUALITY, least=1, most=100, later=True)
    chain: float = setting(0.0, least=0, most=1, later=True)
    links: int = setting(3, least=1, most=MOST_LINKS, later=True)
    smallest: float = setting(0.5, least=0.05, most=1, later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lowest_quality > self.highest_quality:
            raise UserError(f"lowest_quality = {self.lowest_quality}: above highest_quality = {self.highest_quality}")

    @property
    def idle(self) -> bool:
        """Whether it never changes an image."""
        chances = (self.flip, self.colour, self.jpeg, self.blur, self.window, self.chain)
        return not any(chances) and not self.moves and self.zoom == 1

    @property
    def moves(self) -> bool:
        """Whether it turns, shifts or scales images."""
        return bool(self.rotation or self.shift or self.scale)

    def quality(self, rng: np.random.Generator) -> int:
        """Of one compression."""
        return int(rng.integers(self.lowest_quality, self.highest_quality + 1))

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
    if how.moves:
        image = _moved(image, how, rng)
    if how.zoom < 1:
        side = round(min(image.size) * rng.uniform(how.zoom, 1.0))
        image = random_window(image, side, rng)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color) if how.colour else ():
        image = enhance(image).enhance(rng.uniform(1 - how.colour, 1 + how.colour))
    if how.blur and rng.random() < how.blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, how.largest_blur)))
    if how.jpeg and rng.random() < how.jpeg:
        image = through_jpeg(image, how.quality(rng))
    if how.chain and rng.random() < how.chain:
        image = _handed_on(image, how, rng)
    return image


def _moved(image: Image.Image, how: Augmentation, rng: np.random.Generator) -> Image.Image:
    """Turned and scaled about its centre, then shifted, all of it in one resampling."""
    angle = math.radians(rng.uniform(-how.rotation, how.rotation)) if how.rotation else 0.0
    scale = 1 + rng.uniform(-how.scale, how.scale) if how.scale else 1.0
    right, down = (rng.uniform(-how.shift, how.shift, 2) if how.shift else (0.0, 0.0)) * np.array(image.size)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    x, y = image.width / 2, image.height / 2
    # Pillow asks where each pixel comes from: the inverse of what is done.
    rows = [(a, b, centre - a * (x + right) - b * (y + down)) for a, b, centre in ((cos, -sin, x), (sin, cos, y))]
    return image.transform(image.size, Image.Transform.AFFINE, sum(rows, ()), Image.Resampling.BILINEAR)


def _handed_on(image: Image.Image, how: Augmentation, rng: np.random.Generator) -> Image.Image:
    """Through one to `links` scalings, each with a compression behind it; of its own size in the end."""
    link = image
    for _ in range(int(rng.integers(1, how.links + 1))):
        share = rng.uniform(how.smallest, 1)
        link = link.resize(scaled_size(image, share), Image.Resampling.BICUBIC)
        link = through_jpeg(link, how.quality(rng))
    return link.resize(image.size, Image.Resampling.BICUBIC)


def random_window(image: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """A square of `side` pixels; black where the image is smaller."""
    left, top = (int(rng.integers(max(0, length - side) + 1)) for length in image.size)
    return image.crop((left, top, left + side, top + side))
