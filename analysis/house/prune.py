"""`make prune`: what nobody needs any more, listed with sizes, and deleted after a yes.

python -m analysis.house.prune --yes

Features of images that no manifest has; last.pt of finished trainings, and of those that were stopped long ago;
converted networks that no run names; what killed writers left. Nothing of a figure is among them: features
and conversions are computed again where they are missed, and a finished training is not gone on with.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from analysis.house.consent import list_and_ask
from analysis.house.inventory import Run, all_runs, caches, data_sets, in_words, size_of
from analysis.house.options import PruneConfig
from cache import paths, runs
from cache.atomic import LEFTOVER_AGE, TEMPORARY, remove, remove_folder
from cache.command import main
from finetune.training.job import STATE

DAY = 86_400  # seconds
GRAPHS = (".safetensors", ".txt")  # a converted network, and why one was refused


@dataclass(frozen=True)
class Useless:
    """path: a file or folder. why: in words. still: asked once more, right before it goes."""

    path: Path
    why: str
    still: Callable[[], object]

    @property
    def size(self) -> int:
        return size_of(self.path)


def run(config: PruneConfig) -> None:
    """List, ask, delete. What a process has begun to use meanwhile stays.

    Raises:
        UserError: a file cannot be deleted.
    """
    found = list(_useless(config.days))
    if not found:
        print(f"nothing to prune in {paths.cache_dir()}, {paths.data_dir()} and {paths.runs_dir()}")
        return
    lines = [f"{in_words(each.size):>8}  {each.path}: {each.why}" for each in found]
    total = sum(each.size for each in found)
    if not list_and_ask(lines, what=f"{len(found)} to delete, {in_words(total)}", yes=config.yes):
        return
    gone = [each for each in found if _delete(each)]
    left = len(found) - len(gone)
    print(f"{len(gone)} deleted" + (f", {left} left, because they are in use by now" if left else ""))


def _delete(each: Useless) -> bool:
    if not each.still():
        return False
    (remove_folder if each.path.is_dir() else remove)(each.path)
    return True


def _useless(days: int) -> Iterator[Useless]:
    yield from _features()
    found = all_runs()
    yield from _checkpoints(found, days)
    yield from _graphs(found)
    yield from _leftovers()


def _features() -> Iterator[Useless]:
    """Where a manifest cannot be read, nobody knows whose features they are, and all stay."""
    sets = data_sets()
    if damaged := [each for each in sets if each.damage]:
        print(f"features stay: the manifest of {', '.join(each.name for each in damaged)} cannot be read")
        return
    for each in caches(sets):
        if not each.used_by and not each.damage:
            yield Useless(each.folder, "features of no manifest's images", partial(_is_quiet, each.folder))


def _checkpoints(found: list[Run], days: int) -> Iterator[Useless]:
    """Of trainings, and of the trials of a search, whose best one goes on when the search is through."""
    for each in found:
        if each.stage in ("finetune", "tune"):
            for path in sorted(each.folder.rglob(STATE)):
                if why := _why(path, days, trial=each.stage == "tune"):
                    yield Useless(path, why, partial(_why, path, days, trial=each.stage == "tune"))


def _why(path: Path, days: int, *, trial: bool) -> str:
    """Why nobody goes on from a checkpoint; '' where somebody may."""
    if not path.exists() or runs.in_use(path.parent):
        return ""
    if runs.is_complete(path.parent) and not trial:
        return "the state of a finished training"
    age = (time.time() - path.stat().st_mtime) / DAY
    return f"the state of a training that was stopped {age:.0f} days ago" if age > days else ""


def _graphs(found: list[Run]) -> Iterator[Useless]:
    """A conversion is called after its network. Those of networks that no run speaks of are used by none."""
    text = "\n".join(_named(each) for each in found)
    for path in sorted(paths.engines_dir().glob("[!.]*")):
        network = path.stem.rpartition("-")[0]
        if path.suffix in GRAPHS and network and network not in text:
            yield Useless(path, "a conversion of a network that no run names", partial(_is_quiet, path))


def _named(each: Run) -> str:
    """What a run says of networks: its name, and the record that it was made from."""
    try:
        return f"{each.name} {(each.folder / 'config.json').read_text()}"
    except (OSError, ValueError):
        return each.name


def _leftovers() -> Iterator[Useless]:
    for home in (paths.cache_dir(), paths.data_dir(), paths.runs_dir()):
        for path in sorted(home.rglob(f".*{TEMPORARY}*")):
            if TEMPORARY not in path.parent.name and _is_quiet(path):
                yield Useless(path, "left by a process that was killed", partial(_is_quiet, path))


def _is_quiet(path: Path) -> bool:
    """Whether nobody wrote to it, or into it, for an hour."""
    try:
        newest = max(each.stat().st_mtime for each in (path, *(path.iterdir() if path.is_dir() else ())))
    except OSError:  # taken away meanwhile
        return False
    return time.time() - newest > LEFTOVER_AGE


if __name__ == "__main__":
    main(PruneConfig, "analysis.house.prune:run", command="python -m analysis.house.prune")
