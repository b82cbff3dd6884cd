"""Parts on a real cluster of Ray: two machines of one core each on this one, and what they leave is what one leaves."""

import os
import select
import signal
import subprocess
import sys

import optuna
import pytest
import ray
from ray.cluster_utils import Cluster

from cache import paths, runs
from cache.errors import UserError
from cache.table import open_shards
from data import build as data_build
from extract import cluster as ours
from extract.options import ExtractConfig
from extract.run import run, specs_of
from finetune.tune.run import run as tune
from tests.test_tune import options as trials_of

SMALL = {"backbone": "resnet18", "weights": "random", "features": "layer1:avgstd layer2:map", "size": 32,
         "device": "cpu", "workers": 0, "compute": "fp32", "batch": 4}  # fmt: skip


@pytest.fixture(scope="module")
def started():
    """A cluster, which lives as long as the tests of this file."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def cluster(started, monkeypatch) -> Cluster:
    """Of two machines that are alive, which CLUSTER=auto finds."""
    while len(started.list_all_nodes()) < 2:
        started.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", started.address)
    return started


def kept(folder) -> dict[tuple[str, bytes], bytes]:
    """Every row by its feature's key and its image's digest."""
    return {
        (spec.key, shard.digests[row].tobytes()): shard.features[row].tobytes()
        for spec in specs_of(folder) for shard in open_shards(spec) for row in range(len(shard))
    }  # fmt: skip


def config(data, **options) -> ExtractConfig:
    return ExtractConfig.of(data=str(data), **{**SMALL, **options})


def test_a_machine_that_dies_costs_its_parts_and_every_byte_is_that_of_one_process(cluster, faces, world, monkeypatch,
                                                                                   capsys):  # fmt: skip
    machines = ours.machines

    def killing() -> str:
        """A part has ended, and the other machine has begun one."""
        for second in [node for node in cluster.list_all_nodes() if not node.head]:
            cluster.remove_node(second, allow_graceful=False)
        return machines()

    monkeypatch.setattr(ours, "machines", killing)
    folder = run(config(faces, views=1, cluster="auto", parts=6))
    assert runs.result(folder)["computed"] == 120
    assert len(cluster.list_all_nodes()) == 1
    assert "part 6/6" in capsys.readouterr().err.splitlines()[-1]
    together = kept(folder)
    assert all(len(open_shards(spec)) == 1 for spec in specs_of(folder))  # merged
    monkeypatch.setenv("CACHE_DIR", str(world / "alone"))
    monkeypatch.setenv("RUNS_DIR", str(world / "runs_alone"))
    assert kept(run(config(faces, views=1))) == together
    assert len(together) == 4 * 60


def test_what_a_part_cannot_do_is_one_sentence_and_the_rest_is_kept(cluster, faces):
    options = config(faces, cluster="auto", parts=6)
    data_build.run(options.data)
    victim = faces / "real" / "0058.jpg"
    stamp, content = victim.stat(), bytearray(victim.read_bytes())
    content[-10] ^= 1
    victim.write_bytes(content)
    os.utime(victim, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(UserError, match=r"0058.jpg changed since it was hashed.*REHASH=1 \(on \S+\)$"):
        run(options)
    assert list(paths.features_dir().glob("*/*.h5"))
    assert runs.is_complete(run(options.but(rehash=True)))


def test_no_machine_with_so_many_cores(cluster, faces):
    with pytest.raises(UserError, match=r"no machine has 5 cores for a part: the largest of \d has 1"):
        run(config(faces, cluster="auto", cores=5))


def test_trials_run_on_the_cluster(cluster, few, tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    folder = tune(trials_of(few, 2, cluster="auto", storage=storage))
    study = optuna.load_study(study_name=None, storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    assert study.trials[0].params != study.trials[1].params
    assert runs.result(folder)["val_auc"] == study.best_value
    assert runs.test_scorings("few") == 2  # by the head and by the best detector


def test_a_cluster_that_is_not_there_and_a_package_that_is_not_are_told(faces, monkeypatch):
    def absent(*_, **__) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nSee the manual")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", absent)
    with pytest.raises(UserError, match=r"CLUSTER=auto: no cluster can be joined \(Could not find .* instance\.\)"):
        run(config(faces, cluster="auto"))
    monkeypatch.setattr(ours, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"the package ray is not installed.*pip install ray"):
        run(config(faces, cluster="local"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ExtractConfig.of(cluster="auto", part="0/2"), "leave out PART and torchrun"),
        (lambda: ExtractConfig.of(cluster="atuo"), r"unknown CLUSTER.*'atuo'; did you mean auto"),
        (lambda: ExtractConfig.of(cluster="auto", parts=0), "PARTS must be at least 1"),
        (lambda: trials_of("few", 2, cluster="auto"), "need a database that all of them reach: STORAGE="),
    ],
)
def test_what_does_not_go_with_a_cluster_is_told(make, words):
    with pytest.raises(UserError, match=words):
        make()


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
