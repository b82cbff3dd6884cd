"""`make unpack`: SOURCE -> image files and manifest.csv in OUT.

    python -m data.unpack --source=videos --out=faces --frames=16

OUT/manifest.csv    path, label and, where they are known, split, group and generator: make data DATA=OUT
    unlabelled.csv  the same of images without a label, for make predict; not there where all have one
    left_out.csv    what could not be unpacked, and why
    unpack.json     what it was made from; written last
    <source>/...    images, in the folders that their sources have; .unpack/ has what resuming needs

Images of Parquet and tar files are kept byte by byte; frames of videos are PNG. Killed anywhere, the same command goes
on. A source that was changed or added is unpacked, the others are not opened again. What a further SOURCE or another
option left in OUT stays there, outside of the manifest. A file that `make pack` made goes back to where it belongs
instead, below runs/ and cache/.
"""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from cache import packing
from cache.atomic import locked, remove_leftovers, write_bytes
from cache.errors import UserError
from cache.key import key
from cache.progress import Progress, spaced
from data.disk import BadImageError
from data.images import format_of
from data.probing import cores
from data.unpack import parquet, tar, video
from data.unpack.items import Asked, BadArchiveError, Item, LeftOut
from data.unpack.journal import FOLDER, Journal, Row
from data.unpack.listings import is_written, say, say_complete, write_tables
from data.unpack.options import UnpackConfig
from data.unpack.sources import Sources, find

READERS = {"parquet": parquet.items, "tar": tar.items, "video": video.items}
ENDINGS = {"AVIF": ".avif", "BMP": ".bmp", "GIF": ".gif", "JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "TIFF": ".tif",
           "WEBP": ".webp"}  # fmt: skip
WRITERS = 16  # images written at once: each waits for the disk
AHEAD = 16  # images of an archive in memory


def run(config: UnpackConfig) -> Path:
    """Unpack what config names; the folder with images and manifest. Says so in one line where all of it is there.

    Raises:
        UserError: nothing to unpack, or not one image in it; labels that nobody explained; OUT holds something else.
    """
    if (unpacked := packed(config.source)) is not None:
        return unpacked
    asked, out = Asked.by(config), _out(config)
    sources = find(config.source, asked.meaning)
    _refuse_inside(out, sources)
    with locked(out / FOLDER / ".lock"):
        journals = [Journal.of(out, archive, asked) for archive in sources.archives]
        identity = key({"archives": [each.key for each in journals], "ignored": sources.ignored})
        if is_written(out, identity):
            say_complete(out)
        else:
            _unpack_all(journals, asked)
            write_tables(out, journals, identity=identity, ignored=sources.ignored)
            say(out)
    return out


def packed(source: str) -> Path | None:
    """Where the contents of a file that `make pack` made went, which is below runs/ and cache/; None of another SOURCE.

    Raises:
        UserError: as cache.packing.unpack.
    """
    path = Path(source).expanduser()
    if not (path.is_file() and packing.is_packed(path)):
        return None
    folder = packing.unpack(path)
    print(f"unpack {path}: every byte is as it was packed -> {folder}")
    return folder


def _out(config: UnpackConfig) -> Path:
    """Raises: UserError where OUT is not given, or holds what this command did not write."""
    if not config.out:
        raise UserError("OUT= names the folder for the images, for example OUT=faces")
    out = Path(config.out).expanduser()
    if out.exists() and not out.is_dir():
        raise UserError(f"OUT={config.out} is a file: give a folder")
    if out.exists() and any(out.iterdir()) and not (out / FOLDER).is_dir():
        raise UserError(f"OUT={config.out} holds files that make unpack did not write: give another folder")
    return out


def _refuse_inside(out: Path, sources: Sources) -> None:
    """What is written into a source would be found there the next time."""
    home = out.resolve()
    inside = [each.file for each in sources.archives if home in each.file.resolve().parents]
    if inside:
        raise UserError(f"{inside[0]} lies in OUT={out}: give a folder beside the sources")


def _unpack_all(journals: list[Journal], asked: Asked) -> None:
    """As many archives at once as there are cores; an error or Ctrl-C ends all of them behind their next image."""
    meter = _Meter(sum(each.archive.size for each in journals))
    with meter.progress, ThreadPoolExecutor(WRITERS) as writers:
        readers, work = ThreadPoolExecutor(cores()), _Work(asked, writers, meter)
        try:
            for each in [readers.submit(work.unpack, journal) for journal in journals]:
                each.result()
        finally:
            work.stopped.set()
            readers.shutdown(cancel_futures=True)


class _Meter:
    """How far archives of so many bytes are read, by several threads."""

    def __init__(self, total: int) -> None:
        self.progress = Progress("unpack", max(1, total // 2**20), unit="MB")
        self._total, self._read, self._images, self._lock = max(1, total), 0.0, 0, threading.Lock()

    def add(self, size: float, images: int = 0) -> None:
        """size: bytes."""
        with self._lock:
            self._read, self._images, progress = self._read + size, self._images + images, self.progress
            progress.note = f"{spaced(self._images)} images, {self._images / max(progress.seconds, 1e-9):.0f}/s"
            progress.advance(round(self._read / self._total * progress.total) - progress.done)


class _Work:
    """Archives -> images and journals, by several threads."""

    def __init__(self, asked: Asked, writers: ThreadPoolExecutor, meter: _Meter) -> None:
        self.asked, self.writers, self.meter = asked, writers, meter
        self.stopped = threading.Event()

    def unpack(self, journal: Journal) -> None:
        """Whatever of an archive is not there yet. A file that is damaged ends with a line that says so."""
        archive, read = journal.archive, 0.0
        if not journal.is_finished:
            remove_leftovers(journal.out / archive.name, age=0)  # whoever wrote here held the lock that this one holds
            for entry, reached in self._written(journal):
                journal.note(entry)
                self.meter.add((reached - read) * archive.size, isinstance(entry, Row))
                read = max(read, reached)
            if self.stopped.is_set():
                return
            journal.finish()
        self.meter.add((1 - read) * archive.size)

    def _written(self, journal: Journal) -> Iterator[tuple[Row | LeftOut, float]]:
        """What is found, in order, each behind its file; and how far the archive was read by then."""
        waiting: deque[tuple[Future[Row | LeftOut], float]] = deque()
        for found in self._found(journal):
            if self.stopped.is_set():
                break
            waiting.append((self.writers.submit(_written, found, journal), found.read))
            if len(waiting) > AHEAD:
                future, read = waiting.popleft()
                yield future.result(), read
        for future, read in waiting:
            yield future.result(), read

    def _found(self, journal: Journal) -> Iterator[Item | LeftOut]:
        try:
            yield from READERS[journal.archive.kind](journal.archive, self.asked, journal.done())
        except BadArchiveError as error:
            yield LeftOut(-1, "", str(error), 1.0)
        except UserError as error:
            raise UserError(f"{journal.archive.file}: {error}") from error


def _written(found: Item | LeftOut, journal: Journal) -> Row | LeftOut:
    """Write an image; what is none is left out."""
    if isinstance(found, LeftOut):
        return found
    try:
        ending = ENDINGS.get(format_of(found.content), "")
    except BadImageError as error:
        return LeftOut(found.number, found.stem, str(error), found.read)
    path, place = f"{journal.archive.name}/{found.stem}{ending}", found.place
    write_bytes(journal.out / path, found.content)
    return Row(found.number, path, place.label, place.split, found.group, place.generator, len(found.content))
