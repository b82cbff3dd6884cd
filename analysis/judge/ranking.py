"""Scores sorted once: what they are worth in any weighting of the images is then a cumulative sum.

Scores are compared as float64 logits of fake, never as sigmoids, which saturate. Fake is the positive class.

scikit-learn's metrics sort the scores anew for each weighting, a thousand times for one interval; here they are sorted
once.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Called:
    """What one threshold makes of the images, in B weightings: four weights (B,), and figures (B,) made of them.

    false, true: real and fake images called fake. negatives, positives: all real and all fake ones. A rate of a class
    that has no weight is no number.
    """

    false: np.ndarray
    true: np.ndarray
    negatives: np.ndarray
    positives: np.ndarray

    @property
    def fake(self) -> np.ndarray:
        """What is called fake."""
        return self.true + self.false

    @property
    def real(self) -> np.ndarray:
        """What is called real."""
        return self.spared + self.missed

    @property
    def spared(self) -> np.ndarray:
        """Real ones called real."""
        return self.negatives - self.false

    @property
    def missed(self) -> np.ndarray:
        """Fake ones called real."""
        return self.positives - self.true

    @property
    def accuracy(self) -> np.ndarray:
        return (self.true + self.negatives - self.false) / (self.positives + self.negatives)

    @property
    def tpr(self) -> np.ndarray:
        """The share of the fake ones that is found."""
        return self.true / self.positives

    @property
    def fpr(self) -> np.ndarray:
        """The share of the real ones that is called fake."""
        return self.false / self.negatives

    @property
    def balanced_accuracy(self) -> np.ndarray:
        return (self.tpr + 1 - self.fpr) / 2

    @property
    def precision(self) -> np.ndarray:
        """The share of fake ones among what is called fake, 0 where nothing is."""
        return ratio(self.true, self.fake)

    @property
    def f1(self) -> np.ndarray:
        return 2 * self.true / (2 * self.true + self.false + self.missed)

    @property
    def precision_real(self) -> np.ndarray:
        """The share of real ones among what is called real, 0 where nothing is."""
        return ratio(self.spared, self.real)

    @property
    def f1_real(self) -> np.ndarray:
        return 2 * self.spared / (2 * self.spared + self.false + self.missed)


@dataclass(frozen=True)
class Counts:
    """Weighted images called fake at every distinct threshold, from the one that calls none to the one that calls all.

    false, true: real and fake ones among them (B, U + 1), for each of B weightings. Sums of whole weights are exact.
    """

    false: np.ndarray
    true: np.ndarray

    @property
    def negatives(self) -> np.ndarray:
        """(B,)."""
        return self.false[:, -1]

    @property
    def positives(self) -> np.ndarray:
        """(B,)."""
        return self.true[:, -1]

    @property
    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates (B, U + 1); both classes must have weight."""
        return self.false / self.negatives[:, None], self.true / self.positives[:, None]

    def at(self, column: int) -> "Called":
        """What the threshold of a column makes of the images."""
        return Called(self.false[:, column], self.true[:, column], self.negatives, self.positives)

    def auc(self) -> np.ndarray:
        """(B,): area under the ROC curve, the share of pairs of a real and a fake image in order, ties counted half."""
        pairs = np.einsum("bu,bu->b", np.diff(self.false), self.true[:, 1:] + self.true[:, :-1]) / 2
        return pairs / (self.negatives * self.positives)

    def average_precision(self) -> np.ndarray:
        """(B,): mean precision over the fake images found, without interpolation."""
        precision = ratio(self.true, self.true + self.false)[:, 1:]
        return np.einsum("bu,bu->b", np.diff(self.true), precision) / self.positives

    def average_precision_real(self) -> np.ndarray:
        """(B,): the same with real as the positive class and scores turned round."""
        real, fake = self.negatives[:, None] - self.false, self.positives[:, None] - self.true
        precision = ratio(real, real + fake)[:, :-1]
        return np.einsum("bu,bu->b", np.diff(self.false), precision) / self.negatives

    def equal_error(self) -> np.ndarray:
        """(B,): where false positive rate and miss rate are equal, on the line between neighbouring thresholds."""
        fpr, tpr = self.rates
        gap = fpr + tpr - 1  # rises from -1 to 1
        after = np.argmax(gap >= 0, axis=1)[:, None]
        g0, g1 = np.take_along_axis(gap, after - 1, 1), np.take_along_axis(gap, after, 1)
        f0, f1 = np.take_along_axis(fpr, after - 1, 1), np.take_along_axis(fpr, after, 1)
        return (f0 + (f1 - f0) * (-g0 / (g1 - g0)))[:, 0]

    def tpr_at(self, limit: float) -> np.ndarray:
        """(B,): the largest true positive rate whose false positive rate is at most `limit`; no interpolation."""
        fpr, tpr = self.rates
        last = (fpr <= limit).sum(axis=1)[:, None] - 1
        return np.take_along_axis(tpr, last, 1)[:, 0]

    def tpr_between(self, limit: float, groups: int) -> np.ndarray:
        """(B,): the true positive rate at a false positive rate of `limit`, where both are taken for what they are in
        all images and not in these.

        Of n groups of real images so many parts of all lie between their scores, above the highest and below the
        lowest: n + 1 gaps, which random weights make as unlike as they are. Within a gap the rate is read off the
        chord, and a curve that is no worse than chance anywhere lies above it.
        """
        found = (np.diff(self.false) > 0).any(axis=0)  # the places of real images
        both = self.false / (self.negatives * (1 + 1 / groups))[:, None], self.true / self.positives[:, None]
        fpr, tpr = (np.pad(each[:, 1:][:, found], ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))) for each in both)
        before = (fpr <= limit).sum(axis=1)[:, None] - 1
        (f0, f1), (t0, t1) = ([np.take_along_axis(each, before + step, 1) for step in (0, 1)] for each in (fpr, tpr))
        return (t0 + (t1 - t0) * (limit - f0) / (f1 - f0))[:, 0]


