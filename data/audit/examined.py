"""The audit of a data set: what is in it, what is wrong with it, and what cures that, in words."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cache import paths
from cache.errors import UserError, counted
from cache.key import key
from cache.records import from_plain
from data.audit.copies import Copy, Search, families
from data.audit.shortcuts import STORED, TOGETHER, Shortcut, try_shortcuts
from data.manifest import BLACK_DIGEST, LABELS, SPLITS, Manifest
from data.thumbnails import Thumbnails

GREY_COLOUR = 2.0  # mean channel range in grey levels; below it an image is black and white
GREY_APART = 0.05  # by which the shares of black-and-white images may differ
UNEVEN = 3  # times as many images of one class as of the other
FEW_OF_ONE = 20  # images of a generator, below which nothing is tried on it alone
SHOWN = 100  # near copies that are named
NAMED = 4  # shortcuts in a sentence


@dataclass(frozen=True)
class Shown:
    """Two images that show the same, by their paths. across: what they do not share, of split and label.

    how: scaled or encoded again; mirrored; part = one is cropped out of the other.
    """

    first: str
    second: str
    across: str
    how: str
    alike: float


@dataclass(frozen=True)
class Copies:
    """looked: images that were compared. pairs: that show the same, of them across_splits and across_labels.

    left: pairs that look alike as thumbnails and were not opened. shown: the gravest and most alike first.
    """

    looked: int
    pairs: int
    across_splits: int
    across_labels: int
    left: int
    shown: list[Shown]


@dataclass(frozen=True)
class Audit:
    """counts: split -> label -> images. shortcuts: trivial feature -> AUC, largest first.

    left_out: status -> images. notes: what was done to usable images -> count. duplicates: extra copies.
    grey: label -> share of black-and-white images. warnings: sentences for the report's first lines.
    ignored: what the listing did not take, in words -> files. outside: images that lie, by links, outside of the root.
    bounds: trivial feature -> the 95 % interval of its AUC. by_generator: generator -> the same of its fakes alone,
    trivial feature -> AUC and interval. copies: near ones; None where nobody looked. key: of the manifest. seal: its.
    """

    dataset: str
    synthetic: bool
    images: int
    counts: dict[str, dict[str, int]]
    left_out: dict[str, int]
    notes: dict[str, int]
    duplicates: int
    grey: dict[str, float]
    shortcuts: dict[str, float]
    warnings: list[str]
    ignored: dict[str, int] = field(default_factory=dict)
    outside: int = 0
    bounds: dict[str, list[float]] = field(default_factory=dict)
    by_generator: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    copies: Copies | None = None
    key: str = ""
    seal: str = ""

    def is_strong(self, name: str) -> bool:
        """Whether a trivial thing is warned of."""
        return Shortcut(self.shortcuts[name], *self.bounds[name]).is_strong(name)


def audit_of(manifest: Manifest) -> Audit:
    """What `make data` found of a manifest; where that is not there, or of another one, what is found without a search
    for near copies."""
    file = paths.manifest_file(manifest.dataset).with_name("audit.json")
    return _written(file, manifest.key) or examine(manifest, thumbnails=Thumbnails.load(file.parent))


def _written(file: Path, manifest_key: str) -> Audit | None:
    """None where the file is not as it was written, or of another manifest."""
    try:
        found = from_plain(Audit, json.loads(file.read_bytes()))
    except (OSError, ValueError, RecursionError, UserError):
        return None
    return found if found == _sealed(found) and found.key == manifest_key else None


def _sealed(audit: Audit) -> Audit:
    return replace(audit, seal=key(replace(audit, seal="")))


def examine(manifest: Manifest, *, thumbnails: Thumbnails | None = None, search: Search | None = None,
            ignored: dict[str, int] | None = None, outside: int = 0) -> Audit:  # fmt: skip
    """Count what is there and try the shortcuts.

    Args:
        thumbnails, search: None where nobody looked for near copies.
        ignored, outside: as the listing has them; a manifest does not know them.
    """
    rows = manifest.rows[manifest.rows.status.isin(("ok", "black"))]
    there = set(rows.index)
    found = [each for each in search.copies if each.first in there and each.second in there] if search else []
    copies = described(manifest.rows, found, search) if search else None
    kin = families(manifest.rows.group, found)[rows.index]
    grey = _grey(manifest, thumbnails)
    shortcuts = try_shortcuts(rows, kin, grey)
    by_generator = _by_generator(manifest, rows, kin, grey)
    grey_share = {label: _share(rows.colour[rows.label == label] < GREY_COLOUR) for label in LABELS}
    counts = {split: _counts(rows.label[rows.split == split], LABELS) for split in SPLITS}
    audit = Audit(
        dataset=manifest.dataset, synthetic=manifest.synthetic, images=len(manifest), counts=counts,
        left_out={status: int(n) for status, n in manifest.unusable.status.value_counts().items()},
        notes={note: int(n) for note, n in rows.note[rows.note != ""].value_counts().head(20).items()},
        duplicates=int(rows.digest[rows.digest != BLACK_DIGEST].duplicated().sum()),
        grey=grey_share, shortcuts={name: each.auc for name, each in shortcuts.items()},
        warnings=_warnings(shortcuts, by_generator, grey_share, copies, counts),
        ignored=ignored or {}, outside=outside, copies=copies, key=manifest.key,
        bounds={name: [each.low, each.high] for name, each in shortcuts.items()},
        by_generator={name: {what: [each.auc, each.low, each.high] for what, each in found.items()}
                      for name, found in by_generator.items()},
    )  # fmt: skip
    return _sealed(audit)


def _grey(manifest: Manifest, thumbnails: Thumbnails | None) -> np.ndarray | None:
    """Thumbnails of the usable images, (N, 16, 16) uint8, black where there is none; None where none is known."""
    at = thumbnails.find(manifest.usable.digests) if thumbnails else np.empty(0)
    if not (at >= 0).any():
        return None
    return np.where((at >= 0)[:, None, None], thumbnails.rows["grey"][at], 0)


def _by_generator(manifest: Manifest, rows: pd.DataFrame, kin: np.ndarray,
                  grey: np.ndarray | None) -> dict[str, dict[str, Shortcut]]:  # fmt: skip
    """Generator -> what tells its fakes from the real images, of those with enough images where there are several."""
    made_by = manifest.usable.generator
    names = pd.Series(made_by[made_by != ""]).value_counts()
    if len(names) < 2:
        return {}
    found = {}
    for name in sorted(names.index[names >= FEW_OF_ONE]):
        some = np.flatnonzero((made_by == name) | (rows.label == "real").to_numpy())
        found[name] = try_shortcuts(rows.iloc[some], kin[some], None if grey is None else grey[some])
    return {name: each for name, each in found.items() if each}


def described(rows: pd.DataFrame, found: list[Copy], search: Search) -> Copies:
    """Some copies of a search, by the paths of `rows`."""
    first, second = (rows.iloc[[getattr(each, side) for each in found]] for side in ("first", "second"))
    splits, labels = (first[name].to_numpy() != second[name].to_numpy() for name in ("split", "label"))
    shown = [
        Shown(one, other, " and ".join([*["split"] * bool(split), *["label"] * bool(label)]), _how(each), each.alike)
        for one, other, split, label, each in zip(first.path, second.path, splits, labels, found, strict=True)
    ]
    gravest = sorted(zip(~labels, ~splits, range(len(shown)), strict=True))
    return Copies(search.looked, len(found), int(splits.sum()), int(labels.sum()), search.left,
                  [shown[number] for *_, number in gravest[:SHOWN]])  # fmt: skip


def _how(each: Copy) -> str:
    part = f"part ({100 * each.part:.0f} % of its side)" if each.part < 1 else ""
    return ", ".join(filter(None, ["mirrored" if each.mirrored else "", part])) or "scaled or encoded again"


def _warnings(shortcuts: dict[str, Shortcut], by_generator: dict[str, dict[str, Shortcut]], grey: dict[str, float],
              copies: Copies | None, counts: dict[str, dict[str, int]]) -> list[str]:  # fmt: skip
    lines = [*_of_copies(copies), *_of_shortcuts(shortcuts), *_of_generators(by_generator, shortcuts)]
    if abs(grey["real"] - grey["fake"]) > GREY_APART:
        shares = " and ".join(f"{100 * share:.0f} % of the {label}" for label, share in grey.items())
        lines.append(f"Shortcut: {shares} images are black and white. Take them out, or make both classes grey.")
    real, fake = (sum(each[label] for each in counts.values()) for label in LABELS)
    if not min(real, fake):
        lines.append(f"One class: {real} real and {fake} fake images. They can be scored; heads need both classes.")
    if min(real, fake) * UNEVEN < max(real, fake) and min(real, fake):
        lines.append(f"Uneven: {real} real and {fake} fake images. Accuracy says little here; believe AUC and the "
                     "accuracy of each class.")  # fmt: skip
    return lines


def _of_copies(copies: Copies | None) -> list[str]:
    if not copies or not copies.across_splits + copies.across_labels:
        return []
    first = copies.shown[0]
    where = [f"{copies.across_splits} of them in two splits"] * bool(copies.across_splits)
    where += [f"{copies.across_labels} under both labels"] * bool(copies.across_labels)
    return [f"Near copies: {counted(copies.pairs, 'pair')} of files show the same picture, {' and '.join(where)}, for "
            f"example {first.first} and {first.second} ({first.how}). A model that has seen one knows the other, so "
            "figures are too good: LEAKS=drop leaves the lesser one out."]  # fmt: skip


def _of_shortcuts(shortcuts: dict[str, Shortcut]) -> list[str]:
    strong = {name: each for name, each in shortcuts.items() if each.is_strong(name)}
    if not strong:
        return []
    if any(name in strong for name in STORED):
        cure = "make equalize DATA=... OUT=... stores both classes alike; audit what it wrote again."
    else:
        cure = ("Files are stored alike, so the pictures themselves differ, in what they show or how they were taken: "
                "other images cure that, from one source or shot and cut alike.")  # fmt: skip
    return [f"Shortcut: the classes can be told apart by {_named(strong)} alone, without looking at faces (.5 is "
            f"chance). A detector may learn that, and fail on other images. {cure}"]  # fmt: skip


def _of_generators(by_generator: dict[str, dict[str, Shortcut]], shortcuts: dict[str, Shortcut]) -> list[str]:
    """Where a generator's fakes are given away by what does not give away all: the strongest of each."""
    known = {what for what, each in shortcuts.items() if each.is_strong(what)} | {TOGETHER}
    found = {}
    for name, tried in by_generator.items():
        strong = [what for what, each in tried.items() if each.is_strong(what) and what not in known]
        if strong:
            found[name] = f"{name} by {strong[0]} (AUC {tried[strong[0]].auc:.2f})"
    if not found:
        return []
    return [f"Shortcut: fakes of some generators are told from the real images without looking at faces: "
            f"{', '.join(found.values())}. How well such fakes are found says little."]  # fmt: skip


def _named(strong: dict[str, Shortcut]) -> str:
    some = [f"{name} (AUC {each.auc:.2f} [{each.low:.2f}, {each.high:.2f}])" for name, each in strong.items()]
    return ", ".join(some[:NAMED])


def _counts(values: pd.Series, words: tuple[str, ...]) -> dict[str, int]:
    return {word: int((values == word).sum()) for word in words}


def _share(mask: pd.Series) -> float:
    return round(float(mask.mean()), 4) if len(mask) else 0.0
