"""Images in a tar file, compressed or not, as WebDataset keeps them: members of one name are one sample.

000123.jpg with 000123.cls, 000123.json or 000123.txt is an image and what is said of it; without these the folders in
the members' names speak: real/000123.jpg. A text that is no class is a caption and says nothing.

The file is read once, from its beginning to its end, and no member is ever written under its own name, so that neither
a name nor a link in it leads anywhere. What is read into memory is bounded, however it was compressed.
"""

import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Self

from cache.errors import printable
from data.disk import ENOUGH_BYTES, SUFFIXES
from data.unpack.items import Archive, Asked, BadArchiveError, Found, Item, LeftOut, breaking, labelled, named
from data.unpack.labelling import BadLabelError

TEXTS = (".cls", ".json", ".txt")  # what says something of an image; the first that names a class is believed
ENOUGH_TEXT = 2**20  # bytes of it, and of a header that tells a long name
RATIO, SMALL = 200, 2**30  # a file that unpacks to over a gigabyte and so many times its size is no data set
LONG_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
                tarfile.SOLARIS_XHDTYPE)  # fmt: skip
ERRORS = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, LookupError)
KINDS = {tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a link", tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device",
         tarfile.FIFOTYPE: "a pipe", tarfile.GNUTYPE_SPARSE: "a file with holes"}  # fmt: skip


class _Header(tarfile.TarInfo):
    """A header, but for one that would fill the memory with a name of gigabytes. last: the block that was read last."""

    last = b""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> Self:
        cls.last = buf
        found = super().frombuf(buf, encoding, errors)
        if found.type in LONG_HEADERS and found.size > ENOUGH_TEXT:
            raise tarfile.ReadError(f"a name of {found.size:,} bytes")
        return found


@dataclass
class _Sample:
    """Members of one name. images: by ending. texts: by ending. others: endings of what is neither."""

    name: str
    number: int
    images: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    read: float = 0.0


def items(archive: Archive, asked: Asked, done: Set[int]) -> Found:
    """Its samples, but for those that are done.

    Raises:
        BadArchiveError: it cannot be read to its end.
    """
    with open(archive.file, "rb") as raw:
        for each in _samples(raw, archive):
            if isinstance(each, LeftOut) or each.number not in done:
                yield each if isinstance(each, LeftOut) else _item(each, archive, asked)


def _samples(raw: BinaryIO, archive: Archive) -> Iterator[_Sample | LeftOut]:
    """Neighbours of one name together, and what is neither; of a torn file whatever was read of the last one too."""
    sample: _Sample | None = None
    try:
        for number, (member, content) in enumerate(_members(raw, archive)):
            name, ending = _parted(member.name)
            if sample and sample.name != name:
                yield sample
                sample = None
            if isinstance(content, str):
                yield LeftOut(number, printable(member.name), content)
                continue
            sample = sample or _Sample(name, number)
            sample.read = min(1.0, raw.tell() / max(1, archive.size))
            _take(sample, ending, content)
    except BadArchiveError:
        if sample:
            yield sample
        raise
    if sample:
        yield sample


def _take(sample: _Sample, ending: str, content: bytes) -> None:
    if ending.lower() in SUFFIXES:
        sample.images[ending] = content
    elif ending.lower() in TEXTS:
        sample.texts[ending.lower()] = content
    else:
        sample.others.append(ending)


def _members(raw: BinaryIO, archive: Archive) -> Iterator[tuple[tarfile.TarInfo, bytes | str]]:
    """Every member but folders with its content, or with the reason why that is not read.

    Raises:
        BadArchiveError: it is damaged, cut, or a bomb.
    """
    header = type("_OfOne", (_Header,), {})  # its last block is that of one file
    with breaking(*ERRORS), tarfile.open(fileobj=raw, mode="r|*", tarinfo=header) as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # which it keeps, and which would fill the memory
            if (end := member.offset_data + member.size) > SMALL and end > RATIO * archive.size:
                raise BadArchiveError(f"it unpacks to over {RATIO} times its size")
            if not member.isdir():
                yield member, _content(tar, member)
    if header.last.count(0) < tarfile.BLOCKSIZE:  # tarfile takes any other end for the end too
        raise BadArchiveError("it has no end mark: what came behind is missing or damaged")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | str:
    _, ending = _parted(member.name)
    if member.type in KINDS or not member.isreg() or member.sparse is not None:
        return KINDS.get(member.type, "no regular file")
    if ending.lower() not in (*SUFFIXES, *TEXTS):
        return b""
    if member.size > (ENOUGH_TEXT if ending.lower() in TEXTS else ENOUGH_BYTES):
        return f"{member.size:,} bytes"
    return tar.extractfile(member).read()


def _parted(name: str) -> tuple[str, str]:
    """A member's name without its ending, and that."""
    ending = PurePosixPath(name).suffix
    return name.removesuffix(ending), ending


def _item(sample: _Sample, archive: Archive, asked: Asked) -> Item | LeftOut:
    name = printable(sample.name)
    if len(sample.images) != 1:
        found = ", ".join([*sample.images, *sample.texts, *sample.others])
        return LeftOut(sample.number, name, f"not one image of this name, but {found}", sample.read)
    (content,) = sample.images.values()
    try:
        folders = [part for part in PurePosixPath(name).parts[:-1] if part not in ("/", "..", ".")]
        place = asked.meaning.place(folders).within(archive.place)
        record = _record(sample.texts, asked)
    except BadLabelError as error:
        return LeftOut(sample.number, name, str(error), sample.read)
    about = labelled(sample.number, name, record, place, asked=asked)
    if isinstance(about, LeftOut):
        return about
    return Item(sample.number, named(sample.number, PurePosixPath(name).name), content, *about, sample.read)


def _record(texts: dict[str, bytes], asked: Asked) -> dict[str, Any]:
    """What the texts beside an image say, by field names of JSON; a label from where it is said first."""
    record = _object(texts[".json"]) if ".json" in texts else {}
    label = asked.names("label")[0]
    if ".cls" in texts:
        said = {name: record[name] for name in asked.names("label") if record.get(name) is not None}
        if any(asked.meaning.label(value) != asked.meaning.label(_word(texts[".cls"])) for value in said.values()):
            raise BadLabelError("it is called real in one place and fake in another")
        return record | {label: _word(texts[".cls"])}
    if ".txt" in texts and not any(record.get(name) is not None for name in asked.names("label")):
        word = _word(texts[".txt"])
        if asked.meaning.classes.of(word) or word.isdigit():
            return record | {label: word}
    return record


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadLabelError(f"its JSON cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise BadLabelError("its JSON is no object")
    return found


def _word(text: bytes) -> str:
    return text.decode(errors="replace").strip()
