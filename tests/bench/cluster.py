"""Extraction by two machines of a Ray cluster, one core of this machine each, against one of them, in one run.

python -m tests.bench.cluster resnet18            or with a number of rounds, and of images, behind it

The start of the cluster and of its processes, which load the network once, is left out.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from cache import runs
from data.probing import cores
from extract.options import ExtractConfig
from extract.run import run
from tests.bench import rounds
from tests.bench.extraction import ROUNDS, copies


def added(cluster: Cluster, core: int) -> None:
    """One more machine, whose processes may use this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    cluster.add_node(num_cpus=1)
    os.sched_setaffinity(0, before)


def extraction(home: Path, faces: Path, name: str) -> float:
    """Images per second."""
    for folder in ("cache", "runs"):
        shutil.rmtree(home / folder, ignore_errors=True)
    options = ExtractConfig.of(data=str(faces), backbone=name, weights="random", device="cpu", cluster="auto")
    return runs.result(run(options))["rate"]


def main(name: str, count: int) -> None:
    if cores() < 2:
        sys.exit("two cores are needed")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        faces = copies(home / "faces")
        os.environ |= {each: str(home / each[:-4].lower()) for each in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR")}
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        os.environ["RAY_ADDRESS"] = cluster.address
        found = {}
        for machines, core in enumerate(sorted(os.sched_getaffinity(0))[:2], start=1):
            added(cluster, core)
            extraction(home, faces, name)  # processes start, and load the network
            found |= rounds(
                {f"{machines} of one core": lambda: extraction(home, faces, name)}, count=count, unit="img/s"
            )
        one, two = found.values()
        print(f"  two / one = {two / one:.2f}")
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["resnet18"], int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
