"""How many images a second become a manifest, and what a second run over them takes: JPEGs of 64 pixels.

python -m tests.bench.manifest 20000
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
from PIL import Image

from data import build, probing
from data.layouts import list_images
from data.layouts.base import Source
from data.options import DataConfig
from tests.bench import rounds

COUNT = 10_000
ROUNDS = 3
SIDE = 64  # pixels


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["DATA_DIR"] = f"{home}/data"
        faces = drawn(Path(home) / "faces", count)
        print(f"{count} images of {SIDE} pixels, {probing.cores()} cores")
        rivals = {
            "read, threads": lambda: read(faces, few=count),
            "read, processes": lambda: read(faces, few=0),
            "manifest, all new": lambda: manifest(faces, rehash=True),
            "manifest, nothing new": lambda: manifest(faces),
            "  of which the listing": lambda: list_images(Source(faces)),
        }
        rounds({name: partial(rate, count, work) for name, work in rivals.items()}, count=ROUNDS, unit="images/s")


def drawn(folder: Path, count: int) -> Path:
    """`count` JPEGs of one seed, half of them real/ and half of them fake/."""
    rng = np.random.default_rng(0)
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        small.resize((SIDE, SIDE)).save(folder / ("real", "fake")[number % 2] / f"{number:07d}.jpg", quality=90)
    return folder


def read(faces: Path, *, few: int) -> None:
    """Every file, in processes where there are more than `few`."""
    probing.FEW = few
    for _ in probing.probed(faces, [f"{path.parent.name}/{path.name}" for path in faces.rglob("*.jpg")]):
        pass


def manifest(faces: Path, *, rehash: bool = False) -> None:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        build.run(DataConfig(data=str(faces), rehash=rehash))


def rate(count: int, work: Callable[[], object]) -> float:
    """Of so many images, how many a second."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
