"""The built-in sample: 360 synthetic 256x256 JPEG "portraits" drawn from a seed with numpy and Pillow.

Both classes show the same drawn faces, in the same size, format and JPEG tables. What differs is the chain behind:

    real    camera-like: fine skin texture, Bayer mosaic, photon and read noise, bilinear demosaicing
    fake    generator-like: synthesis at half size, transposed-convolution upsampling with its checkerboard,
            no sensor noise, and an inner face of slightly other colour blended in along a soft seam

So that the task is no gift, some of each class went another way since: every third real one was made smaller and
larger again, as by a messenger, and every third fake one was photographed from a screen by the camera above.

It is there so that every command runs on a fresh machine; its figures say nothing about real faces.
seams.json keeps the ellipse of each seam, so that a heat map can be checked against it.
"""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from cache.atomic import remove_leftovers, write_bytes, write_json
from cache.progress import Progress
from data.manifest import LABELS

VERSION = 1  # in seams.json: a sample of another version is drawn anew
COUNT = 360
SIDE = 256  # pixels
SEED = 20_250_912
QUALITIES = (85, 90, 95)
DETOUR = 1 / 3  # share of each class that went another way before it was saved

Ellipse = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def draw_sample(folder: Path) -> None:
    """Fill folder/real and folder/fake, unless that is done; seams.json, written last, says that it is."""
    for place in (folder, *(folder / label for label in LABELS)):
        remove_leftovers(place)
    done = folder / "seams.json"
    if _version(done) == VERSION:
        return
    with Progress("data sample: drawing", COUNT) as progress, ThreadPoolExecutor() as pool:
        seams = {}
        for name, content, seam in pool.map(_portrait, range(COUNT)):
            write_bytes(folder / name, content)
            if seam:
                seams[name] = [round(edge, 1) for edge in seam]
            progress.advance(1)
    write_json(done, {"version": VERSION, "seed": SEED, "seams": seams})


def _version(done: Path) -> int | None:
    """The version of the sample that is there; None where there is none, or its JSON is damaged."""
    try:
        return json.loads(done.read_bytes())["version"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _portrait(index: int) -> tuple[str, bytes, Ellipse | None]:
    """Path, JPEG bytes and seam of one portrait: a function of the index alone. Labels alternate."""
    rng = np.random.default_rng([SEED, index])
    label = LABELS[index % 2]
    scene, face = _scene(rng)
    pixels, seam = _real(scene, rng) if label == "real" else _fake(scene, face, rng)
    buffer = io.BytesIO()
    image = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
    image.save(buffer, "JPEG", quality=int(rng.choice(QUALITIES)), subsampling="4:2:0")
    return f"{label}/{label}_{index:04d}.jpg", buffer.getvalue(), seam


def _scene(rng: np.random.Generator) -> tuple[np.ndarray, Ellipse]:
    """A drawn face without any texture: (SIDE, SIDE, 3) float 0..255, and the ellipse of the face."""
    size = 2 * SIDE  # drawn at double size and reduced, for smooth edges
    image = Image.new("RGB", (size, size), _colour(rng, 40, 200))
    draw = ImageDraw.Draw(image)
    cx, cy = size / 2 + rng.normal(0, 18), size * 0.52 + rng.normal(0, 14)
    rx, ry = size * rng.uniform(0.19, 0.25), size * rng.uniform(0.27, 0.33)
    skin = rng.uniform(110, 240) * np.array([1.0, rng.uniform(0.72, 0.86), rng.uniform(0.55, 0.74)])
    hair = _tone(np.array([1.0, rng.uniform(0.6, 0.95), rng.uniform(0.4, 0.9)]), rng.uniform(15, 150))
    draw.ellipse((cx - rx * 2.1, cy + ry * 0.9, cx + rx * 2.1, cy + ry * 3), fill=_colour(rng, 20, 220))  # shoulders
    draw.ellipse(_around(cx, cy - ry * 0.25, rx * 1.22, ry * 1.12), fill=hair)
    draw.rectangle((cx - rx * 0.4, cy, cx + rx * 0.4, cy + ry * 1.4), fill=_tone(skin, 0.85))  # neck
    draw.ellipse(_around(cx, cy, rx, ry), fill=_tone(skin, 1.0))
    _features(draw, rng, cx, cy, rx, ry, skin)
    image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.6))
    return _lit(np.asarray(image, np.float64), rng), tuple(edge / 2 for edge in _around(cx, cy, rx, ry))


