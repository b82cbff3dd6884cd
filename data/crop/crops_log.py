"""crops.log: what was cut out of which image, a line an image, so that a run that was stopped goes on from there.

Each line stands behind the sha256 of what it says: files are removed by what stands there, so one that is not as it was
written is no line. The same image twice: what was said last holds.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from cache.atomic import append_line, read_lines, write_text
from cache.errors import UserError
from cache.records import from_plain

NAME = "crops.log"
SEAL = 16  # hex digits


@dataclass(frozen=True)
class Found:
    """A face, as a row of the new data set says it. box: left, top, right, bottom in pixels of the source."""

    path: str
    face_score: float
    face_box: str
    angle: float
    outside: float


@dataclass(frozen=True)
class Image:
    """What became of an image. path, digest: of the source. status, reason: why no face was cut out of it."""

    path: str
    digest: str
    faces: list[Found]
    status: str = "ok"
    reason: str = ""


def read(folder: Path) -> dict[str, Image]:
    """By the source's path."""
    return {each.path: each for line in read_lines(folder / NAME) for each in _images(line)}


def append(folder: Path, image: Image) -> None:
    append_line(folder / NAME, _line(image))


def write(folder: Path, images: Iterable[Image]) -> None:
    """Keep only what is said of these."""
    write_text(folder / NAME, "".join(f"{_line(each)}\n" for each in images))


def _line(image: Image) -> str:
    said = json.dumps(asdict(image), separators=(",", ":"))
    return f"{_seal(said)} {said}"


def _images(line: str) -> list[Image]:
    seal, _, said = line.partition(" ")
    try:
        return [from_plain(Image, json.loads(said))] if seal == _seal(said) else []
    except (ValueError, RecursionError, UserError):
        return []


def _seal(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()[:SEAL]
