"""What the convex families have in common: one penalty, and a whole path of penalties in one go."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cache.settings import setting
from heads.families.base import Family, Source, norm_setting
from heads.families.member import Fitted, Member, Report

if TYPE_CHECKING:
    import torch

    from heads.fitting.training import Training


@dataclass(frozen=True)
class Penalised(Family):
    """Linear in the features, with one optimum for every penalty. norm: of each vector, as of Stacked.

    apart: it is made of sums over each class by itself (Training).
    """

    scouts: ClassVar[bool] = True
    streams: ClassVar[bool] = True
    apart: ClassVar[bool] = False
    penalty: float = setting(above=0)
    norm: str = norm_setting()

    @property
    def strength(self) -> float:
        return self.penalty

    def shared(self, columns: int) -> Hashable:
        """The vectors: one decomposition of them serves all penalties of all such families."""
        return ("convex", self.norm)

    @classmethod
    def fit(cls, members: list[Member], source: Source, *, report: Report | None = None) -> list[Fitted]:
        from heads.fitting.convex import fit_convex

        return fit_convex(members, source.task())

    @classmethod
    def seconds(cls, members: list[Member], source: Source) -> float:
        from heads.fitting.convex import seconds_a_path

        return source.folds * seconds_a_path(source.rows, source.columns, len({member.config for member in members}))

    @classmethod
    def path(cls, training: "Training", configs: "list[Penalised]") -> "tuple[torch.Tensor, torch.Tensor]":
        """Weights (P, D) and intercepts (P,), float64, for every setting of this family; scores are logits of fake."""
        raise NotImplementedError
