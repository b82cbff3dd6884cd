"""How often the page's 95 % intervals hold the truth: `python -m tests.bench.intervals [data sets]` -> INTERVALS.md.

Scores of both classes are normal with unit variance, so that the truth of every figure is known. In groups half of the
variance is shared, and each group holds four images. Figures are those of `evaluate`, as the page has them; leads are
those of two correlated models, `called better` how often a lead was taken for real.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import expit, ndtr, ndtri
from scipy.stats import norm

from analysis.judge.calibrate import Calibration
from analysis.judge.differences import Pair, accuracy_lead, auc_lead
from analysis.judge.evaluate import evaluate
from analysis.judge.intervals import Interval
from analysis.judge.rules import DEFAULT_RULE, RULES

TARGET = Path(__file__).with_name("INTERVALS.md")
AUCS = (0.5, 0.76, 0.95, 0.9977, 0.9998)
IMAGES = (50, 150, 1000)  # of a class
GROUPS = (5, 8, 12, 20, 50, 100)  # of a class
IN_A_GROUP, SHARED = 4, 0.5
LEADS = ((0.76, 0.76, 0.7), (0.95, 0.95, 0.9), (0.9977, 0.9977, 0.9), (0.95, 0.93, 0.95), (0.9977, 0.99, 0.9))
SHOWN = ("auc", "ap", "eer", "tpr_at_fpr_1", "tpr_at_fpr_5", "accuracy", "balanced_accuracy", "brier", "log_loss")
RECALLS = {"eer": 0.99, "fpr_5": 0.995}  # rules whose thresholds are put where a class accuracy is this
GRID = np.linspace(-12, 20, 64_001)


@dataclass(frozen=True)
class Cell:
    """So many images of a class, each its own group where `groups` is as many."""

    auc: float
    images: int
    groups: int

    @property
    def apart(self) -> float:
        """Distance of the two normals."""
        return float(np.sqrt(2) * ndtri(self.auc))

    @property
    def fake(self) -> np.ndarray:
        return np.repeat([False, True], self.images)

    @property
    def group(self) -> np.ndarray:
        return np.repeat(np.arange(2 * self.groups), self.images // self.groups)

    def scores(self, rng: np.random.Generator) -> np.ndarray:
        """(2 * images,) of one data set, both classes around 0."""
        own = rng.standard_normal(2 * self.images)
        if self.groups == self.images:
            return own
        return np.sqrt(SHARED) * rng.standard_normal(2 * self.groups)[self.group] + np.sqrt(1 - SHARED) * own

    @property
    def calibration(self) -> Calibration:
        """The default threshold halfway, those of RECALLS where they say."""
        thresholds = dict.fromkeys(RULES, self.apart / 2)
        thresholds |= {rule: self.apart + float(ndtri(1 - recall)) for rule, recall in RECALLS.items()}
        return Calibration(thresholds, 1.0, (self.apart / 2, self.apart / 2), 1)

    @property
    def truth(self) -> dict[str, float]:
        right = float(ndtr(self.apart / 2))
        real, fake = norm.pdf(GRID), norm.pdf(GRID - self.apart)
        above_real, above_fake = ndtr(-GRID), ndtr(self.apart - GRID)
        called = [np.trapezoid(loss, GRID) / 2 for loss in (
            real * expit(GRID) ** 2 + fake * expit(-GRID) ** 2,
            real * np.logaddexp(0, GRID) + fake * np.logaddexp(0, -GRID),
        )]  # fmt: skip
        return {
            "auc": self.auc, "eer": 1 - right, "accuracy": right, "balanced_accuracy": right,
            "ap": float(np.trapezoid(fake * above_fake / (above_fake + above_real), GRID)),
            "tpr_at_fpr_1": float(ndtr(self.apart - ndtri(0.99))),
            "tpr_at_fpr_5": float(ndtr(self.apart - ndtri(0.95))),
            "brier": float(called[0]), "log_loss": float(called[1]),
        }  # fmt: skip


def cells() -> Iterator[Cell]:
    yield from (Cell(auc, images, images) for images, auc in product(IMAGES, AUCS))
    yield from (Cell(auc, IN_A_GROUP * groups, groups) for groups, auc in product(GROUPS, AUCS[1:4]))


def coverage(cell: Cell, count: int) -> dict[str, float]:
    """Share of `count` data sets whose interval holds the truth, by figure."""
    hits = dict.fromkeys((*SHOWN, *(f"accuracy {recall}" for recall in RECALLS.values())), 0)
    truth = cell.truth
    for seed in range(count):
        scores = cell.scores(np.random.default_rng(seed)) + cell.apart * cell.fake
        found = evaluate(scores, cell.fake, cell.group, calibration=cell.calibration, seed=seed)
        for name in SHOWN:
            hits[name] += _holds(found.metrics[name], truth[name])
        for rule, recall in RECALLS.items():
            hits[f"accuracy {recall}"] += _holds(found.operating[rule].tpr, recall)
    return {name: hit / count for name, hit in hits.items()}


def leads(cell: Cell, other: float, correlation: float, count: int) -> dict[str, tuple[float, float]]:
    """Share of data sets whose interval of a lead holds the truth, and share in which it was called better or worse."""
    second = Cell(other, cell.images, cell.groups)
    hits = {"AUC": np.zeros(2), "accuracy": np.zeros(2)}
    thresholds = np.array([cell.apart, second.apart]) / 2
    truth = {"AUC": cell.auc - other, "accuracy": cell.truth["accuracy"] - second.truth["accuracy"]}
    for seed in range(count):
        rng = np.random.default_rng(seed)
        one, two = cell.scores(rng), cell.scores(rng)
        two = correlation * one + np.sqrt(1 - correlation**2) * two
        scores = np.stack([one + cell.apart * cell.fake, two + second.apart * cell.fake], axis=1)
        pair = Pair(scores, cell.fake, cell.group)
        for name, lead in (("AUC", auc_lead(pair)), ("accuracy", accuracy_lead(pair, thresholds))):
            sure = lead.difference.low > 0 or lead.difference.high < 0
            hits[name] += (_holds(lead.difference, truth[name]), sure)
    return {name: tuple(hit / count) for name, hit in hits.items()}


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low - 1e-12 <= truth <= interval.high + 1e-12


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def main(count: int) -> None:
    assert DEFAULT_RULE not in RECALLS
    rows = []
    for cell in cells():
        tried = count if cell.images < 1000 else count // 3  # it takes twenty times as long
        found = coverage(cell, tried)
        rows.append([f"{cell.auc}", f"{cell.images}", f"{cell.groups}", *(f"{each:.3f}" for each in found.values())])
        print(rows[-1], flush=True)
    names = [*(name.replace("_", " ") for name in SHOWN), *(f"class accuracy {each}" for each in RECALLS.values())]
    first = _table(["AUC", "images of a class", "groups of a class", *names], rows)
    rows = []
    for size, (auc, other, correlation) in product(((50, 50), (150, 150), (80, 20), (32, 8)), LEADS):
        found = leads(Cell(auc, *size), other, correlation, count)
        rows.append([f"{auc} and {other}", f"{correlation}", *map(str, size),
                     *(f"{each:.3f}" for pair in found.values() for each in pair)])  # fmt: skip
        print(rows[-1], flush=True)
    second = _table(["AUC of two models", "correlation", "images of a class", "groups of a class", "AUC lead",
                     "called better", "accuracy lead", "called better"], rows)  # fmt: skip
    error = (0.95 * 0.05 / count) ** 0.5
    about = (
        f"`python -m tests.bench.intervals {count}`: {count} data sets a row, a third of them where a class has 1 000 "
        f"images. The standard error of .95 is {error:.3f}. The module says what is drawn."
    )
    TARGET.write_text(
        f"# How often the page's 95 % intervals hold the truth\n\n{about}\n\n{first}\n\n"
        f"## Leads of one model over another\n\n{second}\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
