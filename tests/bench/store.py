"""Random rows of a map cache: the feature store against np.memmap and h5py on the same bytes, in one process.

python -m tests.bench.store
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np

from cache.features import FeatureSpec, Preprocess, write_shard
from cache.table import FeatureTable
from tests.bench import rounds

ROWS, SHAPE, BATCH, BATCHES = 1280, (1024, 14, 14), 128, 8  # 514 MB of Wide ResNet-50-2 layer3 maps
SPEC = FeatureSpec(
    "bench", "0", "layer3", "map", Preprocess(256, 224, "bilinear", (0,) * 3, (1,) * 3), "fp32", "float16"
)


def main() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((ROWS, *SHAPE), dtype=np.float32).astype(np.float16)
    digests = rng.integers(0, 256, (ROWS, 32), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["CACHE_DIR"] = name
        half = ROWS // 2  # two shards, as a table has many
        write_shard(SPEC, digests[:half], features[:half])
        write_shard(SPEC, digests[half:], features[half:])
        np.save(home / "raw.npy", features)
        with h5py.File(home / "rows.h5", "w") as file:
            file.create_dataset("features", data=features, chunks=(1, *SHAPE))
        table = FeatureTable(SPEC, SimpleNamespace(digests=digests))
        raw = np.load(home / "raw.npy", mmap_mode="r")
        buffer = np.empty((BATCH, *SHAPE), np.float16)
        with h5py.File(home / "rows.h5") as file:
            rivals = {
                "store, checked, into a buffer": lambda: rate(lambda rows: table.read(rows, buffer)),
                "store, checked": lambda: rate(table.read),
                "np.memmap": lambda: rate(lambda rows: raw[rows]),
                "h5py, one-row chunks": lambda: rate(lambda rows: file["features"][np.unique(rows)], batches=1),
            }
            print(f"random rows of {SHAPE} float16, batches of {BATCH}:")
            found = rounds(rivals, count=7, unit="MB/s")
    print(f"  store / np.memmap = {found['store, checked'] / found['np.memmap']:.2f}, "
          f"into a buffer {found['store, checked, into a buffer'] / found['np.memmap']:.2f}")  # fmt: skip


def rate(read: Callable[[np.ndarray], object], batches: int = BATCHES) -> float:
    """MB/s of `read` over random batches."""
    rng = np.random.default_rng(1)
    chosen = [rng.integers(0, ROWS, BATCH) for _ in range(batches)]
    start = time.perf_counter()
    for rows in chosen:
        read(rows)
    return batches * BATCH * int(np.prod(SHAPE)) * 2 / (time.perf_counter() - start) / 1e6


if __name__ == "__main__":
    main()
