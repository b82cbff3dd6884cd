"""A run folder, file by file:

config.json        the record it was made from
environment.json   commit, package versions, hardware
log.txt            what was printed, with times
...                what the stage makes
result.json        written last: a folder that has it is complete

result.json also holds the sha256 of every table and record beside it, and a checksum of itself. All are read through
`read_json`, `read_table` and `result`, so that a changed byte is an error before it is a figure. A run that was
finished before there were checksums is read unchecked, and a line says so: to make it anew may take days.
"""

import hashlib
import io
import json
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from cache import paths
from cache.atomic import append_line, is_locked, locked, read_lines, replacing, write_json
from cache.environment import describe_environment
from cache.errors import UserError
from cache.key import canonical, file_digest, plain
from cache.records import from_plain

RESULT = "result.json"
FILES, CHECKSUM = "files", "checksum"  # what result.json holds beside the stage's own record
SEALED = (".csv", ".json")  # weights carry a checksum of their own, and logs grow
LOCK = ".lock"  # held while a run begins or finishes
LOCKS = (LOCK, "lock", "part-*.lock")  # patterns of all that processes hold in a run's folder
COMMANDS = {"extract": "make extract", "heads": "make heads", "finetune": "make finetune", "tune": "make tune",
            "unseen": "make finetune UNSEEN=1", "gradcam": "make gradcam"}  # fmt: skip
Kind = TypeVar("Kind")
finished_here: set[Path] = set()  # folders that this process finished, of which it has said what they hold


class DamagedRun(UserError):
    """A file of a run is not what was written."""

    def __init__(self, path: Path, reason: str):
        result, stages = path.parent / RESULT, [each.name for each in path.parents[1:3]]
        both = f"it and {result}" if path.name != RESULT and result.exists() else "it"
        command = next((COMMANDS[each] for each in stages if each in COMMANDS), "make report")
        super().__init__(
            f"damaged {path}: {reason}. Nothing in it can be believed: delete {both} and run again what made it "
            f"(`{command}`), which goes on with what is whole."
        )


class Record(dict):
    """A JSON object that was read from `path`. A name that it lacks is damage, and no KeyError."""

    def __init__(self, values: dict, path: Path):
        super().__init__(values)
        self.path = path

    def __missing__(self, name: str) -> Any:
        raise DamagedRun(self.path, f"it lacks {name!r}")

    def into(self, kind: type[Kind]) -> Kind:
        """The dataclass that it describes. Raises: DamagedRun for fields that do not fit."""
        try:
            return from_plain(kind, self)
        except UserError as error:
            raise DamagedRun(self.path, str(error)) from error


def is_complete(folder: Path) -> bool:
    return os.path.exists(folder / RESULT)  # a name that is too long is not there, which Path makes an error of


@contextmanager
def alone(folder: Path, what: str, name: str = "lock") -> Iterator[bool]:
    """No other process does the same in a run's folder inside; whether one did, for which this one waited.

    Args:
        what: the stage, in the line that says so. name: of the lock, one of LOCKS.
    """
    with locked(folder / name, waiting=f"{what}: another process is at it; waiting for {folder}") as waited:
        yield waited


def part_lock(share: int, shares: int) -> str:
    """The name of the lock of a part: processes with others go on beside it."""
    return f"part-{share}-of-{shares}.lock"


def is_lock(path: Path) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in LOCKS)


def in_use(folder: Path) -> bool:
    """Whether a process is at work in a run's folder."""
    return any(is_locked(path) for pattern in LOCKS for path in folder.glob(pattern))


def begin(folder: Path, config: Any) -> None:
    """Record what is about to be run, and on what. A folder that another process has completed stays as it is."""
    with locked(folder / LOCK):
        if not is_complete(folder):
            write_json(folder / "config.json", config)
            write_json(folder / "environment.json", describe_environment())


def finish(folder: Path, result: Any) -> None:
    """The last, atomic act of a run."""
    with locked(folder / LOCK):
        sealed = sorted(path for path in folder.iterdir() if path.suffix in SEALED and path.name[0] != ".")
        files = {path.name: file_digest(path) for path in sealed if path.name != RESULT}
        record = json.loads(canonical({**plain(result), FILES: files}))
        write_json(folder / RESULT, {**record, CHECKSUM: _checksum(record)})
    finished_here.add(folder)


def result(folder: Path) -> Record:
    """What the stage wrote of a finished run.

    Raises:
        DamagedRun: it is not what was written.
    """
    return _opened(folder)[0]


def read_json(path: Path) -> Record:
    """A JSON object, of a run or not. Raises: DamagedRun where it is none, or not what was written."""
    return _object(path, read_bytes(path))


