"""One image file -> RGB pixels, with a defined outcome for every kind of bad one.

usable, with a note     animated (first frame), CMYK, 16-bit (to 8 by a 257th, however bright it is), alpha (over
                        white), palette, greyscale, EXIF-rotated (turned upright)
not usable (status)     missing, empty (no bytes), unreadable (no image of FORMATS; numbers without a known white),
                        truncated, enormous (over 100 Mpx, or a strip of which one side is over 100 times the other)
"""

import functools
import hashlib
import io
import multiprocessing.dummy
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data.disk import BadImageError, read_file
from data.thumbnails import written

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # Pillow knows 35 more, of which EPS starts a program
ENOUGH_PIXELS = 100_000_000
AT_ONCE = 2 * ENOUGH_PIXELS  # pixels in the memory of all threads or processes together; one takes 12 to 20 bytes
STRIP = 100  # times one side is longer than the other; resized by its shorter side, a longer one would fill the memory
# A camera writes one. Pillow joins them, each time copying all before: 800 of them take ten seconds.
EXIF, ENOUGH_EXIF = b"Exif\0\0", 64
# What Pillow raises for damaged files.
PILLOW_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError,
                 SyntaxError, TypeError, ValueError, EOFError, struct.error, zlib.error)  # fmt: skip
BLACK_SIZE = (256, 256)  # pixels, of the image that stands in for a bad one under --bad_images=black
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Probe:
    """What reading a file once tells; the manifest's columns of the same names say what each is."""

    path: str
    mtime_ns: int
    bytes: int
    digest: str
    status: str
    note: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    quantisation: float = 0.0
    brightness: float = float("nan")
    colour: float = float("nan")
    sharpness: float = float("nan")
    thumbnail: str = ""  # of data.thumbnails; kept in a file of its own


@dataclass(frozen=True)
class Opened:
    """image: upright RGB. note: what was done to it. quantisation: mean of the first JPEG table, 0 = there is none."""

    image: Image.Image
    note: str
    format: str
    quantisation: float


class Budget:
    """Pixels that may be in memory together: who finds too few left waits, in turn.

    Args:
        context: where its locks come from: `multiprocessing.dummy` for the threads of a process, a context of
            `multiprocessing` for processes.
    """

    def __init__(self, pixels: int, context: Any = multiprocessing.dummy):
        self._left = context.Value("q", pixels, lock=False)
        self._turn, self._changed = context.Lock(), context.Condition()

    @property
    def left(self) -> int:
        return self._left.value

    @contextmanager
    def taking(self, pixels: int) -> Iterator[None]:
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._left.value >= pixels)
            self._left.value -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._left.value += pixels
                self._changed.notify()


budget = Budget(AT_ONCE)  # of this process, unless it shares that of others


@contextmanager
def opened(content: bytes) -> Iterator[Opened]:
    """The image in a file's bytes. While the block runs its pixels count among those AT_ONCE, so do the work there.

    Raises:
        BadImageError: with the status that the manifest keeps.
    """
    image = _identified(content)
    with budget.taking(image.width * image.height):
        found = _loaded(image)
        del image  # as it was decoded; found is a copy
        yield found


def format_of(content: bytes) -> str:
    """What the header of a file's bytes says that it is, as Pillow names it. Raises: BadImageError where it is none."""
    return _identified(content).format or ""


def decode(content: bytes) -> tuple[Image.Image, str]:
    """The upright RGB image in a file's bytes, and a note of what was done to it. Raises: BadImageError as `opened`."""
    with opened(content) as found:
        return found.image, found.note


def probe(root: Path, path: str) -> Probe:
    """Hash and examine one file; never raises for a bad one."""
    try:
        content, mtime_ns = read_file(root / path)
    except BadImageError as error:
        return Probe(path, 0, 0, hashlib.sha256(path.encode()).hexdigest(), error.status, str(error))
    digest = hashlib.sha256(content).hexdigest()
    try:
        with opened(content) as found:
            grey = found.image.convert("L")
            size, statistics, thumbnail = found.image.size, _statistics(found.image, grey), written(grey)
    except BadImageError as error:
        return Probe(path, mtime_ns, len(content), digest, error.status, str(error))
    about = (found.format, round(found.quantisation, 3))
    return Probe(path, mtime_ns, len(content), digest, "ok", found.note, *size, *about, *statistics, thumbnail)


