"""What a sweep is asked for: which heads, on which features of which images."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from cache.features import FeatureSpec
from cache.key import key
from data.manifest import Manifest
from heads.families import Family
from heads.folds import dates
from heads.sweep import DATE, SEARCH, VALIDATION
from heads.sweep.sweep_result import VERSION

BUCKETS = "buckets"  # folder of the buckets that are finished, until the sweep is


@dataclass(frozen=True)
class SweepConfig:
    """What to train on what.

    manifest: the CSV. specs: the cached features, all views. configs: the heads. folds: 1 = the given split, GENERATOR
    = one generator left out at a time, DATE = it and all that are not older. choose: a word of CHOICES; all but
    VALIDATION go by generators left out.
    seeds: how often each trained head starts anew. inputs: a choice of Inputs.choices, or `search` among them.
    one_se: choose by the one-standard-error rule. mean_views: judge and score by the mean over the views.
    weights: backbone -> its weight file as WEIGHTS names it, for tails. part: this process's share, (i, n).
    memory: bytes that features may be held in, None = half of what is free; what does not fit is streamed.
    """

    manifest: Path
    specs: list[FeatureSpec]
    configs: list[Family]
    folds: int | str = 1
    choose: str = VALIDATION
    seeds: int = 3
    inputs: str = SEARCH
    one_se: bool = False
    mean_views: bool = False
    weights: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    part: tuple[int, int] = (0, 1)
    memory: int | None = None

    @property
    def backbone(self) -> str:
        """One name, or several joined by +."""
        return "+".join(dict.fromkeys(spec.backbone for spec in self.specs))

    def key(self, manifest: Manifest) -> str:
        """What the numbers depend on, in 12 hex digits."""
        later = {} if self.choose == VALIDATION else {"choose": self.choose}  # keys from before it was an option stay
        if self.folds == DATE:
            later["dates"] = dates(manifest)
        if isinstance(self.folds, str) or any(each.reads_generators for each in self.configs):
            later["generators"] = manifest.generator.tolist()
        return key({
            "manifest": manifest.key, "specs": [spec.key for spec in self.specs],
            "heads": [each.to_json() for each in self.configs], "folds": self.folds, "seeds": self.seeds,
            "inputs": self.inputs, "one_se": self.one_se, "mean_views": self.mean_views, "version": VERSION, **later,
        })  # fmt: skip

    def to_json(self) -> dict:
        """For config.json."""
        return {**asdict(self), "manifest": str(self.manifest), "configs": [each.to_json() for each in self.configs]}
