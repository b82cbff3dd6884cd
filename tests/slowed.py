"""`python -m heads` under torchrun, in which the second process extracts nothing before the first waits for it.

SLOWED is a folder with a named pipe, `waiting`; each process leaves the number of images that it computed there.
"""

import os
from pathlib import Path
from typing import Any

from cache.command import main
from extract import run as extraction
from extract.computing import forward
from heads.options import HeadsConfig

RANK = os.environ["RANK"]
FOLDER = Path(os.environ["SLOWED"])
computed: list[int] = []
released: list[bool] = []
compute, meet = forward.compute, extraction.meet


def slowed(*given: Any) -> tuple[float, int]:
    """The second process's first images wait until both ends of the pipe are opened."""
    if RANK == "1" and not computed:
        (FOLDER / "waiting").open().close()
    found = compute(*given)
    computed.append(found[1])
    (FOLDER / RANK).write_text(str(sum(computed)))
    return found


def release() -> None:
    if RANK == "0" and not released:
        (FOLDER / "waiting").open("w").close()
        released.append(True)


def released_meet() -> None:
    release()
    meet()


if __name__ == "__main__":
    forward.compute, extraction.meet = slowed, released_meet
    try:
        main(HeadsConfig, "heads.run:run_each", command="python -m tests.slowed")
    finally:
        release()  # also where the first process did not wait, so that the test fails and does not hang
