"""Whole files or none: a temporary name beside the target, fsync, rename.

Everything the project writes goes through `replacing`, so a half-written file is impossible by construction.
The one exception is `append_line`, for logs; their readers ignore a torn last line, and the next entry begins a line of
its own. What the system says of a path that cannot be written becomes a sentence in one place, `_writing`.
"""

import errno
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

try:
    import fcntl
except ImportError:
    raise SystemExit("this program runs on Linux and macOS only: it needs their locks (Windows has WSL)") from None

from cache.errors import UserError
from cache.key import plain

TEMPORARY = ".part"
LEFTOVER_AGE = 3600  # seconds; no single file takes an hour to write, so an older temporary has no writer
LONGEST_STEM = 32  # characters that a temporary's name takes from its target's, so that it is never the one too long
FOLDERS = "CACHE_DIR, DATA_DIR or RUNS_DIR"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; when the block ends well it becomes `path`, durably.

    Raises:
        UserError: it cannot be written, because the disk is full or read-only, for example; whatever `path` held before
            is untouched.
    """
    # The suffix stays last because pandas, Pillow and matplotlib choose a format by it.
    unique = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary = path.with_name(f".{path.stem[:LONGEST_STEM]}.{unique}{TEMPORARY}{path.suffix}")
    with _writing(path):
        _make_folder(path.parent)
        try:
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            with suppress(OSError):  # where it could not be made it cannot be taken away, and why is known already
                temporary.unlink(missing_ok=True)


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write the concatenation of `parts`."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        for part in parts:
            file.write(part)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, record: Any) -> None:
    """Write a dataclass, dict or list as indented JSON."""
    write_text(path, json.dumps(plain(record), indent=2, allow_nan=False) + "\n")


def copy(source: Path, target: Path) -> None:
    """A file's bytes, whole or not at all."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def remove(path: Path) -> None:
    """Take a file away, if it is there.

    Raises:
        UserError: it cannot be removed.
    """
    with _writing(path):
        path.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Add one line to a log, behind a torn last line as a line of its own; one process at a time.

    Raises:
        UserError: it cannot be written.
    """
    with _writing(path):
        _make_folder(path.parent)
        with open(path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(b"\n" * _is_torn(file) + line.encode() + b"\n")


def read_lines(path: Path) -> list[str]:
    """The complete lines of a log; a torn last line (no newline yet) is not there."""
    if not path.exists():
        return []
    return path.read_text(errors="replace").split("\n")[:-1]


@contextmanager
def locked(path: Path, *, waiting: str = "") -> Iterator[bool]:
    """Only one process at a time is inside; the others wait. A process that dies lets the next one in.

    Args:
        waiting: what is said on the error stream where another is inside.

    Returns:
        Whether another was.

    Raises:
        UserError: the lock's file cannot be written.
    """
    with _writing(path):
        _make_folder(path.parent)
        file = path.open("a")
    with file:
        with _writing(path):
            waited = not _taken(file)
            if waited:
                if waiting:
                    print(waiting, file=sys.stderr, flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield waited


def _taken(file: IO) -> bool:
    """Whether a lock that nobody held is this process's now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a process is inside of `locked(path)` at this moment."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # nobody ever was
        return False
    return False


def remove_folder(folder: Path) -> None:
    """Take a folder away with all that is in it, as one step for whoever looks: half of a run is no run.

    Raises:
        UserError: it cannot be removed.
    """
    aside = folder.with_name(f".{folder.name[:LONGEST_STEM]}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    with _writing(folder):
        if folder.exists():
            os.replace(folder, aside)
            shutil.rmtree(aside)


def remove_leftovers(folder: Path, *, age: float = LEFTOVER_AGE) -> None:
    """Delete temporary files that a killed process left behind; age: in seconds, 0 where nobody else can be writing."""
    for path in folder.glob(f".*{TEMPORARY}*"):
        with _writing(path), suppress(FileNotFoundError):  # another process may be at the same
            if time.time() - path.stat().st_mtime >= age:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


def _is_torn(file: BinaryIO) -> bool:
    """Whether a log ends within a line."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def _make_folder(folder: Path) -> None:
    """Raises: UserError where the system takes no folder, as below /proc; else OSError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise UserError(f"the folder {folder} cannot be made there: choose other {FOLDERS}.") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Whatever the system says against writing `path` becomes a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(_why(error, path)) from error


def _why(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {path} could not be written. Nothing was half-written and all finished work is "
            f"kept: free some space, or put {FOLDERS} on another disk, and run again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write {path}; CACHE_DIR, DATA_DIR and RUNS_DIR choose other folders."
    if error.errno == errno.ENAMETOOLONG:
        return f"{path} cannot be written, the disk takes no name so long: choose a shorter one, or other {FOLDERS}."
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
        return (
            f"{path} cannot be written: a file stands where a folder belongs, or a folder where the file does "
            f"({error.filename or path}). Move it away, or choose other {FOLDERS}."
        )
    gone = TEMPORARY in str(error.filename) or not path.parent.is_dir()
    if gone and error.errno in (errno.ENOENT, None):  # None is what pandas says
        return f"{path.parent} was removed while {path.name} was written: run again"
    return f"{path} could not be written: {error}. Put that right, or choose other {FOLDERS}, and run again."
