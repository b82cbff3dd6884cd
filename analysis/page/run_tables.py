"""What stands on a page beside figures: the data, what was tried, what it cost, and how to make it again."""

from analysis.found.models import Model, of_stage
from analysis.found.sweeps import Sweep, leaders, trained_families
from analysis.found.trainings import Training
from analysis.judge.intervals import Interval
from analysis.page.tables import Table
from cache.key import file_digest
from data.audit.examined import Audit
from data.audit.shortcuts import THUMBNAIL, TOGETHER
from data.manifest import Manifest
from extract.extraction import ExtractResult
from finetune.training.job import BEST
from heads.head_file import read_record
from heads.sweep.sweep_result import HEAD_FILE


def data_tables(manifest: Manifest, audit: Audit) -> list[Table]:
    """How many images of each class in each split, what tells the classes apart, what cannot be used."""
    made = [
        Table("splits", [{"split": split, **counts} for split, counts in audit.counts.items()]),
        Table("shortcuts", _shortcuts(audit)), Table("generators_told", _told(audit)), Table("copies", _copies(audit)),
    ]  # fmt: skip
    unusable = manifest.unusable[["path", "status", "note"]].to_dict("records")
    return [*made, Table("left_out", unusable, limit=20)] if unusable else made


def _shortcuts(audit: Audit) -> list[dict]:
    """Trivial things with what they reach, the strongest first."""
    return [{"what": name, "AUC": Interval(value, *audit.bounds[name]), "warned of": audit.is_strong(name)}
            for name, value in audit.shortcuts.items()]  # fmt: skip


def _told(audit: Audit) -> list[dict]:
    """What tells the fakes of each generator from the real images, with the strongest single number."""
    rows = []
    for name, found in audit.by_generator.items():
        numbers = {what: each for what, each in found.items() if what not in (TOGETHER, THUMBNAIL)}
        strongest = max(numbers, key=lambda what: numbers[what][0])
        rows.append({
            "generator": name, "told by": strongest, "AUC": Interval(*numbers[strongest]),
            "all numbers together": Interval(*found[TOGETHER]),
            "thumbnail": Interval(*found[THUMBNAIL]) if THUMBNAIL in found else None,
        })  # fmt: skip
    return rows


def _copies(audit: Audit) -> list[dict]:
    """Pairs of files that show the same picture, the gravest first."""
    return [{"one": each.first, "other": each.second, "not in the same": each.across or None, "how": each.how,
             "alike": each.alike} for each in (audit.copies.shown if audit.copies else [])]  # fmt: skip


def leaders_table(sweep: Sweep) -> Table:
    """The best settings of a sweep."""
    rows = [
        {
            "head": row["head"], "inputs": row["inputs"], "val AUC": row["val_auc"], "±": row["val_auc_std"],
            "val loss": row["val_loss"], "members": row["members"],
            "epoch kept": row["epoch"] + 1 if row["family"] in trained_families() else None, "chosen": row["chosen"],
        }
        for row in leaders(sweep).to_dict("records")
    ]  # fmt: skip
    chosen = next((number for number, row in enumerate(rows) if row["chosen"]), None)
    return Table(
        "sweep_leaders", rows, chosen, hidden=("chosen",), digits={"val AUC": 4, "±": 4, "val loss": 4, "epoch kept": 1}
    )


def trainings_table(trainings: list[Model], best: Model) -> Table:
    """A row for each fine-tuned detector; best: of the page, which may be one of them."""
    rows = []
    for model in trainings:
        result = model.made.result
        rows.append({
            "run": model.run, "network and recipe": model.title, "started from": model.made.origin,
            "epoch kept": f"{result.best_epoch} of {result.epochs}", "train accuracy": result.train_accuracy,
            "val accuracy at logit 0": result.val_accuracy, "val AUC": model.val.metrics["auc"],
            "test AUC": model.test.metrics.get("auc") if model.test else None,
            "images/s in an epoch": result.images_per_second,
        })  # fmt: skip
    chosen = next((number for number, row in enumerate(rows) if row["run"] == best.run), None)
    return Table("trainings", rows, chosen, hidden=("run",), digits={"images/s in an epoch": 1})


def cost_table(models: list[Model], extractions: list[ExtractResult]) -> Table:
    """A row for each extraction that computed something, sweep and training."""
    rows = [_extraction(each) for each in extractions if each.computed]
    for model in of_stage(models, Sweep.stage):
        result = model.made.result
        rate = f"{result.heads / result.seconds:.1f} heads/s" if result.seconds else None
        rows.append(_row("heads", f"{model.made.title}, {result.heads} heads", result.seconds, rate, None))
    for model in of_stage(models, Training.stage):
        result = model.made.result
        what = f"{model.title}, {result.epochs} epochs, {result.parameters / 1e6:.1f} million weights"
        size = sum(path.stat().st_size for path in model.folder.glob("best.*"))
        rows.append(_row("finetune", what, result.seconds, f"{result.images_per_second} images/s", size))
    return Table("cost", rows, digits={"seconds": 1, "MB on disk": 1})


def provenance_table(best: Model, manifest: Manifest) -> Table:
    """What must be the same for the figures to be the same."""
    rows = [{"what": f"data {manifest.dataset}: images, labels, splits, groups", "key": manifest.key},
            {"what": "run", "key": best.run}]  # fmt: skip
    if isinstance(best.made, Training) and best.made.result.head_run:
        rows.append({"what": "run of the head that it started from", "key": best.made.result.head_run})
    for name in (HEAD_FILE, BEST):
        if (best.folder / name).exists():
            rows.append({"what": f"sha256 of {name}", "key": file_digest(best.folder / name)})
    if (best.folder / HEAD_FILE).exists():
        inputs = read_record(best.folder / HEAD_FILE).inputs
        weights = {spec.backbone: spec.weights for spec in inputs}
        rows += [{"what": f"sha256 of the weights of {name}", "key": key} for name, key in weights.items()]
        rows += [{"what": f"feature {spec.backbone} {spec.feature}", "key": spec.key} for spec in inputs]
    return Table("provenance", rows)


def _extraction(result: ExtractResult) -> dict:
    copies = "perturbed copies of " if result.perturbed else ""
    what = f"{result.backbone} ({result.weights}), {copies}{result.images} images, {len(result.specs)} features"
    return _row(
        "extract", f"{what}; {result.computed} computed", result.seconds, f"{result.rate} images/s", result.bytes
    )


def _row(stage: str, what: str, seconds: float | None, rate: str | None, size: int | None) -> dict:
    return {"stage": stage, "what": what, "seconds": seconds, "rate": rate,
            "MB on disk": size / 1e6 if size is not None else None}  # fmt: skip
