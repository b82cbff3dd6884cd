"""The family `linear`: one linear layer, trained by gradient."""

from dataclasses import dataclass
from typing import ClassVar

from heads.families.trained import Stacked


@dataclass(frozen=True)
class Linear(Stacked):
    """One linear layer on standardised pooled features; dropout on its inputs."""

    family: ClassVar[str] = "linear"
