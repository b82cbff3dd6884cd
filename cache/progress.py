"""One live line per stage: what is done, how fast, where the time goes, and when it ends.

extract cvt_13 part 0/1  41 984/70 000  812 img/s  read 31 % forward 62 % write 7 %  eta 0:00:35
"""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO

from cache.errors import printable

LIVE_EVERY = 0.2  # seconds between two updates on a terminal
LOG_EVERY = 15.0  # seconds between two lines in a file or a pipe


class Plain:
    """A stream to a terminal through which no file's name and no cell of a table can command it.

    written: whether anything was.
    """

    def __init__(self, stream: TextIO):
        self._stream, self.written = stream, False

    def write(self, text: str) -> int:
        self.written = True
        self._stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class Progress:
    """Counts items and stopwatches of the parts of a loop; prints to stderr.

    Use as a context manager: leaving it prints the last line, also after an error, unless nothing was done.
    """

    def __init__(self, label: str, total: int, *, unit: str = "img"):
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.note = ""
        self.parts: dict[str, float] = defaultdict(float)  # part of the loop -> seconds
        self.start = self.printed = time.perf_counter()
        self.live = sys.stderr.isatty()

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Add the block's seconds to `part`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.parts[part] += time.perf_counter() - start

    def advance(self, count: int) -> None:
        self.done += count
        if time.perf_counter() - self.printed > (LIVE_EVERY if self.live else LOG_EVERY):
            self._print()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    @property
    def rate(self) -> float:
        """Items per second so far."""
        return self.done / max(self.seconds, 1e-9)

    def line(self) -> str:
        shares = " ".join(f"{part} {100 * spent / max(self.seconds, 1e-9):.0f} %" for part, spent in self.parts.items())
        eta = timedelta(seconds=round((self.total - self.done) / max(self.rate, 1e-9))) if self.done else "?"
        ending = f"eta {eta}" if self.done < self.total else f"in {timedelta(seconds=round(self.seconds))}"
        count = f"{spaced(self.done)}/{spaced(self.total)}"
        rate = f"{self.rate:.0f}" if self.rate >= 10 else f"{self.rate:.2f}"
        parts = [self.label, count, f"{rate} {self.unit}/s", shares, self.note, ending]
        return printable("  ".join(filter(None, parts)))

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.done or self.printed > self.start:  # where nothing was done there is no last line
            self._print(last=True)

    def _print(self, *, last: bool = False) -> None:
        self.printed = time.perf_counter()
        if self.live:
            print(f"\r\x1b[K{self.line()}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(self.line(), file=sys.stderr, flush=True)


def spaced(count: int) -> str:
    """41984 -> '41 984'."""
    return f"{count:,}".replace(",", " ")
