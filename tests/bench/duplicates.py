"""Near copies: what the search takes as sets grow, and what it finds of planted copies.

python -m tests.bench.duplicates 140000          thumbnails drawn by chance, and by quarters of so many
python -m tests.bench.duplicates 100000 faces    as alike as those of the images in faces, with planted copies of these
"""

import io
import resource
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from data.audit.copies import SAME, _seen, same_detail
from data.audit.lookalikes import candidates
from data.disk import walk
from data.thumbnails import SIDE

COUNT = 140_000
PLANTED = 600  # images of which a copy of each kind is made
KINDS = ("resized to half", "JPEG 50", "flipped", "cropped by 10 %", "cropped by 10 %, anywhere", "brightened by 30 %")


def main(count: int, folder: str) -> None:
    if not folder:
        return growth("drawn by chance", lambda number: chance(number), count)
    paths = [Path(each.path) for each in walk(folder) if not each.status]
    grey = np.stack([small(Image.open(path)) for path in paths])
    growth(f"as alike as {len(paths)} images of {folder}", lambda number: like(grey, number), count)
    recall(paths, grey)
    return None


def growth(what: str, draw, count: int) -> None:
    print(f"thumbnails {what}")
    for number in (count // 4, count // 2, count):
        drawn = draw(number)
        start = time.process_time()
        found = candidates(drawn)
        took, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"  {number:9,d} images  {took:6.1f} s of a core  {1e6 * took / number:5.0f} us an image  "
              f"{len(found):6,d} candidates  {peak:.1f} GiB at most so far", flush=True)  # fmt: skip


def chance(count: int) -> np.ndarray:
    """(N, 16, 16) uint8: coarse noise."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, SIDE // 2, SIDE // 2), np.uint8)
    return coarse.repeat(2, axis=1).repeat(2, axis=2)


def like(grey: np.ndarray, count: int) -> np.ndarray:
    """(N, 16, 16) uint8 with the mean and the covariance of some that are there."""
    flat = grey.reshape(len(grey), -1).astype(np.float64)
    values, axes = np.linalg.eigh(np.cov(flat.T))
    drawn = np.random.default_rng(0).normal(size=(count, len(values))) * np.sqrt(values.clip(0))
    return np.clip(drawn @ axes.T + flat.mean(axis=0), 0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE)


def recall(paths: list[Path], grey: np.ndarray) -> None:
    """Of copies of some images among all of them, by kind; and pairs that nobody planted."""
    chosen = np.random.default_rng(0).choice(len(paths), min(PLANTED, len(paths)), replace=False)
    for kind in KINDS:
        rng = np.random.default_rng(1)
        copies = [changed(Image.open(paths[row]).convert("RGB"), kind, rng) for row in chosen]
        found = candidates(np.concatenate([grey, np.stack([small(each) for each in copies])]))
        pairs = set()
        for at in range(len(found)):
            whole, other = int(found.whole[at]), int(found.other[at])
            seen = [_seen(paths[row]) if row < len(paths) else look(copies[row - len(paths)]) for row in (whole, other)]
            if same_detail(*seen, part=int(found.part[at]), mirrored=bool(found.mirrored[at])) >= SAME:
                pairs.add((min(whole, other), max(whole, other)))
        planted = {(int(row), len(paths) + number) for number, row in enumerate(chosen)}
        own = {pair for pair in pairs if pair[1] < len(paths)}
        print(f"  {kind:<26} recall {len(pairs & planted) / len(planted):.3f}; pairs beside them: "
              f"{len(own)} of images as they are, {len(pairs - planted - own)} with a copy", flush=True)  # fmt: skip


def changed(image: Image.Image, kind: str, rng: np.random.Generator) -> Image.Image:
    if kind == "resized to half":
        return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    if kind == "JPEG 50":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=50)
        return Image.open(buffer).convert("RGB")
    if kind == "flipped":
        return ImageOps.mirror(image)
    if kind.startswith("cropped"):
        x, y = rng.random(2) if kind.endswith("anywhere") else (0.5, 0.5)
        left, top = round(0.1 * image.width * x), round(0.1 * image.height * y)
        return image.crop((left, top, left + round(0.9 * image.width), top + round(0.9 * image.height)))
    return ImageEnhance.Brightness(image).enhance(1.3)


def small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def look(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((64, 64), Image.Resampling.BOX), np.float32)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT, sys.argv[2] if len(sys.argv) > 2 else "")
