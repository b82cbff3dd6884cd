"""Many small shards of a spec -> few of the size that is wanted, without a moment in which a row is not there.

Parts, interruptions and slow machines, whose shards are a minute old at most, leave shards that are far smaller than
they may be, and a store of many thousand files is slow to list and to open.
"""

from pathlib import Path

import numpy as np

from cache.atomic import locked, remove
from cache.features import FeatureSpec, open_shard, shard_sizes, write_shard

SMALL = 4  # a shard of less than the limit's fourth, 64 MB of 256, is worth being written once more


def merge_small(spec: FeatureSpec, *, limit: int) -> None:
    """Write the rows of small shards anew, in shards of at most `limit` bytes, and take the small ones away.

    No byte of a row changes: each is checked against its checksum before it is written again, and a row that several of
    the shards hold is kept once. The new shard is whole on the disk before the first of the old ones goes, so a kill
    leaves rows twice and none lost. Who has mapped an old shard keeps what is mapped, and who comes too late for one
    that was listed lists anew (`cache.table.open_shards`).

    Raises:
        DamagedShard: a row is not what was written. UserError: the disk is full. All shards are there then.
    """
    if len(_small(spec.folder, limit)) < 2:  # the usual case waits for no lock
        return
    with locked(spec.folder / ".merging"):
        for group in _groups(_small(spec.folder, limit), limit):
            merged = write_shard(spec, *_rows(group, spec))
            for path in set(group) - {merged}:  # of the same rows is of the same name
                remove(path)


def _small(folder: Path, limit: int) -> dict[Path, int]:
    return {path: size for path, size in shard_sizes(folder).items() if size < limit // SMALL}


def _groups(sizes: dict[Path, int], limit: int) -> list[list[Path]]:
    """Shards that fit into one of `limit` bytes together; what stays alone is left as it is."""
    groups: list[list[Path]] = [[]]
    total = 0
    for path, size in sizes.items():
        total += size
        if total > limit:
            groups.append([])
            total = size
        groups[-1].append(path)
    return [group for group in groups if len(group) > 1]


def _rows(group: list[Path], spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
    """Digests (N, 32) and features (N, ...) of the shards in their order, each digest once."""
    shards = [open_shard(path, spec) for path in group]
    digests = np.concatenate([shard.digests for shard in shards])
    features = np.concatenate([shard.features for shard in shards])
    copied = iter(features)
    for shard in shards:
        for row in range(len(shard)):
            shard.check(row, next(copied))
    first = np.sort(np.unique(digests, axis=0, return_index=True)[1])
    return digests[first], features[first]
