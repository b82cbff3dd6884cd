"""Where the paths of a list start, and that none of them leads elsewhere."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pandas as pd

from cache.errors import UserError

LONGEST_PATH = 4096  # bytes; no system opens more
SOME = 20  # files of a list that are looked for


def with_slashes(paths: pd.Series) -> pd.Series:
    """Paths as they are written on Windows, a\\b.jpg, with the slashes of everybody else."""
    windows = paths.str.contains("\\", regex=False).any() and not paths.str.contains("/", regex=False).any()
    return paths.str.replace("\\", "/", regex=False) if windows else paths


def first_there(places: Iterable[Path], paths: pd.Series) -> Path | None:
    """The first folder below which some of the listed images are."""
    some = list(paths.iloc[:: max(1, len(paths) // SOME)])
    return next((place for place in places if any(os.path.exists(place / path) for path in some)), None)


def common_root(paths: pd.Series) -> Path | None:
    """The folder above all paths, where all are absolute."""
    if not paths.str.startswith("/").all():
        return None
    return Path(os.path.commonpath(set(map(os.path.dirname, paths))))


def none_there(paths: pd.Series, looked: Iterable[Path], source: Path) -> UserError:
    """What to say where not one of the listed images is where it should be."""
    places = ", ".join(dict.fromkeys(map(str, looked)))
    return UserError(
        f"DATA={source}: none of the listed images is there, for example {paths.iloc[0]}; looked under {places}. "
        "Give the folder their paths start from with ROOT=..."
    )


def paths_below(root: Path, paths: pd.Series, source: Path) -> list[str]:
    """Paths relative to the root; absolute ones below it are taken too.

    Raises:
        UserError: one leads elsewhere.
    """
    tops = (root, root.resolve())
    return [_below(tops, path, source) for path in paths]


def _below(tops: tuple[Path, Path], path: str, source: Path) -> str:
    given = PurePosixPath(path)
    if given.is_absolute():
        given = next((given.relative_to(top) for top in tops if given.is_relative_to(top)), given)
    if len(path.encode()) > LONGEST_PATH:
        raise UserError(f"{source}: a path of {len(path.encode()):,} bytes, over {LONGEST_PATH:,}: {path[:60]}...")
    if given.is_absolute() or ".." in given.parts or not given.parts:
        above = os.path.commonpath([tops[1], os.path.normpath(tops[1] / path)])
        cure = f"write it as it starts from a folder above both, and give that folder, as ROOT={above}"
        raise UserError(f"{source}: the path {path!r} leaves the image root {tops[1]}: {cure}")
    return str(given)
