"""What is unpacked, where to, and what the labels in it mean."""

from dataclasses import dataclass

from cache.errors import UserError
from cache.options import Options, option
from data.unpack.labelling import Meaning, columns_of


@dataclass(frozen=True, kw_only=True)
class UnpackConfig(Options):
    """Make image files and a manifest of Parquet files, tar shards and videos."""

    source: str = option("", "files, folders and patterns, separated by spaces")
    out: str = option("", "the folder for images and manifest.csv, which make data takes as DATA")
    frames: int = option(16, "frames of a video, evenly spaced over its length; of shorter ones all")
    columns: str = option("", 'columns or JSON fields by other names: "image=picture label=kind group=video"')
    labels: str = option("", 'what numbers mean that have no names: "fake=1" or "real=1"')
    classes: str = option("", 'what other words and folders mean: "real=a,b fake=c"')

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames < 1:
            raise UserError(f"FRAMES={self.frames}: expected at least one frame of a video")
        columns_of(self.columns)
        Meaning.of(self.labels, self.classes)
