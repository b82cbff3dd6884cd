"""What a figure might have been on other images of the same kind: a Bayesian bootstrap over groups of images.

Rubin 1981 (doi:10.1214/aos/1176345338). Groups get exponential weights, the real, the fake and the mixed ones apart,
in place of the whole numbers of Efron's bootstrap: no class is ever missing from a resample, and figures that step
from image to image, such as error rates on the ROC curve, move smoothly. `intervals` makes intervals of the draws.

scipy.stats.bootstrap draws single observations and calls a function of the redrawn data for each resample; here whole
groups are drawn by class, and a figure is computed for a block of weightings at once. Of more than MANY images the
resamples weigh parts (`parts`), so that their time grows with the groups of several images and no more.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from data.probing import cores

if TYPE_CHECKING:
    from analysis.judge.score_parts import Coarse

RESAMPLES = 1000
FEWEST_GROUPS = 5  # of a class; of fewer no interval is to be believed (tests/bench/intervals.py)
BLOCK = 1_000_000  # weights held at once, so that memory does not grow with the number of resamples
MANY = 50_000  # images, beyond which parts of them are weighed
THREADS = 4  # at most: each needs a dozen times the memory of a block
Name = TypeVar("Name", bound=Hashable)
Figures = dict[Name, np.ndarray]


@dataclass(frozen=True)
class Units:
    """Images, and groups of images that were drawn independently. Mixed groups count for both classes."""

    images: int
    groups: int

    @property
    def alone(self) -> bool:
        """Whether every image is its own group."""
        return self.images == self.groups

    @classmethod
    def of(cls, groups: np.ndarray) -> "Units":
        return cls(len(groups), len(pd.unique(groups)))


@dataclass(frozen=True)
class Draws:
    """A figure, and what it is in each resample: samples (RESAMPLES,) float64, nan where it is undefined.

    real, fake, all: what was resampled.
    """

    value: float
    samples: np.ndarray
    real: Units
    fake: Units
    all: Units

    def minus(self, other: "Draws") -> "Draws":
        """Their difference; both must be of the same images."""
        return replace(self, value=self.value - other.value, samples=self.samples - other.samples)

    @property
    def ahead(self) -> float:
        """For a difference: the share of resamples in which it is above 0, those where it is 0 counted half."""
        return float(np.mean(self.samples > 0) + np.mean(self.samples == 0) / 2)


def bootstrap(
    statistics: Callable[[np.ndarray], dict[Name, np.ndarray]], fake: np.ndarray, groups: np.ndarray, *, seed: int = 0,
    coarse: "Callable[[], Coarse] | None" = None,
) -> dict[Name, Draws]:  # fmt: skip
    """Figures of N images, fake (N,) bool and groups (N,), with what they are in each of RESAMPLES resamples.

    Resamples depend on seed, fake and groups alone, so that figures drawn in two calls belong together.

    Args:
        statistics: weights (B, N) float64, how much each image counts -> name -> (B,).
        coarse: gives the same figures of parts of the images, which are used if there are more than MANY.
    """
    points = statistics(np.ones((1, len(fake))))
    if coarse and len(fake) > MANY:
        rough = coarse()
        blocks = list(_in_threads(rough.statistics, rough.resamples(fake, groups, seed)))
    else:
        blocks = list(_in_threads(statistics, resamples(fake, groups, seed)))
    units = {"real": Units.of(groups[~fake]), "fake": Units.of(groups[fake]), "all": Units.of(groups)}
    return {name: Draws(float(point[0]), np.concatenate([block[name] for block in blocks]), **units)
            for name, point in points.items()}  # fmt: skip


def _in_threads(statistics: Callable[[np.ndarray], Figures], blocks: Iterator[np.ndarray]) -> Iterator[Figures]:
    """The figures of each block, in their order. NumPy works on several at once; they are drawn one behind another."""
    at_once = min(cores(), THREADS)
    with ThreadPoolExecutor(at_once) as pool:
        waiting: deque[Future[Figures]] = deque()
        for weights in blocks:
            waiting.append(pool.submit(statistics, weights))
            if len(waiting) > at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def too_few(fake: np.ndarray, groups: np.ndarray) -> bool:
    """Whether a class that is there has so few groups that no interval is to be believed."""
    return any(Units.of(groups[each]).groups < FEWEST_GROUPS for each in (fake, ~fake) if each.any())


def resamples(fake: np.ndarray, groups: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """How much each image counts: all RESAMPLES in blocks of weights (b, N) float64, whose mean over a stratum is 1."""
    _, member = np.unique(groups, return_inverse=True)
    for weights in group_weights(fake, member, np.ones(member.max() + 1, int), seed, widest=len(fake)):
        yield weights[:, member]


def group_weights(fake: np.ndarray, member: np.ndarray, count: np.ndarray, seed: int, *,
                  widest: int) -> Iterator[np.ndarray]:  # fmt: skip
    """What groups weigh: all RESAMPLES in blocks (b, K) float64, whose mean over the groups of a stratum is 1.

    Args:
        fake: (N,) bool. member: (N,) the column of each image's group, or of all groups that are taken together.
        count: (K,) how many these are; together they weigh a gamma variate. widest: numbers in a row of what is made of
            a block, so that memory does not grow with it.
    """
    rng = np.random.default_rng(seed)
    strata = _strata(fake, member)
    step = max(1, BLOCK // widest)
    for start in range(0, RESAMPLES, step):
        weights = np.empty((min(step, RESAMPLES - start), len(count)))
        for each in strata:
            shape = (len(weights), len(each))
            many = (count[each] > 1).any()  # one alone weighs an exponential variate, which is drawn faster
            drawn = rng.standard_gamma(count[each], size=shape) if many else rng.exponential(size=shape)
            weights[:, each] = drawn / (drawn.sum(axis=1, keepdims=True) / count[each].sum())
        yield weights


def _strata(fake: np.ndarray, member: np.ndarray) -> list[np.ndarray]:
    """Numbers of the groups of real images, of fake ones and of both, as far as there are any."""
    kind = np.zeros(member.max() + 1, int)
    np.bitwise_or.at(kind, member, np.where(fake, 1, 2))
    return [np.flatnonzero(kind == each) for each in np.unique(kind)]
