"""Metrics with bootstrap intervals, from saved scores: everything a detector is judged by, in one sorted pass.

A score is the logit of fake; fake is the positive class. Scores are compared as float64 logits, never as sigmoids,
which saturate.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 4_000_000  # weights held at once, so that memory does not grow with the data set


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """metrics: name -> Interval, as far as the classes present define them.

    confusion: counts at the threshold; rows true real, true fake, columns called real, fake.
    """

    images: int
    threshold: float
    metrics: dict[str, Interval]
    confusion: list[list[int]]


def evaluate(
    scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, *, threshold: float, seed: int = 0
) -> Evaluation:
    """Every metric of scores (N,) against fake (N,) bool, with intervals; of one class alone, only its accuracy.

    The bootstrap (Efron 1979, percentile intervals) draws groups (N,) with replacement, the real, the fake and the
    mixed ones apart; where every image is its own group this is the stratified bootstrap of images.
    """
    ranking = _Ranking(scores, fake, threshold)
    point = ranking.metrics(np.ones((1, len(scores))))
    draws: dict[str, list[np.ndarray]] = {name: [] for name in point}
    for weights in _resamples(fake, groups, seed):
        for name, values in ranking.metrics(weights).items():
            draws[name].append(values)
    intervals = {name: _interval(values[0], np.concatenate(draws[name])) for name, values in point.items()}
    called = scores >= threshold
    confusion = [[int((~fake & ~called).sum()), int((~fake & called).sum())],
                 [int((fake & ~called).sum()), int((fake & called).sum())]]  # fmt: skip
    return Evaluation(len(scores), threshold, {name: intervals[name] for name in _defined(intervals, fake)}, confusion)


def auc_intervals(scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> list[Interval]:
    """AUC of each column of scores (N, K), with the intervals of `evaluate`; all columns share the resamples."""
    return [_interval(*each) for each in zip(*_aucs(scores, fake, groups, seed), strict=True)]


def auc_difference(scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> Interval:
    """By how much the AUC of the second column of scores (N, 2) is above the first's, both on the same resamples."""
    points, draws = _aucs(scores, fake, groups, seed)
    return _interval(points[1] - points[0], draws[1] - draws[0])


def roc(scores: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the ROC curve, from (0, 0) to (1, 1)."""
    false, true = _Ranking(scores, fake, 0.0).counts(np.ones((1, len(scores))))
    return false[0] / false[0, -1], true[0] / true[0, -1]


def _aucs(scores: np.ndarray, fake: np.ndarray, groups: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each column of scores (N, K): (K,), and (K, RESAMPLES) in resamples that all columns share."""
    rankings = [_Ranking(column, fake, 0.0) for column in scores.T]
    draws = [[ranking.auc(weights) for ranking in rankings] for weights in _resamples(fake, groups, seed)]
    points = [ranking.auc(np.ones((1, len(scores))))[0] for ranking in rankings]
    return np.array(points), np.concatenate(draws, axis=1)


class _Ranking:
    """Scores sorted once; any weighting of the images is then a cumulative sum."""

    def __init__(self, scores: np.ndarray, fake: np.ndarray, threshold: float) -> None:
        self.order = np.argsort(-scores, kind="stable")
        self.fake = fake[self.order]
        ordered = scores[self.order]
        self.last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # last of each run of equal scores
        self.called = int((scores >= threshold).sum())  # the first so many are called fake

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted false and true positives at every distinct threshold, from 0 up: (B, U + 1) each."""
        ordered = weights[:, self.order]
        start = np.zeros((len(weights), 1))
        false = np.cumsum(ordered * ~self.fake, axis=1)[:, self.last]
        true = np.cumsum(ordered * self.fake, axis=1)[:, self.last]
        return np.hstack([start, false]), np.hstack([start, true])

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """(B, N) -> (B,)."""
        false, true = self.counts(weights)
        return np.trapezoid(_ratio(true, true[:, -1:]), _ratio(false, false[:, -1:]), axis=1)

    def metrics(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every metric for every weighting (B, N): name -> (B,)."""
        false, true = self.counts(weights)
        negatives, positives = false[:, -1:], true[:, -1:]
        fpr, tpr = _ratio(false, negatives), _ratio(true, positives)
        precisions = _ratio(true, true + false)
        ordered = weights[:, self.order[: self.called]]
        tp = (ordered * self.fake[: self.called]).sum(axis=1)
        fp = ordered.sum(axis=1) - tp
        return {
            "auc": np.trapezoid(tpr, fpr, axis=1),
            "ap": (np.diff(tpr, axis=1) * precisions[:, 1:]).sum(axis=1),
            "eer": _equal_error(fpr, tpr),
            **_at_threshold(tp, fp, positives[:, 0], negatives[:, 0]),
        }


def _defined(names: Iterable[str], fake: np.ndarray) -> list[str]:
    """Metrics that mean something: most compare two classes."""
    if fake.any() and not fake.all():
        return list(names)
    return ["accuracy", "recall", "accuracy_fake"] if fake.all() else ["accuracy", "accuracy_real"]


def _at_threshold(
    tp: np.ndarray, fp: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> dict[str, np.ndarray]:
    recall, specificity = _ratio(tp, positives), 1 - _ratio(fp, negatives)
    precision = _ratio(tp, tp + fp)
    return {
        "accuracy": (tp + negatives - fp) / (positives + negatives),
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": precision,
        "recall": recall,
        "f1": _ratio(2 * precision * recall, precision + recall),
        "accuracy_real": specificity,
        "accuracy_fake": recall,
    }


def _equal_error(fpr: np.ndarray, tpr: np.ndarray) -> np.ndarray:
    """Where the false positive rate equals the miss rate, on the straight line between neighbouring thresholds."""
    gap = fpr + tpr - 1  # rises from -1 to 1
    after = np.argmax(gap >= 0, axis=1)[:, None]
    g0, g1 = np.take_along_axis(gap, after - 1, 1), np.take_along_axis(gap, after, 1)
    f0, f1 = np.take_along_axis(fpr, after - 1, 1), np.take_along_axis(fpr, after, 1)
    return (f0 + (f1 - f0) * (-g0 / (g1 - g0)))[:, 0]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, 0 where there is nothing to count."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)


def _interval(value: float, draws: np.ndarray) -> Interval:
    low, high = np.percentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(value), float(low), float(high))


def _resamples(fake: np.ndarray, groups: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """All RESAMPLES in blocks of weights (b, N)."""
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // len(fake))
    for start in range(0, RESAMPLES, step):
        yield _resampled(rng, fake, groups, min(step, RESAMPLES - start))


def _resampled(rng: np.random.Generator, fake: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """How often each image is drawn in each of `count` resamples: (count, N)."""
    _, member = np.unique(groups, return_inverse=True)
    kind = np.zeros(member.max() + 1, int)
    np.bitwise_or.at(kind, member, np.where(fake, 1, 2))
    weights = np.zeros((count, len(kind)))
    for stratum in np.unique(kind):
        chosen = np.flatnonzero(kind == stratum)
        weights[:, chosen] = rng.multinomial(len(chosen), np.full(len(chosen), 1 / len(chosen)), size=count)
    return weights[:, member]
