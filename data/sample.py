"""The built-in sample: 480 synthetic 256x256 JPEG "portraits" drawn from a seed, three frames of each of 160 "videos".

All show faces drawn in one way, in the same size, format and JPEG tables. What differs is the chain behind:

    real             a camera: fine skin texture, Bayer mosaic, photon and read noise, bilinear demosaicing
    fake/blending    the same camera twice: an inner face of another shot, blended in along a seam that this smooths
    fake/synthesis   synthesis at half size, transposed-convolution upsampling with its checkerboard, then that camera

Every third video of each was then made smaller and larger again, as by a messenger. How strong a trace is differs from
video to video, down to next to nothing: some images nobody can tell, and so heads, layers and detectors can be told
apart.

It is there so that every command runs on a fresh machine; its figures say nothing about real faces.
images.csv has label, split, group (the video) and generator of each image. seams.json, written last, has the ellipse of
each seam, so that a heat map can be checked against it.
"""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter

from cache import paths
from cache.atomic import remove, remove_leftovers, replacing, write_bytes, write_json
from cache.progress import Progress

VERSION = 3  # in seams.json: a sample of another version is drawn anew
VIDEOS = 160
COUNT = 3 * VIDEOS  # images
KERNEL = np.array([0.25, 0.5, 0.25], np.float32)  # a kernel that takes one pixel in two away
SIDE = 256  # pixels
SEED = 20_250_912
QUALITIES = (85, 90, 95)
DETOUR = 1 / 3  # share of the videos that a messenger made smaller
KINDS = ("real", "fake/blending", "real", "fake/synthesis")  # of four videos in turn
SPLITS = ("train", "val", "train", "test", "train")  # of five such fours in turn
SEAMS = "seams.json"
THINGS = 16  # behind a face
SOFT = 1.6  # pixels
TINT = (0.04, 0.15)  # share of each channel by which a blended face differs in colour
UNEVEN = (0.04, 0.18)  # by how much the taps of a synthesis do not sum alike
SHARPENED = (1.2, 3.0)  # how much of what a blur takes away is added to a synthesis

Ellipse = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Portrait:
    """A row of images.csv."""

    path: str
    label: str
    split: str
    group: str
    generator: str


def draw_sample(folder: Path) -> None:
    """Fill folder/real, folder/fake and images.csv, unless that is done; seams.json, written last, says that it is."""
    for place in (folder, *(folder / kind for kind in KINDS)):
        remove_leftovers(place)
    done = folder / SEAMS
    if _version(done) == VERSION:
        return
    _remove_other(folder)
    seams: dict[str, list[float]] = {}
    with Progress("data sample: drawing", COUNT) as progress, ThreadPoolExecutor() as pool:
        for path, content, seam in pool.map(_drawn, range(COUNT)):
            write_bytes(folder / path, content)
            if seam:
                seams[path] = [round(edge, 1) for edge in seam]
            progress.advance(1)
    with replacing(folder / paths.sample_list().name) as temporary:
        pd.DataFrame([asdict(_listed(index)) for index in range(COUNT)]).to_csv(temporary, index=False)
    write_json(done, {"version": VERSION, "seed": SEED, "seams": seams})


