"""Which images a head is trained on and which it is judged by: the given split, k folds of train and val together, or
train and val without one generator at a time, or without it and all that came with or after it.

Folds ride in one pass over the features: every head carries a weight for each row, 0 where the row is held out.
"""

import re
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from cache.errors import UserError, counted
from data.manifest import Manifest
from heads.sweep import DATE, GENERATOR

A_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")  # as text they are in order
UNKNOWN = -1  # of a fake image whose generator nobody told

MANY = 200_000  # images: above the 140k set, whose folds stay what finished runs have


@dataclass(frozen=True)
class Folds:
    """trained, held_out: (F, N) bool over the manifest's rows. A row of the test split is in neither.

    groups: (N,) int64; rows of one group are no evidence for one another.
    generators: those that the first folds leave out, one each; the last fold is then the given split, where heads that
    are kept are trained. made_by: (N,) int64, the number of each fake row's generator; 0 of real rows and where it is
    not known; empty where nobody told.
    """

    trained: np.ndarray
    held_out: np.ndarray
    groups: np.ndarray
    generators: tuple[str, ...] = ()
    made_by: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.trained)

    @property
    def rows(self) -> np.ndarray:
        """Rows that any fold trains on, (n,) int64."""
        return np.flatnonzero(self.trained.any(axis=0))

    @property
    def kept(self) -> range:
        """Numbers of the folds whose heads may be kept: all but those that leave a generator out."""
        return range(len(self.generators), len(self))

    @property
    def judged(self) -> np.ndarray:
        """Rows that some fold of those that are kept holds out, (n,) int64."""
        return np.flatnonzero(self.held_out[self.kept].any(axis=0))


def cut(manifest: Manifest, how: int | str) -> Folds:
    """how = 1: the manifest's own train and val. More: train and val joined and cut anew, groups kept together.

    GENERATOR: a fold for each generator, trained on train and val without its fakes and without a share of the real
    images, which are held out with them; and the given split last. Fakes whose generator is not known are never held
    out. DATE: the same of all generators but the oldest, in order; a fold trains on nothing but the fakes of generators
    that are older than the one it holds out, and on their shares of the real images.

    Raises:
        UserError: a side without both classes, fewer groups of a class than folds, or fewer than two generators.
    """
    if how in (GENERATOR, DATE):
        folds = _by_generator(manifest, ordered=how == DATE)
    else:
        folds = _given(manifest) if how == 1 else _stratified(manifest, how)
    for number, sides in enumerate(zip(folds.trained, folds.held_out, strict=True)):
        for rows, side in zip(sides, ("train", "val"), strict=True):
            _refuse_one_class(manifest, rows, _called(folds, number, side))
    return replace(folds, made_by=_numbered(manifest.generator))


def refuse_uncut(manifest: Manifest, how: int | str) -> None:
    """What can be said without cutting k folds, which takes long where images are many. Raises: UserError as `cut`."""
    if isinstance(how, str):
        cut(manifest, how)
    elif how > 1:
        _refuse_few_groups(manifest, how)
    else:
        for split in ("train", "val"):
            _refuse_one_class(manifest, _mask(manifest, split), f"the {split} split")


def _given(manifest: Manifest) -> Folds:
    return Folds(*(_mask(manifest, split)[None] for split in ("train", "val")), _numbered(manifest.group))


def _called(folds: Folds, number: int, side: str) -> str:
    """A side of a fold, in messages."""
    if number < len(folds.generators):
        return f"the fold without {folds.generators[number]} ({side} side)"
    return f"the {side} split" if len(folds.kept) == 1 else f"fold {number} ({side} side)"


def _by_generator(manifest: Manifest, *, ordered: bool) -> Folds:
    """Where a group holds images of several kinds, no fold trains on any of it that holds some of it out.

    ordered: by date.
    """
    given = _given(manifest)
    taken = (given.trained | given.held_out)[0]
    names = sorted({*manifest.generator[taken]} - {""})
    if len(names) < 2:
        raise UserError(
            f"FOLDS={DATE if ordered else GENERATOR}: {manifest.dataset} has {counted(len(names), 'known generator')} "
            "in train and val, and one is left out at a time. They are known from a CSV column `generator`, from "
            'folders fake/<generator>/, or from joined sets, DATA="a+b". Without them use FOLDS=5.'
        )
    count = len(names)
    numbers = {name: number for number, name in enumerate(names)}
    kind = np.array([numbers.get(name, UNKNOWN) for name in manifest.generator])
    kind[~manifest.fake] = count
    at = _parts(given.groups[taken], kind[taken], count, int(given.groups.max()) + 1)[given.groups]
    known = _known(manifest, names, ordered=ordered)
    left_out = [number for number in range(count) if known[number, :count].any()]
    left_out = sorted(left_out, key=lambda number: known[number, :count].sum()) if ordered else left_out
    held_out = [taken & (at == number) & ((kind == number) | ~manifest.fake) for number in left_out]
    trained = [taken & known[number][at] & known[number][kind] for number in left_out]
    both = (np.stack([*trained, *given.trained]), np.stack([*held_out, *given.held_out]))
    return Folds(*both, given.groups, tuple(names[number] for number in left_out))


