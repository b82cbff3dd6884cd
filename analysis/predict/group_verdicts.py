"""What is said of groups of images, such as the frames of a video: the mean of their scores, at a threshold of its own.

Which images belong together says the manifest.csv, or unlabelled.csv, in a folder of IMAGES, as `make unpack` writes
them. Threshold, temperature and band are those that the run's own validation groups fix.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.judge.calibrate import Calibration
from analysis.judge.per_group import group_calibration
from analysis.predict.image_files import words_of
from analysis.predict.prediction import Prediction
from analysis.predict.spreadsheet import write_for_people
from cache.atomic import remove
from cache.errors import printable
from heads.predictions import predictions_file, read_predictions

GROUPS = "predictions-groups.csv"
MANIFESTS = ("manifest.csv", "unlabelled.csv")
NEEDED = ["path", "group"]


def groups_of(images: str) -> dict[str, str]:
    """Path -> group of the images in the folders of IMAGES that have a manifest with groups."""
    found: dict[str, str] = {}
    for folder in filter(os.path.isdir, map(os.path.expanduser, words_of(images))):
        for name in MANIFESTS:
            rows = _rows(Path(folder, name))
            found |= {printable(os.path.join(folder, path)): group for path, group in rows if group}
    return found


def write_groups(folder: Path, predictions: list[Prediction], groups: Mapping[str, str], *, run: Path,
                 rule: str) -> dict[str, int]:  # fmt: skip
    """Write a row a group, and say how many are called real and fake; without groups an earlier table goes."""
    fixed = group_calibration(read_predictions(predictions_file(run, "val"))) if groups else None
    if fixed is None:
        if groups:
            print(f"predict: groups are not judged: no validation group of {run.name} is of one class alone")
        remove(folder / GROUPS)
        return {}
    table = _table(predictions, groups, fixed, rule)
    write_for_people(folder / GROUPS, table)
    return dict(Counter(table.decision.replace("", "not judged")))


def told(counts: Mapping[str, int]) -> str:
    """What is said of groups behind what is said of their images."""
    if not counts:
        return ""
    said = ", ".join(f"{counts[word]} {word}" for word in ("fake", "real", "not judged") if word in counts)
    return f"; {sum(counts.values())} groups by the mean of their scores: {said}"


def _table(predictions: list[Prediction], groups: Mapping[str, str], fixed: Calibration, rule: str) -> pd.DataFrame:
    """images: of a group in IMAGES; judged: those of them with a score."""
    rows = pd.DataFrame({"group": [groups.get(each.path, "") for each in predictions],
                         "score": [np.nan if each.score is None else each.score for each in predictions]})  # fmt: skip
    found = rows[rows.group != ""].groupby("group").score
    table = pd.DataFrame({"images": found.size(), "judged": found.count(), "score": found.mean()}).reset_index()
    scores, judged = table.score.to_numpy(), table.judged.to_numpy() > 0
    at = fixed.named(rule)
    called, close = np.where(scores >= at.score, "fake", "real"), at.uncertain(scores)
    return table.assign(
        threshold=at.score,
        rule=rule,
        probability=fixed.probability(scores),
        decision=np.where(judged, called, ""),
        uncertain=np.where(judged, np.where(close, "true", "false"), ""),
    )


def _rows(path: Path) -> list[tuple[str, str]]:
    """Path and group of every row; none of a file that is no such table."""
    if not path.is_file():
        return []
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=lambda name: name in NEEDED)
    except (ValueError, OSError) as error:
        print(f"predict: {path} is not read, so groups are not judged: {error}")
        return []
    return list(zip(table.path, table.group, strict=True)) if set(NEEDED) <= set(table) else []