def _version(done: Path) -> int | None:
    """The version of the sample that is there; None where there is none, or its JSON is damaged."""
    try:
        return json.loads(done.read_bytes())["version"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _remove_other(folder: Path) -> None:
    """Take away the images of another version, which nothing lists any more."""
    ours = {_listed(index).path for index in range(COUNT)}
    for path in folder.glob("*/**/*.jpg"):
        if str(path.relative_to(folder)) not in ours:
            remove(path)


def _listed(index: int) -> Portrait:
    """What an image is: a function of its number alone."""
    video, frame = index % VIDEOS, index // VIDEOS
    kind = KINDS[video % len(KINDS)]
    label, _, generator = kind.partition("/")
    split = SPLITS[video // len(KINDS) % len(SPLITS)]
    return Portrait(f"{kind}/video_{video:03d}_{frame}.jpg", label, split, f"video_{video:03d}", generator)


def _drawn(index: int) -> tuple[str, bytes, Ellipse | None]:
    """Path, JPEG bytes and seam of one image: a function of its number alone.

    Whom a video shows and how it was made is drawn from `whose`, what differs between its frames from `rng`.
    """
    portrait, video = _listed(index), index % VIDEOS
    whose, rng = np.random.default_rng([SEED, video]), np.random.default_rng([SEED, video, index])
    scene, face = _scene(whose, rng)
    shot = Shot(whose)
    if portrait.generator == "synthesis":
        scene = _synthesis(scene, whose)
    pixels, seam = shot.taken(scene, rng), None
    if portrait.generator == "blending":
        pixels, seam = _blending(pixels, shot.taken(scene, rng), face, whose)
    buffer = io.BytesIO()
    shot.sent(pixels).save(buffer, "JPEG", quality=shot.quality, subsampling="4:2:0")
    return portrait.path, buffer.getvalue(), seam


def _scene(whose: np.random.Generator, rng: np.random.Generator) -> tuple[np.ndarray, Ellipse]:
    """A drawn face without any texture: (SIDE, SIDE, 3) float32 0..255, and the ellipse of the face."""
    size = 2 * SIDE  # drawn at double size and reduced, for smooth edges
    image = _room(_colour(whose, 40, 200), whose.spawn(1)[0], size)
    draw = ImageDraw.Draw(image)
    cx, cy = size / 2 + whose.normal(0, 18) + rng.normal(0, 6), size * 0.52 + whose.normal(0, 14) + rng.normal(0, 5)
    rx, ry = size * whose.uniform(0.19, 0.25), size * whose.uniform(0.27, 0.33)
    skin = whose.uniform(110, 240) * np.array([1.0, whose.uniform(0.72, 0.86), whose.uniform(0.55, 0.74)])
    hair = _tone(np.array([1.0, whose.uniform(0.6, 0.95), whose.uniform(0.4, 0.9)]), whose.uniform(15, 150))
    draw.ellipse((cx - rx * 2.1, cy + ry * 0.9, cx + rx * 2.1, cy + ry * 3), fill=_colour(whose, 20, 220))  # shoulders
    draw.ellipse(_around(cx, cy - ry * 0.25, rx * 1.22, ry * 1.12), fill=hair)
    draw.rectangle((cx - rx * 0.4, cy, cx + rx * 0.4, cy + ry * 1.4), fill=_tone(skin, 0.85))  # neck
    draw.ellipse(_around(cx, cy, rx, ry), fill=_tone(skin, 1.0))
    _features(draw, whose, cx, cy, rx, ry, skin)
    image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.6))
    return _lit(np.asarray(image, np.float32), whose, rng), tuple(edge / 2 for edge in _around(cx, cy, rx, ry))


def _room(colour: tuple[int, int, int], rng: np.random.Generator, size: int) -> Image.Image:
    """What is behind somebody, out of focus: videos differ by it more than by their faces."""
    image = Image.new("RGB", (size, size), colour)
    draw = ImageDraw.Draw(image)
    for _ in range(THINGS):
        x, y, width, height = rng.uniform((-0.2, -0.2, 0.1, 0.1), (1, 0.8, 0.45, 0.45)) * size
        draw.rectangle((x, y, x + width, y + height), fill=_tone(np.array(colour), rng.uniform(0.3, 1.25)))
    return image.filter(ImageFilter.GaussianBlur(size / 64))


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


