"""Very many images in a few thousand parts of one class and nearly one score, for their intervals.

A figure of two million images is computed from each of them. How far it is known is not: a thousand weightings of all
would take an hour and say the same as the weight of each part. What n groups of one image weigh together, which all lie
in the same part, is one draw of a gamma distribution, exactly; that scores within a part are taken as equal is lost in
the randomness of a thousand resamples (tests/test_evaluate.py holds one against the other).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from analysis.judge.bootstrap import Figures, group_weights
from analysis.judge.ranking import Pairs

CELLS = 4096  # with equally many images
STEPS = 1024  # and of equal width, for the few images far from all others, which a log loss depends on
RANKS = 512  # with equally many images, where order alone counts: fewer, because several models multiply them


@dataclass(frozen=True)
class Parts:
    """member (N,): the part that each image is in. scores, fake (P,): of the parts; a score is the lowest in it."""

    member: np.ndarray
    scores: np.ndarray
    fake: np.ndarray

    @classmethod
    def by_score(cls, scores: np.ndarray, fake: np.ndarray, at: Sequence[float] = ()) -> "Parts":
        """at: scores that part images, such as thresholds; an image at one lies above it."""
        steps = np.linspace(scores.min(), scores.max(), STEPS)
        return cls._between([*_evenly(scores, CELLS), *steps, *at], scores, fake)

    @classmethod
    def by_rank(cls, scores: np.ndarray, fake: np.ndarray) -> "Parts":
        """For figures that only the order of scores counts for."""
        return cls._between(_evenly(scores, RANKS), scores, fake)

    @classmethod
    def _between(cls, edges: Sequence[float], scores: np.ndarray, fake: np.ndarray) -> "Parts":
        edges, ordered = np.unique(edges), np.sort(scores)
        lowest = ordered[np.minimum(np.searchsorted(ordered, edges), len(ordered) - 1)]  # at or above each edge
        found, member = np.unique(2 * np.searchsorted(edges, scores, side="right") + fake, return_inverse=True)
        return cls(member, lowest[found // 2 - 1], found % 2 == 1)


@dataclass(frozen=True)
class Coarse:
    """The same images by each of several models, in parts of each.

    statistics: what the parts of all weigh (B, P), those of the first model first -> name -> (B,).
    """

    parts: Sequence[Parts]
    statistics: Callable[[np.ndarray], Figures]

    def resamples(self, fake: np.ndarray, groups: np.ndarray, seed: int) -> Iterator[np.ndarray]:
        """What each part weighs: all resamples in blocks (b, P) float64."""
        kind, count = self._alike(groups)
        shares = self._shares(kind, count)
        for weights in group_weights(fake, kind, count, seed, widest=sum(shares.shape)):
            yield np.ascontiguousarray((shares @ weights.T).T)

    def _alike(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each image the kind of its group (N,), and how many groups are of each kind (K,).

        Groups of one image that lie in the same parts are of one kind; every other group is a kind by itself.
        """
        group = pd.factorize(groups)[0]
        alone = np.bincount(group)[group] == 1
        together = self.parts[0].member
        for each in self.parts[1:]:
            together = np.unique(together * len(each.scores) + each.member, return_inverse=True)[1]
        kind = np.unique(np.where(alone, together, together.max() + 1 + group), return_inverse=True)[1]
        count = np.ones(kind.max() + 1, int)
        count[kind[alone]] = np.bincount(kind)[kind[alone]]
        return kind, count

    def _shares(self, kind: np.ndarray, count: np.ndarray) -> csr_array:
        """(P, K): how many images of one group of each kind lie in each part."""
        ends = np.cumsum([0, *(len(each.scores) for each in self.parts)])
        rows = np.concatenate([each.member + start for each, start in zip(self.parts, ends[:-1], strict=True)])
        columns = np.tile(kind, len(self.parts))
        return csr_array((1 / count[columns], (rows, columns)), shape=(ends[-1], len(count)))


def _evenly(scores: np.ndarray, count: int) -> np.ndarray:
    """The lowest score, and so many others with equally many scores between them."""
    return np.sort(scores)[np.linspace(0, len(scores) - 1, count + 1).astype(int)]


def aucs(columns: Sequence[np.ndarray], fake: np.ndarray) -> Callable[[np.ndarray], dict[int, np.ndarray]]:
    """A statistic: the AUC of each model's scores (N,), by its number."""
    pairs = [Pairs(scores, fake) for scores in columns]
    return lambda weights: {number: each.auc(weights) for number, each in enumerate(pairs)}


def coarse_aucs(columns: Sequence[np.ndarray], fake: np.ndarray) -> Coarse:
    """The same of parts of the images."""
    parts = [Parts.by_rank(scores, fake) for scores in columns]
    pairs = [Pairs(each.scores, each.fake) for each in parts]
    ends = np.cumsum([len(each.scores) for each in parts])[:-1]

    def statistics(weights: np.ndarray) -> dict[int, np.ndarray]:
        split = zip(pairs, np.split(weights, ends, axis=1), strict=True)
        return {number: each.auc(own) for number, (each, own) in enumerate(split)}

    return Coarse(parts, statistics)
