"""The whole chain over many small images: what each stage takes, and what it takes once more with nothing to do.

    python -m tests.bench.chain [COUNT]

JPEGs of 64 pixels, a network of a hundred thousand weights, the default sweep, the page without perturbed copies and
heat maps. Each stage is a process of its own. Beside the seconds on the clock stand those of all cores, which a machine
that has other work too does not stretch. Memory and open files are looked at every TICK in /proc, which Linux alone
has: memory is that of all processes of the stage together, without the pages of files, which the system takes back when
it needs them; of open files the most that one process had.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache import paths
from data.probing import cores
from tests.bench.manifest import SIDE, drawn

COUNT = 5_000
TICK = 0.2  # seconds
BACKBONE = ("--backbone=test_resnet", "--weights=random", f"--size={SIDE}")
STAGES = {
    "data": ("data",),
    "extract": ("extract", *BACKBONE),
    "heads": ("heads", *BACKBONE),
    "report": ("analysis", *BACKBONE, "--perturb=0", "--num_samples=0"),
}


@dataclass(frozen=True)
class Taken:
    """What a command took: seconds, those of all cores together, bytes of memory at most, open files at most."""

    seconds: float
    of_cores: float
    memory: int
    files: int


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
            os.environ[name] = f"{home}/{name.lower()}"
        faces = drawn(Path(home) / "faces", count)
        print(f"{count} images of {SIDE} pixels, {cores()} cores:")
        print(f"  {'':<26}  seconds  of cores   peak MB  open files")
        for again in ("", ", nothing to do"):
            for stage, (module, *options) in STAGES.items():
                found = taken(sys.executable, "-m", module, f"--data={faces}", *options)
                print(f"  {stage + again:<26} {found.seconds:8.1f} {found.of_cores:9.1f} {found.memory / 1e6:9.0f} "
                      f"{found.files:11}", flush=True)  # fmt: skip


def taken(*command: str) -> Taken:
    """Run a command to its end; a failure ends the benchmark."""
    start, before, memory, files = time.perf_counter(), _of_cores(), 0, 0
    with tempfile.TemporaryFile("w+") as said:
        running = subprocess.Popen(command, cwd=paths.ROOT, stdout=said, stderr=said)
        while running.poll() is None:
            family = _family(running.pid)
            memory = max(memory, sum(map(_own_memory, family)))
            files = max(files, *map(_open_files, family))
            time.sleep(TICK)
        if running.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read()}")
    return Taken(time.perf_counter() - start, _of_cores() - before, memory, files)


def _of_cores() -> float:
    """Seconds of cores that processes which have ended took, with all that came of them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _family(process: int) -> list[int]:
    """A process and all that came of it."""
    found = [process]
    for each in found:  # which grows
        with suppress(OSError):
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def _own_memory(process: int) -> int:
    """Bytes, 0 of a process that has ended."""
    with suppress(OSError, KeyError):
        told = dict(line.split(":") for line in open(f"/proc/{process}/status"))
        return (int(told["RssAnon"].split()[0]) + int(told["RssShmem"].split()[0])) * 1024
    return 0


def _open_files(process: int) -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{process}/fd"))
    return 0


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
