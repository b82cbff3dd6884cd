"""Folders walked and files read, with a bound on everything: no pipe is waited for, no device read, no loop followed.

Links are followed where they lead to regular files, wherever those are, because many data sets are folders of links;
links to folders are not, because they may lead back.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
ENOUGH_BYTES = 2**30  # of a file; in no format do 100 Mpx need more
NO_STAMP = (-1, -1)
SKIPPED = "skipped"  # the status of what nobody asked for
OTHER_ENDING = "not the ending of an image"


class BadImageError(Exception):
    """status: one word for the manifest; the text is the reason."""

    def __init__(self, status: str, reason: str):
        super().__init__(reason)
        self.status = status


class Named(NamedTuple):
    """A file that could be an image. status, reason: why it is not opened, '' where it is.

    A tuple, because there may be millions, and it is made faster than a frozen record.
    """

    path: str
    status: str = ""
    reason: str = ""


def walk(folder: str, *, hidden: bool = False) -> Iterator[Named]:
    """Every file below `folder`, in the order of their names; hidden files are not there.

    Args:
        hidden: whether to look into hidden folders.
    """
    waiting: list[os.DirEntry | Named] = _entries(folder)
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, Named):
            yield entry
        elif _is_folder(entry, links=False):
            if _has_image_ending(entry.name):
                yield Named(entry.path, "unreadable", "a folder with the name of an image")
            waiting += _entries(entry.path) if hidden or not entry.name.startswith(".") else []
        elif not entry.name.startswith("."):
            yield _file(entry)


def read_file(path: str | Path) -> tuple[bytes, int]:
    """The bytes of a regular file, and the time of its last change in ns since 1970.

    Raises:
        BadImageError: missing; unreadable, as pipes, devices and folders are; enormous.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise BadImageError("unreadable", "no regular file")
            if about.st_size > ENOUGH_BYTES:
                raise BadImageError("enormous", f"{about.st_size:,} bytes, over {ENOUGH_BYTES:,}")
            return file.read(about.st_size), about.st_mtime_ns
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadImageError("missing", "no such file") from error
    except IsADirectoryError as error:
        raise BadImageError("unreadable", "a folder") from error
    except (OSError, ValueError) as error:
        raise BadImageError("unreadable", getattr(error, "strerror", None) or str(error)) from error


def stamp(path: str) -> tuple[tuple[int, int], bool]:
    """What changes with a file: its size in bytes and the time of its last change in ns, or NO_STAMP where there is no
    file; and whether it is a link, of which the file that it leads to is meant."""
    link = False
    try:
        about = os.lstat(path)
        link = stat.S_ISLNK(about.st_mode)
        about = os.stat(path) if link else about
    except OSError:
        return NO_STAMP, link
    return (about.st_size, about.st_mtime_ns), link


def _without_waiting(path: str, flags: int) -> int:
    """Opening a pipe waits for its writer, and opening a device may start it: what is no file is not opened."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(0, "no regular file")
    return os.open(path, flags | os.O_NONBLOCK)


def _entries(folder: str) -> list[os.DirEntry | Named]:
    """What a folder holds, the last name first."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        return [Named(folder, "unreadable", error.strerror or str(error))]


def _file(entry: os.DirEntry) -> Named:
    if _is_folder(entry, links=True):
        return Named(entry.path, SKIPPED, "a link to a folder")
    return Named(entry.path) if _has_image_ending(entry.name) else Named(entry.path, SKIPPED, OTHER_ENDING)


def _is_folder(entry: os.DirEntry, *, links: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=links)
    except OSError:  # a loop of links
        return False


def _has_image_ending(name: str) -> bool:
    stem, dot, ending = name.rpartition(".")
    return bool(stem) and (dot + ending).lower() in SUFFIXES
