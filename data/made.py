"""made.json: what a manifest was made from and what was written, so that a second run over the same ends at once.

The images are looked at all the same: which there are, and the size and date of each. What is written here spares the
second run only what follows from them.
"""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cache.atomic import write_json
from cache.errors import UserError
from cache.key import canonical, file_digest
from cache.records import from_plain
from data.layouts.base import Listing
from data.options import SAMPLE, DataConfig

FILES = ("manifest.csv", "manifest.json", "audit.json", "probes.csv", "thumbnails.bin")


@dataclass(frozen=True)
class Made:
    """inputs: sha256 of all that the files depend on. files: name -> sha256 of the file."""

    inputs: str
    files: dict[str, str]


def inputs_of(listing: Listing, config: DataConfig) -> str:
    """sha256 of which images there are, their sizes and dates, what a CSV says of them, the options and the program."""
    options = (config.dataset, config.data == SAMPLE, config.group, config.bad_images, config.leaks)
    about = [*options, str(listing.root), listing.ignored, listing.outside, len(listing.rows), list(listing.rows)]
    hasher = hashlib.sha256(canonical(about).encode())
    for name in listing.rows:
        hasher.update("\0".join(["", *listing.rows[name].to_numpy(object)]).encode())
    hasher.update(listing.stamps.tobytes())
    hasher.update(_program())
    return hasher.hexdigest()


def is_made(folder: Path, inputs: str) -> bool:
    """Whether the files in `folder` were made from these inputs and are as they were written."""
    try:
        made = from_plain(Made, json.loads((folder / "made.json").read_bytes()))
        return made.inputs == inputs and made.files == _digests(folder)
    except (OSError, ValueError, RecursionError, UserError):
        return False


def keep(folder: Path, inputs: str) -> None:
    """Say that the files in `folder` were made from these inputs."""
    if not is_made(folder, inputs):
        write_json(folder / "made.json", Made(inputs, _digests(folder)))


def _digests(folder: Path) -> dict[str, str]:
    return {name: file_digest(folder / name) for name in FILES}


@functools.cache
def _program() -> bytes:
    """sha256 of the code of this folder, and of those in it: another version may make something else of the images."""
    here = Path(__file__).parent
    files = sorted([*here.glob("*.py"), *here.glob("*/*.py")])
    return hashlib.sha256("".join(file_digest(path) for path in files).encode()).digest()
