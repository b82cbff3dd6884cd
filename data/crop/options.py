"""Which faces are cut out of which images, and how."""

from dataclasses import dataclass

from cache.errors import UserError, one_of
from cache.options import Options, option, section
from cache.settings import LONGEST_SIDE, Settings, setting
from data.options import DataConfig

LARGEST, ALL = "largest", "all"
FACES = (LARGEST, ALL)


@dataclass(frozen=True)
class Cutting(Settings):
    """How a face is found and cut out.

    margin: how much longer the side of the square is than the longer side of the face's box. size: pixels of what is
    cut out; 0 = as many as the photograph has there. align: whether it is turned upright. least: score of a face.
    """

    margin: float = setting(1.3, least=0.5, most=4)
    size: int = setting(256, least=0, most=LONGEST_SIDE)
    align: bool = setting(True)
    least: float = setting(0.5, least=0.05, most=1)


@dataclass(frozen=True, kw_only=True)
class CropConfig(Options):
    """Cut the faces out of the images of a data set, and write them as a data set of its own."""

    data: DataConfig = section(DataConfig)
    out: str = option("", "the folder that the faces go to; then: make data DATA=<that folder>")
    faces: str = option(LARGEST, "of each image the largest, or all")
    margin: float = option(Cutting.margin, "side of the square, in longer sides of the face's box")
    size: int = option(Cutting.size, "pixels of its side as it is written; 0 = as many as the photograph has there")
    align: bool = option(Cutting.align, "turn the face upright by its five points")
    least: float = option(Cutting.least, "how sure of a face the detector must be, 0 to 1")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.faces, FACES, what="FACES")
        if not self.out:
            raise UserError("OUT= says which folder the faces go to, for example OUT=faces")
        _ = self.cutting  # what is out of range is told before anything is read

    @property
    def cutting(self) -> Cutting:
        return Cutting(self.margin, self.size, self.align, self.least)
