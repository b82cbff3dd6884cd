"""What else a cluster of Ray does: it takes the trials of a search, and Ctrl-C ends all of its processes.

python -m pytest tests/soak/machines.py
"""

import os
import select
import signal
import subprocess
import sys

import optuna
import pytest

from cache import paths, runs
from finetune.tune.run import run as tune
from tests.on_ray import SMALL, cluster, joined, place, started  # noqa: F401, fixtures
from tests.test_tune import options as trials_of


def test_trials_run_on_the_cluster(cluster, few, tmp_path):  # noqa: F811
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    folder = tune(trials_of(few, 2, cluster="auto", storage=storage))
    study = optuna.load_study(study_name=None, storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    assert study.trials[0].params != study.trials[1].params
    assert runs.result(folder)["val_auc"] == study.best_value
    assert runs.test_scorings("few") == 2  # by the head and by the best detector


BLOCKING = """
import os, sys
if "default_worker" in sys.argv[0]:
    with open("begun", "w") as pipe:
        pipe.write(str(os.getpid()))
    open("never")
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells when a process of somebody else's ends")
def test_ctrl_c_leaves_no_process_behind(faces, tmp_path):
    """A plugin tells of the part's process, and keeps it there."""
    (tmp_path / "blocking.py").write_text(BLOCKING)
    for name in ("begun", "never"):
        os.mkfifo(tmp_path / name)
    flags = [f"--{name}={value}" for name, value in {**SMALL, "data": faces, "cluster": "local"}.items()]
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT), "PLUGINS": "blocking"}
    command = [sys.executable, "-m", "extract", *flags]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as call:  # fmt: skip
        begun = os.pidfd_open(int((tmp_path / "begun").read_text()))
        os.killpg(call.pid, signal.SIGINT)
        assert "stopped. Finished work is kept" in call.communicate(timeout=90)[1]
    assert call.returncode == 130
    assert select.select([begun], [], [], 60)[0]  # it has ended
    os.close(begun)
