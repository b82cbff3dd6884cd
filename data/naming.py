"""What the words of DATA, EVAL and IMAGES name: a path, or a data set that is known by its name."""

import glob
import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from cache import paths

LONGEST = 16  # words of one path that holds spaces
LISTS = (".csv", ".json")  # endings of files that are data sets


def words_of(text: str) -> list[str]:
    """The words of a list, parted by spaces, commas or line ends; a path that is there is one word, with all it has."""
    return [text] if is_there(text) else [word for line in text.splitlines() for word in _in_line(line)]


def is_there(word: str) -> bool:
    """Whether a file or folder is called so."""
    return bool(word) and os.path.lexists(os.path.expanduser(word))


def known_manifest(name: str) -> Path | None:
    """The manifest of the data set of this name, if there is one."""
    if not name or "/" in name or name in (".", ".."):
        return None
    manifest = paths.data_dir() / name / "manifest.csv"
    return manifest if manifest.with_suffix(".json").exists() else None


def meant_by(word: str) -> Path:
    """The path that a word of DATA names: what is called so, else the manifest of the data set of this name."""
    path = Path(os.path.expanduser(word))
    return path if is_there(word) else known_manifest(word) or path


def suggestion(word: str, option: str = "DATA") -> str:
    """' Did you mean DATA=... ?' where files or data sets have names like that of `word`, or it is a list; else ''."""
    several = words_of(word)
    if len(several) > 1 and all(is_there(each) or known_manifest(each) for each in several):
        return f' Several data sets that are to be one are joined by +: DATA="{"+".join(several)}"'
    path = Path(os.path.expanduser(word))
    beside = {each.name: str(path.with_name(each.name)) for each in _data_beside(path)} if path.name else {}
    near = get_close_matches(path.name, [*beside, *paths.known_datasets()], n=3, cutoff=0.6)
    meant = dict.fromkeys(beside.get(name, name) for name in near)
    return f" Did you mean {' or '.join(f'{option}={each}' for each in meant)}?" if meant else ""


def _in_line(line: str) -> Iterator[str]:
    words = line.split(" ")
    while words:
        count = next((n for n in range(min(len(words), LONGEST), 1, -1) if is_there(" ".join(words[:n]))), 1)
        yield from filter(None, _without_commas(" ".join(words[:count])))
        words = words[count:]


def _without_commas(word: str) -> list[str]:
    whole = "," not in word or is_there(word) or glob.glob(os.path.expanduser(word))
    return [word] if whole else word.split(",")


def _data_beside(path: Path) -> list[Path]:
    """Folders, and lists of images, in the folder where `path` would be."""
    try:
        found = sorted(path.parent.iterdir())
    except OSError:
        return []
    return [each for each in found if each.is_dir() or each.suffix in LISTS]
