"""What happens to an image on its way to a detector: JPEG, blur, scaling, noise, light, cropping, messengers.

Each is a function of the image, a strength, and for noise the image's digest, and is done to the whole image at its own
size, before any preprocessing.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

VERSION = "perturbed-1"  # in the spec of a perturbed view: change it with what a kind does
HOP_SCALE, HOP_QUALITY = 0.8, 75  # what a messenger makes of an image each time it is sent on


@dataclass(frozen=True)
class Kind:
    """meaning: of a strength, for axes. words: of one strength, as {}. mild: the strength that would change nothing."""

    change: Callable[[Image.Image, float, str], Image.Image]
    meaning: str
    words: str
    mild: float
    strengths: tuple[float, ...]


@dataclass(frozen=True)
class Perturbation:
    """One change of an image: a kind of KINDS and how strong it is."""

    kind: str
    strength: float

    @property
    def name(self) -> str:
        """Its name in tables and file names: `jpeg-50`."""
        return f"{self.kind}-{self.strength:g}"

    @property
    def words(self) -> str:
        """Its name for people: `JPEG of quality 50`."""
        return KINDS[self.kind].words.format(f"{self.strength:g}")

    @property
    def policy(self) -> str:
        """Its name in a FeatureSpec."""
        return f"{VERSION}:{self.name}"

    @classmethod
    def named(cls, name: str) -> "Perturbation":
        """The perturbation of that name or policy."""
        kind, _, strength = name.removeprefix(f"{VERSION}:").rpartition("-")
        return cls(kind, float(strength))

    def of(self, image: Image.Image, digest: str) -> Image.Image:
        """An RGB image, changed; digest: 64 hex digits."""
        return KINDS[self.kind].change(image, self.strength, digest)


def through_jpeg(image: Image.Image, quality: float) -> Image.Image:
    """Compressed as Pillow does it by default, with chroma at half the resolution."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=round(quality))
    return Image.open(buffer).convert("RGB")


def scaled_size(image: Image.Image, scale: float) -> tuple[int, int]:
    """Width and height in whole pixels, at least one."""
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def _jpeg(image: Image.Image, quality: float, _: str) -> Image.Image:
    return through_jpeg(image, quality)


def _blur(image: Image.Image, sigma: float, _: str) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(sigma))


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    return image.resize(scaled_size(image, scale), Image.Resampling.BICUBIC)


def _rescale(image: Image.Image, scale: float, _: str) -> Image.Image:
    return _scaled(image, scale).resize(image.size, Image.Resampling.BICUBIC)


def _noise(image: Image.Image, deviation: float, digest: str) -> Image.Image:
    rng = np.random.default_rng([*bytes.fromhex(digest)])
    pixels = np.asarray(image, np.float32)
    noisy = pixels + deviation * rng.standard_normal(pixels.shape, np.float32)
    return Image.fromarray(np.clip(noisy + 0.5, 0, 255).astype(np.uint8))


def _brightness(image: Image.Image, factor: float, _: str) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _crop(image: Image.Image, share: float, _: str) -> Image.Image:
    width, height = max(1, round(image.width * share)), max(1, round(image.height * share))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _messenger(image: Image.Image, hops: float, _: str) -> Image.Image:
    """Made smaller and compressed each time; nobody makes it larger again."""
    for _ in range(round(hops)):
        image = through_jpeg(_scaled(image, HOP_SCALE), HOP_QUALITY)
    return image


KINDS = {
    "jpeg": Kind(_jpeg, "JPEG quality", "JPEG of quality {}", 100, (95, 85, 70, 50, 30)),
    "blur": Kind(_blur, "Gaussian blur, standard deviation in pixels", "blur of {} pixels", 0, (0.5, 1, 2, 3)),
    "rescale": Kind(
        _rescale,
        "made smaller by this factor and enlarged again",
        "made smaller by {} and enlarged again",
        1,
        (0.75, 0.5, 0.25),
    ),
    "noise": Kind(
        _noise, "Gaussian noise, standard deviation in grey levels", "noise of {} grey levels", 0, (2, 5, 10, 20)
    ),
    "brightness": Kind(_brightness, "brightness, factor", "brightness times {}", 1, (0.5, 0.75, 1.25, 1.5)),
    "crop": Kind(_crop, "centre crop, share of each side", "centre crop to {} of each side", 1, (0.9, 0.75, 0.6)),
    "messenger": Kind(
        _messenger,
        f"messenger, times sent (each x {HOP_SCALE:g}, JPEG {HOP_QUALITY})",
        "sent {} x by messenger",
        0,
        (1, 2, 3),
    ),
}
# What becomes of most images that are saved, shown and sent on. A verdict that these change is none to sign.
COPIES = (
    Perturbation("jpeg", 85), Perturbation("jpeg", 50), Perturbation("rescale", 0.75), Perturbation("rescale", 0.5),
    Perturbation("messenger", 1), Perturbation("messenger", 2),
)  # fmt: skip
PERTURBATIONS = [Perturbation(name, strength) for name, kind in KINDS.items() for strength in kind.strengths]
