"""Every row of every shard of the feature cache, read against its checksum."""

from cache import paths
from cache.errors import UserError
from cache.features import DamagedShard, shard_paths
from cache.options import Options
from cache.progress import Progress
from cache.table import verify


def run(_: Options) -> None:
    """Print the number of good shards and rows.

    Raises:
        UserError: lists every damaged shard.
    """
    shards = [path for folder in sorted(paths.features_dir().glob("*/")) for path in shard_paths(folder)]
    rows, damaged = 0, []
    with Progress("verify", len(shards), unit="shards") as progress:
        for path in shards:
            try:
                rows += verify(path)
            except DamagedShard as error:
                damaged.append(str(error))
            progress.advance(1)
    if damaged:
        raise UserError(f"{len(damaged)} of {len(shards)} shards are damaged:\n" + "\n".join(damaged))
    print(f"{len(shards)} shards, {rows} rows: all as they were written (in {paths.features_dir()})")