def _known(manifest: Manifest, names: list[str], *, ordered: bool) -> np.ndarray:
    """(G, G + 2) bool: what the fold that holds out a generator may train on: parts of each, real images, and fakes of
    unknown generators, which are the last column. ordered: parts of those that are older alone.
    """
    known = np.ones((len(names), len(names) + 2), bool)
    if not ordered:
        known[:, : len(names)] = ~np.eye(len(names), dtype=bool)
        return known
    found = dates(manifest)
    when = np.array([found[name] for name in names])
    if len(set(when)) < 2:
        raise UserError(f"FOLDS={DATE}: all generators of {manifest.dataset} are of {when[0]}: use FOLDS={GENERATOR}")
    known[:, : len(names)] = when[None] < when[:, None]
    known[:, UNKNOWN] = False
    return known


def dates(manifest: Manifest) -> dict[str, str]:
    """Generator -> its date, from the manifest's column `date`, in the order of the dates.

    Raises:
        UserError: no such column, a generator with none or with several, or what is no date.
    """
    if "date" not in manifest.rows:
        raise UserError(
            f"FOLDS={DATE}: {manifest.dataset} says no dates. Give a CSV with `path`, `label`, `generator` and `date`, "
            "such as 2019, 2019-03 or 2019-03-31, on each fake image's row, when what made it came out"
        )
    made = manifest.generator != ""
    pairs = set(zip(manifest.generator[made], manifest.rows.date[made].fillna("").astype(str), strict=True))
    for name, date in sorted(pairs):
        several = sorted(each for other, each in pairs if other == name)
        if not A_DATE.fullmatch(date) or len(several) > 1:
            raise UserError(
                f"FOLDS={DATE}: the date of the generator {name} in {manifest.dataset} is "
                f"{' and '.join(map(repr, several))}: expected one, such as 2019, 2019-03 or 2019-03-31"
            )
    return dict(sorted(pairs, key=lambda pair: (pair[1], pair[0])))


def _parts(groups: np.ndarray, kind: np.ndarray, count: int, size: int) -> np.ndarray:
    """Group -> the fold that holds out what it can of it, (size,): its generator's, or of real and of mixed groups one
    drawn evenly.

    Args:
        groups, kind: (n,) int64 of each row; the number of a generator, UNKNOWN, or `count` of a real image.
    """
    least, most = np.full(size, count), np.full(size, UNKNOWN)
    np.minimum.at(least, groups, kind)
    np.maximum.at(most, groups, kind)
    rows = np.bincount(groups, minlength=size)
    drawn = np.flatnonzero((rows > 0) & ((least < most) | (least == count)))
    order = np.lexsort((np.random.default_rng(0).permutation(len(drawn)), -rows[drawn]))  # large groups apart
    least[drawn[order]] = np.arange(len(drawn)) % count
    return least


def _mask(manifest: Manifest, split: str) -> np.ndarray:
    return manifest.split == split


def _stratified(manifest: Manifest, count: int) -> Folds:
    _refuse_few_groups(manifest, count)
    rows = np.flatnonzero(_mask(manifest, "train") | _mask(manifest, "val"))
    held_out = np.zeros((count, len(manifest)), bool)
    held_out[:, rows] = stratified(manifest.fake[rows], manifest.group[rows], count)
    return Folds(held_out.any(axis=0) & ~held_out, held_out, _numbered(manifest.group))


def _refuse_few_groups(manifest: Manifest, count: int) -> None:
    """Raises: UserError for fewer groups of a class than folds."""
    rows = np.flatnonzero(_mask(manifest, "train") | _mask(manifest, "val"))
    groups, fake = manifest.group[rows], manifest.fake[rows]
    for label, of_label in (("real", ~fake), ("fake", fake)):
        found = len(set(groups[of_label]))
        if found < count:
            raise UserError(
                f"FOLDS={count}: {manifest.dataset} has only {counted(found, 'group')} of {label} images in train and "
                f"val, and a group stays in one fold. Use FOLDS={found} or fewer, or give more images."
            )


def stratified(fake: np.ndarray, groups: np.ndarray, count: int, *, many: int | None = None) -> np.ndarray:
    """Rows (n,) cut into `count` parts alike in their share of fakes, groups kept together: (count, n) bool.

    StratifiedGroupKFold places one group after another. Beyond `many` images (default MANY) that are all alone
    StratifiedKFold cuts them at once. It does so there alone because it draws other folds, and folds are part of what a
    finished run found.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # seconds, and a given split is not cut

    at_once = len(fake) > (MANY if many is None else many) and pd.Series(groups).is_unique
    splitter = (StratifiedKFold if at_once else StratifiedGroupKFold)(count, shuffle=True, random_state=0)
    parts = splitter.split(fake, fake, None if at_once else groups)
    held_out = np.zeros((count, len(fake)), bool)
    for part, (_, held) in zip(held_out, parts, strict=True):
        part[held] = True
    return held_out


def _numbered(groups: np.ndarray) -> np.ndarray:
    """Names (N,) -> (N,) int64."""
    return np.unique(groups.astype(str), return_inverse=True)[1]


def _refuse_one_class(manifest: Manifest, rows: np.ndarray, where: str) -> None:
    fake = int(manifest.fake[rows].sum())
    if not 0 < fake < rows.sum():
        raise UserError(
            f"{manifest.dataset}: {where} holds {int(rows.sum()) - fake} real and {fake} fake images; both are "
            "needed. Give more images, another split in the CSVs or folders, or another number of FOLDS."
        )
