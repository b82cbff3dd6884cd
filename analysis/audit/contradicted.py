"""Labels that may be wrong: images that heads which did not see them contradict most."""

from dataclasses import dataclass

import numpy as np

from analysis.found.models import Run, ranked_runs
from analysis.judge.calibrate import calibrate
from data.manifest import Manifest

DOUBTFUL = 0.1  # probability that a label is right, at most
MOST = 12  # images that are named


@dataclass(frozen=True)
class Contradicted:
    """An image and the calibrated probability that its label is right."""

    path: str
    label: str
    probability: float


@dataclass(frozen=True)
class Labels:
    """run: the name of what judged `images` images that it did not see; doubtful: how many labels it contradicts."""

    run: str
    images: int
    doubtful: int
    shown: list[Contradicted]


def contradicted(manifest: Manifest) -> Labels | None:
    """By the best finished run on a data set, whose validation scores are of images held out: with FOLDS those of train
    and val, else those of val. None where there is no run."""
    ranked = ranked_runs(manifest)
    return _by(ranked[0]) if ranked else None


def _by(run: Run) -> Labels:
    found = run.predictions("val")
    fake = calibrate(found.scores, found.fake).probability(found.scores)
    right = np.where(found.fake, fake, 1 - fake)
    order = np.argsort(right, kind="stable")
    doubtful = int((right < DOUBTFUL).sum())
    shown = [Contradicted(str(found.paths[row]), "fake" if found.fake[row] else "real", float(right[row]))
             for row in order[: min(MOST, doubtful)]]  # fmt: skip
    return Labels(run.run, len(right), doubtful, shown)
