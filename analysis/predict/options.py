"""What is said of which images."""

from dataclasses import dataclass

from analysis.judge.rules import DEFAULT_RULE, RULES, given_probability
from analysis.options import RunOptions
from cache.errors import UserError, one_of
from cache.options import Options, option, section
from data.crop.options import ALL, FACES
from extract.options import COMPILED, OPENVINO, TORCH

AUTO, FEW = "auto", 4  # images; with their copies they fill no more than a batch on a CPU, which is filled up anyway
WORDS = {"1": ALL, "0": ""}  # what FACES=1 and FACES=0 say


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Options):
    """Say of images whether a finished run takes them for real or fake, and how sure it is."""

    run: RunOptions = section(RunOptions)
    images: str = option("", "files, folders and patterns, separated by spaces")
    out: str = option("", "folder for the tables (default: one in runs/predict)")
    device: str = option("auto", "cpu, cuda, cuda:1; auto = the best there is")
    engine: str = option(TORCH, "of a trained network: torch, openvino (CPUs) or compiled; a head has its features'")
    batch: int = option(0, "images in a forward pass (default 32 on a CPU, 256 on a GPU)")
    threshold: str = option(
        DEFAULT_RULE, f"{', '.join(RULES)}: which of the run's thresholds decides; or a probability of fake, as .9"
    )
    faces: str = option("", "judge faces that are found in the images, each by itself: 1 or all, or largest")
    copies: str = option(
        AUTO,
        "1 = whether each verdict holds on copies after JPEG, scaling and messengers, seven times the work; 0 = "
        f"not; auto = for at most {FEW} images, where it costs nothing",
    )
    heat_maps: int = option(0, "of how many images, the first ones, to draw where the evidence lies")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "faces", WORDS.get(self.faces, self.faces))
        one_of(self.faces, ("", *FACES), what="FACES")
        given_probability(self.threshold)
        one_of(self.copies, (AUTO, "0", "1"), what="COPIES")
        one_of(self.engine, (TORCH, OPENVINO, COMPILED), what="ENGINE")
        if min(self.batch, self.heat_maps) < 0:
            raise UserError("BATCH and HEAT_MAPS must not be negative")

    def scores_copies_of(self, images: int) -> bool:
        """Whether the copies of so many images are scored too."""
        return images <= FEW if self.copies == AUTO else self.copies == "1"
