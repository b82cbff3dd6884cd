"""IMAGES -> the files that it names, in a fixed order -> upright RGB images, or the reason why one is none.

A file that is named is opened whatever its name. Of a folder every file gets a line too, but one without the ending of
an image is skipped, and hidden ones are not there. Links to folders are not followed.
"""

import glob
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from cache.errors import UserError, printable
from data.disk import Named, read_file, walk
from data.images import opened, pillow_errors, upright_rgb

LONGEST = 16  # words of one path that holds spaces


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
    """The files of a path, or of a pattern that the shell left as it is."""
    word = os.path.expanduser(word)
    matched = [word] if os.path.lexists(word) or not glob.has_magic(word) else sorted(glob.glob(word, recursive=True))
    if not matched:
        yield Named(word, "missing", "no file matches")
    for path in matched:
        yield from _in_folder(path) if os.path.isdir(path) else [_alone(path)]


def _alone(path: str) -> Named:
    return Named(path) if os.path.lexists(path) else Named(path, "missing", "no such file or folder")


def _in_folder(folder: str) -> Iterator[Named]:
    found = list(walk(folder))
    yield from found or [Named(folder, "empty", "the folder holds no files")]


def contents(source: Named | str | Path | Image.Image | np.ndarray) -> tuple[bytes | Image.Image, str]:
    """A file's bytes with their sha256, or an image in memory with that of its pixels.

    Raises:
        BadImageError: the file cannot be read. UserError: an array that is no image.
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        with pillow_errors():
            pixels = source.tobytes()
        return source, hashlib.sha256(f"{source.mode} {source.size} ".encode() + pixels).hexdigest()
    content, _ = read_file(source.path if isinstance(source, Named) else source)
    return content, hashlib.sha256(content).hexdigest()


@contextmanager
def upright(content: bytes | Image.Image) -> Iterator[tuple[Image.Image, str]]:
    """The upright RGB image, and a note of what was done to it, as data.images.opened has them.

    Raises:
        BadImageError: there is none.
    """
    if isinstance(content, Image.Image):
        with pillow_errors():
            found = upright_rgb(content)
        yield found
        return
    with opened(content) as read:
        yield read.image, read.note


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UserError(f"an image as an array is (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    return Image.fromarray(pixels)
