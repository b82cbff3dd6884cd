"""Run every stage on disks of several sizes that are too small; then give room, run it again, and compare.

    python -m tests.soak.full_disk 10                  ten sizes for each stage
    python -m tests.soak.full_disk 20 heads finetune

The disk is a tmpfs, which only root can mount. A stage on a full one ends with the sentence that says so and no
traceback; with room it leaves what an undisturbed run leaves. Prints a line a stage; exits 1 if anything is otherwise.
"""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache.errors import UserError
from tests.soak.stages import STAGES, World, held_by, in_turn

SENTENCE = "the disk is full"
ROOM = 1 << 30  # bytes


def filled(made: World, stage: str, times: int) -> str:
    """Try so many sizes, evenly between no room at all and as much as the stage takes; how it went."""
    rng, held, needed = random.Random(stage), held_by(made.before(stage)), made.bytes[stage]
    ends, problems = Counter(), []
    for number in range(times):
        room = int(needed * (number + rng.random()) / times)
        with mounted(made.place, held + room):
            made.restore(stage)
            end = _ending(made, stage)
            ends[end] += 1
            if end.startswith("WRONG"):
                problems.append(f"{end} with room for {room:,} of {needed:,} bytes")
            remounted(made.place, f"size={ROOM}")
            if made.finish(stage):
                problems.append(f"the rerun with room failed: {_last_words(made)}")
            problems += made.differences(stage)
    how = ", ".join(f"{count} {end}" for end, count in ends.items())
    end = "equal" if not problems else f"DIFFERENT: {'; '.join(sorted(set(problems)))}"
    return f"{stage}: {times} sizes, {how}: {end}"


def _ending(made: World, stage: str) -> str:
    status = made.finish(stage)
    if status == 0:
        return "had room"
    said = made.said.read_text(errors="replace")
    if status == 1 and SENTENCE in said and "Traceback" not in said:
        return "told"
    return f"WRONG (exit {status}): {_last_words(made)}"


def _last_words(made: World) -> str:
    return " ".join(made.said.read_text(errors="replace").splitlines()[-1:])[:200]


@contextmanager
def mounted(place: Path, size: int) -> Iterator[None]:
    """A disk of `size` bytes at `place`. Raises: UserError where none can be mounted."""
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remounted(place: Path, how: str) -> None:
    """The same disk with another size, or ro, or rw."""
    _mount("-o", f"remount,{how}", str(place))


def _mount(*arguments: str) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"no disk can be mounted here ({getattr(error, 'stderr', '') or error}): root can") from error


def main(times: int, wanted: list[str]) -> int:
    """The number of stages that did not do as they should."""
    return in_turn(wanted, lambda made, stage: filled(made, stage, times))


if __name__ == "__main__":
    try:
        sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2:] or list(STAGES))))
    except UserError as error:
        sys.exit(f"python -m tests.soak.full_disk: {error}")
