"""Which data set, and how its manifest is made."""

import os
from dataclasses import dataclass
from pathlib import Path

from cache import paths
from cache.errors import UserError, one_of
from cache.options import Options, option
from data.labels import classes_of, one_means
from data.naming import is_there, known_manifest, meant_by

SAMPLE = "sample"  # the word of DATA that means the built-in data set
MILD = "mild"  # words of AUGMENT, what changes cached views; and the name in their spec, which goes with what is drawn
AUGMENTATIONS = {MILD: "flip-rotate-crop-colour-jpeg-1", "harsh": "flip-crop-jpeg-blur-chain-1"}
OF_ONE_SET = ("root", "train_csv", "valid_csv", "test_csv", "classes", "labels")  # options that describe its files


@dataclass(frozen=True, kw_only=True)
class DataConfig(Options):
    """Build the manifest of a data set and audit it."""

    data: str = option(SAMPLE, "a folder, a list, a known name, or sample; several joined by + are one data set")
    name: str = option("", "what to call the data set (default: the folder's name)")
    root: str = option("", "where the paths in the CSVs start, if not below DATA")
    train_csv: str = option("", "CSV of the training split, relative to DATA (default train.csv)")
    valid_csv: str = option("", "CSV of the validation split (default valid.csv)")
    test_csv: str = option("", "CSV of the test split (default test.csv)")
    classes: str = option("", "which names stand for which class, in folders and CSVs: real=a,b fake=c")
    labels: str = option("", "what the numbers in a CSV mean: fake=1 or real=1")
    group: str = option("", "what must not be split: a CSV column, or a pattern with one (group) matched in the path")
    bad_images: str = option("skip", "skip = leave unreadable ones out, black = put a black image, fail = stop")
    leaks: str = option("stop", "the same image in two splits: stop, or drop it from the lesser split")
    rehash: bool = option(False, "read every file again even if size and date are unchanged")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data:
            raise UserError("DATA is empty: name a folder, a list, or a data set that is known here, as DATA=faces")
        one_of(self.bad_images, ("skip", "black", "fail"), what="BAD_IMAGES")
        one_of(self.leaks, ("stop", "drop"), what="LEAKS")
        classes_of(self.classes)
        one_means(self.labels)
        own = [name.upper() for name in OF_ONE_SET if getattr(self, name)]
        if self.sets and own:
            raise UserError(
                f"{', '.join(own)} cannot be meant for all sets of DATA={self.data}: make the manifest of each with "
                '`make data`, and join those: DATA="data/one/manifest.csv+data/other/manifest.csv"'
            )

    @property
    def dataset(self) -> str:
        """The name under which manifest, runs and report are kept.

        Raises:
            UserError: it cannot be a folder's.
        """
        if self.name or self.data == SAMPLE:
            return paths.dataset_name(self.name or SAMPLE)
        if self.sets:
            return paths.dataset_name("+".join(each.dataset for each in self.sets))
        path = Path(os.path.realpath(self.source))
        folder = path.parent if path.name == "manifest.csv" else path
        name = folder.stem if folder.is_file() else folder.name
        return paths.dataset_name("-".join(filter(None, [name, Path(self.train_csv).stem])))

    def elsewhere(self, data: str) -> "DataConfig":
        """The same options for another data set, as DATA names it."""
        return self.but(data=data, name="", group="", **dict.fromkeys(OF_ONE_SET, ""))

    @property
    def sets(self) -> list["DataConfig"]:
        """The data sets that DATA joins by +, each with these options; none where it names a single one."""
        parts = self.data.split("+")
        if len(parts) == 1 or is_there(self.data):
            return []
        there = all(part == SAMPLE or meant_by(part).exists() for part in parts)
        return [self.but(data=part, name="") for part in parts] if there or not known_manifest(self.data) else []

    @property
    def source(self) -> Path:
        """The folder or list that `data` means."""
        return paths.sample_list() if self.data == SAMPLE else meant_by(self.data)
