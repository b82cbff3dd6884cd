"""Change real files of every kind and draw nonsense for grids, recipes, ranges and records of heads, by the thousand.

    python -m tests.soak.fuzz 16000

A reader may refuse, with a UserError and nothing else, within seconds and a bounded memory. What it does not refuse
must say what the unchanged file said, where the file is the program's own. Inputs are a function of their number.
Prints a line a kind; the first violation of each is kept in /tmp/soak-fuzz. Exits 1 if there is any.
"""

import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cache.checkpoint import load_weights, save_weights
from cache.errors import UserError
from cache.key import canonical
from finetune.recipes import read_recipe, refuse_bad_ranges
from heads.families import from_json
from heads.head_file import load_head
from heads.sweep.grid import MOST_HEADS, read_grid
from heads.sweep.sweep_result import HEAD_FILE
from tests.soak import files, inputs
from tests.soak.files import Kind, fingerprint

KEPT = Path(tempfile.gettempdir()) / "soak-fuzz"
SECONDS = 5  # that one input may take
MEMORY = 4 << 30  # bytes that it may map beside what is there already
FOLDERS = ("CACHE_DIR", "DATA_DIR", "RUNS_DIR")


class TooLongError(BaseException):
    """One input took more than SECONDS."""


class ViolationError(Exception):
    """Accepted, and should not have been."""


@dataclass(frozen=True)
class Target:
    """drawn: of inputs. check: says `equal` or `other`, raises UserError for a refusal. share: of all inputs."""

    name: str
    drawn: st.SearchStrategy
    check: Callable[[Any], str]
    share: float = 1


@dataclass
class Line:
    """Of the table."""

    name: str
    counts: Counter = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        inputs = sum(self.counts.values())
        cells = (inputs, *(self.counts[each] for each in ("refused", "equal", "other", "violation")))
        first = f"  {self.violations[0]}" if self.violations else ""
        return f"{self.name:<28}" + "".join(f"{each:>9}" for each in cells) + f"{self.seconds:>7.0f} s{first}"


def targets(home: Path) -> list[Target]:
    """Everything that is read, with real files below `home`."""
    with _folders(home):
        known = files.kinds(home)
        (head,) = (each.path for each in known if each.name == "head, mlp")
        tensors, record = load_weights(head)
        images = files.pictures(home)
        return [
            *map(_of_file, known),
            Target("record of a head", inputs.altered(record), lambda drawn: _record(home, tensors, record, drawn), 4),
            Target("images", st.sampled_from(images).flatmap(_image), lambda drawn: _probed(home, *drawn), 6),
            Target("grid", inputs.grids(), _grid, 6),
            Target("recipe", inputs.recipes(), _recipe, 4),
        ]


def fuzz(target: Target, home: Path, examples: int) -> Line:
    """Try `examples` inputs; the same ones each time."""
    line = Line(target.name)

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(target.drawn)
    def each(drawn: Any) -> None:
        line.counts[_judged(target, drawn, line)] += 1

    begun = time.monotonic()
    with _folders(home), _bounded_memory(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each()
    line.seconds = time.monotonic() - begun
    return line


def _judged(target: Target, drawn: Any, line: Line) -> str:
    try:
        with _bounded_time(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return target.check(drawn)
    except UserError:
        return "refused"
    except (Exception, TooLongError) as error:  # noqa: BLE001, this is what it looks for
        if not line.violations:
            _keep(target.name, drawn)
        line.violations.append(f"{type(error).__name__}: {str(error)[:100]!r}")
        return "violation"


def _keep(name: str, drawn: Any) -> None:
    """The input and where it led."""
    KEPT.mkdir(exist_ok=True)
    place = KEPT / name.replace(" ", "-").replace(",", "")
    place.with_suffix(".input").write_bytes(drawn if isinstance(drawn, bytes) else repr(drawn).encode())
    place.with_suffix(".txt").write_text(traceback.format_exc())


def _of_file(kind: Kind) -> Target:
    """Files beside it, which a reader may write, are put back each time."""
    beside = {path: path.read_bytes() for path in kind.path.parent.iterdir() if path.is_file()}
    content = beside[kind.path]
    expected = fingerprint(kind.read(kind.path))

    def check(drawn: bytes) -> str:
        kind.path.write_bytes(drawn)
        try:
            found = fingerprint(kind.read(kind.path))
        finally:
            for path, real in beside.items():
                if path == kind.path or path.stat().st_size != len(real) or path.read_bytes() != real:
                    path.write_bytes(real)
        if found == expected:
            return "equal"
        if kind.exact:
            raise ViolationError("accepted, and it says something else")
        return "other"

    return Target(kind.name, inputs.changed(content), check, kind.share)


def _image(named: tuple[str, bytes]) -> st.SearchStrategy:
    return st.tuples(st.just(named[0]), inputs.changed(named[1]))


def _probed(home: Path, ending: str, content: bytes) -> str:
    """A bad image is a row with a status, not an exception."""
    found = files.probed(home, ending, content)
    if found["status"] not in ("ok", "empty", "unreadable", "truncated", "enormous", "missing"):
        raise ViolationError(f"status {found['status']}")
    if found["status"] != "ok":
        raise UserError(found["note"])
    return "other"


def _record(home: Path, tensors: dict, real: dict, drawn: dict) -> str:
    """A head whose tensors are intact and whose record, with a checksum that fits, is crafted."""
    path = home / "crafted" / HEAD_FILE
    save_weights(path, tensors, drawn)
    _, found = load_head(path)
    return "equal" if json.loads(json.dumps(found.to_json())) == real else "other"


def _grid(text: str) -> str:
    """What is accepted can be kept and read again, and no two heads share a name."""
    configs = read_grid(text if text in ("",) or text.lstrip().startswith("[") else f"[{text}")
    if len({each.name for each in configs}) != len(configs) or len(configs) > MOST_HEADS:
        raise ViolationError("two heads of one name, or too many")
    for each in configs[:100]:
        if from_json(json.loads(canonical(each.to_json()))) != each:
            raise ViolationError(f"{each} is another one after it was written and read")
    return "other"


def _recipe(text: str) -> str:
    asked = read_recipe(text if text.lstrip().startswith("{") else "{" + text)
    refuse_bad_ranges(asked)
    json.loads(canonical({"recipe": asked.recipe.to_json(), "ranges": asked.ranges}))
    return "other"


@contextmanager
def _bounded_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TooLongError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """So that what would fill the machine is a MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _folders(home: Path) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in FOLDERS}
    os.environ.update({name: str(home / name.lower()) for name in FOLDERS})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def main(examples: int) -> int:
    """The number of violations."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        home = Path(name)
        found = targets(home)
        each = examples / sum(target.share for target in found)
        print(f"{'kind':<28}{'inputs':>9}{'refused':>9}{'equal':>9}{'other':>9}{'wrong':>9}{'time':>9}")
        lines = []
        for target in found:
            lines.append(fuzz(target, home, max(1, round(each * target.share))))
            print(lines[-1], flush=True)
        total = Line("all", sum((line.counts for line in lines), Counter()), [], sum(line.seconds for line in lines))
        print(total)
        return total.counts["violation"]


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 16_000)))
