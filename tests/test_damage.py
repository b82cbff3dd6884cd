"""What was cut, flipped or edited behind the program's back is an error before it is a figure; what cannot be written
is one sentence, and nothing is left half-written."""

import errno
import json
import os
import pickle
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from cache import paths, runs
from cache.atomic import append_line, locked, read_lines, replacing, write_json, write_text
from cache.checkpoint import checksum, load_state, load_weights, read_record, save_state, save_weights
from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from cache.records import from_plain
from cache.runs import DamagedRun
from heads.predictions import read_predictions

TENSORS = {
    "a": torch.arange(12.0).reshape(3, 4).bfloat16(), "b": torch.tensor(3.0), "empty": torch.zeros(0, 3),
    "flags": torch.tensor([True, False]), "maps": torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
}  # fmt: skip
RECORD = {"name": "ä", "numbers": [1, 2.5, None]}
STATE = {
    "weights": TENSORS, "optimiser": {"state": {0: {"step": torch.tensor(1.0)}, 1: {}}, "groups": [(1, 2.5)]},
    "history": [{"loss": float("nan"), "epoch": 1}],
}  # fmt: skip


def flipped(content: bytes, count: int) -> list[bytes]:
    """The content with one bit changed, at so many places drawn from a seed."""
    rng = random.Random(0)
    places = [(rng.randrange(len(content)), 1 << rng.randrange(8)) for _ in range(count)]
    return [content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :] for at, bit in places]


