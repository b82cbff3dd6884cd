"""Whole files or none: a temporary name beside the target, fsync, rename.

Everything the project writes goes through `replacing`, so a half-written file is impossible by construction.
The one exception is `append_line`, for logs; their readers ignore a torn last line.
"""

import errno
import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cache.errors import UserError
from cache.key import plain

TEMPORARY = ".part"
LEFTOVER_AGE = 3600  # seconds; no single file takes an hour to write, so an older temporary has no writer


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; when the block ends well it becomes `path`, durably.

    Raises:
        UserError: the disk is full, whatever `path` held before is untouched; or its folder was removed meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last because pandas, Pillow and matplotlib choose a format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}{TEMPORARY}{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if _was_removed(error, temporary):
            raise UserError(f"{path.parent} was removed while {path.name} was written: run again") from error
        raise _explained(error, path) from error
    finally:
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


def append_line(path: Path, line: str) -> None:
    """Add one line to a log; a single write, so that two processes do not mix their lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "ab") as file:
            file.write(line.encode() + b"\n")
    except OSError as error:
        raise _explained(error, path) from error


def read_lines(path: Path) -> list[str]:
    """The complete lines of a log; a torn last line (no newline yet) is not there."""
    if not path.exists():
        return []
    return path.read_text(errors="replace").split("\n")[:-1]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time is inside; the others wait. A process that dies lets the next one in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left behind."""
    for path in folder.glob(f".*{TEMPORARY}*"):
        if time.time() - path.stat().st_mtime > LEFTOVER_AGE:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _was_removed(error: OSError, temporary: Path) -> bool:
    """Whether somebody took away the whole folder, or the files in it one by one."""
    gone = error.errno == errno.ENOENT and error.filename == str(temporary)
    return gone or not temporary.parent.is_dir()


def _explained(error: OSError, path: Path) -> OSError | UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"the disk is full: {path} could not be written. Nothing was half-written and all finished work is "
            "kept: free some space, or put CACHE_DIR, DATA_DIR or RUNS_DIR on another disk, and run again."
        )
    if error.errno in (errno.EACCES, errno.EROFS):
        return UserError(f"no permission to write {path}; CACHE_DIR, DATA_DIR and RUNS_DIR choose other folders.")
    return error