def _lit(scene: np.ndarray, whose: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Light from one side."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    strength, angle = whose.uniform(0.05, 0.25), whose.uniform(0, 2 * np.pi) + rng.normal(0, 0.1)
    light = 1 + strength * (x * np.cos(angle) + y * np.sin(angle))
    return np.clip(scene * light[..., None], 0, 255)


class Shot:
    """A camera and the way of its pictures, the same for all frames of a video."""

    def __init__(self, whose: np.random.Generator):
        self.electrons = whose.uniform(1000, 8000)  # of a white pixel
        self.texture = whose.uniform(1.0, 5.0)  # grey levels
        self.smaller = whose.uniform(0.5, 0.8) if whose.random() < DETOUR else 1.0
        self.quality = int(whose.choice(QUALITIES))

    def taken(self, scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Skin, then a Bayer mosaic with photon and read noise, demosaiced bilinearly.

        White is balanced: a checkerboard of as many pixels as the mosaic would be a tint, which is no trace to seek.
        """
        light = np.clip(scene + _texture(rng, self.texture), 0, 255) / 255
        masks, weights = _bayer()
        mosaic = (light * light * masks).sum(axis=2)  # a gamma of 2
        noise = np.sqrt(mosaic / self.electrons + 0.002**2) * rng.standard_normal(mosaic.shape, np.float32)
        demosaiced = _smoothed((mosaic + noise)[..., None] * masks) / weights
        demosaiced *= (light * light).mean(axis=(0, 1)) / demosaiced.mean(axis=(0, 1))
        return np.sqrt(np.clip(demosaiced, 0, 1)) * 255

    def sent(self, pixels: np.ndarray) -> Image.Image:
        image = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
        if self.smaller == 1:
            return image
        small = image.resize((round(SIDE * self.smaller),) * 2, Image.Resampling.BICUBIC)
        return small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _blending(
    pixels: np.ndarray, other: np.ndarray, face: Ellipse, whose: np.random.Generator
) -> tuple[np.ndarray, Ellipse]:
    """The inner face of another shot in slightly other colour, blended in along a seam that this smooths."""
    left, top, right, bottom = face
    inset_x, inset_y = (right - left) * whose.uniform(0.08, 0.16), (bottom - top) * whose.uniform(0.1, 0.2)
    seam = (left + inset_x, top + inset_y, right - inset_x, bottom - inset_y * 0.6)
    mask = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(mask).ellipse(seam, fill=255)
    inner = np.asarray(mask.filter(ImageFilter.GaussianBlur(SOFT)), np.float32)[..., None] / 255
    tint = whose.uniform(*TINT) * whose.choice([-1, 1], 3).astype(np.float32)
    blended = pixels * (1 - inner) + other * (1 + tint) * inner
    ring = np.minimum(1, 6 * inner * (1 - inner))
    return blended * (1 - ring) + _smoothed(_smoothed(blended)) * ring, seam


def _synthesis(scene: np.ndarray, whose: np.random.Generator) -> np.ndarray:
    """Half-size synthesis, a transposed convolution with uneven overlap, and the sharpening that hides the rest."""
    half = scene.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3))
    spread = np.zeros_like(scene)
    spread[::2, ::2] = 4 * half
    # unlike over even and odd pixels: a checkerboard
    row = np.array([0.5, 1 + whose.uniform(*UNEVEN), 0.5], np.float32)
    upsampled = _smoothed(spread, row / row.sum())
    return upsampled + whose.uniform(*SHARPENED) * (upsampled - _smoothed(upsampled))


@cache
def _bayer() -> tuple[np.ndarray, np.ndarray]:
    """Where each colour is measured, (SIDE, SIDE, 3) of 0 and 1, and those through `_smoothed`."""
    masks = np.zeros((SIDE, SIDE, 3), np.float32)
    masks[0::2, 0::2, 0] = masks[0::2, 1::2, 1] = masks[1::2, 0::2, 1] = masks[1::2, 1::2, 2] = 1
    return masks, _smoothed(masks)


def _texture(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Smooth grey noise, (SIDE, SIDE, 1), of `strength` grey levels of standard deviation."""
    smooth = _smoothed(_smoothed(rng.standard_normal((SIDE, SIDE, 1), np.float32)))
    return smooth / smooth.std() * strength


def _smoothed(pixels: np.ndarray, row: np.ndarray = KERNEL) -> np.ndarray:
    """Each channel of (H, W, C) through a symmetric kernel of three taps along both sides, edges mirrored."""
    tall = np.pad(pixels, ((1, 1), (0, 0), (0, 0)), mode="reflect")
    pixels = row[1] * pixels + row[0] * (tall[:-2] + tall[2:])
    wide = np.pad(pixels, ((0, 0), (1, 1), (0, 0)), mode="reflect")
    return row[1] * pixels + row[0] * (wide[:, :-2] + wide[:, 2:])


def _around(cx: float, cy: float, rx: float, ry: float) -> Ellipse:
    return (cx - rx, cy - ry, cx + rx, cy + ry)


def _colour(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    return tuple(int(value) for value in rng.integers(low, high, 3))


def _tone(colour: np.ndarray, factor: float) -> tuple[int, int, int]:
    return tuple(int(value) for value in colour * factor)
