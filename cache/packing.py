"""A finished run, or the features of an extraction, as one file that says of each of its bytes whether it is right.

A packed file is a plain tar, so that `tar -tf` lists it anywhere:

    packed.json                           the listing: sha256 and size of each member in its order, checksum of itself
    runs/<stage>/<name>/...               the files of the run, its result.json last
    cache/features/<folder>/*.h5          shards, of an extraction

Whoever unpacks one need not trust it: nothing is read that the listing does not announce, no name leads out of runs/
and cache/features/, and nothing appears in either before its checksum is right.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from cache import paths, runs
from cache.atomic import TEMPORARY, replacing
from cache.errors import UserError, shown
from cache.features import shard_paths
from cache.key import canonical, file_digest
from cache.records import from_plain

LISTING = "packed.json"
VERSION = 1
LARGEST_LISTING = 1 << 26  # bytes, of half a million members
CHUNK = 1 << 20  # bytes
STAGES = ("extract", "heads", "finetune", "unseen", "other", "perturbed", "gradcam", "predict", "report", "export",
          "tune")  # fmt: skip
DEEPEST = 8  # folders


@dataclass(frozen=True)
class Member:
    """path: below the artefact folders, as runs/heads/x/result.json. sha256: 64 hex digits. size: bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Listing:
    """folder: what it is of, as runs/heads/x. checksum: sha256 of the rest."""

    folder: str
    members: list[Member]
    version: int = VERSION
    checksum: str = ""

    def sealed(self) -> "Listing":
        """The same with its checksum."""
        rest = asdict(self) | {"checksum": ""}
        return Listing(self.folder, self.members, self.version, hashlib.sha256(canonical(rest).encode()).hexdigest())


def pack(folder: Path, out: Path, *, features: tuple[Path, ...] = ()) -> Path:
    """Write a finished run, and folders of the feature cache, as one file; read it once more, and return its path.

    Raises:
        UserError: the run is not finished, or not what it wrote; a link in it; `out` is there, or cannot be written.
    """
    if out.exists():
        raise UserError(f"OUT={out} is there already: choose another name, or take it away")
    _refuse_unfit(folder)
    files = [*_files(folder), *(path for each in features for path in shard_paths(each))]
    names = [_name(path) for path in files]
    members = [Member(name, file_digest(path), path.stat().st_size) for name, path in zip(names, files, strict=True)]
    content = canonical(asdict(Listing(_name(folder), members).sealed())).encode()
    with replacing(out) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(_header(LISTING, len(content)), io.BytesIO(content))
            for member, path in zip(members, files, strict=True):
                with path.open("rb") as file:
                    tar.addfile(_header(member.path, member.size), file)
        check(temporary)
    return out


def is_packed(path: Path) -> bool:
    """Whether a file begins as a packed one; what is in it is another question."""
    try:
        with path.open("rb") as file:
            header = file.read(tarfile.BLOCKSIZE)
        return tarfile.TarInfo.frombuf(header, "utf-8", "strict").name == LISTING
    except (OSError, UnicodeDecodeError, tarfile.TarError):
        return False


def check(path: Path) -> Listing:
    """Read every byte of a packed file. Raises: UserError where one is not what was written."""
    with _opened(path) as (listing, members):
        for member, content in members:
            _carried(path, member, content, None)
    return listing


def unpack(path: Path) -> Path:
    """Put what was packed where it belongs, after every byte was checked; the folder of the run.

    A run that is there already stays as it is, and so do shards.

    Raises:
        UserError: it is no such file, or a byte of it changed; another run has the name; the disk is full.
    """
    listing = check(path)  # first, so that a damaged file leaves nothing at all
    target = _target(listing.folder)
    there = runs.is_complete(target)
    if not there and target.exists():
        raise UserError(f"{target} is there and not finished: take it away, or finish it, then unpack again")
    staged = paths.runs_dir() / ".unpacking" / uuid.uuid4().hex
    try:
        with _opened(path) as (again, members):
            if again != listing:
                raise UserError(f"{path} was changed while it was read: unpack again")
            for member, content in members:
                _carried(path, member, content, _place(member, listing, staged))
        if there:
            _refuse_other(listing, staged, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staged, target)
    except OSError as error:
        raise UserError(f"{target} could not be written: {error}. Put that right and unpack again") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        with suppress(OSError):
            staged.parent.rmdir()
    return target


def _place(member: Member, listing: Listing, staged: Path) -> Path:
    """Where a member is written to. A shard at once, under a name that its content gave it; a run aside first."""
    if not member.path.startswith(f"{listing.folder}/"):
        return _target(member.path)
    return staged / member.path.removeprefix(f"{listing.folder}/")


def _refuse_other(listing: Listing, staged: Path, target: Path) -> None:
    """Raises: UserError unless the finished run that is there is the one that was packed."""
    if (staged / runs.RESULT).read_bytes() != (target / runs.RESULT).read_bytes():
        raise UserError(
            f"{target} is there and another run than the packed {listing.folder}: nothing was changed. Take the one "
            "there away, or set RUNS_DIR to another folder"
        )


def _refuse_unfit(folder: Path) -> None:
    """Raises: UserError unless the run is finished and every table and record is as it wrote them."""
    if not runs.is_complete(folder):
        raise UserError(f"{folder} is no finished run: it has no {runs.RESULT}")
    runs.result(folder)
    for path in sorted(folder.iterdir()):
        if runs.is_sealed(path):
            runs.read_bytes(path)


