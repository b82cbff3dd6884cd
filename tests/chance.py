"""What a sweep makes of features and labels that have nothing to do with one another: AUCs around one half.

    python -m tests.chance 200        a table of families, given split and folds, over so many seeds

Columns: validation and test of the given split, validation (pooled) and test of five folds.
"""

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from cache import paths
from cache.features import FeatureSpec, Preprocess, write_shard
from data.manifest import STATISTICS, Manifest
from heads.sweep import run as sweep
from heads.sweep.grid import read_grid
from heads.sweep.run import SweepConfig

COLUMNS = 10
# One epoch where heads are trained by gradient: which epoch is kept is a choice by validation AUC, and so is a setting.
FAMILIES = {
    "linear": {"family": "linear", "lr": 0.01, "epochs": 1, "batch": 16},
    "mlp": {"family": "mlp", "lr": 0.01, "hidden": 8, "epochs": 1, "batch": 16},
    "ridge": {"family": "ridge", "penalty": 10},
    "logistic": {"family": "logistic", "penalty": 0.01},
    "svm-rbf": {"family": "svm-rbf"},
    "svm-linear": {"family": "svm-linear"},
    "hist-gbm": {"family": "hist-gbm", "max_iter": 3, "max_leaf_nodes": 4},
    "random-forest": {"family": "random-forest", "n_estimators": 10, "n_jobs": 1},
    "knn": {"family": "knn"},
    "lda": {"family": "lda"},
}


@dataclass(frozen=True)
class Reached:
    """AUC of a sweep's own predictions; val: pooled over the folds, where there are any."""

    val: float
    test: float


def swept(family: dict, *, rows: int, folds: int, seed: int, group: int = 1) -> Reached:
    """One sweep of one setting on random features; its labels are drawn from the seed. group: images in each."""
    manifest = random_images(rows, seed=seed, group=group)
    path = paths.manifest_file(manifest.dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest.save(path)
    write_shard(SPEC, manifest.digests, np.random.default_rng(seed).standard_normal((rows, COLUMNS)).astype(np.float32))
    folder = sweep.run(SweepConfig(path, [SPEC], read_grid(json.dumps([family])), folds=folds, seeds=1))
    tables = [pd.read_csv(folder / f"predictions-{split}.csv") for split in ("val", "test")]
    return Reached(*(float(roc_auc_score(table.label == "fake", table.score)) for table in tables))


def random_images(rows: int, *, seed: int, group: int = 1) -> Manifest:
    """A manifest of images that are not there, 60/20/20, half of them fake."""
    rng = np.random.default_rng([seed, 1])
    fake = rng.permutation(np.arange(rows) % 2 == 1)
    split = np.array(["train", "train", "train", "val", "test"], object)[np.arange(rows) // group % 5]
    table = pd.DataFrame({
        "digest": [sha256(f"{seed} {row}".encode()).hexdigest() for row in range(rows)],
        "path": [f"{row}.jpg" for row in range(rows)], "label": np.where(fake, "fake", "real"), "split": split,
        "group": [f"{row // group}" for row in range(rows)], "status": "ok", "note": "", "width": 1, "height": 1,
        "bytes": 1, "format": "JPEG", **dict.fromkeys(STATISTICS, 0.0),
    })  # fmt: skip
    return Manifest(f"noise{seed}", Path("nowhere"), True, table)


SPEC = FeatureSpec(
    "none", "random:0", "layer", "avg", Preprocess(0, 1, "none", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), "fp32", "float32"
)


def main(seeds: int) -> None:
    """The table, a line for each family and number of images: mean AUC and its standard error."""
    for rows in (100, 300):
        for name, family in FAMILIES.items():
            cells = []
            for folds in (1, 5):
                reached = [swept(family, rows=rows, folds=folds, seed=seed) for seed in range(seeds)]
                for split in ("val", "test"):
                    each = np.array([getattr(one, split) for one in reached])
                    cells.append(f"{each.mean():.3f} ± {each.std(ddof=1) / np.sqrt(seeds):.3f}")
            print(f"{rows:4d}  {name:14s}", *cells, sep="  ", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as world:
        os.environ |= {name: f"{world}/{name}" for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR")}
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
