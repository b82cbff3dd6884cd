"""What goes into the training of a family and comes out of it: Members in, Fitted heads out."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from heads.families.base import Family

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Member:
    """One head to train: a setting, on one fold, from one seed."""

    config: Family
    fold: int
    seed: int


@dataclass(frozen=True)
class Point:
    """One point of a training curve after `epoch` epochs, which may be a fraction. Losses in nats: train_loss as it was
    while training since the last point, val_loss and val_auc on the held-out rows."""

    epoch: float
    train_loss: float
    val_loss: float
    val_auc: float


@dataclass(frozen=True)
class Fitted:
    """A member's tensors at its epoch of best validation AUC, its standardisation among them, named as in its head.

    val_auc, val_loss: on the fold's held-out rows. epoch: from 0. diverged: the epoch in which its loss stopped being
    finite, -1 = never; what it was before is kept, and val_auc is nan where there was nothing before.
    """

    member: Member
    parameters: dict[str, "torch.Tensor"]
    val_auc: float
    val_loss: float
    epoch: int = 0
    diverged: int = -1
    curve: list[Point] = field(default_factory=list)

    def to_json(self) -> dict:
        """All but the member and its tensors; `of_json` is the inverse."""
        found = {name: getattr(self, name) for name in ("val_auc", "val_loss", "epoch", "diverged")}
        return {"fitted": found, "curve": [list(asdict(point).values()) for point in self.curve]}

    @classmethod
    def of_json(cls, record: dict, member: Member, parameters: dict[str, "torch.Tensor"]) -> "Fitted":
        return cls(member, parameters, **record["fitted"], curve=[Point(*point) for point in record["curve"]])

    def with_point(self, point: Point) -> "Fitted":
        """Its training curve one point longer."""
        return replace(self, curve=[*self.curve, point])

    def after_epoch(self, epoch: int, point: Point, parameters: Callable[[], dict[str, "torch.Tensor"]]) -> "Fitted":
        """What is known once an epoch has been judged: it diverged, or it is the best so far, or nothing new."""
        if not math.isfinite(point.val_loss) or math.isnan(point.val_auc):
            return replace(self, diverged=epoch)
        if self.parameters and (point.val_auc, -point.val_loss) <= (self.val_auc, -self.val_loss):
            return self
        return replace(self, parameters=parameters(), epoch=epoch, val_auc=point.val_auc, val_loss=point.val_loss)

    def goes_on(self, done: int) -> bool:
        """Whether there is another epoch for it after `done` ones."""
        config, waited = self.member.config, done - 1 - self.epoch
        return done < config.epochs and self.diverged < 0 and not (config.patience and waited >= config.patience)


Report = Callable[[int, list[Fitted]], None]  # epochs done, every member so far
