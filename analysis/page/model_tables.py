"""The models of a data set as tables: all of them side by side, and the chosen one in full."""

from analysis.found.changed_images import Perturbed
from analysis.found.comparisons import Comparison
from analysis.found.models import Model
from analysis.found.other_data import Other
from analysis.found.unseen import Areas, Unseen
from analysis.judge.differences import Lead
from analysis.judge.false_alarms import false_alarms
from analysis.judge.intervals import Interval
from analysis.judge.metrics import METRICS
from analysis.judge.rules import DEFAULT_RULE, RULES
from analysis.judge.slices import Slices
from analysis.page.group_tables import beside, ranked_by_group
from analysis.page.tables import Table

UNSEEN_METRICS = {"accuracy_fake": "found at the threshold", "tpr_at_fpr_1": "found at 1 % FPR"}


def ranking_table(models: list[Model]) -> Table:
    """A row for each model, the best first."""
    ranked, rows = [each for each in METRICS.values() if each.ranked], []
    for model in models:
        row = {"run": model.run, "model": model.title}
        row |= {f"test {each.label}": model.test.metrics.get(each.name) if model.test else None for each in ranked}
        row |= ranked_by_group(model, models)
        row |= {"validation AUC": model.val.metrics["auc"], "reads": model.made.detail, "kept": model.made.kept}
        rows.append(row | {"best convex, val AUC": getattr(model.made.result, "floor_auc", None)})
    digits = {f"test {each.label}": each.digits for each in ranked}
    return Table("ranking", rows, chosen=0, hidden=("run", "kept", "best convex, val AUC"), digits=digits)


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
            for metric in METRICS.values() if any(metric.name in each.metrics for each in splits.values())]  # fmt: skip
    return Table("metrics", rows, digits={metric.label: metric.digits for metric in METRICS.values()})


def thresholds_table(model: Model) -> Table:
    """What each threshold that validation fixed gave there and gives on the split that the page shows."""
    rows = []
    judged, chosen = model.predictions(model.split), list(RULES).index(DEFAULT_RULE)
    for rule in RULES:
        before, at, found = model.val.operating[rule], model.evaluation.operating[rule], model.calibration.named(rule)
        alarms = false_alarms(judged, found.score, split=model.split)
        rows.append({
            "rule": rule, "rule on validation": f"{rule}: {found.meaning}", "score": found.score,
            "from probability": found.probability,
            "uncertain from": float(model.calibration.probability(found.band[0])),
            "uncertain to": float(model.calibration.probability(found.band[1])),
            f"real called fake, {model.split}": at.fpr, "at most": alarms.at_most if alarms else None,
            f"fake found, {model.split}": at.tpr, "accuracy": at.accuracy,
            "real called fake, validation": before.fpr.value, "fake found, validation": before.tpr.value,
        })  # fmt: skip
    known = ("real called fake, validation", "fake found, validation")  # which flatter
    return Table("thresholds", rows, chosen, hidden=("rule", "score", "uncertain from", "uncertain to", *known))


def slices_table(found: Slices, *, limit: int) -> Table:
    """Parts of a split, the worst first; limit: rows on the page."""
    rows = [
        {
            "part": each.column, "value": each.value, "accuracy": each.accuracy, "AUC": each.auc, "real": each.real,
            "fake": each.fake, "images": each.images, "accuracy on real": each.accuracy_real,
            "accuracy on fake": each.accuracy_fake,
        }
        for each in found.found
    ]  # fmt: skip
    return Table("slices", rows, limit=limit)


def transfer_table(models: list[Model], dataset: str, others: list[str]) -> Table:
    """AUC of every model: trained here, tested here and on other data."""
    rows = []
    for model in models:
        row: dict = {"run": model.run, f"trained on {dataset}": model.title}
        row[f"{dataset} ({model.split})"] = model.evaluation.metrics.get("auc")
        rows.append(row | {other: _auc(model.other.get(other)) for other in others})
    return Table("transfer", rows, chosen=0, hidden=("run",))


def other_table(models: list[Model]) -> Table:
    """Every model on every other data set at the threshold that its own validation fixed."""
    rows, others = [], [other for model in models for other in model.other.values()]
    for model in models:
        for dataset, other in model.other.items():
            metrics = other.evaluation.metrics
            rows.append({
                "run": model.run, "model": model.title, "data": dataset, "images": other.evaluation.images,
                "AUC": metrics.get("auc"), "accuracy": metrics["accuracy"],
                "accuracy on real": metrics.get("accuracy_real"), "accuracy on fake": metrics.get("accuracy_fake"),
                "balanced accuracy": metrics.get("balanced_accuracy"), **beside(other, others),
                "within reach": other.within_reach if other.auc else None,
                "ECE": metrics["ece"], "decided": metrics["coverage"],
            })  # fmt: skip
    return Table("other_data", rows, hidden=("run", "images", "ECE", "decided"))


def perturbed_table(models: dict[str, Perturbed]) -> Table:
    """AUC and errors after each perturbation; models: by title, the chosen one first."""
    rows = []
    for title, model in models.items():
        for each in model.strengths.values():
            rows.append({
                "name": each.name, "model": title, "images": each.words, "AUC": each.auc, "accuracy": each.accuracy,
                "accuracy on real": each.accuracy_real, "accuracy on fake": each.accuracy_fake,
                "verdict flips": each.flips,
            })  # fmt: skip
    return Table("perturbations", rows, hidden=("name",))


def generators_table(found: Unseen, *, name: str = "generators") -> Table:
    """A row for each generator, and their mean: what saw it in training, what did not, and what stands beside that."""
    rows = [
        {"generator": _dated(each.name, found), "fake": each.fake, **_areas(found, each.areas),
         **{f"{label}, {side}": getattr(each, side).metrics[metric]
            for metric, label in UNSEEN_METRICS.items() for side in ("seen", "unseen")}}
        for each in found.generators
    ]  # fmt: skip
    nothing = dict.fromkeys(rows[0].keys() - {"generator", "fake"})
    fakes = sum(each.fake for each in found.generators)
    mean = {"generator": "mean", "fake": fakes, **nothing, **_areas(found, found.mean)}
    rare = tuple(each for each in rows[0] if each.startswith(UNSEEN_METRICS["tpr_at_fpr_1"]))
    return Table(name, [*rows, {column: mean[column] for column in rows[0]}], chosen=len(rows), hidden=rare)


def _dated(name: str, found: Unseen) -> str:
    return f"{name} ({found.dates[name]})" if name in found.dates else name


def _areas(found: Unseen, areas: Areas) -> dict[str, Interval]:
    own = {"AUC, seen": areas.seen, "AUC, unseen": areas.unseen}
    beside = {f"AUC, unseen, {found.beside}": areas.other, "difference": areas.lead} if areas.other else {}
    return own | beside | ({"AUC, unseen, train and val": areas.held_out} if areas.held_out else {})


def _auc(other: Other | None) -> Interval | str:
    if other is None:
        return "not scored"
    return other.auc or "one class only"


def _share(lead: Lead | None) -> str | None:
    return f"{100 * lead.ahead:.1f} %" if lead else None


def _verdict(lead: Lead) -> str:
    if lead.difference.low > 0:
        return "yes"
    return "no, worse" if lead.difference.high < 0 else "may be chance"