def same(one: object, other: object) -> bool:
    """The same numbers and words, whatever holds them."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


def test_weights_that_changed_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, TENSORS, RECORD)
    assert same(load_weights(path), (TENSORS, RECORD))
    assert same(load_file(path), TENSORS)  # any library opens it
    content = path.read_bytes()
    for changed in [*flipped(content, 400), content[:-1], content + b"\0", b""]:
        path.write_bytes(changed)
        with pytest.raises(UserError, match=r"w\.safetensors.*Delete it"):
            load_weights(path)


def test_a_record_is_read_without_its_tensors_and_is_what_was_written_or_an_error(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, TENSORS, RECORD)
    content = path.read_bytes()
    header, refused = 8 + int.from_bytes(content[:8], "little"), 0
    for changed in flipped(content[:header], 400):
        path.write_bytes(changed + content[header:])
        try:
            assert read_record(path) == RECORD  # the change is in what the header says of tensors
        except UserError as error:
            assert "Delete it" in str(error)  # noqa: PT017, the loop goes on
            refused += 1
    assert refused > 250
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"w\.safetensors.*Delete it"):
        read_record(path)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert read_record(path) == RECORD
    with pytest.raises(UserError, match="checksum does not match"):
        load_weights(path)
    code = (
        "from cache.checkpoint import read_record; import sys; read_record(sys.argv[1]); print('torch' in sys.modules)"
    )
    call = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(call, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout == "False\n"


def test_of_a_file_whose_record_has_no_checksum_of_its_own_all_is_read(tmp_path):
    """As they were written before."""
    path, text = tmp_path / "w.safetensors", json.dumps(RECORD)
    tensors = {name: each.contiguous() for name, each in TENSORS.items()}
    path.write_bytes(save(tensors, metadata={"checked record": f"{checksum([text, tensors])} {text}"}))
    assert same(load_weights(path), (TENSORS, RECORD))
    assert read_record(path) == RECORD
    content = path.read_bytes()
    for changed in (content[:-1] + bytes([content[-1] ^ 1]), content.replace(b"2.5", b"2.6")):
        path.write_bytes(changed)
        with pytest.raises(UserError, match="checksum does not match"):
            read_record(path)


def test_weights_are_the_same_bytes_each_time_they_are_written(tmp_path):
    for name in "ab":
        save_weights(tmp_path / name, TENSORS, RECORD)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_state_that_changed_is_refused_or_none_of_its_numbers_did(tmp_path):
    path = tmp_path / "last.pt"
    save_state(path, STATE)
    content, refused = path.read_bytes(), 0
    for changed in [*flipped(content, 400), content[:-30], b"", pickle.dumps([1])]:
        path.write_bytes(changed)
        try:
            assert same(load_state(path, STATE), STATE)
        except UserError as error:
            assert "to begin anew" in str(error)  # noqa: PT017, the loop goes on
            refused += 1
    assert refused > 150


def test_files_from_before_there_were_checksums_are_opened_with_a_note(tmp_path, capsys):
    weights, state = tmp_path / "old.safetensors", tmp_path / "old.pt"
    tensors = {name: each.contiguous() for name, each in TENSORS.items()}
    weights.write_bytes(save(tensors, metadata={"record": json.dumps(RECORD)}))
    torch.save(STATE, state)
    assert same(load_weights(weights), (TENSORS, RECORD))
    assert same(load_state(state, STATE), STATE)
    assert capsys.readouterr().err.count("before weights had checksums") == 2
    weights.write_bytes(save(tensors, metadata={"rekord": json.dumps(RECORD)}))
    with pytest.raises(UserError, match="there is no record"):
        load_weights(weights)
    torch.save(STATE | {"chekcsum": ""}, state)
    with pytest.raises(UserError, match="no checkpoint of this program"):
        load_state(state, STATE)


@pytest.mark.parametrize("room", [0, 100, 2000, 70_000, 400_000, 1_000_000])
def test_a_state_that_finds_no_room_is_one_message_whatever_its_size(tmp_path, room):
    path, before = tmp_path / "last.pt", resource.getrlimit(resource.RLIMIT_FSIZE)
    save_state(path, STATE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))  # the system refuses what goes beyond
    try:
        with pytest.raises(UserError, match=r"last\.pt could not be written"):
            save_state(path, {"weights": {str(number): torch.zeros(50_000) for number in range(6)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert same(load_state(path, STATE), STATE)
    assert os.listdir(tmp_path) == ["last.pt"]


WRITERS = {
    "file": lambda path: write_text(path, "text"),
    "log": lambda path: append_line(path, "line"),
    "lock": lambda path: locked(path).__enter__(),
    "begin": lambda path: runs.begin(path.parent, {}),
    "finish": lambda path: runs.finish(path.parent, {}),
}
CODES = {
    errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk is full", errno.EACCES: "no permission",
    errno.EPERM: "no permission", errno.EROFS: "no permission", errno.ENAMETOOLONG: "no name so long",
    errno.ENOTDIR: "a file stands where a folder belongs", errno.EISDIR: "a file stands where a folder belongs",
    errno.EIO: "could not be written", errno.EFBIG: "could not be written",
}  # fmt: skip


@pytest.mark.parametrize("call", ["mkdir", "open"])
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_whatever_the_system_says_against_writing_is_one_message(tmp_path, monkeypatch, code, writer, call):
    """Root is refused nothing, so the system's refusal is put in its mouth."""

    def refuse(name: object, *_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(name))

    path = tmp_path / "runs" / "run" / "file.txt"
    if call == "mkdir":
        monkeypatch.setattr(os, "mkdir", refuse)
    else:
        path.parent.mkdir(parents=True)
        monkeypatch.setattr("builtins.open", refuse)
        monkeypatch.setattr("io.open", refuse)
    with pytest.raises(UserError, match=rf"{CODES[code]}.*CACHE_DIR"):
        writer(path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_rename_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, code):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    write_text(tmp_path / "file", "old")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(UserError):
        write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("writer", ["file", "log", "lock"])
def test_names_that_cannot_be_are_one_message(tmp_path, writer):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / ("x" * 300), tmp_path / "file" / "below" / "it", tmp_path / "folder"):
        with pytest.raises(UserError, match="CACHE_DIR"):
            WRITERS[writer](path)
    assert not runs.is_complete(tmp_path / ("x" * 300))
    with replacing(tmp_path / ("ä" * 127)) as temporary:  # as long as a name may be
        temporary.write_text("")


