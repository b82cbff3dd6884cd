"""What the commands that keep house take."""

from dataclasses import dataclass

from cache.errors import UserError
from cache.options import Options, option


@dataclass(frozen=True, kw_only=True)
class StatusConfig(Options):
    """Say which data sets, features and runs there are, how large, what they reached, and what a rerun would do."""

    all: bool = option(False, "every run, smoke runs too, not the best of each data set alone")


@dataclass(frozen=True, kw_only=True)
class PruneConfig(Options):
    """List what nobody needs any more, with sizes, and delete it after a yes."""

    yes: bool = option(False, "delete without asking")
    days: int = option(30, "after so many days without a change a training that was stopped is given up")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.days < 1:
            raise UserError(f"DAYS={self.days}: expected at least 1")


@dataclass(frozen=True, kw_only=True)
class PackConfig(Options):
    """Write a finished run as one file that is checked when it is unpacked; of an extraction with its features."""

    run: str = option("", "a run's name or folder, of any stage")
    out: str = option("", "the file to write (default: the run's name and .tar, here)")

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_none(self.run)


@dataclass(frozen=True, kw_only=True)
class ArchiveConfig(Options):
    """Pack a finished run into a folder or an fsspec URL and read it back from there."""

    run: str = option("", "a run's name or folder, of any stage")
    to: str = option("", "a folder, or a URL that fsspec knows: s3://bucket/runs")
    remove: bool = option(False, "delete the run here once the copy there is read back and right")

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_none(self.run)
        if not self.to:
            raise UserError("TO= is missing: a folder, or a URL such as s3://bucket/runs")


@dataclass(frozen=True, kw_only=True)
class ForgetConfig(Options):
    """List every trace of an image in manifests, features and runs, and remove it after a yes."""

    image: str = option("", "the image's path, or the sha256 of its file, 64 hex digits")
    yes: bool = option(False, "remove without asking")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.image:
            raise UserError("IMAGE= is missing: the path of the image, or the sha256 of its file")


def _refuse_none(run: str) -> None:
    if not run:
        raise UserError("RUN= is missing: a run's name or folder; `make status` lists them")
