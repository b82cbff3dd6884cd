"""Models and inputs side by side, always on the same images: a sweep with folds judges more of them than one without.

Whether one model is really better than another; what fine-tuning brought; which backbone, tap and pooling carries the
signal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.found.models import Model
from analysis.found.sweeps import Sweep
from analysis.judge.bootstrap import bootstrap, too_few
from analysis.judge.evaluate import auc_intervals
from analysis.judge.intervals import Interval
from analysis.judge.metrics import interval_of
from analysis.judge.ranking import Pairs
from analysis.page import figures
from analysis.page.figures import Bar, Picture
from heads.predictions import Predictions, predictions_file, read_predictions

ABOUT = ["digest", "label", "group"]  # columns of scores-inputs.csv that are no scores


@dataclass(frozen=True)
class Lead:
    """How far the first of two models is above the second.

    ahead: share of the resamples in which it is, those in which both are equal counted half.
    """

    difference: Interval
    ahead: float


@dataclass(frozen=True)
class Comparison:
    """Two runs on the images of a split (test or val) that both scored; auc is None where those are of one class.

    accuracy: of each at its own threshold, which its validation data fixed. too_few: groups for any verdict.
    """

    first: str
    second: str
    split: str
    images: int
    auc: Lead | None
    accuracy: Lead
    too_few: bool


@dataclass(frozen=True)
class _Pair:
    """What two runs said of the same images: scores (N, 2), fake (N,) bool, groups (N,)."""

    scores: np.ndarray
    fake: np.ndarray
    groups: np.ndarray

    @property
    def two_classes(self) -> bool:
        return bool(self.fake.any() and not self.fake.all())


def compare(models: list[Model]) -> list[Comparison]:
    """The first with each other one, on the test images that both scored, or validation images where one has no test.

    Both are judged on the same resamples, so that what is hard for both does not blur the difference. Each interval
    stands for its own pair. Validation images flatter the first, which was chosen by them.
    Pairs that have no image in common are left out.
    """
    found = [_comparison(models[0], other) for other in models[1:]]
    return [each for each in found if each]


def auc_gain(before: Path, after: Path) -> Interval | None:
    """How far the test AUC of one run is above another's, on the images that both scored; None of one class alone."""
    pair = _joined(*(read_predictions(predictions_file(folder, "test")) for folder in (after, before)))
    return _auc_lead(pair).difference if pair.two_classes else None


def compared_inputs(sweeps: list[Sweep]) -> Picture | None:
    """AUC that the best convex head reaches on each choice of inputs of every backbone, on the images common to all."""
    columns = _columns(sweeps)
    if not columns:
        return None
    together = pd.concat([column.rename(name) for name, (_, column) in columns.items()], axis=1, join="inner")
    about = pd.concat([sweep.scores for sweep in sweeps]).groupby(level=0)[["label", "group"]].first()
    about = about.loc[together.index]
    intervals = auc_intervals(together.to_numpy(float), (about.label == "fake").to_numpy(), about.group.to_numpy())
    bars = [
        Bar(name, interval, kind, several=_order(name) > 0)
        for (name, (kind, _)), interval in zip(columns.items(), intervals, strict=True)
    ]
    best = max(bars, key=lambda bar: bar.interval.value)
    alone = max((bar for bar in bars if not bar.several), key=lambda bar: bar.interval.value, default=best)
    found = ", ".join(
        f"{bar.name} {bar.interval.value:.3f} [{bar.interval.low:.3f}, {bar.interval.high:.3f}]"
        for bar in dict.fromkeys((best, alone))
    )
    return Picture(
        "inputs",
        figures.bars(bars, xlabel="validation AUC", title="Which features carry the signal"),
        f"Validation AUC of the best convex head on each of {len(bars)} choices of inputs; highest: {found}",
        f"Best convex head on each feature alone (filled) and on several together (hatched), on {len(together)} "
        "held-out images with 95 % intervals over groups. The penalty was chosen on the same images.",
    )


def _comparison(first: Model, second: Model) -> Comparison | None:
    both = (first, second)
    split = "test" if all(model.test for model in both) else "val"
    pair = _joined(*(model.predictions(split) for model in both))
    if not len(pair.fake):
        return None
    auc = _auc_lead(pair) if pair.two_classes else None
    accuracy = _accuracy_lead(pair, np.array([model.calibration.threshold for model in both]))
    few = too_few(pair.fake, pair.groups)
    return Comparison(first.run, second.run, split, len(pair.fake), auc, accuracy, few)


def _joined(first: Predictions, second: Predictions) -> _Pair:
    """The images that both have, by path."""
    _, one, two = np.intersect1d(first.paths, second.paths, assume_unique=True, return_indices=True)
    return _Pair(np.stack([first.scores[one], second.scores[two]], axis=1), first.fake[one], first.groups[one])


def _auc_lead(pair: _Pair) -> Lead:
    first, second = (Pairs(column, pair.fake).auc for column in pair.scores.T)
    return _lead("auc", pair, lambda weights: {"first": first(weights), "second": second(weights)})


def _accuracy_lead(pair: _Pair, thresholds: np.ndarray) -> Lead:
    """thresholds: (2,), of each its own."""
    right = ((pair.scores >= thresholds) == pair.fake[:, None]).astype(np.float64)

    def both(weights: np.ndarray) -> dict[str, np.ndarray]:
        first, second = (weights @ right).T / weights.sum(axis=1)
        return {"first": first, "second": second}

    return _lead("accuracy", pair, both)


def _lead(name: str, pair: _Pair, both: Callable[[np.ndarray], dict[str, np.ndarray]]) -> Lead:
    """name: of the figure. both: weights (B, N) -> what it is of the first and of the second (B,)."""
    first, second = bootstrap(both, pair.fake, pair.groups).values()
    return Lead(Interval.of_difference(first, second, partial(interval_of, name)), first.minus(second).ahead)


def _columns(sweeps: list[Sweep]) -> dict[str, tuple[str, pd.Series]]:
    """Name -> backbone and held-out scores of each choice of inputs; of two of one name the better model's."""
    several = len({sweep.result.backbone for sweep in sweeps}) > 1 or "+" in sweeps[0].result.backbone
    mixed = len({sweep.result.random_weights for sweep in sweeps}) > 1
    found: dict[str, tuple[str, pd.Series]] = {}
    for sweep in sweeps:
        random = " (random weights)" if mixed and sweep.result.random_weights else ""
        for choice in sorted(sweep.scores.columns.difference(ABOUT, sort=False), key=_order):
            name = _full_name(choice, sweep.result.backbone) if several else choice
            kind = _bare(name).partition("/")[0] if several else sweep.result.backbone
            found.setdefault(name + random, (kind + random, sweep.scores[choice]))
    return found


def _full_name(name: str, backbone: str) -> str:
    """With the backbone, spelled as a sweep over several backbones spells it."""
    if name == "all":
        return f"all of {backbone}"
    if "+" in backbone:
        return name
    return f"up to {backbone}/{_bare(name)}" if name.startswith("up to ") else f"{backbone}/{name}"


def _bare(name: str) -> str:
    return name.removeprefix("up to ").removeprefix("all of ")


def _order(name: str) -> int:
    """Features alone first, then the first few together, then all."""
    return 2 if name == "all" or name.startswith("all of ") else int(name.startswith("up to "))
