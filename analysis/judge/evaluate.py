"""Everything that a detector is judged by, from saved scores: metrics with intervals, in one sorted pass.

A score is the logit of fake; fake is the positive class. Thresholds, temperature and band are those that validation
fixed: nothing but the error rates read off the ROC curve (`eer`, `tpr_at_fpr_*`) is fitted to the images judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.judge.bootstrap import Draws, bootstrap
from analysis.judge.calibrate import Calibration
from analysis.judge.intervals import Interval
from analysis.judge.metrics import FPR, METRICS, TPR, Metric
from analysis.judge.ranking import Ranking
from analysis.judge.score_parts import Coarse, Parts, aucs, coarse_aucs
from analysis.judge.weighed import Judged

# What a threshold gives, the fields of Operating.
OPERATING = {each.name: each for each in (METRICS["accuracy"], TPR, FPR, METRICS["balanced_accuracy"])}
METRIC, BESIDE = "metric", "beside"  # which part of the figures is a metric's own, and which goes with its interval


@dataclass(frozen=True)
class Operating:
    """What a threshold fixed on validation gives here; None where the classes present do not define it."""

    threshold: float
    accuracy: Interval
    tpr: Interval | None = None
    fpr: Interval | None = None
    balanced_accuracy: Interval | None = None


@dataclass(frozen=True)
class Evaluation:
    """metrics: by name of METRICS, as far as the classes present define them; analysis.judge.metrics says what each is.

    confusion: counts at the default threshold; rows true real, true fake, columns called real, fake.
    operating: by rule of rules.RULES.
    """

    images: int
    threshold: float
    metrics: dict[str, Interval]
    confusion: list[list[int]]
    operating: dict[str, Operating]


def evaluate(
    scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, *, calibration: Calibration, seed: int = 0
) -> Evaluation:
    """Judge scores (N,) by fake (N,) bool, each metric of METRICS with its interval over groups (N,).

    One class alone defines its own accuracy (and recall), accuracy, and what is said of probabilities and the band.
    """
    judged = Judged(scores, fake, groups, calibration)

    def coarse() -> Coarse:
        parts = Parts.by_score(scores, fake, judged.cuts)
        return Coarse([parts], partial(figures, judged.of_parts(parts)))

    draws = bootstrap(partial(figures, judged), fake, groups, seed=seed, coarse=coarse)
    return Evaluation(
        images=len(scores),
        threshold=calibration.threshold,
        metrics=_intervals(METRIC, METRICS, draws),
        confusion=_confusion(scores >= calibration.threshold, fake),
        operating={
            rule: Operating(at, **_intervals(rule, OPERATING, draws)) for rule, at in calibration.thresholds.items()
        },
    )


def figures(judged: Judged, weights: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """All figures in weightings (B, N) of the images, as far as their classes define them.

    Keys are (METRIC, BESIDE or a rule, name), values (B,).
    """
    images = judged.weighed(weights)
    defined = [metric for metric in METRICS.values() if metric.is_defined(judged.fake)]
    operating = [metric for metric in OPERATING.values() if metric.is_defined(judged.fake)]
    return (
        {(METRIC, metric.name): metric.of(images) for metric in defined}
        | {(BESIDE, metric.name): metric.beside(images) for metric in defined if metric.beside}
        | {(rule, metric.name): metric.of(images.at(rule)) for rule in judged.columns for metric in operating}
    )


def auc_intervals(scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> list[Interval]:
    """AUC of each column of scores (N, K), with the intervals of `evaluate`; all columns share the resamples."""
    drawn = bootstrap(aucs(scores.T, fake), fake, groups, seed=seed, coarse=lambda: coarse_aucs(scores.T, fake))
    return [Interval.of_auc(each) for each in drawn.values()]


def roc(scores: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the ROC curve, from (0, 0) to (1, 1); both classes must be there."""
    false, true = Ranking(scores, fake).counts(np.ones((1, len(scores)))).rates
    return false[0], true[0]


def _intervals(part: str, known: Mapping[str, Metric], draws: Mapping[tuple[str, str], Draws]) -> dict[str, Interval]:
    """Name -> interval of the metrics of a part, but for those that these images leave undefined."""
    found = {}
    for name, metric in known.items():
        if (part, name) in draws and not np.isnan(draws[part, name].value):
            beside = [draws[BESIDE, name]] if metric.beside else []
            found[name] = metric.interval(draws[part, name], *beside)
    return found


def _confusion(called: np.ndarray, fake: np.ndarray) -> list[list[int]]:
    return [[int((~fake & ~called).sum()), int((~fake & called).sum())],
            [int((fake & ~called).sum()), int((fake & called).sum())]]  # fmt: skip
