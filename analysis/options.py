"""What the report shows, and which finished run the commands beside it take."""

from dataclasses import dataclass

from cache.errors import UserError
from cache.options import Options, option, section
from data.naming import words_of
from data.options import OF_ONE_SET, DataConfig
from heads.options import HeadsConfig

OF_ONE = ("name", "group", *OF_ONE_SET)  # options that describe one data set
MOST_HEAT_MAPS = 400  # heat maps on a sheet


def names_in(data: str) -> list[str]:
    """The data sets that DATA names; a path with spaces in it that is there is one of them."""
    return words_of(data) or [data]


@dataclass(frozen=True, kw_only=True)
class ReportCommand(Options):
    """Extract and train what is missing, then write the report of a data set, or of several side by side.

    DATA="a b" makes the page of each, scores each one's models on the others, and compares their best ones.
    """

    heads: HeadsConfig = section(HeadsConfig)
    eval: str = option("", "other data sets to score all heads and detectors on, everything fixed; as DATA names them")
    perturb: int = option(1000, "test images to score again after JPEG, blur, scaling and others; 0 = none")
    num_samples: int = option(12, "heat maps to draw of the best model; 0 = none")
    faces: bool = option(True, "show images of the data set on the page")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.perturb < 0 or not 0 <= self.num_samples <= MOST_HEAT_MAPS:
            raise UserError(f"PERTURB must not be negative, and NUM_SAMPLES between 0 and {MOST_HEAT_MAPS}")
        own = [name.upper() for name in OF_ONE if getattr(self.heads.extract.data, name)]
        if len(self.each_data()) > 1 and own:
            raise UserError(f"{', '.join(own)} cannot be meant for {len(self.each_data())} data sets: leave it out, or "
                            "make the manifest of each with `make data` and name those in DATA")  # fmt: skip

    @property
    def data(self) -> str:
        """What DATA names."""
        return self.heads.extract.data.data

    def each_data(self) -> list[str]:
        """As `names_in` has them."""
        return names_in(self.data)

    def each_other(self) -> list[str]:
        """The data sets that EVAL names, but for the own one."""
        return [data for data in dict.fromkeys(words_of(self.eval)) if data != self.data]


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Options of the commands that take a finished run."""

    run: str = option("", "a run's name or folder (default: the best one)")
    data: str = option("", "whose best run, where there are runs on several data sets")

    @property
    def dataset(self) -> str:
        """The name of the data set that DATA means; '' where none is given."""
        return DataConfig(data=self.data).dataset if self.data else ""
