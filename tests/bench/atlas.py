"""The atlas: convex heads on many inputs, each in the folds of five generators left out and the given split.

    python -m tests.bench.atlas [INPUTS [ROWS]]

Seconds of the fitted part, wall and processor, for so many inputs of 1 024 columns in float16, and the peak memory.
Each family by itself, and the grid of CHOOSE=mean, whose families are fitted together.
"""

import resource
import sys
import time

import numpy as np

from heads.families import Blend, Discriminant, Logistic, Member, Ridge
from heads.families.penalised import Penalised
from heads.fitting.convex import fit_convex
from heads.fitting.task import Task
from heads.folds import Folds
from heads.sweep.grid import UNSEEN, read_grid
from tests.tables import in_memory

COLUMNS, GENERATORS = 1024, 5
HEADS = {
    "ridge": [Ridge(penalty=each) for each in (100.0, 1e3, 1e4)],
    "logistic": [Logistic(penalty=each) for each in (1e-3, 1e-2, 0.1)],
    "discriminant": [Discriminant(penalty=each) for each in (0.1, 0.3, 1.0)],
    "blend": [Blend(penalty=each, whitening=0.3) for each in (1e3, 1e4)],
}


def main(inputs: int = 2, rows: int = 20_000) -> None:
    print(f"{inputs} inputs of {rows} x {COLUMNS}, {GENERATORS + 1} folds, seconds an input (wall, processor):")
    tasks = [made(rows, seed) for seed in range(inputs)]
    for name, configs in (HEADS | {"unseen": read_grid(UNSEEN)}).items():
        wall, busy = zip(*(seconds(task, configs) for task in tasks), strict=True)
        print(f"  {name:12s} {len(configs):2d} settings  {np.mean(wall):6.2f} {np.mean(busy):6.2f}", flush=True)
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def seconds(task: Task, configs: list[Penalised]) -> tuple[float, float]:
    members = [Member(config, fold, 0) for config in configs for fold in range(len(task.folds))]
    wall, busy = time.perf_counter(), time.process_time()
    fit_convex(members, task)
    return time.perf_counter() - wall, time.process_time() - busy


def made(rows: int, seed: int) -> Task:
    """Half of them fakes of five generators; columns as correlated as a network's."""
    rng = np.random.default_rng(seed)
    fake, part = rng.random(rows) < 0.5, rng.integers(GENERATORS, size=rows)
    axes = np.linalg.qr(rng.standard_normal((COLUMNS, COLUMNS)))[0] / np.arange(1.0, COLUMNS + 1)[:, None]
    X = (rng.standard_normal((1, rows, COLUMNS), dtype=np.float32) + 0.05 * fake[None, :, None]) @ axes
    held_out = np.stack([*(part == number for number in range(GENERATORS)), rng.random(rows) < 0.2])
    return Task.of(in_memory(X.astype(np.float16)), fake, Folds(~held_out, held_out, np.arange(rows)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
