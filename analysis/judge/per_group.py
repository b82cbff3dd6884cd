"""Images that belong together, such as the frames of a video or the pictures of a person, judged as one.

A group's score is the mean of its images' scores, logits of fake. Its threshold, temperature and band are fixed on the
means of validation groups, as `calibrate` fixes those of images: the mean of many scores varies less than one of them,
so that the threshold of images would be another rule. An image without a group is a group of its own. A group with
images of both classes has no label and is left out.
"""

from dataclasses import dataclass

import numpy as np

from analysis.judge.calibrate import Calibration, calibrate
from analysis.judge.evaluate import Evaluation, evaluate
from heads.predictions import Predictions


@dataclass(frozen=True)
class Groups:
    """names (G,) text, scores (G,) float64: means of logits of fake, fake (G,) bool, images (G,) int64: how many.

    mixed: how many more there are with images of both classes.
    """

    names: np.ndarray
    scores: np.ndarray
    fake: np.ndarray
    images: np.ndarray
    mixed: int

    @property
    def two_classes(self) -> bool:
        return bool(self.fake.any() and not self.fake.all())


@dataclass(frozen=True)
class GroupFigures:
    """What groups are judged by. images: in all of them; mixed: as of `Groups`."""

    groups: int
    images: int
    mixed: int
    evaluation: Evaluation


@dataclass(frozen=True)
class ByGroup:
    """A model on groups. calibration: of validation groups. val, test: None where none were scored."""

    calibration: Calibration
    val: GroupFigures
    test: GroupFigures | None

    @property
    def shown(self) -> GroupFigures:
        """Those of the test split, or of validation where there is none."""
        return self.test or self.val


def has_groups(found: Predictions | None) -> bool:
    """Whether some of the images belong together, other than as copies of one file, which by default are a group."""
    if found is None or not len(found.groups):
        return False
    given = found.groups != found.digests if len(found.digests) else np.ones(len(found.groups), bool)
    return len(np.unique(found.groups[given])) < given.sum()


def grouped(found: Predictions) -> Groups:
    """The groups of N scored images, by name."""
    names, member = np.unique(found.groups.astype(str), return_inverse=True)
    images = np.bincount(member, minlength=len(names))
    fakes = np.bincount(member, weights=found.fake, minlength=len(names))
    scores = np.bincount(member, weights=found.scores, minlength=len(names)) / images
    pure = (fakes == 0) | (fakes == images)
    return Groups(names[pure], scores[pure], fakes[pure] > 0, images[pure], int((~pure).sum()))


def group_calibration(val: Predictions) -> Calibration | None:
    """What the groups of the validation images fix; None where they are of one class."""
    groups = grouped(val)
    return calibrate(groups.scores, groups.fake) if groups.two_classes else None


def judge_groups(found: Predictions | None, calibration: Calibration | None) -> GroupFigures | None:
    """Figures of the groups of some images; None where there are none, or nothing fixes their threshold."""
    if found is None or calibration is None:
        return None
    groups = grouped(found)
    if not len(groups.names):
        return None
    judged = evaluate(groups.scores, groups.fake, groups.names, calibration=calibration)
    return GroupFigures(len(groups.names), int(groups.images.sum()), groups.mixed, judged)


def by_group(val: Predictions, test: Predictions | None) -> ByGroup | None:
    """A model on the groups of its own splits; None where no images belong together."""
    if not (has_groups(val) or has_groups(test)):
        return None
    calibration = group_calibration(val)
    figures = judge_groups(val, calibration)
    return ByGroup(calibration, figures, judge_groups(test, calibration)) if figures else None
