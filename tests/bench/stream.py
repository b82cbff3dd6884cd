"""Maps larger than memory: an epoch of shuffled batches from a cold disk, against reading the files from end to end.

    python -m tests.bench.stream

The pages of the files are dropped from memory before each reading, as far as the system lets a program ask for that.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from cache.features import shard_paths, write_shard
from cache.table import FeatureTable
from heads import stream
from heads.stream import RowStream
from tests.bench import rounds
from tests.bench.store import SHAPE, SPEC

ROWS, SHARDS, BATCH = 3840, 6, 120  # 1.5 GB
ALL = np.arange(ROWS)


def main() -> None:
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (ROWS, 32), dtype=np.uint8)
    with tempfile.TemporaryDirectory(dir=os.environ.get("CACHE_DIR")) as name:
        os.environ["CACHE_DIR"] = name
        for part in np.array_split(ALL, SHARDS):
            maps = rng.standard_normal((len(part), *SHAPE), dtype=np.float32).astype(np.float16)
            write_shard(SPEC, digests[part], maps)
        images = SimpleNamespace(digests=digests)
        stream.BUFFER_BYTES = 256_000_000  # several buffers an epoch, as with data that do not fit
        rivals = {
            "files from end to end": lambda: cold(from_end_to_end),
            "streamed, shuffled, checked": lambda: cold(lambda: streamed(images)),
            "random rows, checked": lambda: cold(lambda: random_rows(images)),
        }
        print(f"{ROWS} maps of {SHAPE} float16 in {SHARDS} shards, batches of {BATCH}, cold:")
        found = rounds(rivals, count=5, unit="MB/s")
        print(f"  streamed / end to end = {found['streamed, shuffled, checked'] / found['files from end to end']:.2f}")


def cold(read: Callable[[], int]) -> float:
    """MB/s of `read`, which returns bytes, after the shards' pages were dropped."""
    for path in shard_paths(SPEC.folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    start = time.perf_counter()
    return read() / 1e6 / (time.perf_counter() - start)


def from_end_to_end() -> int:
    buffer, total = bytearray(16_000_000), 0
    for path in shard_paths(SPEC.folder):
        with Path(path).open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                total += count
    return total


def streamed(images: SimpleNamespace) -> int:
    maps = RowStream([FeatureTable(SPEC, images)], memory=0)
    return sum(batch.values.nbytes for batch in maps.epoch(ALL, 0, batch=BATCH))


def random_rows(images: SimpleNamespace) -> int:
    table = FeatureTable(SPEC, images)
    order = np.random.default_rng(1).permutation(ALL)
    return sum(table.read(rows).nbytes for rows in np.array_split(order, ROWS // BATCH))


if __name__ == "__main__":
    main()
