"""Which data sets are audited."""

from dataclasses import dataclass

from analysis.options import OF_ONE, names_in
from cache.errors import UserError
from cache.options import Options, option, section
from data.options import DataConfig


@dataclass(frozen=True, kw_only=True)
class AuditCommand(Options):
    """Say what is wrong with a data set, or with several, and what they share."""

    one: DataConfig = section(DataConfig)
    faces: bool = option(True, "show images on the page")

    def __post_init__(self) -> None:
        super().__post_init__()
        own = [name.upper() for name in OF_ONE if getattr(self.one, name)]
        if len(names_in(self.one.data)) > 1 and own:
            raise UserError(f"{', '.join(own)} cannot be meant for several data sets: make the manifest of each with "
                            "`make data` and name those in DATA")  # fmt: skip

    def each_data(self) -> list[DataConfig]:
        """The options of each data set that DATA names."""
        return [self.one.but(data=data) for data in names_in(self.one.data)]