def black() -> Image.Image:
    """The image that stands in for a bad one under --bad_images=black."""
    return Image.new("RGB", BLACK_SIZE)


@contextmanager
def pillow_errors() -> Iterator[None]:
    """Whatever Pillow raises in the block becomes a BadImageError."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise BadImageError("enormous", str(error)) from error
    except UnidentifiedImageError as error:
        raise BadImageError("unreadable", f"not an image of the formats {', '.join(FORMATS)}") from error
    except PILLOW_ERRORS as error:
        status = "truncated" if "truncated" in str(error) or "end of" in str(error) else "unreadable"
        raise BadImageError(status, str(error) or type(error).__name__) from error


def upright_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """An opened image as `decode` returns it.

    Raises:
        BadImageError: its numbers have no known white. Pillow's own errors.
    """
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"animated: first of {image.n_frames} frames")
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if orientation != 1:
        notes.append(f"EXIF rotation {orientation}")
        image = ImageOps.exif_transpose(image)
    if sixteen:
        notes.append("16-bit")
        image = _eight_bits(image)
    elif image.mode in ("I", "F"):
        numbers = "32-bit integers" if image.mode == "I" else "floating-point numbers"
        raise BadImageError(
            "unreadable", f"pixels are {numbers}, so what is white is not known: save it in 8 or 16 bits"
        )
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        notes.append("alpha over white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    elif image.mode != "RGB":
        notes.append({"L": "greyscale", "P": "palette", "1": "greyscale"}.get(image.mode, image.mode))
    return image.convert("RGB"), "; ".join(notes)


def _identified(content: bytes) -> Image.Image:
    """The image of which nothing but the header was read, and that may be decoded."""
    if not content:
        raise BadImageError("empty", "the file has no bytes")
    if content.count(EXIF) > ENOUGH_EXIF:
        raise BadImageError("unreadable", f"{content.count(EXIF)} EXIF segments, over {ENOUGH_EXIF}")
    with pillow_errors(), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `enormous` answers for these
        image = Image.open(io.BytesIO(content), formats=_formats())
        if image.width * image.height > ENOUGH_PIXELS:
            raise BadImageError("enormous", f"{image.width}x{image.height} pixels, over {ENOUGH_PIXELS:,}")
        if max(image.size) > STRIP * min(image.size):
            raise BadImageError("enormous", f"{image.width}x{image.height} pixels, a strip")
        return image


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _loaded(image: Image.Image) -> Opened:
    with pillow_errors():
        tables = getattr(image, "quantization", None)
        about = (image.format or "", float(np.mean(next(iter(tables.values())))) if tables else 0.0)
        image.load()
        return Opened(*upright_rgb(image), *about)


def _eight_bits(image: Image.Image) -> Image.Image:
    """0..65535 -> 0..255, rounded; Pillow clips instead."""
    shallow = Image.new("L", image.size)
    for top in range(0, image.height, 256):  # in strips, because numpy takes four times an image's memory
        strip = (0, top, image.width, min(top + 256, image.height))
        deep = np.asarray(image.crop(strip)).astype(np.uint32)
        shallow.paste(Image.fromarray(((deep + 128) // 257).astype(np.uint8)), strip)
    return shallow


def _statistics(image: Image.Image, grey: Image.Image) -> tuple[float, float, float]:
    """Brightness 0..255, colour 0..255 and sharpness of an RGB image and its grey levels, rounded for the CSV."""
    small = np.asarray(image.reduce(max(1, min(image.size) // 64)), np.int16)
    red, green, blue = np.moveaxis(small, 2, 0)  # a maximum over an axis of three takes six times as long
    colour = (np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)).mean()
    return round(float(small.mean()), 3), round(float(colour), 3), round(_sharpness(grey), 3)


def _sharpness(image: Image.Image) -> float:
    """Variance of the Laplacian of grey levels; in place, because an image can take half a gigabyte."""
    grey = np.asarray(image).astype(np.float32)
    if min(grey.shape) < 3:
        return 0.0
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1]
    edges += grey[1:-1, :-2]
    edges += grey[1:-1, 2:]
    grey *= 4
    edges -= grey[1:-1, 1:-1]
    del grey
    return float(edges.var())
