"""How many real images a threshold calls fake, and how many it may call fake in the long run: what a verdict is worth.

The bound is Clopper and Pearson's (1934, doi:10.1093/biomet/26.4.404), exact and one-sided: where so few alarms were
seen, a rate above it has at most 5 % probability. With none among n images it is 1 - .05 ** (1 / n), about 3 / n (the
rule of three): to sign 1 % takes about 300 real images without an alarm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from analysis.judge.intervals import LEVEL
from heads.predictions import Predictions


@dataclass(frozen=True)
class FalseAlarms:
    """At one threshold, of the real images of one split.

    alarms: real images called fake, of so many reals in so many groups. at_most: the upper 95 % bound of their share
    among other such images. chosen_by: whether the split's own scores fixed the threshold or chose the model, so that
    it flatters.
    """

    split: str
    alarms: int
    reals: int
    groups: int
    at_most: float
    chosen_by: bool

    @property
    def words(self) -> str:
        """What was seen, and what follows."""
        split = "validation" if self.split == "val" else self.split
        seen = f"{self.alarms} of {self.reals} real {split} images called fake, so at most {percent(self.at_most)}"
        grouped = f"; {self.groups} groups, each counted once" if self.groups < self.reals else ""
        flatters = ", flattered because they chose model and threshold" if self.chosen_by else ""
        return f"{seen} of others like them (95 % bound{flatters}{grouped})"


def false_alarms(found: Predictions | None, threshold: float, *, split: str) -> FalseAlarms | None:
    """Of the real images of a split; None where none were scored."""
    if found is None or found.fake.all():
        return None
    called, groups = found.scores[~found.fake] >= threshold, len(np.unique(found.groups[~found.fake]))
    reals, alarms = len(called), int(called.sum())
    return FalseAlarms(split, alarms, reals, groups, upper_bound(alarms, reals, groups=groups), split != "test")


def of_splits(scored: Mapping[str, Predictions | None], threshold: float) -> dict[str, FalseAlarms]:
    """By split, as far as real images of it were scored; scored: split -> its predictions."""
    found = {split: false_alarms(each, threshold, split=split) for split, each in scored.items()}
    return {split: each for split, each in found.items() if each}


def upper_bound(alarms: int, reals: int, *, groups: int) -> float:
    """The one-sided upper LEVEL bound of a share. Images of a group may all be wrong together: a group is one trial."""
    seen = alarms * groups / reals
    return 1.0 if alarms == reals else float(betaincinv(seen + 1, groups - seen, LEVEL))


def error_free_needed(share: float) -> int:
    """How many real images without an alarm sign that at most `share` are called fake."""
    return math.ceil(math.log(1 - LEVEL) / math.log1p(-share))


def percent(share: float) -> str:
    """.0181 -> 1.8 %; rounded upwards, as a bound is."""
    return f"{math.ceil(1000 * share - 1e-9) / 10:.1f} %"
