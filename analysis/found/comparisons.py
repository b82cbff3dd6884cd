"""Models side by side, always on the same images: a sweep with folds judges more of them than one without.

Whether one model is really better than another, and what fine-tuning brought.
"""

from dataclasses import dataclass

import numpy as np

from analysis.found.models import Model
from analysis.judge.bootstrap import too_few
from analysis.judge.differences import Lead, accuracy_lead, auc_lead, joined
from analysis.judge.intervals import Interval


@dataclass(frozen=True)
class Comparison:
    """Two runs on the images of a split (test or val) that both scored; auc is None where those are of one class.

    accuracy: of each at its own threshold, which its validation data fixed. too_few: groups for any verdict.
    """

    first: str
    second: str
    split: str
    images: int
    auc: Lead | None
    accuracy: Lead
    too_few: bool


def against_the_first(models: list[Model]) -> list[Comparison]:
    """The first with each other one, on the test images that both scored, or validation images where one has no test.

    Each interval stands for its own pair. Validation images flatter the first, which was chosen by them. Pairs that
    have no image in common are left out.
    """
    found = [_comparison(models[0], other) for other in models[1:]]
    return [each for each in found if each]


def auc_gain(before: Model, after: Model) -> Interval | None:
    """How far the test AUC of `after` is above that of `before`, on the images that both scored.

    None where those are of one class. Both must have been scored on the test split.
    """
    pair = joined(after.predictions("test"), before.predictions("test"))
    return auc_lead(pair).difference if pair.two_classes else None


def _comparison(first: Model, second: Model) -> Comparison | None:
    both = (first, second)
    split = "test" if all(model.test for model in both) else "val"
    pair = joined(*(model.predictions(split) for model in both))
    if not len(pair.fake):
        return None
    auc = auc_lead(pair) if pair.two_classes else None
    accuracy = accuracy_lead(pair, np.array([model.calibration.threshold for model in both]))
    few = too_few(pair.fake, pair.groups)
    return Comparison(first.run, second.run, split, len(pair.fake), auc, accuracy, few)
