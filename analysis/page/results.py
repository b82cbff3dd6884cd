"""The models of a data set as tables and pictures: all of them side by side, and the chosen one in full."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve

from analysis.found.changed_images import Perturbed
from analysis.found.models import Model
from analysis.found.other_data import Other
from analysis.judge.bootstrap import too_few
from analysis.judge.evaluate import roc
from analysis.judge.intervals import Interval
from analysis.judge.leads import Comparison, Lead
from analysis.judge.metrics import METRICS
from analysis.judge.rules import RULES
from analysis.judge.slices import Slices
from analysis.page import figures
from analysis.page.figures import Bins, Curve, Picture
from analysis.page.tables import Table

QUANTILES = 8  # groups of a reliability curve
CALIBRATED = {"log_loss": "log loss", "brier": "Brier score", "ece": "expected calibration error"}


def ranking_table(models: list[Model]) -> Table:
    """A row for each model, the best first."""
    ranked, rows = [each for each in METRICS.values() if each.ranked], []
    for model in models:
        row = {"run": model.run, "model": model.title, "reads": model.made.detail, "kept": model.made.kept}
        row |= {"validation AUC": model.val.metrics["auc"]}
        row |= {f"test {each.label}": model.test.metrics.get(each.name) if model.test else None for each in ranked}
        rows.append(row | {"best convex, val AUC": getattr(model.made.result, "floor_auc", None)})
    digits = {f"test {each.label}": each.digits for each in ranked}
    return Table("ranking", rows, chosen=0, hidden=("run", "best convex, val AUC"), digits=digits)


def comparison_table(models: list[Model], found: list[Comparison]) -> Table:
    """The chosen model against each other one, on the images that both scored."""
    titles = {model.run: model.title for model in models}
    rows = [
        {
            "run": each.second, "the chosen model against": titles[each.second],
            "on": f"{each.images} {each.split} images",
            "AUC difference": each.auc.difference if each.auc else None, "ahead in AUC": _share(each.auc),
            "accuracy difference": each.accuracy.difference, "ahead in accuracy": _share(each.accuracy),
            "really better?": "too few groups to say" if each.too_few else _verdict(each.auc or each.accuracy),
        }
        for each in found
    ]  # fmt: skip
    return Table("comparisons", rows, hidden=("run",))


def metrics_table(model: Model) -> Table:
    """Every metric on validation and test."""
    splits = {"validation": model.val} | ({"test": model.test} if model.test else {})
    rows = [{"metric": metric.label} | {split: each.metrics.get(metric.name) for split, each in splits.items()}
            for metric in METRICS.values()]  # fmt: skip
    return Table("metrics", rows, digits={metric.label: metric.digits for metric in METRICS.values()})


def thresholds_table(model: Model) -> Table:
    """What each threshold that validation fixed gave there and gives on the split shown."""
    rows = []
    for rule, meaning in RULES.items():
        before, at = model.val.operating[rule], model.shown.operating[rule]
        rows.append({
            "rule": rule, "on validation": meaning, "score": at.threshold,
            "probability": model.calibration.probability(at.threshold),
            "fake found, validation": before.tpr.value, f"fake found, {model.split}": at.tpr,
            "real called fake, validation": before.fpr.value, f"real called fake, {model.split}": at.fpr,
            "accuracy": at.accuracy,
        })  # fmt: skip
    return Table("thresholds", rows, chosen=0)


def drifts(model: Model) -> list[str]:
    """Where the threshold does not do on test what it did on validation, in sentences.

    By class, where the intervals of both splits are apart: other images, or few, can do that, and so can a choice of
    model, epoch and threshold on the same validation images.
    """
    found = []
    scored = [each for each in map(model.predictions, ("val", "test")) if each]
    if any(too_few(each.fake, each.groups) for each in scored):
        return found
    for label in ("real", "fake"):
        name = f"accuracy_{label}"
        before, now = model.val.metrics.get(name), model.test.metrics.get(name) if model.test else None
        if before and now and (now.high < before.low or before.high < now.low):
            found.append(
                f"Of the {label} images {_percent(now)} are called rightly on test, {_percent(before)} were on "
                "validation: at this threshold the two splits differ by more than chance."
            )
    return found


def decided(model: Model) -> dict[str, float]:
    """Label -> share of its images in the split shown that lie outside the uncertain band and are called wrongly."""
    found, calibration = model.predictions(model.split), model.calibration
    wrong = ((found.scores >= calibration.threshold) != found.fake) & ~calibration.uncertain(found.scores)
    classes = {"real": ~found.fake, "fake": found.fake}
    return {label: float(wrong[these].mean()) for label, these in classes.items() if these.any()}


def calibration_table(model: Model) -> Table:
    """How good the probabilities are, before and after temperature scaling."""
    metrics = model.shown.metrics
    rows = [{"measure": label, "before": metrics[f"{name}_before"], "after": metrics[name]}
            for name, label in CALIBRATED.items()]  # fmt: skip
    return Table("calibration", rows)


def slices_table(found: Slices, *, shown: int) -> Table:
    """Parts of the split shown, the worst first."""
    rows = [
        {
            "part": each.column, "value": each.value, "images": each.images, "real": each.real, "fake": each.fake,
            "accuracy": each.accuracy, "accuracy on real": each.accuracy_real, "accuracy on fake": each.accuracy_fake,
            "AUC": each.auc,
        }
        for each in found.found
    ]  # fmt: skip
    return Table("slices", rows, limit=shown)


def transfer_table(models: list[Model], dataset: str, others: list[str]) -> Table:
    """AUC of every model: trained here, tested here and on other data."""
    rows = []
    for model in models:
        row: dict = {"run": model.run, f"trained on {dataset}": model.title}
        row[f"{dataset} ({model.split})"] = model.shown.metrics.get("auc")
        rows.append(row | {other: _auc(model.other.get(other)) for other in others})
    return Table("transfer", rows, chosen=0, hidden=("run",))


def other_table(models: list[Model]) -> Table:
    """Every model on every other data set at the threshold that its own validation fixed."""
    rows = []
    for model in models:
        for dataset, other in model.other.items():
            metrics = other.evaluation.metrics
            rows.append({
                "run": model.run, "model": model.title, "data": dataset, "images": other.evaluation.images,
                "AUC": metrics.get("auc"), "accuracy": metrics["accuracy"],
                "accuracy on real": metrics.get("accuracy_real"), "accuracy on fake": metrics.get("accuracy_fake"),
                "balanced accuracy": metrics.get("balanced_accuracy"),
                "with a threshold placed there": other.within_reach if other.auc else None,
                "ECE": metrics["ece"], "decided": metrics["coverage"],
            })  # fmt: skip
    return Table("other_data", rows, hidden=("run", "ECE", "decided"))


def perturbed_table(models: dict[str, Perturbed]) -> Table:
    """AUC and errors after each perturbation; models: by title, the chosen one first."""
    rows = []
    for title, model in models.items():
        for each in model.strengths.values():
            rows.append({
                "name": each.name, "model": title, "images": each.words, "AUC": each.auc, "accuracy": each.accuracy,
                "accuracy on real": each.accuracy_real, "accuracy on fake": each.accuracy_fake,
            })  # fmt: skip
    return Table("perturbations", rows, hidden=("name",))


def result_pictures(models: list[Model]) -> list[Picture]:
    """How the first model does on the split shown, beside the others where there is a curve for each."""
    best = models[0]
    made = [_confusion(best)]
    if "auc" in best.shown.metrics:
        made += [_roc(models), _precision_recall(models), _det(models)]
    return [*made, _scores(best), _reliability(best)]


def _auc(other: Other | None) -> Interval | str:
    if other is None:
        return "not scored"
    return other.auc or "one class only"


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _share(lead: Lead | None) -> str | None:
    return f"{100 * lead.ahead:.1f} %" if lead else None


def _verdict(lead: Lead) -> str:
    if lead.difference.low > 0:
        return "yes"
    return "no, worse" if lead.difference.high < 0 else "may be chance"


def _confusion(model: Model) -> Picture:
    (real, lost), (missed, fake) = model.shown.confusion
    return Picture(
        "confusion", figures.confusion(model.shown.confusion, title=f"{model.made.label}, {model.split}"),
        f"Confusion matrix: {real} real called real, {lost} real called fake, {missed} fake called real, {fake} "
        "fake called fake", "Counts, and the share of each true class.",
    )  # fmt: skip


def _roc(models: list[Model]) -> Picture:
    curves = _curves(models, "auc", roc)
    return Picture(
        "roc", figures.roc(curves, title=f"ROC, {models[0].split}"),
        f"ROC curves of {len(curves)} models; the chosen one has AUC {models[0].shown.metrics['auc'].value:.3f}",
        "The chosen model is drawn heaviest. The figures are AUCs.",
    )  # fmt: skip


def _precision_recall(models: list[Model]) -> Picture:
    curves = _curves(models, "ap", lambda scores, fake: precision_recall_curve(fake, scores)[1::-1])
    best = models[0]
    share = sum(best.shown.confusion[1]) / best.shown.images
    return Picture(
        "precision_recall",
        figures.precision_recall(curves, share=share, title=f"Precision and recall, {best.split}"),
        f"Precision over recall of {len(curves)} models; the chosen one has average precision "
        f"{best.shown.metrics['ap'].value:.3f}",
        "The figures are average precisions, with fake as the positive class. Precision depends on the share of fake "
        f"images, {100 * share:.0f} % here.",
    )


def _det(models: list[Model]) -> Picture:
    def errors(scores: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        false, true = roc(scores, fake)
        return false, 1 - true

    curves = _curves(models, "eer", errors)
    return Picture(
        "det", figures.det(curves, title=f"Detection error trade-off, {models[0].split}"),
        f"Both error rates of {len(curves)} models; the chosen one has equal error rate "
        f"{models[0].shown.metrics['eer'].value:.3f}",
        "The figures are equal error rates. Axes are normal deviates: normal scores give a straight line.",
    )  # fmt: skip


def _curves(
    models: list[Model], metric: str, made_of: Callable[[np.ndarray, np.ndarray], Sequence[np.ndarray]]
) -> list[Curve]:
    """Of the best models that were scored there with both classes, as many as there are colours; metric: named."""
    split = models[0].split
    curves = []
    for model in models:
        reached, found = model.test if split == "test" else model.val, model.predictions(split)
        if reached and "auc" in reached.metrics and len(curves) < len(figures.CYCLE):
            name = f"{model.made.label}, {reached.metrics[metric].value:.3f}"
            curves.append(Curve(name, *made_of(found.scores, found.fake)))
    return curves


def _scores(model: Model) -> Picture:
    found, (_, (missed, _)) = model.predictions(model.split), model.shown.confusion
    lost = model.shown.confusion[0][1]
    return Picture(
        "scores", figures.scores(found.scores, found.fake, model.shown.threshold, title=f"Scores, {model.split}"),
        f"Histogram of scores: {missed} fake images are below the threshold of {model.shown.threshold:.2f} and {lost} "
        "real ones above", "Scores of both classes.",
    )  # fmt: skip


def _reliability(model: Model) -> Picture:
    metrics = model.shown.metrics
    found = model.predictions(model.split)
    curves = [_bins("calibrated", model.calibration.probability(found.scores), found.fake),
              _bins("before", expit(found.scores), found.fake)]  # fmt: skip
    return Picture(
        "reliability", figures.reliability(curves, title=f"Reliability, {model.split}"),
        f"Share of fake images over the probability of fake; expected calibration error {metrics['ece'].value:.3f}, "
        f"before calibration {metrics['ece_before'].value:.3f}",
        f"Images in up to {QUANTILES} groups of about equal size by their probability, with 95 % intervals (Wilson). "
        "On the diagonal a probability comes true as often as it says.",
    )  # fmt: skip


def _bins(name: str, probability: np.ndarray, fake: np.ndarray) -> Bins:
    """QUANTILES groups of as many images each, or fewer where there are few; equal probabilities stay together."""
    rank = np.searchsorted(np.sort(probability), probability)
    number = rank * QUANTILES // len(probability)
    groups = [np.flatnonzero(number == each) for each in np.unique(number)]
    shares = [binomtest(int(fake[each].sum()), len(each)).proportion_ci(method="wilson") for each in groups]
    intervals = [Interval(float(fake[each].mean()), share.low, share.high)
                 for each, share in zip(groups, shares, strict=True)]  # fmt: skip
    return Bins(name, np.array([probability[each].mean() for each in groups]), intervals)
