"""What a figure might have been on other images of the same kind: a stratified bootstrap over groups of images.

Efron 1979 (doi:10.1214/aos/1176344552) with percentile intervals. Groups are drawn with replacement, the real, the
fake and the mixed ones apart; where every image is its own group this is the stratified bootstrap of images.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
FEW = 5  # groups of a class, below which resamples hardly differ and intervals mean nothing
BLOCK = 1_000_000  # weights held at once, so that memory does not grow with the number of resamples
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Draws:
    """A figure, and what it is in each resample: samples (RESAMPLES,) float64, nan where it is undefined."""

    value: float
    samples: np.ndarray

    @property
    def interval(self) -> Interval:
        """Of the resamples that define it."""
        low, high = np.nanpercentile(self.samples, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
        return Interval(self.value, float(low), float(high))

    @property
    def ahead(self) -> float:
        """Of a difference: the share of resamples in which it is above 0, those where it is 0 counted half."""
        return float(np.mean(self.samples > 0) + np.mean(self.samples == 0) / 2)


def bootstrap(
    statistics: Callable[[np.ndarray], dict[Name, np.ndarray]], fake: np.ndarray, groups: np.ndarray, *, seed: int = 0
) -> dict[Name, Draws]:
    """Figures of N images, fake (N,) bool and groups (N,), with what they are in each of RESAMPLES resamples.

    Resamples depend on seed, fake and groups alone, so that figures drawn in two calls belong together.

    Args:
        statistics: weights (B, N) float64, how often each image counts -> name -> (B,).
    """
    points = statistics(np.ones((1, len(fake))))
    blocks = [statistics(weights) for weights in resamples(fake, groups, seed)]
    return {name: Draws(float(point[0]), np.concatenate([block[name] for block in blocks]))
            for name, point in points.items()}  # fmt: skip


def too_few(fake: np.ndarray, groups: np.ndarray) -> bool:
    """Whether a class that is there has so few groups that intervals are too narrow to be believed."""
    return any(len(np.unique(groups[each])) < FEW for each in (fake, ~fake) if each.any())


def resamples(fake: np.ndarray, groups: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """How often each image is drawn: all RESAMPLES in blocks of weights (b, N) float64."""
    rng = np.random.default_rng(seed)
    _, member = np.unique(groups, return_inverse=True)
    strata = _strata(fake, member)
    count = member.max() + 1
    step = max(1, BLOCK // len(fake))
    for start in range(0, RESAMPLES, step):
        block = min(step, RESAMPLES - start)
        drawn = [each[rng.integers(len(each), size=(block, len(each)))] for each in strata]
        cells = np.concatenate(drawn, axis=1) + count * np.arange(block)[:, None]
        times = np.bincount(cells.ravel(), minlength=block * count).reshape(block, count)
        yield times[:, member].astype(np.float64)


def _strata(fake: np.ndarray, member: np.ndarray) -> list[np.ndarray]:
    """Numbers of the groups of real images, of fake ones and of both, as far as there are any."""
    kind = np.zeros(member.max() + 1, int)
    np.bitwise_or.at(kind, member, np.where(fake, 1, 2))
    return [np.flatnonzero(kind == each) for each in np.unique(kind)]
