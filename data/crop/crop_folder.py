"""The folder that `make crop` fills: what it was made from, whether it is complete, and its tables.

crop.json        how faces are found and cut out, and whose; written first
complete.json    sha256 of what all was made from, and of the tables; written last
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cache.atomic import remove, write_bytes, write_json
from cache.errors import UserError
from cache.key import canonical, differences, file_digest
from cache.records import from_plain
from data.crop import crops_log
from data.crop.crop_tables import CSVS, LEFT_OUT, left_out, tables
from data.crop.options import Cutting
from data.manifest import Manifest

VERSION = 1  # of what is cut out: crops of several versions never stand in one folder
SETTINGS, COMPLETE, LOCK = "crop.json", "complete.json", ".lock"


@dataclass(frozen=True)
class Settings:
    """crop.json. source: the root of the images that faces were cut out of. faces: largest or all."""

    version: int
    source: str
    faces: str
    cutting: Cutting


@dataclass(frozen=True)
class Complete:
    """complete.json. tables: name -> sha256. images, faces, left_out: how many."""

    inputs: str
    tables: dict[str, str]
    images: int
    faces: int
    left_out: int


def settings_of(folder: Path) -> Settings | None:
    """How the faces in a folder were cut out; None where it holds none of this program."""
    try:
        return from_plain(Settings, json.loads((folder / SETTINGS).read_bytes()))
    except (OSError, ValueError, RecursionError, UserError):
        return None


def refuse(out: Path, settings: Settings) -> None:
    """Raises: UserError where OUT is no place for faces that are cut out like this."""
    source, here = Path(settings.source), out.resolve()
    if here == source or here in source.parents or source in here.parents:
        raise UserError(f"OUT={out} and the images in {source} lie in one another: give a folder beside them")
    there = settings_of(out)
    if there is None and _is_taken(out):
        raise UserError(f"OUT={out} is there and holds no faces of `make crop`: give a new folder")
    if there and there.source != settings.source and Path(there.source).exists():
        raise UserError(f"OUT={out} holds faces of {there.source}, not of {source}: give another folder")
    other = differences(asdict(settings) | {"source": ""}, asdict(there or settings) | {"source": ""})
    if other:
        lines = "\n".join(f"  {line}" for line in other)
        raise UserError(
            f"OUT={out} holds faces that were cut out otherwise; give another folder, or delete it:\n{lines}"
        )


def inputs_of(manifest: Manifest, settings: Settings) -> str:
    """sha256 of all that the files in OUT depend on."""
    texts = manifest.rows[[name for name in manifest.rows if manifest.rows[name].dtype.kind not in "if"]]
    return hashlib.sha256((canonical(settings) + texts.to_csv(index=False)).encode()).hexdigest()


def complete(out: Path) -> Complete | None:
    """What OUT holds; None where it is not complete, or its tables are not as they were written."""
    try:
        said = from_plain(Complete, json.loads((out / COMPLETE).read_bytes()))
        return said if all(file_digest(out / name) == digest for name, digest in said.tables.items()) else None
    except (OSError, ValueError, RecursionError, UserError):
        return None


def is_there(out: Path, image: crops_log.Image) -> bool:
    return all((out / face.path).exists() for face in image.faces)


def close(out: Path, manifest: Manifest, known: Mapping[str, crops_log.Image], inputs: str) -> None:
    """Write the tables, and that all is there.

    Raises:
        UserError: not one face was found.
    """
    found, missing = tables(manifest, known), left_out(manifest, known)
    for name in CSVS.values():
        if name in found:
            write_bytes(out / name, found[name].to_csv(index=False).encode())
        else:
            remove(out / name)
    write_bytes(out / LEFT_OUT, missing.to_csv(index=False).encode())
    if not found:
        raise UserError(f"not one face was found in {len(manifest)} images: {out / LEFT_OUT} says why of each")
    digests = {name: file_digest(out / name) for name in (*found, LEFT_OUT)}
    write_json(out / COMPLETE, Complete(inputs, digests, len(manifest), sum(map(len, found.values())), len(missing)))


def _is_taken(out: Path) -> bool:
    return out.exists() and (not out.is_dir() or any(each.name != LOCK for each in out.iterdir()))
