"""SOURCE -> the files that hold images, and what folders and file names say of them; none is opened."""

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from cache.errors import UserError, printable
from cache.paths import safe
from data.disk import OTHER_ENDING, SUFFIXES, stamp, walk
from data.labels import LABELS, Classes
from data.naming import words_of
from data.unpack.items import Archive
from data.unpack.labelling import BadLabelError, Meaning

ENDINGS = {
    "parquet": (".parquet",),
    "tar": (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"),
    "video": (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".mts",
              ".m2ts"),
}  # fmt: skip
LONGEST_PART = 120  # letters of a folder's name in OUT


@dataclass(frozen=True)
class Sources:
    """archives: in a fixed order. ignored: what was left aside, in words -> how many files."""

    archives: list[Archive]
    ignored: dict[str, int] = field(default_factory=dict)


def find(source: str, meaning: Meaning) -> Sources:
    """The archives of one or several files, folders and patterns.

    Raises:
        UserError: nothing there, or folders that contradict each other.
    """
    archives: dict[str, Archive] = {}
    ignored: Counter = Counter()
    for file, folders, why in _files(source):
        kind = kind_of(file)
        if why or not (kind and file.is_file()):
            ignored[why or (_why_not(file) if not kind else "no regular file")] += 1
            continue
        archive = _archive(file, folders, kind, meaning)
        other = archives.setdefault(archive.name, archive)
        if os.path.realpath(other.file) != os.path.realpath(file):
            raise UserError(
                f"{other.file} and {file} would both be unpacked to {archive.name}: unpack them apart, "
                "each to an OUT of its own, or from a folder that holds both"
            )
    if not archives:
        found = ", ".join(f"{count} x {what}" for what, count in ignored.most_common(5)) or "nothing"
        raise UserError(
            f"SOURCE={source}: no Parquet file, tar file or video; found {found}. Known endings: "
            + " ".join(ending for endings in ENDINGS.values() for ending in endings)
        )
    return Sources([archives[name] for name in sorted(archives)], dict(ignored))


def kind_of(file: Path) -> str:
    """parquet, tar or video by a file's ending, '' of another one."""
    name = file.name.lower()
    return next((kind for kind, endings in ENDINGS.items() if name.endswith(endings)), "")


def _files(source: str) -> Iterator[tuple[Path, tuple[str, ...], str]]:
    """Every file, the names of its folders, and why it is left aside, if it is.

    Of a folder the names begin with its own, of a single file they are that of the folder around it.
    """
    words = words_of(source)
    if not words:
        raise UserError("SOURCE= names what is to be unpacked: files, folders or patterns, for example SOURCE=videos")
    for word in words:
        for path in _matched(word):
            if path.is_dir():
                above = path.resolve()
                for each in walk(str(path)):
                    inner = PurePath(each.path).relative_to(path).parts[:-1]
                    yield Path(each.path), (above.name, *inner), each.reason if each.reason != OTHER_ENDING else ""
            else:
                yield path, (path.resolve().parent.name,), ""


def _matched(word: str) -> list[Path]:
    word = os.path.expanduser(word)
    if os.path.lexists(word):
        return [Path(word)]
    found = [Path(each) for each in sorted(glob.glob(word, recursive=True))] if glob.has_magic(word) else []
    if not found:
        raise UserError(f"SOURCE={word}: no such file or folder (looked for {os.path.realpath(word)})")
    return found


def _archive(file: Path, folders: tuple[str, ...], kind: str, meaning: Meaning) -> Archive:
    shard = _of_shard(file.name, meaning.classes) if kind != "video" else []
    try:
        place = meaning.place(shard).within(meaning.place(folders))
    except BadLabelError as error:
        raise UserError(f"{file}: {error}: put it elsewhere, or say with CLASSES what its folders mean") from error
    (size, changed), _ = stamp(str(file))
    return Archive(file, "/".join(map(_part, [*folders, file.name])), kind, place, size, changed)


def _of_shard(name: str, classes: Classes) -> list[str]:
    """What a file's name begins with, train-00000.parquet, fake-000.tar; nothing of real_vs_fake.parquet."""
    words = re.split(r"[-_.]", name)
    both = {classes.of(word) for word in words} >= set(LABELS)
    return words[:1] if not both else []


def _part(name: str) -> str:
    """A folder's or a file's name as one of OUT, another for each."""
    plain = safe(printable(name))
    if plain == name and len(name) <= LONGEST_PART and not name.startswith("."):
        return name
    return f"{plain[:LONGEST_PART].lstrip('.')}-{_short(name)}"


def _short(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


def _why_not(file: Path) -> str:
    ending = file.suffix.lower()
    return (
        f"image ({ending}), which make data takes as it is"
        if ending in SUFFIXES
        else f"ending {ending or 'of no kind'}"
    )
