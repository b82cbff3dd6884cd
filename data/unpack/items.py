"""What is found in a source: a file that holds images, and each image in it with what is known of it."""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cache.errors import printable
from data.unpack.labelling import FIELDS, BadLabelError, Meaning, Place, columns_of, split_of

if TYPE_CHECKING:
    from data.unpack.options import UnpackConfig

# What columns and JSON fields are called where COLUMNS says nothing. The first that is there is taken.
NAMES = {
    "label": ("label", "labels", "class", "target", "cls"),
    "split": ("split",),
    "group": ("group", "video", "video_id"),
    "generator": ("generator",),
}
LONGEST = 60  # letters of an image's own name in that of its file
SAID = 300  # characters of another program's error


class BadArchiveError(Exception):
    """The rest of a file cannot be read; the text is the reason."""


@dataclass(frozen=True)
class Archive:
    """A file that holds images. name: where its images go, below OUT. kind: parquet, tar or video."""

    file: Path
    name: str
    kind: str
    place: Place
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Item:
    """An image. number: among those of its archive. stem: of its file's name. content: the file's bytes.

    read: the share of the archive that has been read so far.
    """

    number: int
    stem: str
    content: bytes
    place: Place
    group: str
    read: float


@dataclass(frozen=True)
class LeftOut:
    """What is no image, or cannot be labelled. number: -1 = the rest of the archive."""

    number: int
    name: str
    reason: str
    read: float = 0.0


Found = Iterator[Item | LeftOut]


@dataclass(frozen=True)
class Asked:
    """How archives are read. columns: field of FIELDS -> the one name that COLUMNS gives it."""

    frames: int
    columns: dict[str, str]
    meaning: Meaning

    @classmethod
    def by(cls, config: "UnpackConfig") -> "Asked":
        return cls(config.frames, columns_of(config.columns), Meaning.of(config.labels, config.classes))

    def names(self, field: str) -> tuple[str, ...]:
        """What a column of this field may be called."""
        return (self.columns[field],) if field in self.columns else NAMES.get(field, ())

    def told(self, record: dict, above: Place) -> tuple[Place, str]:
        """Place and group of a row or a JSON object that has these values by their names, in an archive's place.

        Raises:
            BadLabelError: something in it cannot be understood, or contradicts what is said above.
        """
        label, split, group, generator = (self._value(record, field) for field in FIELDS[1:])
        own = Place(split_of(split), self.meaning.label(label), _text(generator))
        return own.within(above), _text(group)

    def _value(self, record: dict, field: str) -> object:
        return next((record[name] for name in self.names(field) if record.get(name) is not None), None)


def named(number: int, name: str) -> str:
    """The name of an image's file: its number, which no other has, and what it was called."""
    own = "".join(each if each.isalnum() or each in "._+-" else "_" for each in printable(name))
    return f"{number:07d}-{own[:LONGEST]}" if own.strip("._") else f"{number:07d}"


@contextmanager
def breaking(*errors: type[Exception]) -> Iterator[None]:
    """Whatever a library raises of a damaged file becomes a BadArchiveError."""
    try:
        yield
    except errors as error:
        raise BadArchiveError(printable(str(error)[:SAID] or type(error).__name__)) from error


def labelled(number: int, name: str, record: dict, place: Place, *, asked: Asked) -> tuple[Place, str] | LeftOut:
    """Place and group of an image, or why it has none."""
    try:
        return asked.told(record, place)
    except BadLabelError as error:
        return LeftOut(number, name, str(error))


def missing(numbers: range, done: Set[int]) -> bool:
    """Whether one of the numbers is not done yet."""
    return any(number not in done for number in numbers)


def _text(value: object) -> str:
    return "" if value is None else printable(str(value)).strip()