def read_table(path: Path, columns: Collection[str] = (), **how: Any) -> pd.DataFrame:
    """A CSV of a run as pandas reads it. Raises: DamagedRun where it is none, or not what was written.

    Args:
        columns: those that must be there.
    """
    content = read_bytes(path)
    try:
        table = pd.read_csv(io.BytesIO(content), **how)
    except (ValueError, OverflowError) as error:
        raise DamagedRun(path, f"it is no such table ({error})") from error
    lacking = sorted(set(columns) - set(table.columns))
    if lacking:
        raise DamagedRun(path, f"it lacks the column {', '.join(lacking)}")
    return table


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def read_bytes(path: Path) -> bytes:
    """A file's bytes; of a finished run those that it wrote.

    Raises:
        DamagedRun: they are others, or the file is gone. UserError: it may not be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedRun(path, "it is gone") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    files = _opened(path.parent)[1] if is_complete(path.parent) else None
    if files is not None and files.get(path.name) != hashlib.sha256(content).hexdigest():
        raise DamagedRun(path, "it is not what the run wrote")
    return content


def is_sealed(path: Path) -> bool:
    """Whether a finished run says that it wrote such a file."""
    return is_complete(path.parent) and path.name in (_opened(path.parent)[1] or {})


def complete_runs(stage: str) -> list[Path]:
    """The folders of all complete runs of a stage, by name."""
    return sorted(path.parent for path in (paths.runs_dir() / stage).glob(f"[!.]*/{RESULT}"))


def find(stage: str, **wanted: Any) -> list[tuple[Path, Record]]:
    """The complete runs of a stage whose result.json says what is wanted, with that record, by name.

    A line says which are damaged and left out. `find("heads", dataset="faces", version=3)`
    """
    found = []
    for folder in complete_runs(stage):
        try:
            record = result(folder)
            if all(record.get(name) == value for name, value in wanted.items()):
                found.append((folder, record))
        except DamagedRun as error:
            _say(f"warning: {error} Until then the run is left out.")
    return found


def log(folder: Path, text: str, *, quiet: bool = False) -> None:
    """Print a line, unless quiet, and keep it in the run's log.txt with the time."""
    if not quiet:
        print(text, flush=True)
    append_line(folder / "log.txt", f"{datetime.now().isoformat(timespec='seconds')} {text}")


def count_test_scoring(dataset: str, run: str, scores: np.ndarray) -> None:
    """Note in the ledger that `run` gave the test images of `dataset` these scores, (N,) or (N, C)."""
    digest = hashlib.sha256(np.ascontiguousarray(scores, np.float64).tobytes()).hexdigest()
    entry = {"dataset": dataset, "run": run, "scores": digest, "time": datetime.now().isoformat(timespec="seconds")}
    append_line(paths.ledger_file(), json.dumps({**entry, CHECKSUM: _checksum(entry)}))


def test_scorings(dataset: str) -> int:
    """How often the test split of `dataset` has been scored so far.

    The same scores of the same run count once: it was killed before it was finished, and run again. A line says which
    entries are damaged and not counted.
    """
    entries = [entry for entry in _ledger() if entry["dataset"] == dataset]
    return len({(str(entry["run"]), entry.get("scores", number)) for number, entry in enumerate(entries)})


def _ledger() -> Iterator[dict]:
    """Its entries. Those from before scores were noted have neither these nor a checksum."""
    for number, line in enumerate(read_lines(paths.ledger_file()), start=1):
        try:
            entry = _object(paths.ledger_file(), line.encode())
            if entry.keys() != {"dataset", "run", "time"} and not _holds(entry):
                raise DamagedRun(paths.ledger_file(), "its checksum does not match")
            yield entry
        except DamagedRun:
            _say(f"warning: line {number} of {paths.ledger_file()} is damaged and not counted")


def _opened(folder: Path) -> tuple[Record, dict[str, str] | None]:
    """result.json without what it is checked by, and the sha256 of the files; None from before there were any."""
    path = folder / RESULT
    try:
        record = _object(path, path.read_bytes())
    except OSError as error:
        raise DamagedRun(path, f"it cannot be read ({error.strerror})") from error
    if not {FILES, CHECKSUM} & record.keys():
        _say(f"note: {folder} was finished before runs had checksums, and is read unchecked")
        return record, None
    if not _holds(record):
        raise DamagedRun(path, "its checksum does not match")
    return record, record.pop(FILES)


def _object(path: Path, content: bytes) -> Record:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedRun(path, f"it is no JSON ({error})" if content.strip() else "it is empty") from error
    if not isinstance(found, dict):
        raise DamagedRun(path, "it is no JSON object")
    return Record(found, path)


def _holds(record: dict) -> bool:
    """Whether the checksum that a record carries, which is taken out, is that of the rest."""
    try:
        return record.pop(CHECKSUM, None) == _checksum(record)
    except (ValueError, RecursionError):  # what is never written, such as NaN
        return False


def _checksum(record: dict) -> str:
    """sha256 of a record, 64 hex digits."""
    return hashlib.sha256(canonical(dict(record)).encode()).hexdigest()


@cache
def _say(text: str) -> None:
    """Print a text on the error stream, once however often it is said."""
    print(text, file=sys.stderr, flush=True)
