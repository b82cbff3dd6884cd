"""Files are probed on every core with the results of one, and a run that is stopped goes on."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from cache import paths
from data import probes, probing
from data.images import AT_ONCE, Budget, probe
from tests.test_data import made

FOLDER = """
import os, sys
from pathlib import Path
from data import probing

if __name__ == "__main__":
    probing.FEW, root = 1, Path(sys.argv[1])
    probing.cores = lambda: 2
    coming = probing.probed(root, [str(path.relative_to(root)) for path in root.rglob("*.jpg")])
    next(coming)
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def listed(faces):
    (faces / "real" / "broken.jpg").write_bytes(b"no image")
    return sorted(str(path.relative_to(faces)) for path in faces.rglob("*.jpg"))


@pytest.fixture
def many(monkeypatch):
    """Few files are many."""
    monkeypatch.setattr(probing, "FEW", 4)
    monkeypatch.setattr(probing, "cores", lambda: 2)


def same(found, expected) -> bool:
    return [repr(each) for each in found] == [repr(each) for each in expected]  # nan is not nan


def test_processes_tell_what_threads_tell_in_the_same_order(faces, listed, many, monkeypatch):
    started, processes = [], probing._processes
    monkeypatch.setattr(probing, "_processes", lambda: started.append(processes()) or started[0])
    assert same(probing.probed(faces, listed), [probe(faces, path) for path in listed])
    assert len(started) == 1


def test_threads_go_on_where_a_process_was_killed(faces, listed, many, monkeypatch, capsys):
    ended = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=os._exit, initargs=(9,))
    monkeypatch.setattr(probing, "_processes", lambda: ended)
    assert same(probing.probed(faces, listed), [probe(faces, path) for path in listed])
    assert f"was ended: {len(listed)} are left to threads" in capsys.readouterr().err


def test_processes_share_their_pixels():
    """What one takes is missing to the other, because each of them has the same number in its memory."""
    new = get_context("spawn")
    shared = Budget(AT_ONCE, new)
    taker = new.Process(target=taken, args=(shared,))
    taker.start()
    taker.join()
    assert taker.exitcode == 0
    assert shared.left == 0


def taken(budget: Budget) -> None:
    with budget.taking(AT_ONCE):
        os._exit(0)


def test_processes_end_with_the_one_that_started_them(faces, tmp_path):
    """They hold its standard output, which has an end only when all are gone."""
    script = tmp_path / "script.py"
    script.write_text(FOLDER)
    call = subprocess.Popen(
        [sys.executable, script, faces], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
    )  # fmt: skip
    os.kill(int(call.stdout.readline()), signal.SIGKILL)
    call.communicate(timeout=60)
    assert call.returncode == -signal.SIGKILL


@pytest.mark.parametrize("change", ["none", "torn", "changed"])
def test_a_run_that_was_stopped_goes_on_from_its_log(faces, change, monkeypatch):
    made(faces)
    table, log = (paths.data_dir() / "faces" / name for name in ("probes.csv", "probes.log"))
    whole = table.read_bytes()
    table.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(probes, "KEEP", 10)
        patch.setattr(probing, "cores", lambda: 1)
        patch.setattr(probing, "probe", stopped_at(35))
        with pytest.raises(KeyboardInterrupt):
            made(faces)
    assert not table.exists()
    lines = log.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    torn = {"none": lines, "torn": [*lines[:2], lines[2][:-9]], "changed": [*lines[:2], lines[2].replace(b"a", b"b")]}
    log.write_bytes(b"".join(torn[change]))
    read = []
    monkeypatch.setattr(probing, "probe", lambda root, path: read.append(path) or probe(root, path))
    made(faces)
    assert len(read) == (30 if change == "none" else 40)
    assert table.read_bytes() == whole
    assert not log.exists()


def stopped_at(count: int):
    """A probe that somebody stops at so many files."""
    left = iter(range(count))

    def stopping(root, path):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return probe(root, path)

    return stopping


def test_the_range_of_the_channels_is_that_over_their_axis(faces, listed):
    small = np.asarray(Image.open(faces / listed[0]), np.int16)
    assert probe(faces, listed[0]).colour == round(float((small.max(axis=2) - small.min(axis=2)).mean()), 3)
