"""Disturb every stage while it runs, as people and machines do; then leave it alone, run it again, and compare.

    python -m tests.soak.disturbed 5                      five times each way, each stage
    python -m tests.soak.disturbed 20 extract heads

together    the same command twice at once
vanished    images are deleted midway, and come back
changed     images become other bytes midway, and what they were again
folders     images become folders midway, and images again
cleaned     what `make clean` takes of the cache goes midway
read-only   cache, data and runs cannot be written (root: a tmpfs is mounted)
workers     a process that decodes images is killed (of a stage that has some)

A stage that is disturbed ends well or with one message, never with a traceback; the next one leaves what an undisturbed
run leaves, byte for byte but for the clock. Prints a line a stage and way; exits 1 if anything is otherwise.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from tests.conftest import jpeg, picture
from tests.soak.full_disk import ROOM, mounted, remounted
from tests.soak.stages import STAGES, World, held_by, in_turn

SHARE = 6  # one image in so many is disturbed
WITH_WORKERS = ("extract", "heads", "finetune")

Way = Callable[[World, str, random.Random], int]  # runs a stage and disturbs it: its exit status


def together(made: World, stage: str, rng: random.Random) -> int:
    """The worse of both ends."""
    first = made.start(stage)
    time.sleep(rng.uniform(0, 0.3) * made.seconds[stage])
    second = made.start(stage, said=made.home / "said-second.txt")
    return max(_end(first), _end(second))


def vanished(made: World, stage: str, rng: random.Random) -> int:
    return _with_images(made, stage, rng, lambda path: path.unlink())


def changed(made: World, stage: str, rng: random.Random) -> int:
    other = jpeg(picture(rng.randrange(1000), fake=False))
    return _with_images(made, stage, rng, lambda path: path.write_bytes(other))


def folders(made: World, stage: str, rng: random.Random) -> int:
    return _with_images(made, stage, rng, _become_a_folder)


def cleaned(made: World, stage: str, rng: random.Random) -> int:
    pid = _midway(made, stage, rng)
    for name in ("features", "engines"):
        shutil.rmtree(made.place / "cache" / name, ignore_errors=True)
    return _end(pid)


def read_only(made: World, stage: str, rng: random.Random) -> int:
    remounted(made.place, "ro")
    try:
        return made.finish(stage)
    finally:
        remounted(made.place, "rw")


def workers(made: World, stage: str, rng: random.Random) -> int:
    pid = made.start(stage, workers=2)
    end = time.monotonic() + made.seconds[stage] * 3
    while time.monotonic() < end and not (children := _children(pid)) and not _is_over(pid):
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.5))
    for child in children[:1]:
        os.kill(child, signal.SIGKILL)
    return _end(pid)


WAYS: dict[str, Way] = {
    "together": together, "vanished": vanished, "changed": changed, "folders": folders, "cleaned": cleaned,
    "read-only": read_only, "workers": workers,
}  # fmt: skip


def disturbed(made: World, stage: str, times: int) -> str:
    """Disturb a stage in each way, so often; a line for each."""
    lines = []
    for name, way in WAYS.items():
        if name == "workers" and stage not in WITH_WORKERS:
            continue
        with _ground(made, stage, name):
            lines.append(_tried(made, stage, name, way, times))
    print("\n".join(lines[:-1]), flush=True)
    return lines[-1] if all(line.endswith(": equal") for line in lines) else f"{lines[-1]} (see above)"


def _tried(made: World, stage: str, name: str, way: Way, times: int) -> str:
    rng, ends, problems = random.Random(f"{stage} {name}"), Counter(), []
    for _ in range(times):
        made.restore(stage)
        status = way(made, stage, rng)
        ends["ended well" if status == 0 else "told" if status == 1 else "WRONG"] += 1
        if status not in (0, 1):
            problems.append(f"exit {status}: {made.said.read_text(errors='replace')[-300:]}")
        if made.finish(stage):
            problems.append(f"the rerun failed: {made.said.read_text(errors='replace')[-300:]}")
        problems += made.differences(stage)
    how = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return f"{stage}, {name}: {how}: {'equal' if not problems else 'DIFFERENT: ' + '; '.join(sorted(set(problems)))}"


def _ground(made: World, stage: str, name: str) -> AbstractContextManager:
    return mounted(made.place, held_by(made.before(stage)) + ROOM) if name == "read-only" else nullcontext()


def _midway(made: World, stage: str, rng: random.Random) -> int:
    pid = made.start(stage)
    time.sleep(rng.uniform(0.02, 0.9) * made.seconds[stage])
    return pid


def _with_images(made: World, stage: str, rng: random.Random, change: Callable[[Path], object]) -> int:
    """Change some images while a stage runs; afterwards they are what they were, dates included."""
    with _to_come_back(made.home / "faces") as images:
        pid = _midway(made, stage, rng)
        for path in rng.sample(images, len(images) // SHARE):
            change(path)
        return _end(pid)


@contextmanager
def _to_come_back(faces: Path):
    """The images of a folder, sorted; put back when that ends."""
    kept = faces.with_name("faces-kept")
    shutil.copytree(faces, kept)
    try:
        yield sorted(faces.rglob("*.jpg"))
    finally:
        shutil.rmtree(faces)
        kept.rename(faces)


def _become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _children(pid: int) -> list[int]:
    said = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in said.split()]


def _is_over(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(times: int, wanted: list[str]) -> int:
    """The number of stages that did not do as they should."""
    return in_turn(wanted, lambda made, stage: disturbed(made, stage, times))


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:] or list(STAGES))))
