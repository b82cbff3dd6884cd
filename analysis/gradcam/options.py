"""Whose heat maps are drawn, of what, and how."""

from dataclasses import dataclass

from analysis.options import MOST_HEAT_MAPS, RunOptions
from cache.errors import UserError, one_of
from cache.options import Options, option, section
from data.labels import LABELS, SPLITS

PREDICTED = "predicted"
TARGETS = (PREDICTED, *LABELS)
AUTO = "auto"
METHODS = (AUTO, "hirescam", "layercam", "gradcam")


@dataclass(frozen=True, kw_only=True)
class GradcamConfig(Options):
    """Draw where in its images a finished run sees the evidence for real or fake, and check the maps."""

    run: RunOptions = section(RunOptions)
    num_samples: int = option(12, "images to draw")
    target: str = option(PREDICTED, f"{', '.join(TARGETS)}: the class whose evidence is shown")
    split: str = option("test", f"{', '.join(SPLITS)}: whose images")
    method: str = option(AUTO, f"{', '.join(METHODS)}: how the maps are made; auto = hirescam")
    device: str = option("auto", "cpu, cuda, cuda:1; auto = the best there is")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.target, TARGETS, what="TARGET")
        one_of(self.split, SPLITS, what="SPLIT")
        one_of(self.method, METHODS, what="METHOD")
        if not 1 <= self.num_samples <= MOST_HEAT_MAPS:
            raise UserError(f"NUM_SAMPLES must be between 1 and {MOST_HEAT_MAPS}, which fit on a sheet")
