"""`make archive`: a finished run, packed, in a folder or behind an fsspec URL, and read back from there.

    python -m analysis.house.archive --run=name --to=s3://bucket/runs --remove

With REMOVE=1 the run here goes once every byte of the copy there was read and is right.
"""

import tempfile
from pathlib import Path

import fsspec

from analysis.house.inventory import find_any, in_words
from analysis.house.options import ArchiveConfig
from analysis.house.pack import ENDING, packed
from cache import paths, runs
from cache.atomic import remove_folder
from cache.command import main
from cache.errors import UserError, masked
from cache.key import file_digest
from cache.packing import check


def run(config: ArchiveConfig) -> str:
    """Where the copy is. Raises: UserError as `cache.packing.pack`; the place cannot be reached, or holds the name."""
    folder = find_any(config.run)
    with tempfile.TemporaryDirectory(dir=_scratch(), prefix=".archive-", suffix=".part") as scratch:
        file = packed(folder, Path(scratch) / f"{folder.name}{ENDING}")
        there = _sent(file, config.to.rstrip("/"))
        size = file.stat().st_size
    print(f"archive {folder.name}: {in_words(size)}, read back and right -> {masked(there)}")
    if config.remove:
        if runs.in_use(folder):
            raise UserError(f"{folder} is in use, so it stays; the copy is {masked(there)}")
        remove_folder(folder)
        print(f"removed {folder}; `make unpack SOURCE=...` brings it back")
    return there


def _scratch() -> Path | None:
    """The disk of the runs, which is made for what is as large as a run; where there are none, that of the system."""
    return paths.runs_dir() if paths.runs_dir().is_dir() else None


def _sent(file: Path, to: str) -> str:
    """Copy a packed file to a place, under its name only once it is whole there, and read it back.

    Raises:
        UserError: the place is none, cannot be reached or written, or gives other bytes back.
    """
    try:
        system, place = fsspec.core.url_to_fs(to)
        target, part = f"{place}/{file.name}", f"{place}/.{file.name}.part"
        if system.exists(target):
            raise UserError(f"{masked(to)} holds {file.name} already: nothing was written there")
        system.makedirs(place, exist_ok=True)
        system.put_file(str(file), part)
        system.mv(part, target)
        back = file.with_name("back")
        system.get_file(target, str(back))
    except UserError:
        raise
    except Exception as error:  # what the libraries of the services raise is their own
        said = masked(str(error)) or type(error).__name__
        raise UserError(f"TO={masked(to)}: {said}. The run here is as it was") from error
    check(back)
    if file_digest(back) != file_digest(file):
        raise UserError(f"{masked(to)}/{file.name} is not what was sent: take it away. The run here is as it was")
    return f"{to}/{file.name}"


if __name__ == "__main__":
    main(ArchiveConfig, "analysis.house.archive:run", command="python -m analysis.house.archive")