def _features(draw: ImageDraw.ImageDraw, rng: np.random.Generator, cx: float, cy: float, rx: float, ry: float,
              skin: np.ndarray) -> None:  # fmt: skip
    """Eyes, brows, nose and mouth, in place."""
    eye, gap, lift = rx * rng.uniform(0.15, 0.22), rx * rng.uniform(0.4, 0.5), ry * rng.uniform(0.1, 0.2)
    iris = _colour(rng, 20, 150)
    for side in (-1, 1):
        x, y = cx + side * gap, cy - lift
        draw.ellipse(_around(x, y, eye, eye * 0.6), fill=(240, 238, 235))
        draw.ellipse(_around(x, y, eye * 0.5, eye * 0.5), fill=iris)
        draw.ellipse(_around(x, y, eye * 0.22, eye * 0.22), fill=(8, 8, 10))
        draw.arc(_around(x, y - eye * 0.9, eye * 1.4, eye * 0.7), 200, 340, fill=_tone(skin, 0.4), width=7)
    nose = rx * rng.uniform(0.13, 0.2)
    draw.polygon([(cx, cy - lift / 2), (cx - nose, cy + ry * 0.25), (cx + nose, cy + ry * 0.25)], fill=_tone(skin, 0.9))
    mouth = rx * rng.uniform(0.3, 0.45)
    draw.chord(_around(cx, cy + ry * 0.5, mouth, ry * 0.12), 0, 180, fill=(170, 70, 75))
    draw.arc(_around(cx, cy + ry * 0.5, mouth, ry * 0.07), 0, 180, fill=(110, 40, 45), width=4)


def _lit(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light from one side."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0.05, 0.25) * (x * np.cos(angle) + y * np.sin(angle))
    return np.clip(scene * light[..., None], 0, 255)


def _real(scene: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, None]:
    textured = scene + _texture(rng, scale=1.0, strength=rng.uniform(1.0, 5.0))
    pixels = _camera(textured, rng)
    if rng.random() < DETOUR:
        image = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
        smaller = image.resize((round(SIDE * rng.uniform(0.5, 0.8)),) * 2, Image.Resampling.BICUBIC)
        pixels = np.asarray(smaller.resize((SIDE, SIDE), Image.Resampling.BICUBIC), float)
    return pixels, None


def _fake(scene: np.ndarray, face: Ellipse, rng: np.random.Generator) -> tuple[np.ndarray, Ellipse]:
    pixels, seam = _generator(scene, face, rng)
    return (_camera(pixels, rng) if rng.random() < DETOUR else pixels), seam


def _camera(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bayer mosaic with photon and read noise, bilinear demosaicing; grey levels in and out."""
    linear = (np.clip(light, 0, 255) / 255) ** 2.2
    electrons = rng.uniform(1000, 8000)  # of a white pixel
    noisy = rng.poisson(linear * electrons) / electrons + rng.normal(0, 0.002, linear.shape)
    masks = np.zeros((SIDE, SIDE, 3))
    masks[0::2, 0::2, 0] = masks[0::2, 1::2, 1] = masks[1::2, 0::2, 1] = masks[1::2, 1::2, 2] = 1
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], float)
    demosaiced = _filtered(noisy * masks, kernel) / _filtered(masks, kernel)
    return np.clip(demosaiced, 0, 1) ** (1 / 2.2) * 255


def _generator(scene: np.ndarray, face: Ellipse, rng: np.random.Generator) -> tuple[np.ndarray, Ellipse]:
    """Half-size synthesis, transposed convolution with uneven overlap, an inner face blended in along a seam."""
    textured = scene + _texture(rng, scale=1.2, strength=rng.uniform(1.0, 5.5))
    half = textured.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3))
    spread = np.zeros_like(scene)
    spread[::2, ::2] = half
    uneven = 1 + 0.008 * rng.random() ** 2  # a kernel whose taps do not sum alike over even and odd pixels
    row = np.array([0.5, uneven, 0.5])
    upsampled = _filtered(spread, np.outer(row, row))
    upsampled = _sharpened(upsampled * (scene.mean() / upsampled.mean()), rng.uniform(-0.1, 0.6))
    left, top, right, bottom = face
    inset_x, inset_y = (right - left) * rng.uniform(0.08, 0.16), (bottom - top) * rng.uniform(0.1, 0.2)
    seam = (left + inset_x, top + inset_y, right - inset_x, bottom - inset_y * 0.6)
    mask = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(mask).ellipse(seam, fill=255)
    weight = np.asarray(mask.filter(ImageFilter.GaussianBlur(1.5)), float)[..., None] / 255
    swapped = upsampled * (1 + rng.normal(0, 0.01, 3)) + rng.normal(0, 1.5)
    return upsampled * (1 - weight) + swapped * weight, seam


def _texture(rng: np.random.Generator, *, scale: float, strength: float) -> np.ndarray:
    """Smooth grey noise, (SIDE, SIDE, 1): `scale` pixels wide, `strength` grey levels of standard deviation."""
    from scipy.ndimage import gaussian_filter  # a second to import, and the sample is drawn once

    smooth = gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), scale)
    return (smooth / smooth.std() * strength)[..., None]


def _sharpened(pixels: np.ndarray, amount: float) -> np.ndarray:
    """Unsharp mask with a 3x3 mean."""
    return pixels + amount * (pixels - _filtered(pixels, np.full((3, 3), 1 / 9)))


def _filtered(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlation of each channel of (H, W, C) with a 3x3 kernel, edges mirrored."""
    from scipy.ndimage import correlate

    return correlate(pixels, kernel[..., None], mode="mirror")


def _around(cx: float, cy: float, rx: float, ry: float) -> Ellipse:
    return (cx - rx, cy - ry, cx + rx, cy + ry)


def _colour(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    return tuple(int(value) for value in rng.integers(low, high, 3))


def _tone(colour: np.ndarray, factor: float) -> tuple[int, int, int]:
    return tuple(int(value) for value in colour * factor)
