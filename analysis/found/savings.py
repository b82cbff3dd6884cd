"""What extraction took, and what the cache saved against passing the images through the backbone again and again."""

from dataclasses import dataclass

from analysis.found.models import Model, of_stage
from analysis.found.sweeps import Sweep
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
    """What all finished extractions of a data set did, perturbed copies last."""
    found = [each.into(ExtractResult) for _, each in runs.find("extract", dataset=dataset)]
    return sorted(found, key=lambda each: each.perturbed)


def saving(models: list[Model], extractions: list[ExtractResult], *, distinct: int) -> Saving | None:
    """What the cache saved the best sweep.

    None where its features were not all computed in one run, or where little was saved.

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
