"""What a finished extraction leaves behind in its run folder."""

from dataclasses import dataclass

from cache.features import FeatureSpec


@dataclass(frozen=True)
class ExtractResult:
    """result.json of runs/extract/*. rate: images per second, 0 where everything was there already."""

    dataset: str
    backbone: str
    weights: str
    images: int
    computed: int
    seconds: float
    rate: float
    bytes: int
    specs: list[FeatureSpec]

    @property
    def views(self) -> int:
        """How many passes over the images all the features take."""
        return len({(spec.view, spec.augmentation) for spec in self.specs})

    @property
    def perturbed(self) -> bool:
        """Whether the features are of perturbed copies."""
        return any(spec.augmentation and not spec.view for spec in self.specs)
