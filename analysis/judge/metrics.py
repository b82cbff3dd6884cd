"""Every metric of the page, one entry each: what it is called, how it is computed, how its interval is made.

`METRICS` is read by `evaluate`, the tables of the page, summary.json, models.csv and the model card, in its order. One
more needs no change here: a module of your own registers it, and PLUGINS=module adds it to a command.

    from analysis.judge.metrics import Metric, register

    def balanced_error(images):
        return 1 - images.called.balanced_accuracy

    register(Metric("balanced_error", "balanced error", balanced_error))

auc, ap, ap_real    area under the ROC curve; average precision with fake and with real as the positive class
eer, tpr_at_fpr_1, tpr_at_fpr_5     of the ROC curve of the very images judged: what the scores allow, not what the
    thresholds of validation give. The largest TPR whose FPR is at most 1 %, 5 %
accuracy, balanced_accuracy, accuracy_real, accuracy_fake, precision, recall, f1, precision_real, f1_real
    at the default threshold. The recall of fake is accuracy_fake, that of real accuracy_real; a precision is 0 where
    nothing is called so
log_loss (nats), brier, ece     of calibrated probabilities; log_loss_before and so on of the plain sigmoid
coverage, accuracy_decided      share of images outside the uncertain band, and accuracy among them

ece is the expected calibration error (Guo et al. 2017, arXiv:1706.04599) in its binary form: over 15 equally wide bins
of p(fake), the mean of |mean p(fake) - share of fake|, weighted by images. Few images inflate it.

Metrics are computed here and not by scikit-learn, because intervals need each of them in a thousand weightings of the
images at once: `Weighed` sorts the images once for all of them. The tests hold them against scikit-learn's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.judge.bootstrap import Draws
from analysis.judge.intervals import Interval, auc_inflation
from analysis.judge.ranking import ratio
from analysis.judge.weighed import Weighed
from cache.errors import UserError
from data.labels import LABELS

Figure = Callable[[Weighed], np.ndarray]
FPR_LIMITS = {1: 0.01, 5: 0.05}  # percent, in names and labels -> share


@dataclass(frozen=True)
class Metric:
    """A figure of images and their scores.

    name: in summary.json and models.csv, there also as <name>_ci. label: on the page. of: images in B weightings ->
    (B,); nan where they do not define it. interval: Draws of it -> Interval, by default Student's t of the logit, which
    fits any figure from 0 to 1; Interval.of_mean fits any number. beside: a second figure of the same images, whose
    Draws `interval` gets as its second argument. needs: which classes must be among the images. digits: on the page.
    ranked: whether it is a column of the table of all models.
    """

    name: str
    label: str
    of: Figure
    interval: Callable[..., Interval] = Interval.of_rate
    beside: Figure | None = None
    needs: tuple[str, ...] = LABELS
    digits: int = 3
    ranked: bool = False

    def is_defined(self, fake: np.ndarray) -> bool:
        """Whether images with fake (N,) bool hold the classes that it needs."""
        there = {"real": not fake.all(), "fake": bool(fake.any())}
        return all(there[label] for label in self.needs)


METRICS: dict[str, Metric] = {}


def register(metric: Metric) -> None:
    """Add a metric behind those that are there.

    Raises:
        UserError: its name is taken, or cannot be the name of a column.
    """
    if metric.name in METRICS or metric.name in ("images", "threshold", "confusion") or not metric.name.isidentifier():
        raise UserError(f"a metric cannot be called {metric.name!r}: expected a name of letters, digits and _ that is "
                        f"none of {', '.join(METRICS)}")  # fmt: skip
    METRICS[metric.name] = metric


def interval_of(name: str, draws: Draws) -> Interval:
    """The interval of a metric that needs no more than its own draws."""
    return METRICS[name].interval(draws)


def share_of(units: str) -> Callable[..., Interval]:
    """The interval of a share of images for each of which something holds or not; units: real, fake or all.

    trials: the images in its denominator, if not all of its class.
    """

    def interval(draws: Draws, trials: Draws | None = None) -> Interval:
        return Interval.of_proportion(draws, getattr(draws, units), trials=None if trials is None else trials.value)

    return interval


def _as_wide_as_auc(draws: Draws, auc: Draws) -> Interval:
    """What the resamples do not show of an AUC they do not show of an average precision."""
    return Interval.of_rate(draws, inflation=auc_inflation(auc))


def _tpr_at(limit: float) -> Figure:
    return lambda images: images.counts.tpr_at(limit)


def _tpr_between(limit: float) -> Figure:
    return lambda images: images.counts.tpr_between(limit, images.judged.real_groups)


# What a threshold gives, beside accuracy and balanced accuracy; on the page the first is called recall.
TPR = Metric("tpr", "fake found", lambda images: images.called.tpr, share_of("fake"), needs=("fake",))
FPR = Metric("fpr", "real called fake", lambda images: images.called.fpr, share_of("real"), needs=("real",))

ANY = ()  # one class is enough
_OF_ALL = share_of("all")
for each in (
    Metric("auc", "AUC", lambda images: images.auc, Interval.of_auc, ranked=True),
    Metric("ap", "AP, fake positive", lambda images: images.counts.average_precision(), _as_wide_as_auc,
           beside=lambda images: images.auc),
    Metric("ap_real", "AP, real positive", lambda images: images.counts.average_precision_real(), _as_wide_as_auc,
           beside=lambda images: images.auc),
    Metric("accuracy", "accuracy", lambda images: images.called.accuracy, _OF_ALL, needs=ANY, ranked=True),
    Metric("balanced_accuracy", "balanced accuracy", lambda images: images.called.balanced_accuracy),
    Metric("accuracy_real", "accuracy on real", lambda images: 1 - images.called.fpr, share_of("real"),
           needs=("real",)),
    Metric("accuracy_fake", "accuracy on fake", lambda images: images.called.tpr, share_of("fake"), needs=("fake",)),
    Metric("precision", "precision of fake", lambda images: images.called.precision, _OF_ALL,
           beside=lambda images: images.called.fake),
    Metric("recall", "recall of fake", lambda images: images.called.tpr, share_of("fake"), needs=("fake",)),
    Metric("f1", "F1 of fake", lambda images: images.called.f1),
    Metric("precision_real", "precision of real", lambda images: images.called.precision_real, _OF_ALL,
           beside=lambda images: images.called.real),
    Metric("f1_real", "F1 of real", lambda images: images.called.f1_real),
    Metric("eer", "EER", lambda images: images.counts.equal_error(), Interval.of_errors, ranked=True),
    *(Metric(f"tpr_at_fpr_{percent}", f"TPR at {percent} % FPR", _tpr_at(limit), Interval.of_draws,
             beside=_tpr_between(limit)) for percent, limit in FPR_LIMITS.items()),
    Metric("log_loss", "log loss", lambda images: images.calibrated.log_loss, Interval.of_amount, needs=ANY),
    Metric("brier", "Brier score", lambda images: images.calibrated.brier, needs=ANY),
    Metric("ece", "ECE", lambda images: images.calibrated.ece, needs=ANY),
    Metric("log_loss_before", "log loss before calibration", lambda images: images.plain.log_loss, Interval.of_amount,
           needs=ANY),
    Metric("brier_before", "Brier score before calibration", lambda images: images.plain.brier, needs=ANY),
    Metric("ece_before", "ECE before calibration", lambda images: images.plain.ece, needs=ANY),
    Metric("coverage", "coverage outside the uncertain band", lambda images: images.decided / images.images, _OF_ALL,
           needs=ANY),
    Metric("accuracy_decided", "accuracy outside the uncertain band",
           lambda images: ratio(images.decided_rightly, images.decided, empty=np.nan), _OF_ALL,
           beside=lambda images: images.decided, needs=ANY),
):  # fmt: skip
    register(each)
