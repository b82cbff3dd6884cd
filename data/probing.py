"""Files probed on every core, in the order in which they are asked for.

Many files go to processes, because threads wait for each other's Python: it takes as long as decoding where images are
small. Few go to threads, which are there at once.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from threading import Thread

from data import images
from data.images import AT_ONCE, Budget, Probe, probe

FEW = 4096  # files; threads are through with as many of 64 pixels when processes have started
HANDED = 16  # files that a process takes at once: asking costs it little then, and stopping waits for no more


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def probed(root: Path, paths: Sequence[str]) -> Iterator[Probe]:
    """What each file below `root` tells. Close it, or use it up: its processes end with it.

    Where one of them is killed, for want of memory for example, threads go on with what is left.
    """
    done = 0
    if len(paths) > FEW and cores() > 1:
        try:
            for each in _each(_processes(), root, paths):
                yield each
                done += 1
        except BrokenProcessPool:
            print(f"a process that read images was ended: {len(paths) - done} are left to threads", file=sys.stderr)
    yield from _each(ThreadPoolExecutor(cores()), root, paths[done:])


def _each(pool: Executor, root: Path, paths: Sequence[str]) -> Iterator[Probe]:
    try:
        yield from pool.map(partial(probe, root), paths, chunksize=HANDED)
    finally:
        pool.shutdown(cancel_futures=True)


def _processes() -> ProcessPoolExecutor:
    """One a core. They are new and not forked, because a fork inherits locks that threads of ours may hold."""
    new = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(cores(), mp_context=new, initializer=_begin, initargs=(Budget(AT_ONCE, new),))


def _begin(budget: Budget) -> None:
    """Make of a new process one that reads images: it counts its pixels with the others, and ends when it should."""
    images.budget = budget
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at Ctrl-C it is gone, and says nothing
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the process that started this one; if it was killed nobody else says that there is no more to do."""
    multiprocessing.parent_process().join()
    os._exit(1)