def test_a_torn_line_is_never_joined_by_the_next_one(tmp_path):
    log = tmp_path / "log"
    append_line(log, "one")
    with open(log, "ab") as file:
        file.write(b"tor")
    append_line(log, "two")
    append_line(log, "three")
    assert read_lines(log) == ["one", "tor", "two", "three"]


def test_the_ledger_says_which_entries_are_damaged_and_counts_the_others(capsys):
    ledger = paths.ledger_file()
    append_line(ledger, json.dumps({"dataset": "a", "run": "old", "time": "2020"}))  # from before scores were noted
    for number in range(3):
        runs.count_test_scoring("a", f"run{number}", np.arange(3.0))
    lines = ledger.read_text().splitlines()
    assert runs.test_scorings("a") == 4
    for damaged in (lines[2][:40], lines[2].replace("run1", "run0"), lines[2].replace("checksum", "checksun"), "[1]"):
        ledger.write_text("\n".join([*lines[:2], damaged, *lines[3:]]) + "\n")
        assert runs.test_scorings("a") == 3
        runs._say.cache_clear()
    assert capsys.readouterr().err.count(f"line 3 of {ledger} is damaged and not counted") == 4
    with open(ledger, "a") as file:
        file.write(lines[2][:30])  # a kill in the middle of an entry
    runs.count_test_scoring("a", "run9", np.arange(3.0))
    assert runs.test_scorings("a") == 4


def test_the_same_scores_of_a_run_are_one_scoring_and_others_are_another():
    for scores in ([1.0, 2.0], [1.0, 2.0], [1.0, 2.5]):
        runs.count_test_scoring("a", "run", np.array(scores))
    runs.count_test_scoring("a", "other", np.array([1.0, 2.0]))
    assert runs.test_scorings("a") == 3


@dataclass(frozen=True)
class Result:
    """result.json of a run in these tests."""

    dataset: str
    auc: float


TABLE = "path,digest,label,group,score\na.jpg,01,real,a,-1.5\nb.jpg,02,fake,b,2.25\n"
MADE = Result("d", 0.5)


def finished(stage: str = "heads") -> Path:
    folder = paths.run_dir(stage, "run")
    runs.begin(folder, {"folds": 1})
    write_text(folder / "predictions-val.csv", TABLE)
    runs.finish(folder, MADE)
    runs.log(folder, "a log grows afterwards", quiet=True)
    return folder


def edited(text: bytes) -> bytes:
    """As somebody with an editor would, who keeps to the format."""
    return text.replace(b"2.25", b"2.75").replace(b'"folds": 1', b'"folds": 5').replace(b'"auc": 0.5', b'"auc": 0.9')


