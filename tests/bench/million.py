"""What a stage with nothing to do does at a million images, part by part: seconds on the clock and of the core.

    python -m tests.bench.million [COUNT]

The images are links to few files in a thousand folders, which is enough to be listed and to have size and date. The
manifest, its thumbnails and the store's rows are drawn, because reading a million images takes minutes.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from cache.features import write_shard
from cache.key import file_digest
from cache.table import Places, present
from data.layouts import list_images
from data.layouts.base import Source
from data.made import inputs_of
from data.manifest import STATISTICS, Manifest
from data.options import DataConfig
from data.thumbnails import ROW, Thumbnails
from tests.bench.memory import peak
from tests.bench.store import SPEC

COUNT = 100_000
FOLDERS = 500  # of each class
LINKS = 20_000  # of one file, of which a disk may allow 65 000
SHARD_ROWS = 15_000  # about what a CPU fills in the minute after which a shard is written at the latest

Made = TypeVar("Made")


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["CACHE_DIR"] = name
        faces, files = linked(home / "faces", count), drawn(home / "data", count)
        write(files[0])
        print(f"{count} images, nothing to do:           seconds  of the core")
        listing = timed("make data: the listing", lambda: list_images(Source(faces)))
        timed("  what the manifest depends on", lambda: inputs_of(listing, DataConfig(data=str(faces))))
        timed("  sha256 of manifest and thumbnails", lambda: [file_digest(path) for path in files])
        manifest = timed("make extract: the manifest read", lambda: Manifest.load(files[0]).usable)
        timed("  its key", lambda: manifest.key)
        timed("  digests as bytes", lambda: manifest.digests)
        timed("  rows of one feature found", lambda: present(OF, Places(manifest.digests)))
        print(f"peak {peak() / 1e9:.2f} GB")


OF = replace(SPEC, tap="layer4", pooling="avg", stored="float32")


def linked(folder: Path, count: int) -> Path:
    """So many files in folders below real/ and fake/."""
    for number in range(count):
        file = folder / ("real", "fake")[number % 2] / f"{number // 2 % FOLDERS:03d}" / f"{number:07d}.png"
        if number < 2 * FOLDERS:
            file.parent.mkdir(parents=True, exist_ok=True)
        if number % LINKS == 0:
            file.write_bytes(b"\x89PNG" + bytes(400))
            first = file
        else:
            os.link(first, file)
    return folder


def drawn(folder: Path, count: int) -> list[Path]:
    """A manifest and thumbnails of as many images as if they had been read."""
    rng = np.random.default_rng(0)
    rows = np.zeros(count, ROW)
    rows["digest"] = rng.integers(0, 256, (count, 32), np.uint8)
    digests = [row.tobytes().hex() for row in rows["digest"]]
    numbers = np.arange(count)
    columns = {
        "digest": digests, "path": [f"{number % FOLDERS:03d}/{number:07d}.png" for number in numbers],
        "label": np.where(numbers % 2, "fake", "real"),
        "split": np.array(["train", "train", "train", "val", "test"])[numbers % 5], "group": digests, "status": "ok",
        "note": "", "width": 256, "height": 256, "bytes": 20_000, "format": "PNG",
        **{name: rng.random(count).round(4) for name in STATISTICS},
    }  # fmt: skip
    Manifest("million", folder, False, pd.DataFrame(columns)).save(folder / "manifest.csv")
    Thumbnails(rows).save(folder)
    return [folder / "manifest.csv", folder / "thumbnails.bin"]


def write(file: Path) -> None:
    """A row of one number for every image, in as many shards as the default features have."""
    digests = np.random.default_rng(1).permutation(Manifest.load(file).digests)
    for start in range(0, len(digests), SHARD_ROWS):
        part = digests[start : start + SHARD_ROWS]
        write_shard(OF, part, np.zeros((len(part), 1), np.float32))


def timed(name: str, work: Callable[[], Made]) -> Made:
    """Do it and print what it took."""
    start, core = time.perf_counter(), time.process_time()
    made = work()
    print(f"  {name:<36} {time.perf_counter() - start:7.2f} {time.process_time() - core:12.2f}", flush=True)
    return made


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
