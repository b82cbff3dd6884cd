"""One image file -> RGB pixels, with a defined outcome for every kind of bad one.

usable, with a note     animated (first frame), CMYK, 16-bit (scaled to 8), alpha (over white),
                        palette, greyscale, EXIF-rotated (turned upright)
not usable (status)     missing, empty (no bytes), unreadable (no image), truncated, enormous (over 100 Mpx, or a
                        strip of which one side is over 100 times the other)
"""

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

ENOUGH_PIXELS = 100_000_000
STRIP = 100  # times one side is longer than the other; resized by its shorter side, a longer one would fill the memory
# What Pillow raises for damaged files.
PILLOW_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError,
                 SyntaxError, TypeError, ValueError, EOFError, struct.error, zlib.error)  # fmt: skip
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
BLACK_SIZE = (256, 256)  # pixels, of the image that stands in for a bad one under --bad_images=black
EXIF_ORIENTATION = 0x0112


class BadImageError(Exception):
    """status: one word for the manifest; the text is the reason."""

    def __init__(self, status: str, reason: str):
        super().__init__(reason)
        self.status = status


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


def decode(content: bytes) -> tuple[Image.Image, str]:
    """The upright RGB image in a file's bytes, and a note of what was done to it.

    Raises:
        BadImageError: with the status that the manifest keeps.
    """
    if not content:
        raise BadImageError("empty", "the file has no bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `enormous` answers for these
            image = Image.open(io.BytesIO(content))
            if image.width * image.height > ENOUGH_PIXELS:
                raise BadImageError("enormous", f"{image.width}x{image.height} pixels, over {ENOUGH_PIXELS:,}")
            if max(image.size) > STRIP * min(image.size):
                raise BadImageError("enormous", f"{image.width}x{image.height} pixels, a strip")
            image.load()
            return upright_rgb(image)
    except Image.DecompressionBombError as error:
        raise BadImageError("enormous", str(error)) from error
    except UnidentifiedImageError as error:
        raise BadImageError("unreadable", "not an image that Pillow knows") from error
    except PILLOW_ERRORS as error:
        status = "truncated" if "truncated" in str(error) or "end of" in str(error) else "unreadable"
        raise BadImageError(status, str(error) or type(error).__name__) from error


def probe(root: Path, path: str) -> Probe:
    """Hash and examine one file; never raises for a bad one."""
    try:
        content = (root / path).read_bytes()
        mtime_ns = (root / path).stat().st_mtime_ns
    except OSError as error:
        return Probe(path, 0, 0, hashlib.sha256(path.encode()).hexdigest(), "missing", error.strerror or str(error))
    digest = hashlib.sha256(content).hexdigest()
    try:
        image, note = decode(content)
    except BadImageError as error:
        return Probe(path, mtime_ns, len(content), digest, error.status, str(error))
    with Image.open(io.BytesIO(content)) as header:
        kind, tables = header.format or "", getattr(header, "quantization", None)
    return Probe(
        path, mtime_ns, len(content), digest, "ok", note, image.width, image.height, kind,
        round(float(np.mean(next(iter(tables.values())))), 3) if tables else 0.0, *_statistics(image),
    )  # fmt: skip


def black() -> Image.Image:
    """The image that stands in for a bad one under --bad_images=black."""
    return Image.new("RGB", BLACK_SIZE)


def upright_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """An opened image as `decode` returns it."""
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"animated: first of {image.n_frames} frames")
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if orientation != 1:
        notes.append(f"EXIF rotation {orientation}")
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        notes.append("16-bit")
        image = _eight_bits(image)
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        notes.append("alpha over white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    elif image.mode != "RGB":
        notes.append({"L": "greyscale", "P": "palette", "1": "greyscale"}.get(image.mode, image.mode))
    return image.convert("RGB"), "; ".join(notes)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow clips where 16-bit images become 8-bit ones; this scales."""
    values = np.asarray(image, np.float64)
    top = 65535.0 if values.max() > 255 else 255.0
    return Image.fromarray(np.clip(values / top * 255 + 0.5, 0, 255).astype(np.uint8))


def _statistics(image: Image.Image) -> tuple[float, float, float]:
    """Brightness 0..255, colour 0..255 and sharpness of an RGB image, rounded for the CSV."""
    small = np.asarray(image.reduce(max(1, min(image.size) // 64)), np.int16)
    colour = (small.max(axis=2) - small.min(axis=2)).mean()
    grey = np.asarray(image.convert("L"), np.float32)
    if min(grey.shape) < 3:
        return round(float(small.mean()), 3), round(float(colour), 3), 0.0
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    return round(float(small.mean()), 3), round(float(colour), 3), round(float(edges.var()), 3)
