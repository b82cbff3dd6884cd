"""What heads are trained on, a Task of pooled features or a MapTask of maps, and the two figures of their judgement."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from cache.features import FeatureSpec
from heads.fitting import column_metrics
from heads.folds import Folds
from heads.stream import MapStream

SLICE = 1024  # rows turned into float64 at once


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
           mean_views: bool = False, alike: bool = False) -> "Task":  # fmt: skip
        """From raw features (V, N, D) float32, which are not changed. Constant columns stay constant.

        alike: all columns are divided by one deviation, so that their proportions stay.
        """
        raw = torch.from_numpy(X).to(device)
        centre, scale = _moments(raw, folds.rows, alike=alike)
        standard = raw - centre
        standard /= scale
        if len(folds) == 1:  # those were the fold's own rows: exactly nothing is left
            mean, std = torch.zeros_like(centre)[None], torch.ones_like(scale)[None]
        else:
            of_folds = [_moments(standard, np.flatnonzero(rows), alike=alike) for rows in folds.trained]
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


@dataclass(frozen=True)
class MapTask:
    """stream: the maps of one feature. fake: (N,) bool. weights: as WEIGHTS names the backbone's weight file."""

    stream: MapStream
    spec: FeatureSpec
    fake: np.ndarray
    folds: Folds
    weights: str = ""
    device: str = "cpu"
    mean_views: bool = False

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Of one map."""
        return self.stream.tables[0].row_shape


def judge(scores: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC and log loss of each column: scores (m, H) logits, fake (m,) bool -> (H,), (H,)."""
    columns, positive = torch.from_numpy(np.ascontiguousarray(scores)), torch.from_numpy(fake)
    return column_metrics.auc(columns, positive).numpy(), column_metrics.log_loss(columns, positive).numpy()


def _moments(X: torch.Tensor, rows: np.ndarray, *, alike: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (D,) float32 of some rows of (V, N, D) in all views; 1 for a constant column.

    alike: of all columns the root of their mean variance.

    In slices, because float64 is wanted and a copy of everything would be large.
    """
    slices = [torch.from_numpy(each).to(X.device) for each in np.array_split(rows, range(SLICE, len(rows), SLICE))]
    count = X.shape[0] * len(rows)
    mean = sum(X.index_select(1, each).double().sum(dim=(0, 1)) for each in slices) / count
    squares = sum(((X.index_select(1, each) - mean) ** 2).sum(dim=(0, 1)) for each in slices)
    variance = squares / count
    std = (variance.mean().expand_as(variance) if alike else variance).sqrt()
    std = torch.where(std > 1e-6 * (mean.abs() + 1e-6), std, 1.0)
    return mean.float(), std.float()
