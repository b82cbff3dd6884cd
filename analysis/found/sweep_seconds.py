"""What extraction and a sweep took together."""

from analysis.found.models import Model, of_stage
from analysis.found.sweeps import Sweep
from cache import runs
from cache.features import FeatureSpec
from extract.extraction import ExtractResult


def extractions_on(dataset: str) -> list[ExtractResult]:
    """What all finished extractions of a data set did, perturbed copies last."""
    found = [each.into(ExtractResult) for _, each in runs.find("extract", dataset=dataset)]
    return sorted(found, key=lambda each: each.perturbed)


def sweep_seconds(models: list[Model], extractions: list[ExtractResult], *, distinct: int) -> float | None:
    """Of the best sweep and of the one extraction that computed all its features; None where there was none such.

    distinct: images that can be used, of the data set as it is now, copies counted once.
    """
    for model in of_stage(models, Sweep.stage)[:1]:
        read = {FeatureSpec.from_json(each) for each in runs.read_json(model.folder / "config.json")["specs"]}
        made = [each for each in extractions if set(each.specs) == read and each.computed == distinct * each.views]
        return made[0].seconds + model.made.result.seconds if made else None
    return None
