"""95 % intervals of figures, from what they are in the resamples of `bootstrap`.

The spread of the resamples says how far a figure is known, its bounds say what shape its interval has:

    of_proportion    images called rightly, of so many         Clopper-Pearson with mid-P
    of_rate          any figure from 0 to 1, such as an AUC    Student's t of the logit
    of_errors        such as the equal error rate              Clopper-Pearson again, of as many as the spread is worth
    of_draws         read off a curve at an uncertain place    percentiles of resamples, in which the place moves too
    of_amount        at least 0, such as a log loss            Student's t of the logarithm
    of_mean          any number                                Student's t
    of_areas         a mean of AUCs without their scores       normal on the logit, of what normal scores would give
    of_difference    of two figures of the same images         Student's t, and what their own intervals allow

`metrics` says which of them a figure has. They are made here and not by scipy.stats.bootstrap, because images come in
groups and classes, and resamples are weights: scipy knows neither.

Percentiles of the resamples, which are usual, claim certainty where few errors were seen: of 150 images of a class
with a true accuracy of .99 they cover it in 73 of 100 cases where 95 are claimed. How often these intervals cover the
truth, from AUC .5 to .9998, from 50 to 1 000 images and from 5 to 100 groups of a class: tests/bench/INTERVALS.md, made
by `python -m tests.bench.intervals`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc, expit, logit, ndtri, owens_t, stdtrit

from analysis.judge.bootstrap import Draws, Units

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
NORMAL = float(ndtri(1 - TAIL))
NEAR = 1e-12  # of 0 and 1; a bound closer to them is them


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of_proportion(cls, draws: Draws, over: Units, *, trials: float | None = None) -> "Interval":
        """The share of `trials` images of `over` (default: all) for which something holds.

        Lancaster's mid-P version of Clopper and Pearson (1961, doi:10.1080/01621459.1961.10482105). Images of a group
        are worth fewer trials, as many as give the spread of the resamples (Korn and Graubard 1998, Survey Methodology
        24), never more than there are; where no spread is seen, one a group.
        """
        trials = over.images if trials is None else trials
        if over.alone:
            return cls._binomial(draws.value, trials)
        groups = trials * over.groups / over.images
        return cls._binomial(draws.value, min(trials, _worth(draws.value, _variance(draws, over), over, seen=groups)))

    @classmethod
    def of_rate(cls, draws: Draws, *, inflation: float = 1.0) -> "Interval":
        """Any figure from 0 to 1 in which both classes count: Student's t on the scale of logits.

        At 0 and 1, and where the resamples do not move, it is a proportion of the groups instead.

        inflation: factor of the variance that the resamples show.
        """
        over, variance = _both(draws), inflation * _variance(draws, _both(draws))
        if not variance or not 0 < draws.value < 1:
            classes = bool(draws.real.images) + bool(draws.fake.images)
            return cls._binomial(draws.value, classes * over.groups)
        reach = _student(over.groups - 1) * variance**0.5 / (draws.value * (1 - draws.value))
        low, high = (float(expit(logit(draws.value) + sign * reach)) for sign in (-1, 1))
        return cls(draws.value, low, high)

    @classmethod
    def of_auc(cls, draws: Draws) -> "Interval":
        """A rate whose spread is never believed to be below that of two normal distributions with this area."""
        return cls.of_rate(draws, inflation=auc_inflation(draws))

    @classmethod
    def of_errors(cls, draws: Draws) -> "Interval":
        """A share of errors in both classes, of which there may be a handful: a proportion of what its spread says."""
        over = _both(draws)
        return cls._binomial(draws.value, _worth(draws.value, _variance(draws, over), over, seen=2 * over.groups))

    @classmethod
    def of_draws(cls, draws: Draws, between: Draws) -> "Interval":
        """A share of the fake images at a place that is itself uncertain: percentiles of `between`, its draws with that
        of the place.

        At least as wide as that of a proportion at a known place.
        """
        known = cls._binomial(draws.value, draws.fake.groups)
        low, high = np.nanquantile(between.samples, [TAIL, 1 - TAIL])
        return cls(draws.value, min(float(low), known.low), max(float(high), known.high))

    @classmethod
    def of_amount(cls, draws: Draws) -> "Interval":
        """A figure of at least 0 that has no upper bound."""
        if draws.value <= 0:
            return cls(draws.value, draws.value, draws.value)
        factor = np.exp(_reach(draws, _both(draws)) / draws.value)
        return cls(draws.value, draws.value / factor, draws.value * factor)

    @classmethod
    def of_mean(cls, draws: Draws) -> "Interval":
        reach = _reach(draws, draws.all)
        return cls(draws.value, draws.value - reach, draws.value + reach)

    @classmethod
    def of_areas(cls, areas: Sequence[tuple[float, int, int]]) -> "Interval":
        """The mean of AUCs of different images whose scores are not at hand, each with its real and its fake images.

        The variance is that of `auc_inflation`; images stand for themselves, not for their groups.
        """
        value = float(np.mean([auc for auc, _, _ in areas]))
        variance = sum(_binormal_variance(_inside(*each), *each[1:]) for each in areas) / len(areas) ** 2
        middle = _inside(value, min(real for _, real, _ in areas), min(fake for _, _, fake in areas))
        reach = NORMAL * variance**0.5 / (middle * (1 - middle))
        low, high = (float(expit(logit(middle) + sign * reach)) for sign in (-1, 1))
        return cls(value, min(low, value), max(high, value))

    @classmethod
    def of_difference(cls, first: Draws, second: Draws, interval: Callable[[Draws], "Interval"]) -> "Interval":
        """first - second of the same images; interval: of each alone.

        Towards zero, where it is decided which of the two is better, Student's t with the spread of the paired
        resamples. Away from it at least as far as the two intervals and their correlation over the resamples allow
        (Zou and Donner 2008, doi:10.1002/sim.3095): few images that differ show too little spread.
        """
        apart, one, two = first.minus(second), interval(first), interval(second)
        reach, correlation = _reach(apart, _both(apart)), _correlation(first, second)
        low, high = apart.value - reach, apart.value + reach
        if apart.value <= 0:
            low = min(low, apart.value - _together(one.value - one.low, two.high - two.value, correlation))
        if apart.value >= 0:
            high = max(high, apart.value + _together(one.high - one.value, two.value - two.low, correlation))
        return cls(apart.value, low, high)

    @classmethod
    def _binomial(cls, value: float, trials: float) -> "Interval":
        """The interval of value * trials successes in so many trials; neither of them need be whole."""
        won, lost = value * trials, (1 - value) * trials

        def at_least(p: float) -> float:
            """How likely as many successes are, half of the likelihood of just as many counted."""
            return (_beta(won, lost + 1, p) + _beta(won + 1, lost, p)) / 2

        low, high = (_root(lambda p, share=share: at_least(p) - share) for share in (TAIL, 1 - TAIL))
        return cls(value, min(low, value), max(high, value))


def auc_inflation(draws: Draws) -> float:
    """By what the variance of an AUC's resamples is too small, at least 1.

    Where few pairs of images are in the wrong order the resamples show little of what could have been. The variance of
    the area under two normal distributions of equal width is exact in terms of the area itself (Bamber 1975,
    doi:10.1016/0022-2496(75)90001-2).
    """
    variance = _variance(draws, _both(draws))
    if not variance or not 0 < draws.value < 1:
        return 1.0
    return max(1.0, _binormal_variance(draws.value, draws.real.images, draws.fake.images) / variance)


def _binormal_variance(auc: float, real: int, fake: int) -> float:
    apart = ndtri(auc)
    two_above_one = auc - 2 * owens_t(apart, 3**-0.5)  # two fake images above the same real one, or the reverse
    return (auc * (1 - auc) + (real + fake - 2) * (two_above_one - auc**2)) / (real * fake)


def _inside(auc: float, real: int, fake: int) -> float:
    """An AUC at least half a pair of images away from 0 and 1."""
    least = 0.5 / (real * fake)
    return min(max(auc, least), 1 - least)


def _worth(value: float, variance: float, over: Units, *, seen: float) -> float:
    """How many independent trials have this variance; `seen`, where there is none or nothing but successes."""
    if not variance or not 0 < value < 1:
        return seen
    return (NORMAL / _student(over.groups - 1)) ** 2 * value * (1 - value) / variance


def _variance(draws: Draws, over: Units) -> float:
    """The variance of the figure: the resamples' is smaller by (n - 1) / (n + 1) for n groups."""
    n = over.groups
    return float(np.nanvar(draws.samples)) * (n + 1) / (n - 1) if n > 1 else 0.0