class Ranking:
    """order (N,): images from the highest score to the lowest; scores and fake are in this order."""

    def __init__(self, scores: np.ndarray, fake: np.ndarray) -> None:
        self.order = np.argsort(-scores, kind="stable")
        self.scores, self.fake = scores[self.order], fake[self.order]
        self._last = np.flatnonzero(np.append(self.scores[1:] != self.scores[:-1], True))  # of each run of equals
        self._ones = self.fake.astype(np.float64)

    def counts(self, weights: np.ndarray) -> Counts:
        """In weightings (B, N) that are in the order of the scores that were given."""
        return self.counts_in_order(weights[:, self.order])

    def counts_in_order(self, weights: np.ndarray) -> Counts:
        """In weightings (B, N) that are sorted as `order` says."""
        called = np.cumsum(weights, axis=1)[:, self._last]
        true = np.cumsum(weights * self._ones, axis=1)[:, self._last]
        start = np.zeros((len(weights), 1))
        return Counts(np.hstack([start, called - true]), np.hstack([start, true]))

    def column(self, threshold: float) -> int:
        """The column of `Counts` at which scores at or above the threshold are called fake."""
        return int((self.scores[self._last] >= threshold).sum())


class Pairs:
    """Every pair of a real and a fake image: the area under the ROC curve alone, in a third of the time of `Counts`."""

    def __init__(self, scores: np.ndarray, fake: np.ndarray) -> None:
        fakes, self._reals = np.flatnonzero(fake), np.flatnonzero(~fake)
        self._fakes = fakes[np.argsort(scores[fakes], kind="stable")]
        sides = (np.searchsorted(scores[self._fakes], scores[self._reals], side) for side in ("left", "right"))
        self._below, self._upto = sides  # fake images scored lower than each real one, and lower or the same

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """(B, N) -> (B,), the same as `Counts.auc`; both classes must have weight."""
        reals, fakes = weights[:, self._reals], np.zeros((len(weights), len(self._fakes) + 1))
        np.cumsum(weights[:, self._fakes], axis=1, out=fakes[:, 1:])
        wrong = np.einsum("br,br->b", reals, fakes[:, self._below] + fakes[:, self._upto]) / 2
        pairs = reals.sum(axis=1) * fakes[:, -1]
        return (pairs - wrong) / pairs


class Verdicts:
    """What a threshold makes of scores (N,), and their AUC: all that parts of a data set are judged by."""

    def __init__(self, scores: np.ndarray, fake: np.ndarray, threshold: float) -> None:
        right = (scores >= threshold) == fake
        self._columns = np.stack([right & ~fake, right & fake, ~fake, fake], axis=1).astype(np.float64)
        self._pairs = Pairs(scores, fake) if fake.any() and not fake.all() else None

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """(B, N) -> accuracy, accuracy_real, accuracy_fake, auc (B,), as far as the classes define them."""
        right_real, right_fake, real, fake = (weights @ self._columns).T
        found = {"accuracy": (right_real + right_fake) / (real + fake)}
        if real.all():
            found["accuracy_real"] = right_real / real
        if fake.all():
            found["accuracy_fake"] = right_fake / fake
        if self._pairs:
            found["auc"] = self._pairs.auc(weights)
        return found


def ratio(above: np.ndarray, below: np.ndarray, *, empty: float = 0.0) -> np.ndarray:
    """above / below, and `empty` where there is nothing to count."""
    shape = np.broadcast(above, below).shape
    return np.divide(above, below, out=np.full(shape, empty), where=below > 0)
