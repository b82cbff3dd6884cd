"""Which images are stored alike, where, and how."""

from dataclasses import dataclass

from cache.errors import UserError
from cache.options import Options, option, section
from cache.settings import LONGEST_SIDE
from data.options import DataConfig


@dataclass(frozen=True, kw_only=True)
class EqualizeConfig(Options):
    """Write every image again as a square JPEG of one size and quality, and a manifest of them."""

    source: DataConfig = section(DataConfig)
    out: str = option("", "a folder for the new images and their manifest.csv")
    size: int = option(0, "pixels along each side (default: what 95 % of each class have at least)")
    quality: int = option(90, "JPEG quality, the same for all")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.out:
            raise UserError("OUT=... is missing: a folder for the new images")
        if not (self.size == 0 or 16 <= self.size <= LONGEST_SIDE):
            raise UserError(f"SIZE={self.size}: expected 16 to {LONGEST_SIDE} pixels, or 0")
        if not 1 <= self.quality <= 100:
            raise UserError(f"QUALITY={self.quality}: expected 1 to 100")
