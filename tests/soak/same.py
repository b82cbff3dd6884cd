"""How far the same command says the same: once more, and with another batch, other threads and processes.

    python -m tests.soak.same                    every stage
    python -m tests.soak.same extract heads

Once more means everything from nothing in the same place: every file must be the same bytes but for the clock. With
another batch, one thread in place of two, or processes in place of threads, what may differ are the last digits of
floating-point sums: for each the largest difference of a number in the stage's tables, and for features of a value, is
printed in units of its column's standard deviation.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cache import paths
from cache.features import open_shard, shard_paths
from tests.soak.stages import STAGES, World, in_turn

OTHERWISE = {
    "batch": {"batch": 5},
    "processes": {"workers": 2},
    "threads": {},
}
TAKES = {"extract": ("batch", "processes", "threads"), "heads": ("batch", "processes", "threads"),
         "finetune": ("processes", "threads"), "predict": ("batch", "threads")}  # fmt: skip
TABLES = {"heads": ("runs/heads/*/predictions-*.csv", "runs/heads/*/leaderboard.csv"),
          "finetune": ("runs/finetune/*/predictions-*.csv", "runs/finetune/*/metrics.csv"),
          "predict": ("runs/predict/*/*.csv",)}  # fmt: skip
UNCOUNTED = {"seconds", "images_per_second", "rate", "time", "finished"}


def repeated(made: World, stage: str) -> str:
    """A line for each way; the last is once more."""
    for name in TAKES.get(stage, ()):
        reference = _otherwise(made, stage)
        print(f"{stage}, other {name}: {_compared(reference, _otherwise(made, stage, name))}", flush=True)
    made.restore(stage)
    status = made.finish(stage)
    different = made.differences(stage) + ([f"exit {status}"] if status else [])
    return f"{stage}, once more: {'equal' if not different else 'DIFFERENT: ' + ', '.join(different)}"


def _otherwise(made: World, stage: str, name: str = "") -> dict[str, np.ndarray]:
    """The numbers that a stage leaves when it is run so."""
    made.restore(stage)
    before, torch_threads = os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()
    try:
        threads = 1 if name == "threads" else 2
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
        if status := made.finish(stage, **OTHERWISE.get(name, {})):
            raise RuntimeError(f"{stage} with other {name} ended with {status}:\n{made.said.read_text()}")
    finally:
        torch.set_num_threads(torch_threads)
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    return dict(_features() if stage == "extract" else _columns(made.place, TABLES[stage]))


def _features() -> Iterator[tuple[str, np.ndarray]]:
    """Feature -> its rows (N, ...) in the order of their digests."""
    for folder in sorted(paths.features_dir().iterdir()):
        shards = [open_shard(path) for path in shard_paths(folder)]
        rows = {shard.digests[row].tobytes(): shard.features[row] for shard in shards for row in range(len(shard))}
        yield folder.name, np.stack([rows[digest] for digest in sorted(rows)]).astype(np.float64)


def _columns(place: Path, patterns: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """File and column -> its numbers (N,), rows in the order of the text that stands in them."""
    for path in sorted(path for pattern in patterns for path in place.glob(pattern)):
        table = pd.read_csv(path)
        text = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
        table = table.sort_values(text, kind="stable") if text else table
        for name in table.select_dtypes("number"):
            if name not in UNCOUNTED:
                yield f"{path.name} {name}", table[name].to_numpy(np.float64)


def _compared(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> str:
    if one.keys() != other.keys():
        return f"DIFFERENT files: {sorted(one.keys() ^ other.keys())}"
    if all(np.array_equal(one[name], other[name], equal_nan=True) for name in one):
        return f"the same bits in {len(one)} columns or features"
    worst = max(one, key=lambda name: _distance(one[name], other[name]))
    return f"at most {_distance(one[worst], other[worst]):.1e} of the standard deviation, in {worst}"


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference in units of the standard deviation."""
    difference = np.nanmax(np.abs(one - other), initial=0)
    return float(difference / (np.nanstd(one) or 1)) if difference else 0.0


def main(wanted: list[str]) -> int:
    """The number of stages that did not do the same once more."""
    return in_turn(wanted, repeated)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:] or list(STAGES))))
