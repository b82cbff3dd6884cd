"""Everything that a detector is judged by, from saved scores: metrics with intervals, in one sorted pass.

A score is the logit of fake; fake is the positive class. Thresholds, temperature and band are those that validation
fixed: nothing but the error rates read off the ROC curve (`eer`, `tpr_at_fpr_*`) is fitted to the images judged.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from analysis.judge.bootstrap import Draws, bootstrap
from analysis.judge.calibrate import Calibration
from analysis.judge.intervals import Interval, auc_inflation, interval_of
from analysis.judge.ranking import Counts, Pairs, Ranking, ratio
from analysis.judge.rules import DEFAULT_RULE

BINS = 15  # of the calibration error
METRICS = "metrics"  # the part of the figures that belongs to no rule
FPR_LIMITS = {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_5": 0.05}
BETWEEN = "between"  # the part of the draws of FPR_LIMITS


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
    """metrics: name -> Interval, as far as the classes present define them; `evaluate` says what each is.

    confusion: counts at the default threshold; rows true real, true fake, columns called real, fake.
    operating: by rule of calibrate.RULES.
    """

    images: int
    threshold: float
    metrics: dict[str, Interval]
    confusion: list[list[int]]
    operating: dict[str, Operating]


def evaluate(
    scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, *, calibration: Calibration, seed: int = 0
) -> Evaluation:
    """Judge scores (N,) by fake (N,) bool, each metric with its interval over groups (N,).

    auc, ap, ap_real    area under the ROC curve; average precision with fake and with real as the positive class
    eer, tpr_at_fpr_1, tpr_at_fpr_5     of the ROC curve of these very images: what the scores allow, while what the
        thresholds of validation give is in `operating`. The largest TPR whose FPR is at most 1 %, 5 %
    accuracy, balanced_accuracy, accuracy_real, accuracy_fake, precision, recall, f1, precision_real, f1_real
        at the default threshold. The recall of fake is accuracy_fake, that of real accuracy_real; a precision is 0
        where nothing is called so
    log_loss (nats), brier, ece     of calibrated probabilities; log_loss_before and so on of the plain sigmoid
    coverage, accuracy_decided      share of images outside the uncertain band, and accuracy among them

    ece is the expected calibration error (Guo et al. 2017, arXiv:1706.04599) in its binary form: over 15 equally wide
    bins of p(fake), the mean of |mean p(fake) - share of fake|, weighted by images. Few images inflate it.

    One class alone defines its own accuracy (and recall), accuracy, and what is said of probabilities and the band.
    """
    judge = _Judge(scores, fake, groups, calibration)
    draws = bootstrap(judge.figures, fake, groups, seed=seed)
    intervals: dict[str, dict[str, Interval]] = {}
    for part, name in draws:
        if part != BETWEEN and not np.isnan(draws[part, name].value):
            intervals.setdefault(part, {})[name] = judge.interval(part, name, draws)
    return Evaluation(
        images=len(scores),
        threshold=calibration.threshold,
        metrics=intervals[METRICS],
        confusion=_confusion(scores >= calibration.threshold, fake),
        operating={rule: Operating(at, **intervals[rule]) for rule, at in calibration.thresholds.items()},
    )


def auc_intervals(scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> list[Interval]:
    """AUC of each column of scores (N, K), with the intervals of `evaluate`; all columns share the resamples."""
    columns = [Pairs(column, fake) for column in scores.T]

    def aucs(weights: np.ndarray) -> dict[int, np.ndarray]:
        return {number: pairs.auc(weights) for number, pairs in enumerate(columns)}

    return [Interval.of_auc(each) for each in bootstrap(aucs, fake, groups, seed=seed).values()]


def roc(scores: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the ROC curve, from (0, 0) to (1, 1); both classes must be there."""
    false, true = Ranking(scores, fake).counts(np.ones((1, len(scores)))).rates
    return false[0], true[0]