def _files(folder: Path) -> list[Path]:
    """All files of a run but locks and what a killed writer left, the one that says that it is finished last."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    links = [path for path in found if path.is_symlink()]
    if links:
        raise UserError(f"{links[0]} is a link, and what it leads to is not the run's own: put the file there instead")
    kept = [path for path in found if not runs.is_lock(path) and TEMPORARY not in path.name]
    last = folder / runs.RESULT
    return [path for path in kept if path != last] + [last]


def _name(path: Path) -> str:
    """As a member is called. Raises: UserError for what lies in none of the artefact folders."""
    path = path.resolve()
    for home, place in ((paths.runs_dir(), "runs"), (paths.features_dir(), "cache/features")):
        if path.is_relative_to(home.resolve()):
            return f"{place}/{path.relative_to(home.resolve()).as_posix()}"
    raise UserError(f"{path} lies neither in {paths.runs_dir()} nor in {paths.features_dir()}")


def _header(name: str, size: int) -> tarfile.TarInfo:
    """Without owner and date, so that the same files make the same bytes."""
    header = tarfile.TarInfo(name)
    header.size = size
    return header


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Listing, Iterator[tuple[Member, BinaryIO]]]]:
    """The listing, and each member with its content. Raises: UserError where the file is not as it was written."""
    try:
        with tarfile.open(path, "r:") as tar:
            listing = _listing(path, tar)
            yield listing, _members(path, tar, listing)
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}") from error
    except (tarfile.TarError, EOFError, ValueError, RecursionError, OverflowError) as error:
        raise _damaged(path, f"it is no such archive ({error})") from error


def _listing(path: Path, tar: tarfile.TarFile) -> Listing:
    first = tar.next()
    if first is None or first.name != LISTING or not first.isreg() or first.size > LARGEST_LISTING:
        raise _damaged(path, f"it does not begin with {LISTING}, so `make pack` did not write it")
    content = tar.extractfile(first).read(LARGEST_LISTING + 1)
    try:
        listing = from_plain(Listing, json.loads(content))
    except UserError as error:
        raise _damaged(path, f"its {LISTING} is none: {error}") from error
    if listing.version != VERSION:
        raise UserError(f"{path} was packed as version {listing.version}, this program reads version {VERSION}")
    if listing.sealed() != listing:
        raise _damaged(path, f"the checksum of its {LISTING} does not match")
    _refuse_places(path, listing)
    return listing


def _refuse_places(path: Path, listing: Listing) -> None:
    """Raises: UserError for a name that leads elsewhere, or that stands there twice."""
    names = [member.path for member in listing.members]
    wrong = [name for name in names if not _fits(name, listing.folder)]
    parts = PurePosixPath(listing.folder).parts
    if wrong or len(parts) != 3 or parts[0] != "runs" or parts[1] not in STAGES:
        raise UserError(f"{path} holds {shown(wrong[0] if wrong else listing.folder)}, which belongs nowhere: refused")
    if len(set(map(str.casefold, names))) < len(names) or f"{listing.folder}/{runs.RESULT}" not in names:
        raise UserError(f"{path} holds a file twice, or no {runs.RESULT}: refused")


def _fits(name: str, folder: str) -> bool:
    """Whether a member lies in the run's folder, or is a shard."""
    parts = name.split("/")
    plain = all(part and part[0] != "." and not paths.NO_NAME.search(part) and len(part.encode()) <= paths.LONGEST
                for part in parts)  # fmt: skip
    shard = parts[:2] == ["cache", "features"] and len(parts) == 4 and parts[3].endswith(".h5")
    return plain and len(parts) <= DEEPEST and (name.startswith(f"{folder}/") or shard)


def _members(path: Path, tar: tarfile.TarFile, listing: Listing) -> Iterator[tuple[Member, BinaryIO]]:
    for member in listing.members:
        header = tar.next()
        if header is None or (header.name, header.size) != (member.path, member.size) or header.type != tarfile.REGTYPE:
            raise _damaged(path, f"{shown(member.path)} is not where its {LISTING} says")
        yield member, tar.extractfile(header)
    if tar.next() is not None:
        raise _damaged(path, f"it holds more than its {LISTING} says")


def _carried(path: Path, member: Member, content: BinaryIO, target: Path | None) -> None:
    """Read a member to its end, into a file if one is named, which appears only if the checksum is right."""
    if target is None or target.exists():
        _copied(path, member, content, None)
        return
    with replacing(target) as temporary, temporary.open("wb") as out:
        _copied(path, member, content, out)


def _copied(path: Path, member: Member, content: BinaryIO, out: BinaryIO | None) -> None:
    hasher = hashlib.sha256()
    while block := content.read(CHUNK):
        hasher.update(block)
        if out:
            out.write(block)
    if hasher.hexdigest() != member.sha256:
        raise _damaged(path, f"{shown(member.path)} is not what was packed")


def _target(name: str) -> Path:
    """The path that a member's name means here."""
    first, rest = name.split("/", 1)
    return paths.runs_dir() / rest if first == "runs" else paths.cache_dir() / rest


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"damaged {path}: {reason}. Nothing was unpacked: get the file again from where it was packed")
