"""What a data set is examined for before there is any figure of it: leaks, and shortcuts.

An image or a group in two splits stops the run. A trivial number that tells the classes apart is said on the first line
of the report.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cache.errors import UserError
from data.manifest import BLACK_DIGEST, LABELS, SPLITS, STATISTICS, Manifest

SHORTCUT_AUC = 0.65  # a single trivial number that separates the classes this well explains much of any result
GREY_COLOUR = 2.0  # mean channel range in grey levels; below it an image is black and white


@dataclass(frozen=True)
class Audit:
    """counts: split -> label -> images. shortcuts: trivial feature -> AUC, at least .5, largest first.

    left_out: status -> images. notes: what was done to usable images -> count. duplicates: extra copies.
    grey: label -> share of black-and-white images. warnings: sentences for the report's first lines.
    ignored: what the listing did not take, in words -> files. outside: images that lie, by links, outside of the root.
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


def examine(manifest: Manifest, *, ignored: dict[str, int] | None = None, outside: int = 0) -> Audit:
    """Count what is there and try the shortcuts: every trivial statistic alone, as if it were a detector.

    Args:
        ignored, outside: as the listing has them; a manifest does not know them.
    """
    rows = manifest.usable.rows
    shortcuts = _shortcuts(rows)
    grey = {label: _share(rows.colour[rows.label == label] < GREY_COLOUR) for label in LABELS}
    return Audit(
        dataset=manifest.dataset,
        synthetic=manifest.synthetic,
        images=len(manifest),
        counts={split: _counts(rows.label[rows.split == split], LABELS) for split in SPLITS},
        left_out={status: int(n) for status, n in manifest.unusable.status.value_counts().items()},
        notes={note: int(n) for note, n in rows.note[rows.note != ""].value_counts().head(20).items()},
        duplicates=int(rows.digest[rows.digest != BLACK_DIGEST].duplicated().sum()),
        grey=grey,
        shortcuts=shortcuts,
        warnings=_warnings(shortcuts, grey),
        ignored=ignored or {},
        outside=outside,
    )


def leaking(rows: pd.DataFrame) -> pd.DataFrame:
    """The usable rows whose image, or whose group, stands in more than one split or under both labels."""
    real_images = rows[(rows.status == "ok") & (rows.digest != BLACK_DIGEST)]
    by_digest = real_images.groupby("digest")
    two_labels = by_digest.label.transform("nunique") > 1
    two_splits = (by_digest.split.transform("nunique") > 1) | (
        real_images.groupby("group").split.transform("nunique") > 1
    )
    return real_images[two_labels | two_splits]


def refuse_leaks(manifest: Manifest) -> None:
    """Raises: UserError naming the images that stand in two splits or under two labels."""
    rows = leaking(manifest.rows).sort_values(["digest", "split"])
    if len(rows):
        lines = "\n".join(f"  {row.path}  {row.label}  {row.split}" for row in rows.head(10).itertuples())
        raise UserError(
            f"{manifest.dataset}: {len(rows)} rows share an image (same bytes) or a group with a row in another split "
            f"or under the other label, so no figure from it could be believed:\n{lines}\n"
            "Correct the data, or run again with LEAKS=drop: it keeps the test copy (then val's) "
            "and leaves out images that have both labels."
        )


def drop_leaks(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with status `leak` on every leaking row but those in the most sheltered split (test, then val)."""
    leaks = leaking(rows)
    shelter = leaks.split.map({"train": 0, "val": 1, "test": 2})
    best = np.maximum(shelter.groupby(leaks.digest).transform("max"), shelter.groupby(leaks.group).transform("max"))
    both = leaks.groupby("digest").label.transform("nunique") > 1
    dropped = leaks.index[(shelter < best) | both]
    rows = rows.copy()
    rows.loc[dropped, ["status", "note"]] = ["leak", "the same image or group stands in another split or class"]
    return rows


def auc(values: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve by ranks; nan where a class is absent."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = pd.Series(values).rank().to_numpy()  # ties share their mean rank
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def _shortcuts(rows: pd.DataFrame) -> dict[str, float]:
    fake = (rows.label == "fake").to_numpy()
    trivial = {name: rows[name].to_numpy(float) for name in (*STATISTICS, "bytes", "width", "height")}
    trivial["file format"] = rows.format.map(rows.assign(fake=fake).groupby("format").fake.mean()).to_numpy(float)
    found = {name: auc(values, fake) for name, values in trivial.items()}
    either_way = {name: round(max(value, 1 - value), 4) for name, value in found.items() if np.isfinite(value)}
    return dict(sorted(either_way.items(), key=lambda pair: -pair[1]))


def _warnings(shortcuts: dict[str, float], grey: dict[str, float]) -> list[str]:
    strong = [f"{name} (AUC {value:.2f})" for name, value in shortcuts.items() if value >= SHORTCUT_AUC]
    lines = []
    if strong:
        lines.append(f"Shortcut: the classes can be told apart by {', '.join(strong)} alone, without looking at faces.")
    if abs(grey["real"] - grey["fake"]) > 0.05:
        shares = " and ".join(f"{100 * share:.0f} % of the {label}" for label, share in grey.items())
        lines.append(f"Shortcut: {shares} images are black and white.")
    return lines


def _counts(values: pd.Series, words: tuple[str, ...]) -> dict[str, int]:
    return {word: int((values == word).sum()) for word in words}


def _share(mask: pd.Series) -> float:
    return round(float(mask.mean()), 4) if len(mask) else 0.0
