"""IMAGES -> the files that it names, in a fixed order -> upright RGB images, or the reason why one is none.

A file that is named is opened whatever its name. Of a folder every file gets a line too, but one without the ending of
an image is skipped, and hidden ones are not there. Links to folders are not followed.
"""

import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from cache.errors import UserError
from data.images import PILLOW_ERRORS, SUFFIXES, BadImageError, decode, upright_rgb

LONGEST = 16  # words of one path that holds spaces
SKIPPED = "skipped"  # the status of what nobody asked for
ENOUGH_BYTES = 2**30  # of a file; in no format do 100 Mpx need more

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Named:
    """A file to be scored. status, reason: why it is not opened, '' where it is."""

    path: str
    status: str = ""
    reason: str = ""


def files_of(images: str) -> list[Named]:
    """The files of one or several paths, folders and patterns separated by spaces or line ends; none twice.

    Spaces that belong to a path which exists part nothing.

    Raises:
        UserError: nothing is there that could be an image.
    """
    found = {each.path: each for word in _words(images) for each in _expanded(word)}
    if not found:
        raise UserError("IMAGES= names no image: give files, patterns or folders, for example IMAGES=photos")
    if all(each.status for each in found.values()):
        first, more = next(iter(found.values())), len(found) - 1
        others = f", and {more} more like it" if more else ""
        raise UserError(f"IMAGES={images}: no image to score: {printable(first.path)}: {first.reason}{others}")
    return list(found.values())


def printable(path: str) -> str:
    """Names that are not UTF-8 can be opened but not printed; their strange bytes become \\udc.. in words."""
    return path.encode("utf-8", "backslashreplace").decode()


def _words(images: str) -> Iterator[str]:
    if os.path.lexists(images):
        yield images
        return
    for line in images.splitlines():
        words = line.split(" ")
        while words:
            count = next((n for n in range(min(len(words), LONGEST), 1, -1) if os.path.lexists(" ".join(words[:n]))), 1)
            yield from filter(None, [" ".join(words[:count])])
            words = words[count:]


def _expanded(word: str) -> Iterator[Named]:
    """Of a path, or of a pattern that the shell left as it is."""
    word = os.path.expanduser(word)
    matched = [word] if os.path.lexists(word) or not glob.has_magic(word) else sorted(glob.glob(word, recursive=True))
    if not matched:
        yield Named(word, "missing", "no file matches")
    for path in matched:
        yield from _in_folder(path) if os.path.isdir(path) else [_alone(path)]


def _alone(path: str) -> Named:
    return Named(path) if os.path.lexists(path) else Named(path, "missing", "no such file or folder")


def _in_folder(folder: str) -> Iterator[Named]:
    found = list(_walk(folder))
    yield from found or [Named(folder, "empty", "the folder holds no files")]


def _walk(folder: str) -> Iterator[Named]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Named(folder, "unreadable", error.strerror or str(error))
        return
    for entry in entries:
        if not entry.name.startswith("."):
            yield from _entry(entry)


def _entry(entry: os.DirEntry) -> Iterator[Named]:
    is_image = Path(entry.name).suffix.lower() in SUFFIXES
    if entry.is_dir(follow_symlinks=False):
        if is_image:
            yield Named(entry.path, "unreadable", "a folder with the name of an image")
        yield from _walk(entry.path)
    elif entry.is_dir():
        yield Named(entry.path, SKIPPED, "a link to a folder")
    elif not is_image:
        yield Named(entry.path, SKIPPED, "not the ending of an image")
    else:
        yield Named(entry.path)


def contents(source: Named | str | Path | Image.Image | np.ndarray) -> tuple[bytes | Image.Image, str]:
    """A file's bytes with their sha256, or an image in memory with that of its pixels.

    Raises:
        BadImageError: the file cannot be read. UserError: an array that is no image.
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        pixels = _understood(source.tobytes)
        return source, hashlib.sha256(f"{source.mode} {source.size} ".encode() + pixels).hexdigest()
    content = _bytes(source.path if isinstance(source, Named) else source)
    return content, hashlib.sha256(content).hexdigest()


def upright(content: bytes | Image.Image) -> tuple[Image.Image, str]:
    """The upright RGB image, and a note of what was done to it, as data.images.decode has them.

    Raises:
        BadImageError: there is none.
    """
    return _understood(lambda: upright_rgb(content) if isinstance(content, Image.Image) else decode(content))


def _understood(read: Callable[[], Read]) -> Read:
    try:
        return read()
    except PILLOW_ERRORS as error:
        raise BadImageError("unreadable", f"{type(error).__name__}: {error}") from error


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UserError(f"an image as an array is (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    return Image.fromarray(pixels)


def _bytes(path: str | Path) -> bytes:
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):  # reading a pipe would wait for ever
            raise BadImageError("unreadable", "a folder" if stat.S_ISDIR(about.st_mode) else "no regular file")
        if about.st_size > ENOUGH_BYTES:
            raise BadImageError("enormous", f"{about.st_size:,} bytes, over {ENOUGH_BYTES:,}")
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadImageError("missing", "no such file") from error
    except (OSError, ValueError) as error:
        raise BadImageError("unreadable", getattr(error, "strerror", None) or str(error)) from error