class _Judge:
    """Scores and what validation fixed, ready to be judged in any weighting of the images."""

    def __init__(self, scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, calibration: Calibration) -> None:
        self.ranking = Ranking(scores, fake)
        self.real_groups = len(np.unique(groups[~fake]))
        ordered, fake = self.ranking.scores, self.ranking.fake
        self.plain, self.calibrated = _Forecast(ordered, fake), _Forecast(ordered / calibration.temperature, fake)
        self.columns = {rule: self.ranking.column(threshold) for rule, threshold in calibration.thresholds.items()}
        decided = ~calibration.uncertain(ordered)
        right = (ordered >= calibration.threshold) == fake
        self.band = np.stack([decided, decided & right], axis=1).astype(np.float64)
        called = int((scores >= calibration.threshold).sum())
        self.trials = {
            "accuracy_decided": int(decided.sum()),
            "precision": called,
            "precision_real": len(fake) - called,
        }

    def figures(self, weights: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
        """Of weights (B, N): (METRICS or a rule, name) -> (B,)."""
        ordered = weights[:, self.ranking.order]
        counts = self.ranking.counts_in_order(ordered)
        parts = {rule: counts.at(column) for rule, column in self.columns.items()}
        parts[METRICS] = (
            _ranked(counts)
            | _called(counts, self.columns[DEFAULT_RULE])
            | self.calibrated.figures(ordered)
            | {f"{name}_before": value for name, value in self.plain.figures(ordered).items()}
            | self._decided(ordered)
        )
        if "auc" in parts[METRICS]:
            parts[BETWEEN] = {name: counts.tpr_between(at, self.real_groups) for name, at in FPR_LIMITS.items()}
        return {(part, name): value for part, figures in parts.items() for name, value in figures.items()}

    def interval(self, part: str, name: str, draws: dict[tuple[str, str], Draws]) -> Interval:
        """Of one of the figures."""
        each = draws[part, name]
        if name in FPR_LIMITS:
            return Interval.of_draws(each.value, draws[BETWEEN, name], each.fake)
        if name in ("ap", "ap_real"):  # what the resamples do not show of an AUC they do not show of these
            return Interval.of_rate(each, inflation=auc_inflation(draws[METRICS, "auc"]))
        return interval_of(name, each, trials=self.trials.get(name))

    def _decided(self, ordered: np.ndarray) -> dict[str, np.ndarray]:
        decided, right = (ordered @ self.band).T
        return {"coverage": decided / ordered.sum(axis=1), "accuracy_decided": ratio(right, decided, empty=np.nan)}


class _Forecast:
    """Probabilities of fake from logits (N,), which are sorted from high to low, and so are their bins."""

    def __init__(self, logits: np.ndarray, fake: np.ndarray) -> None:
        self.probability, self.fake = expit(logits), fake.astype(np.float64)
        self.excess = self.probability - self.fake
        self.losses = np.stack([np.logaddexp(0, logits) - self.fake * logits, self.excess**2], axis=1)
        bins = np.minimum((self.probability * BINS).astype(int), BINS - 1)
        self.starts = np.flatnonzero(np.append(True, bins[1:] != bins[:-1]))

    def figures(self, ordered: np.ndarray) -> dict[str, np.ndarray]:
        """Of weights (B, N) in the same order."""
        images = ordered.sum(axis=1)
        log_loss, brier = (ordered @ self.losses).T / images
        excess = np.add.reduceat(ordered * self.excess, self.starts, axis=1)
        return {"log_loss": log_loss, "brier": brier, "ece": np.abs(excess).sum(axis=1) / images}


def _ranked(counts: Counts) -> dict[str, np.ndarray]:
    """Metrics that no threshold enters; nothing of one class."""
    if not (counts.positives.all() and counts.negatives.all()):
        return {}
    return {
        "auc": counts.auc(),
        "ap": counts.average_precision(),
        "ap_real": counts.average_precision_real(),
        "eer": counts.equal_error(),
        **{name: counts.tpr_at(limit) for name, limit in FPR_LIMITS.items()},
    }


def _called(counts: Counts, column: int) -> dict[str, np.ndarray]:
    """Metrics at a threshold, as far as they are defined."""
    at = counts.at(column)
    found = {"accuracy": at["accuracy"]}
    if "tpr" in at:
        found |= {"recall": at["tpr"], "accuracy_fake": at["tpr"]}
    if "fpr" in at:
        found |= {"accuracy_real": 1 - at["fpr"]}
    if "balanced_accuracy" not in at:
        return found
    fp, tp = counts.false[:, column], counts.true[:, column]
    tn, fn = counts.negatives - fp, counts.positives - tp
    return found | {
        "balanced_accuracy": at["balanced_accuracy"],
        "precision": ratio(tp, tp + fp),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "precision_real": ratio(tn, tn + fn),
        "f1_real": 2 * tn / (2 * tn + fp + fn),
    }


def _confusion(called: np.ndarray, fake: np.ndarray) -> list[list[int]]:
    return [[int((~fake & ~called).sum()), int((~fake & called).sum())],
            [int((fake & ~called).sum()), int((fake & called).sum())]]  # fmt: skip
