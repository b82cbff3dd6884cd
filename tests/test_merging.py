"""Small shards become large ones: no row changes, none is ever missing, and nobody who reads is hurt."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cache import merging, table
from cache import verify as verifying
from cache.errors import UserError
from cache.features import DamagedShard, FeatureSpec, open_shard, shard_paths, write_shard
from cache.merging import merge_small
from cache.options import Options
from cache.table import FeatureTable, Places, open_shards, present
from tests.test_cache import SPEC, rows

LIMIT = 200_000  # bytes, of which the shards of four rows are less than a fourth


@pytest.fixture
def spec() -> FeatureSpec:
    """Of six shards of four rows, the last of which hold two rows of the first one too."""
    digests, features = rows(22)
    for start in range(0, 20, 4):
        write_shard(SPEC, digests[start : start + 4], features[start : start + 4])
    write_shard(SPEC, digests[[20, 21, 0, 1]], features[[20, 21, 0, 1]])
    return SPEC


def read() -> np.ndarray:
    return FeatureTable(SPEC, SimpleNamespace(digests=rows(22)[0])).X


def test_rows_stay_byte_by_byte_and_each_is_kept_once(spec):
    features = rows(22)[1]
    merge_small(spec, limit=LIMIT)
    (merged,) = open_shards(spec)
    assert len(merged) == 22
    assert read().tobytes() == features.astype(spec.stored).tobytes()
    merge_small(spec, limit=LIMIT)
    assert [shard.path for shard in open_shards(spec)] == [merged.path]  # alone it is left as it is


def test_shards_grow_to_the_limit_and_large_ones_are_left(spec):
    digests, features = rows(100, seed=1)
    large = write_shard(spec, digests, features)
    before, size = [shard.path for shard in open_shards(spec)], large.stat().st_size
    stamp, limit = large.stat().st_mtime_ns, size - 1
    merge_small(spec, limit=limit)
    shards = open_shards(spec)
    assert large in [shard.path for shard in shards]
    assert large.stat().st_mtime_ns == stamp
    assert len(shards) < len(before)
    assert all(shard.path.stat().st_size <= limit for shard in shards if shard.path != large)
    assert len(shards) > 2  # what is small did not fit into one
    assert present(spec, Places(rows(22)[0])).all()


def test_a_kill_at_any_moment_leaves_every_row(spec, monkeypatch):
    removed = []

    def killed(path):
        if len(removed) == 3:
            raise KeyboardInterrupt
        removed.append(path)
        path.unlink()
        assert present(spec, Places(rows(22)[0])).all()

    with monkeypatch.context() as context:
        context.setattr(merging, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            merge_small(spec, limit=LIMIT)
    assert read().tobytes() == rows(22)[1].astype(spec.stored).tobytes()
    merge_small(spec, limit=LIMIT)
    assert [len(shard) for shard in open_shards(spec)] == [22]


def test_a_damaged_row_is_not_given_a_new_checksum(spec):
    path = shard_paths(spec.folder)[2]
    content, before = bytearray(path.read_bytes()), shard_paths(spec.folder)
    content[content.find(open_shard(path).features[1].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedShard, match=path.name):
        merge_small(spec, limit=LIMIT)
    assert shard_paths(spec.folder) == before


def test_who_listed_or_mapped_the_old_shards_reads_on(spec, monkeypatch):
    opened, listed = FeatureTable(spec, SimpleNamespace(digests=rows(22)[0])), shard_paths(spec.folder)
    merge_small(spec, limit=LIMIT)
    assert opened.X.tobytes() == read().tobytes()
    lists = iter([listed])
    monkeypatch.setattr(table, "shard_paths", lambda folder: next(lists, shard_paths(folder)))
    assert present(spec, Places(rows(22)[0])).all()


def test_a_link_that_leads_nowhere_is_told(spec):
    (spec.folder / "a.h5").symlink_to(spec.folder / "nowhere")
    with pytest.raises(table.RemovedShard, match=r"a\.h5 was removed"):
        open_shards(spec)


def test_verify_reads_what_is_merged_meanwhile(spec, monkeypatch, capsys):
    checked = []

    def verify(path):
        checked.append(path)
        if len(checked) == 2:
            merge_small(spec, limit=LIMIT)
        return table.verify(path)

    monkeypatch.setattr(verifying, "verify", verify)
    verifying.run(Options())
    assert capsys.readouterr().out.startswith("1 shards, 22 rows: all as they were written")


def test_another_specs_shard_is_not_merged(spec):
    other = replace(spec, view=1)
    digests, features = rows(4)
    moved = write_shard(other, digests, features)
    moved.rename(spec.folder / "moved.h5")
    with pytest.raises(UserError, match="another spec"):
        merge_small(spec, limit=LIMIT)
