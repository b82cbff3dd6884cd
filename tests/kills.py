"""Kill extraction with SIGKILL at random moments and compare what is left with an undisturbed run, byte for byte.

    python -m tests.kills 20

Children are forked from one process that has imported everything, so that a kill costs the work and not a start.
Prints `N kills, M images, K features: equal` and exits 0, or says what differs.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cache import paths
from cache.table import verify
from extract.run import ExtractConfig, run, tables
from tests.conftest import write_faces

IMAGES = 320
FEATURES = "layer2:map layer3:avgstd"


def config(data: Path) -> ExtractConfig:
    return ExtractConfig(
        data=str(data), backbone="resnet18", weights="random", size=64, features=FEATURES, shard_mb=1, workers=1,
        device="cpu",
    )  # fmt: skip


def child(options: ExtractConfig) -> int:
    """Start one extraction in a process of its own group; its pid."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        run(options)
        os._exit(0)
    return pid


def features(options: ExtractConfig) -> list[np.ndarray]:
    """Every feature in manifest order, each row checked."""
    return [table.X for table in tables(options)]


def undisturbed(options: ExtractConfig, folder: Path) -> float:
    """Make the reference below `folder`; the seconds that it took."""
    os.environ["CACHE_DIR"], os.environ["RUNS_DIR"] = str(folder / "cache"), str(folder / "runs")
    start = time.monotonic()
    os.waitpid(child(options), 0)
    return time.monotonic() - start


def main(kills: int) -> None:
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["DATA_DIR"] = str(home / "data")
        options = config(write_faces(home / "faces", IMAGES))
        seconds = undisturbed(options, home / "whole")
        os.environ["CACHE_DIR"], os.environ["RUNS_DIR"] = str(home / "cache"), str(home / "runs")
        done, finished = 0, 0
        while done < kills:
            pid = child(options)
            time.sleep(random.uniform(0.05, 1.0) * seconds)
            if os.waitpid(pid, os.WNOHANG)[0]:  # it was faster than the knife: begin again from nothing
                finished += 1
                os.environ["CACHE_DIR"] = str(home / f"cache{finished}")
                os.environ["RUNS_DIR"] = str(home / f"runs{finished}")
                continue
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            done += 1
        together = [child(options), child(options)]  # two at once finish the job
        for pid in together:
            assert os.waitpid(pid, 0)[1] == 0, "an extraction beside another failed"
        killed = features(options)
        shards = sum(verify(path) > 0 for path in paths.features_dir().glob("*/*.h5") if path.name[0] != ".")
        os.environ["CACHE_DIR"], os.environ["RUNS_DIR"] = str(home / "whole/cache"), str(home / "whole/runs")
        whole = features(options)
        for one, other in zip(killed, whole, strict=True):
            assert one.tobytes() == other.tobytes(), "features differ from those of an undisturbed run"
        print(f"{done} kills, {IMAGES} images, {len(whole)} features in {shards} shards: equal")


if __name__ == "__main__":
    main(int(sys.argv[1]))
