"""What each stage cost, and what the cache saved against passing the images through the backbone again and again."""

from dataclasses import dataclass

from analysis.found.models import Model, of_stage
from analysis.found.sweeps import Sweep
from analysis.found.trainings import Training
from analysis.page.tables import Table
from cache import runs
from cache.features import FeatureSpec
from extract.extraction import ExtractResult

WORTH_SAYING = 2  # times longer


@dataclass(frozen=True)
class Saving:
    """What the heads of one sweep would have cost without the cache, a single pass over the images for each.

    seconds: of extraction and sweep together. without: of heads * images forward passes at the rate of extraction.
    """

    heads: int
    images: int
    seconds: float
    without: float

    @property
    def factor(self) -> float:
        """How many times longer."""
        return self.without / self.seconds


def extractions_on(dataset: str) -> list[ExtractResult]:
    """Of all finished extractions of a data set, perturbed copies last."""
    found = [each.into(ExtractResult) for _, each in runs.results("extract") if each["dataset"] == dataset]
    return sorted(found, key=lambda each: each.perturbed)


def cost_table(models: list[Model], extractions: list[ExtractResult]) -> Table:
    """A row for each extraction, sweep and training."""
    rows = [_extraction(each) for each in extractions]
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


def saving(models: list[Model], extractions: list[ExtractResult], *, distinct: int) -> Saving | None:
    """Of the best sweep; None where its features were not all computed in one run, or where little was saved.

    distinct: images that can be used, of the data set as it is now, copies counted once.
    """
    for model in of_stage(models, Sweep.stage)[:1]:
        read = {FeatureSpec.from_json(each) for each in runs.read_json(model.folder / "config.json")["specs"]}
        made = [each for each in extractions if set(each.specs) == read and each.computed == distinct * each.views]
        if made:
            heads, first = model.made.result.heads, made[0]
            seconds = first.seconds + model.made.result.seconds
            found = Saving(heads, first.images, seconds, heads * first.images / first.rate)
            return found if found.factor >= WORTH_SAYING else None
    return None


def _extraction(result: ExtractResult) -> dict:
    copies = "perturbed copies of " if result.perturbed else ""
    what = f"{result.backbone} ({result.weights}), {copies}{result.images} images, {len(result.specs)} features"
    if not result.computed:
        return _row("extract", f"{what}; all were there already", None, None, result.bytes)
    return _row(
        "extract", f"{what}; {result.computed} computed", result.seconds, f"{result.rate} images/s", result.bytes
    )


def _row(stage: str, what: str, seconds: float | None, rate: str | None, size: int | None) -> dict:
    return {"stage": stage, "what": what, "seconds": seconds, "rate": rate,
            "MB on disk": size / 1e6 if size is not None else None}  # fmt: skip
