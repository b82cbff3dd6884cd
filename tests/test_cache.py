"""The ground: keys, whole files, and shards that no changed byte survives."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from cache import paths, runs, table
from cache.atomic import append_line, copy, locked, read_lines, remove_leftovers, replacing, write_bytes, write_text
from cache.checkpoint import load_strictly, load_weights, save_weights
from cache.environment import describe_environment
from cache.errors import UserError, masked, shown
from cache.features import DamagedShard, FeatureSpec, Preprocess, open_shard, shard_paths, write_shard
from cache.key import canonical, differences, key
from cache.mapping import mapped
from cache.progress import Progress
from cache.table import FeatureTable, Places, present, verify

SPEC = FeatureSpec(
    "net", "ab12", "layer3", "map", Preprocess(256, 224, "bicubic", (0.5,) * 3, (0.5,) * 3), "fp32", "float16"
)


def rows(count: int, shape=(8, 4, 4), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    digests = rng.integers(0, 256, (count, 32), dtype=np.uint8)
    return digests, rng.standard_normal((count, *shape)).astype(np.float16)


def test_without_the_locks_of_linux_and_macos_one_sentence_says_so():
    code = "import sys; sys.modules['fcntl'] = None; import cache.atomic"
    call = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert call.returncode == 1
    assert call.stderr.count("\n") == 1
    assert "runs on Linux and macOS only" in call.stderr


def test_key_is_the_record_and_nothing_else():
    assert SPEC.key == FeatureSpec.from_json(json.loads(canonical(SPEC))).key
    assert len({SPEC.key, replace(SPEC, view=1).key, replace(SPEC, compute="bf16").key}) == 3
    assert key({"a": 1, "b": [1.5]}) == key({"b": [1.5], "a": 1})
    inner = replace(SPEC, preprocess=replace(SPEC.preprocess, crop=256))
    assert differences(SPEC, inner) == ["preprocess.crop: expected 224, found 256"]


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.glob(".*part*")) == []


def test_a_full_disk_is_said_in_words(tmp_path):
    with pytest.raises(UserError, match=r"disk is full.*CACHE_DIR"), replacing(tmp_path / "x") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("mysql://me:tiger@host/db", "mysql://me:***@host/db"),
        ("redis://:tiger@host", "redis://:***@host"),
        ("postgresql+psycopg://me:ti@g/e:r@host:5432/db x@y", "postgresql+psycopg://me:***@host:5432/db x@y"),
        ("mysql://me:ti ger@host/db", "mysql://me:***@host/db"),
        (
            "a '--storage=mysql://me@host/db?PassWord=tiger&x=1' --b",
            "a '--storage=mysql://me@host/db?PassWord=***&x=1' --b",
        ),
        ("mysql://host:3306/db and sqlite:////tmp/study.db", "mysql://host:3306/db and sqlite:////tmp/study.db"),
        ("finetune.tune --data=a:b@c", "finetune.tune --data=a:b@c"),
    ],
)
def test_passwords_in_urls_are_not_shown(text, without):
    assert masked(text) == without


def test_the_command_that_a_run_keeps_has_no_password(monkeypatch):
    monkeypatch.setattr("sys.argv", ["finetune/tune.py", "--storage=mysql://me:ti ger@host/db", "--trials=3"])
    assert describe_environment()["command"] == "finetune.tune '--storage=mysql://me:***@host/db' --trials=3"


@pytest.mark.parametrize("value", [10**5000, "x" * 10**6, [[10**5000] * 1000] * 1000, {"a": "b" * 10**6}], ids=range(4))
def test_values_are_cut_in_messages(value):
    assert len(shown(value)) < 400


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("how", [lambda path: pd.DataFrame([1]).to_csv(path), lambda path: path.write_bytes(b"x")])
def test_a_folder_removed_under_a_writer_is_one_sentence(tmp_path, how, whole):
    """As somebody may in another terminal, before the temporary file is begun and behind it."""
    path = tmp_path / "features" / "a.csv"
    words = r"features was removed while a\.csv was written: run again"
    with pytest.raises(UserError, match=words), replacing(path) as new:
        if whole:
            path.parent.rmdir()
        how(new)
        new.unlink()
    with replacing(path) as new:  # and then it goes on
        how(new)
    assert path.exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the test needs a place that takes no folder")
@pytest.mark.parametrize(
    "write", [write_bytes, lambda path: append_line(path, ""), lambda path: locked(path).__enter__()]
)
def test_where_no_folder_can_be_made_is_said(write):
    with pytest.raises(UserError, match="the folder /proc/runs/heads cannot be made there: choose other CACHE_DIR"):
        write(Path("/proc/runs/heads/a"))


def test_progress_of_nothing_has_no_last_line(capsys):
    for done in (0, 2):
        with Progress("heads", 3) as progress:
            progress.advance(done)
    assert [line[:12] for line in capsys.readouterr().err.splitlines()] == ["heads  2/3  "]


def test_a_missing_file_of_somebody_elses_is_not_taken_for_a_removed_folder(tmp_path):
    with pytest.raises(UserError, match=r"target could not be written.*nowhere"):
        copy(tmp_path / "nowhere", tmp_path / "target")


def test_a_shard_that_is_removed_while_it_is_opened_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"x\.h5 was removed while it was looked for"):
        open_shard(tmp_path / "x.h5")


def test_leftovers_of_killed_writers_go_and_fresh_ones_stay(tmp_path):
    old, fresh = tmp_path / ".a.1-x.part.h5", tmp_path / ".b.1-x.part.h5"
    old.touch()
    fresh.touch()
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path)
    assert not old.exists()
    assert fresh.exists()
    assert shard_paths(tmp_path) == []


def test_a_torn_last_line_is_not_read(tmp_path):
    append_line(tmp_path / "log", "one")
    with open(tmp_path / "log", "ab") as file:
        file.write(b"tw")
    assert read_lines(tmp_path / "log") == ["one"]


def test_the_ledger_counts_a_data_set_by_itself():
    runs.count_test_scoring("a", "run1", np.zeros(3))
    runs.count_test_scoring("b", "run2", np.zeros(3))
    runs.count_test_scoring("a", "run3", np.zeros(3))
    assert runs.test_scorings("a") == 2


def test_rows_come_back_in_the_order_asked_for():
    digests, features = rows(50)
    write_shard(SPEC, digests[:20], features[:20])
    write_shard(SPEC, digests[15:], features[15:])  # overlaps, as two extractions at once would
    order = np.random.default_rng(1).permutation(50)
    table = FeatureTable(SPEC, SimpleNamespace(digests=digests[order]))
    np.testing.assert_array_equal(table.X, features[order])
    some = np.array([7, 3, 3, 49])
    np.testing.assert_array_equal(table.read(some), features[order][some])
    out = np.empty((4, 8, 4, 4), np.float16)
    assert table.read(some, out) is out


def test_big_rows_are_read_by_threads_alike():
    digests, features = rows(9, shape=(512, 14, 14))
    write_shard(SPEC, digests, features)
    order = np.array([8, 0, 5, 5, 1])
    table, buffer = FeatureTable(SPEC, SimpleNamespace(digests=digests)), np.zeros((5, 512, 14, 14), np.float16)
    np.testing.assert_array_equal(table.read(order, buffer), features[order])
    np.testing.assert_array_equal(table.read(order), features[order])


FEW_DESCRIPTORS = """
import json, resource, sys
from types import SimpleNamespace
import numpy as np
from cache.features import FeatureSpec
from cache.table import FeatureTable
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
images = SimpleNamespace(digests=np.load(sys.argv[1]))
print(FeatureTable(FeatureSpec.from_json(json.loads(sys.argv[2])), images).X.astype(float).sum())
"""


def test_more_shards_are_open_at_once_than_files_may_be(tmp_path):
    digests, features = rows(300, shape=(2,))
    for row in range(300):
        write_shard(SPEC, digests[row : row + 1], features[row : row + 1])
    np.save(tmp_path / "digests.npy", digests)
    call = subprocess.run(
        [sys.executable, "-c", FEW_DESCRIPTORS, str(tmp_path / "digests.npy"), json.dumps(SPEC.to_json())],
        cwd=paths.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert call.returncode == 0, call.stderr
    assert float(call.stdout) == features.astype(float).sum()


def maps_of(file: Path) -> int:
    """How often this process has it mapped, where the system tells."""
    maps = Path("/proc/self/maps")
    return maps.read_text().count(str(file)) if maps.exists() else 0


def test_a_mapping_ends_with_the_last_array_on_it(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(range(200)))
    whole = mapped(file)
    part, before = whole[7:9], maps_of(file)
    del whole
    assert part.tolist() == [7, 8]
    assert not part.flags.writeable
    assert maps_of(file) == before
    del part
    assert maps_of(file) == 0
    (tmp_path / "empty").touch()
    assert mapped(tmp_path / "empty").shape == (0,)
    with pytest.raises(OSError, match=str(tmp_path)):
        mapped(tmp_path)


def test_every_changed_byte_is_an_error():
    digests, features = rows(3, shape=(5,))
    path = write_shard(SPEC, digests, features)
    content = path.read_bytes()
    changed = path.with_name("changed.h5")
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x20
        changed.write_bytes(damaged)
        with pytest.raises(UserError):
            verify(changed)


@pytest.mark.parametrize("length", [0, 100, 600, -1, -40])
def test_a_cut_shard_is_an_error(length):
    digests, features = rows(3)
    path = write_shard(SPEC, digests, features)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedShard, match="make extract"):
        open_shard(path)


def test_a_changed_row_is_an_error_before_it_is_a_number():
    digests, features = rows(4)
    path = write_shard(SPEC, digests, features)
    content = bytearray(path.read_bytes())
    at = content.find(features[2].tobytes())
    content[at + 10] ^= 1
    path.write_bytes(content)
    table = FeatureTable(SPEC, SimpleNamespace(digests=digests))
    np.testing.assert_array_equal(table.read(np.array([0, 1, 3])), features[[0, 1, 3]])
    with pytest.raises(DamagedShard, match="row 2"):
        table.read(np.arange(len(table)))


def test_another_spec_names_the_fields_that_differ():
    digests, features = rows(2)
    path = write_shard(SPEC, digests, features)
    other = replace(SPEC, preprocess=replace(SPEC.preprocess, crop=256), view=1)
    moved = other.folder / path.name
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    with pytest.raises(UserError, match=r"(?s)preprocess.crop: expected 256, found 224.*view: expected 1, found 0"):
        FeatureTable(other, SimpleNamespace(digests=digests))


def test_what_is_not_finite_is_refused():
    digests, features = rows(3)
    features[1, 0, 0, 0] = np.inf
    with pytest.raises(UserError, match=r"not finite.*STORED=float32"):
        write_shard(SPEC, digests, features)
    assert shard_paths(SPEC.folder) == []


def test_missing_rows_are_counted_with_the_cure():
    digests, features = rows(5)
    write_shard(SPEC, digests[:3], features[:3])
    assert present(SPEC, Places(digests)).tolist() == [True, True, True, False, False]
    with pytest.raises(UserError, match=r"2 of 5 images.*make extract"):
        FeatureTable(SPEC, SimpleNamespace(digests=digests))


def test_digests_that_begin_alike_are_told_apart():
    digests, features = rows(4)
    digests[1:, :8] = digests[0, :8]
    write_shard(SPEC, digests[:3], features[:3])
    assert present(SPEC, Places(digests[::-1])).tolist() == [False, True, True, True]
    read = FeatureTable(SPEC, SimpleNamespace(digests=digests[[2, 0, 1, 2]])).X
    np.testing.assert_array_equal(read, features[[2, 0, 1, 2]])


def test_features_are_looked_up_once_where_they_hold_the_same_rows_and_else_each_by_itself(monkeypatch):
    looked_up, look_up = [], table._places
    monkeypatch.setattr(table, "_places", lambda *args: looked_up.append(args) or look_up(*args))
    digests, features = rows(6)
    other, third = (replace(SPEC, tap=tap) for tap in ("other", "third"))
    for spec, order in ((SPEC, [0, 1, 2, 3, 4, 5]), (other, [0, 1, 2, 3, 4, 5]), (third, [5, 3, 1, 0, 2])):
        write_shard(spec, digests[order[:3]], features[order[:3]])
        write_shard(spec, digests[order[3:]], features[order[3:]])
    places = Places(digests)
    found = {spec: present(spec, places).tolist() for spec in (SPEC, other, third, SPEC)}
    assert found == {SPEC: [True] * 6, other: [True] * 6, third: [True, True, True, True, False, True]}
    assert len(looked_up) == 3  # the first two are one
    asked = digests[[4, 1, 5]]
    places = Places(asked)
    for spec in (other, SPEC):
        read = FeatureTable(spec, SimpleNamespace(digests=asked), places).X
        np.testing.assert_array_equal(read, features[[4, 1, 5]])


def test_weights_are_loaded_strictly(tmp_path):
    net = nn.Linear(3, 2)
    save_weights(tmp_path / "w.safetensors", net.state_dict(), {"note": 1})
    tensors, record = load_weights(tmp_path / "w.safetensors")
    assert record == {"note": 1}
    load_strictly(nn.Linear(3, 2), tensors, where="w")
    with pytest.raises(UserError, match=r"1 missing \(bias\); 1 unexpected \(offset\)"):
        load_strictly(nn.Linear(3, 2), {"weight": tensors["weight"], "offset": tensors["bias"]}, where="w")
    with pytest.raises(UserError, match="size mismatch"):
        load_strictly(nn.Linear(4, 2), tensors, where="w")
    with pytest.raises(UserError, match="cannot read"):
        load_weights(tmp_path / "none.safetensors")
    assert torch.equal(tensors["weight"], net.weight)