def _reach(draws: Draws, over: Units) -> float:
    return _student(over.groups - 1) * _variance(draws, over) ** 0.5


def _student(degrees: float) -> float:
    return float(stdtrit(max(1.0, degrees), 1 - TAIL))


def _both(draws: Draws) -> Units:
    """What counts for a figure of both classes: of the smaller one there are too few for the larger one to help."""
    there = [each for each in (draws.real, draws.fake) if each.images]
    return min(there, key=lambda each: each.groups)


def _correlation(first: Draws, second: Draws) -> float:
    """The correlation of two figures over their resamples, 0 where one of them does not move."""
    if not np.ptp(first.samples) or not np.ptp(second.samples):
        return 0.0
    return float(np.corrcoef(first.samples, second.samples)[0, 1])


def _together(one: float, other: float, correlation: float) -> float:
    """How far a difference reaches whose parts reach so far."""
    return max(0.0, one**2 + other**2 - 2 * correlation * one * other) ** 0.5


def _beta(a: float, b: float, p: float) -> float:
    """The regularised incomplete beta function, with its limits for a = 0 and b = 0."""
    return 1.0 if a <= 0 else 0.0 if b <= 0 else float(betainc(a, b, p))


def _root(rising: Callable[[float], float]) -> float:
    """Where a function that rises over [0, 1] is zero; the end that it does not cross."""
    if rising(NEAR) >= 0:
        return 0.0
    return 1.0 if rising(1 - NEAR) <= 0 else float(brentq(rising, NEAR, 1 - NEAR, xtol=1e-10))
