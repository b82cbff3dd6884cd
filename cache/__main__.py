"""`make verify`: read every row of every shard against its checksum.

python -m cache
"""

from dataclasses import dataclass

from cache import paths
from cache.command import main
from cache.errors import UserError
from cache.features import DamagedShard, shard_paths
from cache.options import Options
from cache.progress import Progress
from cache.table import verify


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(Options):
    """Check every shard of the feature cache, byte by byte."""


def run(_: VerifyConfig) -> None:
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


if __name__ == "__main__":
    main(VerifyConfig, run, command="python -m cache")
