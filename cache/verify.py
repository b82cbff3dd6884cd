"""Every row of every shard of the feature cache, read against its checksum."""

from pathlib import Path

from cache import paths
from cache.errors import UserError
from cache.features import DamagedShard, RemovedShard, shard_paths
from cache.options import Options
from cache.progress import Progress
from cache.table import verify


def run(_: Options) -> None:
    """Print the number of good shards and rows.

    Raises:
        UserError: lists every damaged shard.
    """
    rows: dict[Path, int] = {}  # of each good shard
    damaged: dict[Path, str] = {}
    with Progress("verify", len(_shards()), unit="shards") as progress:
        # Those that are written meanwhile too: the rows of one that is merged before it is read are in them.
        while left := [path for path in _shards() if path not in rows | damaged]:
            for path in left:
                try:
                    rows[path] = verify(path)
                except DamagedShard as error:
                    damaged[path] = str(error)
                except RemovedShard as error:
                    if path.is_symlink():  # which leads nowhere
                        damaged[path] = str(error)
                    continue
                progress.advance(1)
    if damaged:
        raise UserError(f"{len(damaged)} of {len(rows | damaged)} shards are damaged:\n" + "\n".join(damaged.values()))
    good = [rows[path] for path in _shards() if path in rows]  # without those that have been merged by now
    print(f"{len(good)} shards, {sum(good)} rows: all as they were written (in {paths.features_dir()})")


def _shards() -> list[Path]:
    return [path for folder in sorted(paths.features_dir().glob("*/")) for path in shard_paths(folder)]
