"""What every family is given and gives back: a Task and its Members in, Fitted heads out."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from heads.families import HeadConfig
from heads.fitting import metrics
from heads.folds import Folds

SLICE = 1024  # rows turned into float64 at once


@dataclass(frozen=True)
class Member:
    """One head to train: a setting, on one fold, from one seed."""

    config: HeadConfig
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
    parameters: dict[str, torch.Tensor]
    val_auc: float
    val_loss: float
    epoch: int = 0
    diverged: int = -1
    curve: list[Point] = field(default_factory=list)

    def with_point(self, point: Point) -> "Fitted":
        """Its training curve one point longer."""
        return replace(self, curve=[*self.curve, point])

    def after_epoch(self, epoch: int, point: Point, parameters: Callable[[], dict[str, torch.Tensor]]) -> "Fitted":
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


@dataclass(frozen=True)
class Task:
    """Pooled features, ready to train on.

    X: (V, N, D) float32, V views of the manifest's N rows, standardised by centre and scale (D,) over all rows that
    any fold trains on. mean, std: (F, D), what is left to standardise by a fold's own training rows.
    fake: (N,) bool. mean_views: heads are judged by the mean of their scores over the views, not by view 0.
    """

    X: torch.Tensor
    fake: torch.Tensor
    folds: Folds
    centre: torch.Tensor
    scale: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    mean_views: bool = False

    @classmethod
    def of(cls, X: np.ndarray, fake: np.ndarray, folds: Folds, *, device: str = "cpu",
           mean_views: bool = False) -> "Task":  # fmt: skip
        """From raw features (V, N, D) float32, which are not changed. Constant columns stay constant."""
        raw = torch.from_numpy(X).to(device)
        centre, scale = _moments(raw, folds.rows)
        standard = raw - centre
        standard /= scale
        if len(folds) == 1:  # those were the fold's own rows: exactly nothing is left
            mean, std = torch.zeros_like(centre)[None], torch.ones_like(scale)[None]
        else:
            of_folds = [_moments(standard, np.flatnonzero(rows)) for rows in folds.trained]
            mean, std = (torch.stack(each) for each in zip(*of_folds, strict=True))
        return cls(standard, torch.tensor(fake, device=device), folds, centre, scale, mean, std, mean_views)

    @property
    def columns(self) -> int:
        return self.X.shape[2]

    @cached_property
    def flat(self) -> torch.Tensor:
        """(V * N, D): row n of view v is at v * N + n."""
        return self.X.flatten(0, 1)

    def standardisation(self, fold: int) -> dict[str, torch.Tensor]:
        """Mean and deviation of raw features on the fold's training rows, for a head of its own: mean, std (D,)."""
        mean, std = self.centre + self.scale * self.mean[fold], self.scale * self.std[fold]
        return {"mean": mean.cpu(), "std": std.cpu()}

    def training_rows(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Every view of the fold's training rows, standardised: (V * n, D) float32, and the labels (V * n,) bool."""
        rows = torch.from_numpy(self.folds.trained[fold])
        X = self._of_fold(self.X[:, rows], fold).flatten(0, 1)
        return X.cpu().numpy(), self.fake[rows].repeat(len(self.X)).cpu().numpy()

    def training_groups(self, fold: int) -> np.ndarray:
        """The group of every one of those, (V * n,) int64: views of an image share it."""
        return np.tile(self.folds.groups[self.folds.trained[fold]], len(self.X))

    def judged_rows(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """The fold's held-out rows as heads are judged by them: (1 or V, m, D) float32, and the labels (m,)."""
        rows = torch.from_numpy(self.folds.held_out[fold])
        X = self._of_fold(self.X[: None if self.mean_views else 1, rows], fold)
        return X.cpu().numpy(), self.fake[rows].cpu().numpy()

    def _of_fold(self, X: torch.Tensor, fold: int) -> torch.Tensor:
        """A copy of some rows, standardised by the fold's own in place: it may be most of the memory."""
        X -= self.mean[fold]
        X /= self.std[fold]
        return X


def judge(scores: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC and log loss of each column: scores (m, H) logits, fake (m,) bool -> (H,), (H,)."""
    columns, positive = torch.from_numpy(np.ascontiguousarray(scores)), torch.from_numpy(fake)
    return metrics.auc(columns, positive).numpy(), metrics.log_loss(columns, positive).numpy()


def _moments(X: torch.Tensor, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (D,) float32 of some rows of (V, N, D) in all views; 1 for a constant column.

    In slices, because float64 is wanted and a copy of everything would be large.
    """
    slices = [torch.from_numpy(each).to(X.device) for each in np.array_split(rows, range(SLICE, len(rows), SLICE))]
    count = X.shape[0] * len(rows)
    mean = sum(X.index_select(1, each).double().sum(dim=(0, 1)) for each in slices) / count
    squares = sum(((X.index_select(1, each) - mean) ** 2).sum(dim=(0, 1)) for each in slices)
    std = (squares / count).sqrt()
    std = torch.where(std > 1e-6 * (mean.abs() + 1e-6), std, 1.0)
    return mean.float(), std.float()
