"""A family of heads of somebody's own, in a file that is no part of the program: heads.families.base says how."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from cache.settings import setting
from heads.families import Family, Fitted, Member, Report, Source, register
from heads.fitting.task import Task, judge


@register
@dataclass(frozen=True)
class Contrast(Family):
    """The difference between the means of both classes. shrink: share of it that is taken away."""

    family: ClassVar[str] = "contrast"
    shrink: float = setting(0.0, least=0, most=0.9)

    @classmethod
    def fit(cls, members: list[Member], source: Source, *, report: Report | None = None) -> list[Fitted]:
        return [_fitted(member, source.task()) for member in members]


def _fitted(member: Member, task: Task) -> Fitted:
    X, fake = task.training_rows(member.fold)
    weight = (1 - member.config.shrink) * (X[fake].mean(axis=0) - X[~fake].mean(axis=0))
    views, held_out = task.judged_rows(member.fold)
    auc, loss = judge(views.mean(axis=0) @ weight[:, None], held_out)
    tensors = {"weight": torch.from_numpy(weight), "bias": torch.tensor(0.0)}
    return Fitted(member, tensors | task.standardisation(member.fold), float(auc[0]), float(loss[0]))
