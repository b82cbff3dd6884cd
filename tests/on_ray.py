"""Parts on a real cluster of Ray: two machines of one core each on this one, and what they leave is what one leaves."""

import os

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
from tests.conftest import write_faces

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
def place(tmp_path_factory, monkeypatch):
    """Artefacts in the same place for all tests of this file: Ray keeps a process for the next part of one place."""
    for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
        monkeypatch.setenv(name, str(tmp_path_factory.getbasetemp() / name.lower()))


@pytest.fixture
def joined(started, place, monkeypatch) -> None:
    """The machines of the cluster that are left."""
    monkeypatch.setenv("RAY_ADDRESS", started.address)


@pytest.fixture
def cluster(started, joined) -> Cluster:
    """Of two machines that are alive, which CLUSTER=auto finds."""
    while len(started.list_all_nodes()) < 2:
        started.add_node(num_cpus=1)
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


def test_what_a_part_cannot_do_is_one_sentence_and_the_rest_is_kept(joined, tmp_path):
    others = write_faces(tmp_path / "others", 60, start=100)
    options = config(others, cluster="auto", parts=6)
    data_build.run(options.data)
    before = set(paths.features_dir().glob("*/*.h5"))
    victim = others / "real" / "0158.jpg"
    stamp, content = victim.stat(), bytearray(victim.read_bytes())
    content[-10] ^= 1
    victim.write_bytes(content)
    os.utime(victim, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(UserError, match=r"0158.jpg changed since it was hashed.*REHASH=1 \(on \S+\)$"):
        run(options)
    assert set(paths.features_dir().glob("*/*.h5")) - before
    assert runs.is_complete(run(options.but(rehash=True)))


def test_no_machine_with_so_many_cores(joined, faces):
    with pytest.raises(UserError, match=r"no machine has 5 cores for a part: the largest of \d has 1"):
        run(config(faces, features="layer1:avg", cluster="auto", cores=5))
