"""Folders that say which class the images below them are of.

real/ fake/                     in the words of data.labels, or in those of CLASSES
train/real/ ... test/fake/      under folders of splits, or over them; train_real/ ... test_fake/
fake/<generator>/               the first folder in a fake one that is no split is what made the image
<generator>/0_real/ 1_fake/     or the first folder above it, where there are several: train/<generator>/ai/,
                                <generator>/train/ai/, <generator>/<kind>/1_fake/
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path, PurePosixPath

import pandas as pd

from cache.errors import UserError
from data.disk import OTHER_ENDING, SUFFIXES, Named, walk
from data.labels import LABELS, SPLIT_WORDS, WRITTEN, Classes, guessed, split_in
from data.layouts.base import Listing, Source
from data.layouts.id_table import check_ids

DEEPEST = 3  # folders between DATA and a class folder: a split, a generator, a kind of object
FEW_BESIDE = 0.1  # of the smaller class: more images than that in a folder beside the classes are a class unnamed
INNER_SPLIT = "split that a folder inside of a class names"  # taken where all images have one, of several
IDS = "data.csv"
_IN = "image in "


@dataclass(frozen=True)
class Place:
    """A class folder. split: '' = not given. generator: the folder above that is neither split nor class, or ''."""

    folder: Path
    label: str
    split: str = ""
    generator: str = ""


def listing(source: Source) -> Listing | None:
    """The images of class folders. None where there are none, or no folder.

    Raises:
        UserError: the folders could be meant in two ways, or contradict `data.csv`.
    """
    data = source.data
    if not data.is_dir():
        return None
    everything = [_named_apart(places) for places in _by_parent(_places(data, source.classes)).values()]
    places = _meant(data, [place for some in everything for place in some if _holds_images(place.folder)])
    if not places:
        return None
    _refuse_other_options(source)
    there = {folder.name for parent in _by_parent(iter(places)) for folder in _folders(parent)}
    source.classes.refuse_unused(there, f"folders of {data}")
    ignored, rows = _rows(data, places, source.classes)
    beside = _beside(data, places)
    _refuse_unnamed_classes(source, places, beside, rows)
    if (data / IDS).exists():
        check_ids(data / IDS, rows, source)
    return Listing(data.resolve(), rows, dict(+(ignored + beside)))


def hint(data: Path) -> str:
    """What to do about a folder in which no class folder was found; '' where nobody knows."""
    if not data.is_dir():
        return ""
    inner = [path for path in _folders(data) if _is_data(path)]
    lists = [path for path in sorted(data.glob("*.csv")) if path.is_file()]
    if inner or lists:
        return f" Did you mean {' or '.join(f'DATA={path}' for path in (inner or lists)[:3])}?"
    named = [path.name for path in _folders(data) if path.name.lower() not in SPLIT_WORDS and _holds_images(path)]
    return f" Or say which are which: {_proposal(named)}" if named else ""


def _is_data(folder: Path) -> bool:
    return any(_places(folder, Classes())) or (folder / "train.csv").exists()


def _places(folder: Path, classes: Classes, *, split: str = "", generator: str = "", depth: int = 0) -> Iterator[Place]:
    """The class folders below `folder`, not further into one. Links are followed to class folders alone."""
    for each in _folders(folder):
        name = each.name
        if label := classes.of(name):
            yield Place(each, label, split, generator)
        elif depth < DEEPEST and not each.is_symlink():
            inner = SPLIT_WORDS.get(name.lower(), "")
            above = generator or ("" if inner else name)
            yield from _places(each, classes, split=split or inner, generator=above, depth=depth + 1)


def _by_parent(places: Iterator[Place]) -> dict[Path, list[Place]]:
    found = defaultdict(list)
    for place in places:
        found[place.folder.parent].append(place)
    return found


def _named_apart(beside: list[Place]) -> list[Place]:
    """Class folders of one folder, with the splits in their names where these have several: train_real, test_real."""
    splits = {split_in(place.folder.name) for place in beside}
    if len(splits) < 2 or "" in splits or any(place.split for place in beside):
        return beside
    return [replace(place, split=split_in(place.folder.name)) for place in beside]


def _meant(data: Path, places: list[Place]) -> list[Place]:
    """Those right in DATA or its splits; where there are none, those in folders of generators.

    Raises:
        UserError: some have a split and others none; two folders are one class; DATA is the folder above a data set.
    """
    near = [place for place in places if not place.generator]
    chosen = near or places
    tops = {place.folder.relative_to(data).parts[0] for place in chosen if place.generator}
    sets = [data / top for top in tops if top.lower() not in SPLIT_WORDS]
    if len(sets) == len(tops) == 1 or any(_has_list(folder) for folder in sets):
        return []  # hint() says which folder is the data set
    given, alone = ([place for place in chosen if bool(place.split) is is_given] for is_given in (True, False))
    if given and alone:
        raise UserError(
            f"DATA={data}: images in {alone[0].folder.relative_to(data)}/ and in {given[0].folder.relative_to(data)}/, "
            "so their split could be given or not. Put one of them elsewhere, or list the images in a CSV with path, "
            "label and split."
        )
    return chosen


def _has_list(folder: Path) -> bool:
    """Whether a folder is a data set of its own, because it has its own list of images."""
    return any(folder.glob("*.csv"))


def _refuse_other_options(source: Source) -> None:
    """Raises: UserError for what is said of tables where there is none."""
    given = {"ROOT": source.root, "LABELS": source.one and not (source.data / IDS).exists()}
    for option, is_given in given.items():
        if is_given:
            raise UserError(
                f"{option} says how a CSV is read, and DATA={source.data} is a folder of class folders: leave it out, "
                "or give DATA=list.csv"
            )


def _rows(data: Path, places: list[Place], classes: Classes) -> tuple[Counter, pd.DataFrame]:
    """What was left out, and the rows; without `generator` where no folder names one."""
    _refuse_two_names(data, places, classes)
    ignored: Counter = Counter()
    found: dict[str, list[str]] = {name: [] for name in ("path", "label", "split", "generator")}
    for place in places:
        above = len(str(place.folder)) - len(str(place.folder.relative_to(data)))  # none of DATA=.
        inner = len(os.path.join(place.folder, ""))
        said = cache(partial(_said, data, place, classes))
        for each in walk(str(place.folder), hidden=True):
            path = each.path[above:]  # without pathlib, which takes longer than all the rest
            if why := _why_not(each, path):
                ignored[why] += 1
                continue
            split, made_by = said(each.path[inner:].rpartition("/")[0])
            found["path"].append(path)
            found["label"].append(place.label)
            found["split"].append(split)
            found["generator"].append(made_by)
    rows = pd.DataFrame(found)
    if not places[0].split and ((rows.split == "").any() or rows.split.nunique() < 2):  # all places have one, or none
        ignored[INNER_SPLIT] += int((rows.split != "").sum())
        rows["split"] = ""
    return ignored, rows if rows.generator.any() else rows.drop(columns="generator")


def _said(data: Path, place: Place, classes: Classes, below: str) -> tuple[str, str]:
    """Split and generator of the images that lie so far below a class folder; '' = not said.

    Raises:
        UserError: they lie in a folder of the other class as well.
    """
    folders = below.split("/") if below else []
    other = next((name for name in folders if classes.of(name) not in ("", place.label)), "")
    if other:
        raise UserError(
            f"DATA={data}: images in {place.folder.relative_to(data) / below}/ are {place.label} by "
            f"{place.folder.name}/ and {classes.of(other)} by {other}/. Say which names are classes, "
            'CLASSES="real=real fake=fake" if only these are; or rename one of the folders'
        )
    split = next((SPLIT_WORDS[name.lower()] for name in folders if name.lower() in SPLIT_WORDS), "")
    made_by = place.generator or (place.folder.name if classes.several("fake") else "")
    named = made_by or next((name for name in folders if name.lower() not in SPLIT_WORDS), "")
    return place.split or split, named if place.label == "fake" else ""


def _refuse_two_names(data: Path, places: list[Place], classes: Classes) -> None:
    """Raises: UserError where two folders side by side are one class, which nobody has said."""
    for beside in _by_parent(iter(places)).values():
        for kind, count in Counter((place.label, place.split) for place in beside).items():
            names = [place.folder.name for place in beside if (place.label, place.split) == kind]
            if count > 1 and not all(name.lower() in classes.own for name in names):
                where = beside[0].folder.parent.relative_to(data)
                raise UserError(
                    f"DATA={data}: {' and '.join(f'{name}/' for name in names)} in {where}/ could each hold the "
                    f"{kind[0]} images. Say which do: {_proposal([place.folder.name for place in beside])}"
                )


def _refuse_unnamed_classes(source: Source, places: list[Place], beside: Counter, rows: pd.DataFrame) -> None:
    """Raises: UserError where folders beside the classes hold so many images that they are classes themselves."""
    if source.classes.own:
        return
    parents = {place.folder.parent.relative_to(source.data) for place in places}
    unnamed = {name: count for name, count in beside.items() if name.startswith(_IN)}
    counts = rows.label.value_counts()
    least = FEW_BESIDE * min(counts.get(label, 0) for label in LABELS)
    for name, count in unnamed.items():
        folder = PurePosixPath(name.removeprefix(_IN))
        if folder.parent in map(PurePosixPath, parents) and count > least and folder.name.lower() not in SPLIT_WORDS:
            raise UserError(
                f"DATA={source.data}: {count} images lie in {folder}/, beside "
                f"{' and '.join(sorted({f'{place.folder.name}/' for place in places}))} "
                f"({', '.join(f'{counts.get(label, 0)} {label}' for label in LABELS)}), and its name is of neither "
                f"class. Say what it is: {_proposal(sorted({*(place.folder.name for place in places), folder.name}))}; "
                "what CLASSES does not name is left out"
            )


def _proposal(names: list[str]) -> str:
    """CLASSES as it could be written for folders of these names."""
    real = [name for name in names if guessed(name) == "real"]
    fake = [name for name in names if name not in real]
    if not real or not fake or any(mark in name for name in names for mark in ',="'):
        return WRITTEN
    return f'CLASSES="real={",".join(real)} fake={",".join(fake)}"'


def _beside(data: Path, places: list[Place]) -> Counter:
    """Images on the way to the class folders that lie in none, and lists that nobody asked for: where -> how many."""
    taken = {place.folder for place in places}
    on_the_way = {above for place in places for above in place.folder.parents if above.is_relative_to(data)}
    ignored: Counter = Counter()
    for place in sorted(on_the_way):
        for path in sorted(place.iterdir()):
            if path.name.startswith(".") or path in taken or path in on_the_way:
                continue
            if path.is_dir():
                ignored[f"{_IN}{path.relative_to(data)}/"] += sum(not each.status for each in walk(str(path)))
            elif path.suffix.lower() in SUFFIXES and path.is_file():
                ignored[f"image in no class folder of {place.name}/"] += 1
            elif path.suffix == ".csv" and path.name != IDS:
                ignored[f"CSV beside class folders, which DATA={path} would read"] += 1
    return ignored


def _why_not(each: Named, path: str) -> str:
    """What is said of a file that is not taken, '' of one that is; its path below DATA must fit into a CSV."""
    if each.reason == OTHER_ENDING:
        return f"ending {PurePosixPath(path).suffix or 'of no kind'}"
    fits = path.isascii() or path.encode(errors="ignore").decode() == path
    return each.reason or ("" if fits else "name that is not UTF-8")


def _holds_images(folder: Path) -> bool:
    return any(not each.status for each in walk(str(folder), hidden=True))


def _folders(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            return sorted(place / entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{place} cannot be read: {error.strerror or error}") from error
