"""Parts on a real cluster of Ray: two machines of one core each on this one, and what they leave is what one leaves."""

import os

import pytest
import ray
from ray.cluster_utils import Cluster

from cache import runs
from cache.table import open_shards
from extract import cluster as ours
from extract.options import ExtractConfig
from extract.run import run, specs_of

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