READERS: dict[str, Callable[[Path], object]] = {
    "predictions-val.csv": lambda folder: read_predictions(folder / "predictions-val.csv"),
    "config.json": lambda folder: runs.read_json(folder / "config.json")["folds"],
    "environment.json": lambda folder: runs.read_json(folder / "environment.json")["command"],
    "result.json": lambda folder: runs.result(folder).into(Result),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_a_finished_run_that_changed_is_refused_with_the_cure(name):
    folder = finished()
    path, read = folder / name, READERS[name]
    content = path.read_bytes()
    read(folder)
    changes = [*flipped(content, 60), content[: len(content) // 2], b"", b"\n", b"[" * 100_000]
    changes += [edited(content)] if name != "environment.json" else []
    for changed in changes:
        path.write_bytes(changed)
        if name == "result.json" and json.loads(content) == _parsed(changed):
            continue  # white space alone
        with pytest.raises(DamagedRun, match=rf"damaged {path}: .* delete it.*`make heads`"):
            read(folder)
    path.write_bytes(content)
    assert runs.result(folder).into(Result) == MADE


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


@pytest.mark.parametrize("name", [name for name in READERS if name != "result.json"])
def test_a_file_of_a_finished_run_that_is_gone_is_said(name):
    folder = finished("finetune")
    (folder / name).unlink()
    with pytest.raises(DamagedRun, match=r"it is gone.*result\.json and run again.*`make finetune`"):
        READERS[name](folder)
    assert read_predictions(folder / "predictions-test.csv") is None  # which it never had


def test_a_file_that_a_finished_run_did_not_write_is_none_of_its():
    folder = finished()
    write_text(folder / "predictions-test.csv", TABLE)
    with pytest.raises(DamagedRun, match="it is not what the run wrote"):
        read_predictions(folder / "predictions-test.csv")


def test_a_damaged_run_is_left_out_of_the_list_in_words(capsys):
    folder = finished()
    assert [each for each, _ in runs.find("heads")] == [folder]
    (folder / "result.json").write_text("")
    assert runs.find("heads") == []
    assert f"damaged {folder / 'result.json'}: it is empty" in capsys.readouterr().err


def test_a_run_from_before_there_were_checksums_is_read_and_what_it_lacks_is_damage(capsys):
    folder = paths.run_dir("finetune", "old")
    write_json(folder / "result.json", asdict(MADE))
    write_json(folder / "config.json", {"seed": 1})
    write_text(folder / "predictions-val.csv", TABLE)
    assert runs.result(folder).into(Result) == MADE
    assert read_predictions(folder / "predictions-val.csv").scores.tolist() == [-1.5, 2.25]
    assert capsys.readouterr().err.count("is read unchecked") == 1
    with pytest.raises(DamagedRun, match=r"config\.json: it lacks 'folds'.*make finetune"):
        runs.read_json(folder / "config.json")["folds"]
    write_json(folder / "result.json", {"dataset": "d", "auc": "high"})
    with pytest.raises(DamagedRun, match=r"result\.json: auc = 'high': expected a number"):
        runs.result(folder).into(Result)
    for wrong in (TABLE.replace("2.25", "much"), TABLE.replace("fake", "fade"), TABLE.replace("score", "skore"), '"'):
        write_text(folder / "predictions-val.csv", wrong)
        with pytest.raises(DamagedRun, match=r"predictions-val\.csv"):
            read_predictions(folder / "predictions-val.csv")


def test_a_complete_folder_is_not_begun_again():
    folder = finished()
    runs.begin(folder, {"folds": 7})
    assert runs.read_json(folder / "config.json") == {"folds": 1}


def test_a_finished_run_is_read_where_nobody_can_write(monkeypatch):
    folder = finished()
    monkeypatch.setattr("cache.atomic.locked", None)
    monkeypatch.setattr("cache.atomic.replacing", None)
    for read in READERS.values():
        read(folder)


PREPROCESS = Preprocess(256, 224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SPEC = FeatureSpec("net", "ab12", "layer3", "map", PREPROCESS, "fp32", "float16")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"view": "0"}, "view = '0': expected a whole number"),
        ({"view": True}, "view = True: expected a whole number"),
        ({"tap": None}, "tap = None: expected text"),
        ({"channels_last": 1}, "channels_last = 1: expected true or false"),
        ({"preprocess": [1]}, r"preprocess = \[1\]: expected an object"),
        ({"preprocess": asdict(PREPROCESS) | {"mean": [0.5]}}, r"preprocess.mean = \[0.5\]: expected 3 values"),
        ({"preprocess": asdict(PREPROCESS) | {"std": ["a"] * 3}}, "preprocess.std = 'a': expected a number"),
        ({"more": 1}, "FeatureSpec has an unknown more"),
    ],
)
def test_every_field_of_a_record_is_of_its_type(change, words):
    with pytest.raises(UserError, match=words):
        FeatureSpec.from_json(SPEC.to_json() | change)
    assert FeatureSpec.from_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC


def test_a_record_that_lacks_a_field_or_is_none_is_said():
    with pytest.raises(UserError, match="Result lacks auc, dataset"):
        from_plain(Result, {})
    with pytest.raises(UserError, match=r"Result = \[\]: expected an object"):
        from_plain(Result, [])
