"""The family `tail`: the rest of the backbone from a cached map on, trained with a linear layer behind it."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cache.settings import setting
from heads.families.base import Source, refuse_unlike
from heads.families.member import Fitted, Member, Report
from heads.families.trained import MOST_EPOCHS, MOST_SHARE, Trained

if TYPE_CHECKING:
    from heads.fitting.tails import TailHead  # imports the backbones, which pooled heads do without
    from heads.head_file import HeadRecord

TAILS_TOGETHER = 2  # trained side by side on the same batches


@dataclass(frozen=True)
class Tail(Trained):
    """The rest of the backbone from a cached map on, from its pretrained weights; then dropout and a linear layer.

    body_lr: learning rate of the backbone's part as a share of `lr`; l1 and weight_decay hold for both parts.
    optimiser: adamw, or adam whose weight decay is part of the gradient. loss: bce on one logit, or ce on two.
    frozen_norm: the statistics of BatchNorm do not move. curve_every: batches between two points of the training
    curve, 0 = an epoch.
    """

    family: ClassVar[str] = "tail"
    reads_maps: ClassVar[bool] = True
    body_lr: float = setting(0.1, least=0, most=MOST_SHARE)
    optimiser: str = setting("adamw", choices=("adamw", "adam"))
    loss: str = setting("bce", choices=("bce", "ce"))
    frozen_norm: bool = setting(False)
    curve_every: int = setting(0, least=0)
    epochs: int = setting(5, least=1, most=MOST_EPOCHS)
    batch: int = setting(32, least=1)

    def shared(self, columns: int) -> Hashable:
        """The batches: each is read once for all members."""
        return self.family, self.batch

    def together(self, columns: int) -> int:
        return TAILS_TOGETHER

    @classmethod
    def fit(cls, members: list[Member], source: Source, *, report: Report | None = None) -> list[Fitted]:
        from heads.fitting.tails import fit_tails

        return fit_tails(members, source.map_task(), report=report, unfinished=source.unfinished)

    @classmethod
    def seconds(cls, members: list[Member], source: Source) -> float:
        """Timed once for all tails that differ in nothing that costs time."""
        from heads.fitting.tails import seconds_an_epoch

        kind = members[0].config.shared(source.columns)
        if kind not in source.measured:
            source.measured[kind] = seconds_an_epoch(members[0], source.map_task())
        return max(member.config.epochs for member in members) * len(members) * source.measured[kind]

    def empty(self, record: "HeadRecord") -> "TailHead":
        from heads.fitting.tails import outline

        return outline(record.inputs[0], self, record.row_shape, record.members)

    def refuse_other_shapes(self, record: "HeadRecord", shapes: dict[str, tuple[int, ...]]) -> None:
        """The members alone are compared: what a network holds is known once it is built."""
        networks = {name.split(".")[1] for name in shapes if name.startswith("networks.")}
        refuse_unlike({"members": record.members}, {"members": len(networks)})
