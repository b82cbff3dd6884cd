"""What is known of one archive while and after it is unpacked: a line for each image, and one for its end.

OUT/.unpack/<key>.log, whose key is of the archive's name, size and date and of all that says how it is read: a file
that was changed is unpacked anew, and one that was not is never opened again. A line is written behind its image, so
that whoever is killed goes on there; JSON, one object a line, of which a torn last one is not there.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cache.atomic import append_line, read_lines
from cache.key import key
from data.unpack.items import Archive, Asked, LeftOut

FOLDER = ".unpack"
VERSION = 1  # of what unpacking makes of an archive; in the key
END = -2  # the number of the line that is written last


@dataclass(frozen=True)
class Row:
    """An image as manifest.csv has it; path: below OUT. bytes: its size."""

    number: int
    path: str
    label: str
    split: str
    group: str
    generator: str
    bytes: int


@dataclass(frozen=True)
class Journal:
    """Of one archive that is unpacked to `out`."""

    out: Path
    archive: Archive
    key: str

    @classmethod
    def of(cls, out: Path, archive: Archive, asked: Asked) -> "Journal":
        frames = asked.frames if archive.kind == "video" else 0
        about = asdict(archive) | {"file": ""}
        meaning = {"own": dict(asked.meaning.classes.own), "one": asked.meaning.one, "columns": asked.columns}
        return cls(out, archive, key({"version": VERSION, "archive": about, "frames": frames} | meaning))

    @property
    def file(self) -> Path:
        return self.out / FOLDER / f"{self.key}.log"

    @property
    def is_finished(self) -> bool:
        return any(isinstance(each, LeftOut) and each.number == END for each in self._lines())

    def entries(self) -> Iterator[Row | LeftOut]:
        """What was unpacked and what was left out, by number, each once."""
        last = {each.number: each for each in self._lines() if each.number != END}
        yield from (last[number] for number in sorted(last))

    def done(self) -> set[int]:
        """The numbers of images that are there, as large as they were written, and of what is no image."""
        return {each.number for each in self.entries() if isinstance(each, LeftOut) or self._is_there(each)}

    def note(self, entry: Row | LeftOut) -> None:
        append_line(self.file, json.dumps(asdict(entry)))

    def finish(self) -> None:
        self.note(LeftOut(END, "", ""))

    def _is_there(self, row: Row) -> bool:
        try:
            return (self.out / row.path).stat().st_size == row.bytes
        except OSError:
            return False

    def _lines(self) -> Iterator[Row | LeftOut]:
        """Lines that this program wrote; of others the images are written once more."""
        for line in read_lines(self.file):
            try:
                record = json.loads(line)
                yield LeftOut(**record) if "reason" in record else Row(**record)
            except (ValueError, TypeError, RecursionError):
                continue
