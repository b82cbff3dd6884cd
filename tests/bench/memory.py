"""Features larger than memory: ridge, logistic and 64 linear heads under MEMORY, with seconds and peak memory.

    python -m tests.bench.memory [ROWS [COLUMNS [MEGABYTES]]]

Rows are written as the store keeps them, float16, and each family is trained in a process of its own, so that the peak
is its own. Pages of files that the system keeps are not counted: it gives them away when asked.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from cache.features import write_shard
from cache.table import FeatureTable
from heads.families import Linear, Logistic, Member, Ridge
from heads.fitting.convex import fit_convex
from heads.fitting.stacked import fit
from heads.fitting.task import Task
from heads.folds import Folds
from heads.inputs import SideBySide
from heads.stream import RowStream
from tests.bench.store import SPEC

OF = replace(SPEC, tap="layer4", pooling="avg")
SHARD_ROWS = 8192
KINDS = {
    "ridge": (fit_convex, [Ridge(penalty=each) for each in (10.0, 1e3, 1e5)]),
    "logistic": (fit_convex, [Logistic(penalty=each) for each in (1e-4, 1e-2, 1.0)]),
    "64 linear heads, 1 epoch": (
        fit, [Linear(lr=1e-3 * 1.01**i, weight_decay=0.1, epochs=1, batch=1024) for i in range(64)]
    ),
}  # fmt: skip


def main(rows: int = 200_000, columns: int = 4192, megabytes: int = 1000) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("CACHE_DIR")) as name:
        os.environ["CACHE_DIR"] = name
        write(rows, columns)
        print(f"{rows} x {columns} float16, {rows * columns * 2 / 1e9:.1f} GB, held in {megabytes} MB:")
        for kind in KINDS:
            subprocess.run([sys.executable, "-m", __spec__.name, "of", kind, str(rows), str(megabytes)], check=True)


def write(rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    for part in np.array_split(np.arange(rows), range(SHARD_ROWS, rows, SHARD_ROWS)):
        values = rng.standard_normal((len(part), columns), dtype=np.float32)
        values += np.float32(0.05) * labels(rows)[part, None]
        write_shard(OF, digests(rows)[part], values.astype(np.float16))


def digests(rows: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (rows, 32), dtype=np.uint8)


def labels(rows: int) -> np.ndarray:
    return np.random.default_rng(2).random(rows) < 0.5


def train(kind: str, rows: int, megabytes: int) -> None:
    start = time.perf_counter()
    table = SideBySide([FeatureTable(OF, SimpleNamespace(digests=digests(rows)))])
    held_out = (np.arange(rows) % 10 == 0)[None]
    stream = RowStream([table], memory=megabytes * 1e6)
    task = Task.of(stream, labels(rows), Folds(~held_out, held_out, np.arange(rows)))
    method, configs = KINDS[kind]
    fitted = method([Member(config, 0, 0) for config in configs], task)
    best = max(each.val_auc for each in fitted)
    print(f"  {kind:<26} {time.perf_counter() - start:7.1f} s  peak {peak() / 1e9:5.2f} GB  best AUC {best:.3f}  "
          f"({stream.mode})", flush=True)  # fmt: skip


def peak() -> int:
    """Most bytes of this process's own memory so far: without the pages of files, where the system tells them apart."""
    known = dict(line.split(":") for line in open("/proc/self/status"))
    return (int(known["VmHWM"].split()[0]) - int(known["RssFile"].split()[0])) * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["of"]:
        train(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main(*map(int, sys.argv[1:]))
