"""Train every head of a grid on cached features, choose one on validation data, score the test once.

    python -m heads --data=path --backbone=name --grid=grid.json --folds=5 --seeds=3

The run folder gets leaderboard.csv (validation only) as buckets of heads finish; then members.csv, curves.csv,
scores-inputs.csv, head.safetensors and predictions-{train,val,test}.csv. A finished bucket is kept in buckets/ until
all are: killed anywhere and run again, the sweep goes on behind the last one.
"""

import shutil
from pathlib import Path

from cache import paths, runs
from cache.atomic import remove_leftovers
from data.manifest import Manifest
from heads.folds import cut
from heads.sweep.sweep_config import BUCKETS, SweepConfig


def run(config: SweepConfig) -> Path:
    """Train, choose, save; the run folder. Does nothing when it is complete.

    Raises:
        UserError: features missing, a fold without both classes, more folds than groups, every head diverged.
    """
    manifest = Manifest.load(config.manifest).usable
    folder = paths.run_dir("heads", f"{manifest.dataset}-{config.backbone}-{config.key(manifest)}")
    for place in (folder, folder / BUCKETS):
        remove_leftovers(place)
    if runs.is_complete(folder):
        shutil.rmtree(folder / BUCKETS, ignore_errors=True)  # a kill behind the last step leaves it
        return folder
    from heads.sweep.sweep import Sweep  # with what trains, which a complete sweep does without

    folds = cut(manifest, config.folds)
    runs.begin(folder, config.to_json())
    with runs.alone(folder, "heads", runs.part_lock(*config.part)):
        if not runs.is_complete(folder):
            Sweep(config, folder, manifest, folds).run()
    return folder
