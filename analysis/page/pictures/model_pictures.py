"""How the first model does, in pictures, beside the others where there is a curve for each."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit
from sklearn.metrics import precision_recall_curve

from analysis.found.models import Model
from analysis.judge.bootstrap import Draws, Units, bootstrap
from analysis.judge.evaluate import roc
from analysis.judge.intervals import Interval
from analysis.page.pictures import charts
from analysis.page.pictures.charts import Bins, Curve, Picture

QUANTILES = 8  # groups of a reliability curve


def model_pictures(models: list[Model]) -> list[Picture]:
    """Those of the first model on its test split, or on validation where it has none; models: the best first."""
    best = models[0]
    made = [_confusion(best)]
    if "auc" in best.evaluation.metrics:
        made += [_roc(models), _precision_recall(models), _det(models)]
    return [*made, _scores(best), _reliability(best)]


def _confusion(model: Model) -> Picture:
    (real, lost), (missed, fake) = model.evaluation.confusion
    return Picture(
        "confusion", charts.confusion(model.evaluation.confusion, title=f"{model.made.label}, {model.split}"),
        f"Confusion matrix: {real} real called real, {lost} real called fake, {missed} fake called real, {fake} "
        "fake called fake", "Counts, and the share of each true class.",
    )  # fmt: skip


def _roc(models: list[Model]) -> Picture:
    curves = _curves(models, "auc", roc)
    return Picture(
        "roc", charts.roc(curves, title=f"ROC, {models[0].split}"),
        f"ROC curves of {len(curves)} models; the chosen one has AUC {models[0].evaluation.metrics['auc'].value:.3f}",
        "The chosen model is drawn heaviest. The figures are AUCs.",
    )  # fmt: skip


def _precision_recall(models: list[Model]) -> Picture:
    curves = _curves(models, "ap", lambda scores, fake: precision_recall_curve(fake, scores)[1::-1])
    best = models[0]
    share = sum(best.evaluation.confusion[1]) / best.evaluation.images
    return Picture(
        "precision_recall",
        charts.precision_recall(curves, share=share, title=f"Precision and recall, {best.split}"),
        f"Precision over recall of {len(curves)} models; the chosen one has average precision "
        f"{best.evaluation.metrics['ap'].value:.3f}",
        "The figures are average precisions, with fake as the positive class. Precision depends on the share of fake "
        f"images, {100 * share:.0f} % here.",
    )


def _det(models: list[Model]) -> Picture:
    def errors(scores: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        false, true = roc(scores, fake)
        return false, 1 - true

    curves = _curves(models, "eer", errors)
    return Picture(
        "det", charts.det(curves, title=f"Detection error trade-off, {models[0].split}"),
        f"Both error rates of {len(curves)} models; the chosen one has equal error rate "
        f"{models[0].evaluation.metrics['eer'].value:.3f}",
        "The figures are equal error rates. Axes are normal deviates: normal scores give a straight line.",
    )  # fmt: skip


def _curves(
    models: list[Model], metric: str, made_of: Callable[[np.ndarray, np.ndarray], Sequence[np.ndarray]]
) -> list[Curve]:
    """A curve for each of the best models that scored both classes, as many as there are colours.

    metric: what its name in the legend tells. made_of: scores (N,), fake (N,) -> x (P,), y (P,).
    """
    split = models[0].split
    curves = []
    for model in models:
        reached, found = model.test if split == "test" else model.val, model.predictions(split)
        if reached and "auc" in reached.metrics and len(curves) < len(charts.CYCLE):
            name = f"{model.made.label}, {reached.metrics[metric].value:.3f}"
            curves.append(Curve(name, *made_of(found.scores, found.fake)))
    return curves


def _scores(model: Model) -> Picture:
    found, threshold = model.predictions(model.split), model.evaluation.threshold
    (_, lost), (missed, _) = model.evaluation.confusion
    return Picture(
        "scores", charts.scores(found.scores, found.fake, threshold, title=f"Scores, {model.split}"),
        f"Histogram of scores: {missed} fake images are below the threshold of {threshold:.2f} and {lost} real ones "
        "above", "Scores of both classes.",
    )  # fmt: skip


def _reliability(model: Model) -> Picture:
    metrics = model.evaluation.metrics
    found = model.predictions(model.split)
    curves = [_bins("calibrated", model.calibration.probability(found.scores), found.fake, found.groups),
              _bins("before", expit(found.scores), found.fake, found.groups)]  # fmt: skip
    return Picture(
        "reliability", charts.reliability(curves, title=f"Reliability, {model.split}"),
        f"Share of fake images over the probability of fake; expected calibration error {metrics['ece'].value:.3f}, "
        f"before calibration {metrics['ece_before'].value:.3f}",
        f"Images in up to {QUANTILES} groups of about equal size by their probability, with 95 % intervals. "
        "On the diagonal a probability comes true as often as it says.",
    )  # fmt: skip


def _bins(name: str, probability: np.ndarray, fake: np.ndarray, groups: np.ndarray) -> Bins:
    """QUANTILES bins of as many images each, or fewer where there are few; equal probabilities stay together."""
    rank = np.searchsorted(np.sort(probability), probability)
    number = rank * QUANTILES // len(probability)
    bins = [np.flatnonzero(number == each) for each in np.unique(number)]
    shares = [_share(fake[each], groups[each]) for each in bins]
    return Bins(name, np.array([probability[each].mean() for each in bins]), shares)


def _share(fake: np.ndarray, groups: np.ndarray) -> Interval:
    """Of the fake ones among some images, fake (N,) bool, with its interval over groups (N,)."""
    over, member = Units.of(groups), np.unique(groups, return_inverse=True)[1]
    if over.alone:
        return Interval.of_proportion(Draws(float(fake.mean()), np.empty(0), over, over, over), over)
    images, fakes = np.bincount(member), np.bincount(member, weights=fake)
    each = np.arange(over.groups)
    drawn = bootstrap(lambda weights: {"share": (weights @ fakes) / (weights @ images)}, each < 0, each)
    return Interval.of_proportion(drawn["share"], over)
