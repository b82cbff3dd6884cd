"""What heads are trained on, a Task of pooled features or a MapTask of maps, and the two figures of their judgement."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from cache.errors import UserError
from cache.features import FeatureSpec
from heads.fitting import column_metrics, products
from heads.folds import Folds
from heads.memory import free_memory
from heads.stream import RowStream

PART_NUMBERS = 1 << 20  # of rows that are turned into float64 at once: 8 MB, which a processor's cache holds
CONSTANT = 1e-6  # of a mean; a column that deviates less is rounding


@dataclass(frozen=True)
class SomeRows:
    """Several views of some rows of a stream, one view under the other: position v * n + i is row i in view v.

    rows: (n,) of the manifest, growing. views: the first so many.
    """

    stream: RowStream
    rows: np.ndarray
    views: int

    def __len__(self) -> int:
        return self.views * len(self.rows)

    @property
    def columns(self) -> int:
        return self.stream.tables[0].row_shape[0]

    def parts(self, device: torch.device) -> Iterator[tuple[slice, torch.Tensor]]:
        """All of them in order: positions, and the rows (k, D) as they are stored, to be read only."""
        at = 0
        for view in range(self.views):
            for batch in self.stream.ordered(self.rows, view=view, batch=max(1, PART_NUMBERS // self.columns)):
                yield slice(at, at + len(batch.rows)), batch.values.to(device)
                at += len(batch.rows)

    def doubles(self, device: torch.device) -> Iterator[tuple[slice, torch.Tensor]]:
        """The same as float64 (k, D), which may be changed and are valid until the next ones."""
        buffer = None
        for at, values in self.parts(device):
            buffer = torch.empty(values.shape, dtype=torch.float64) if buffer is None else buffer
            yield at, products.doubled(values, buffer)

    def read(self, positions: np.ndarray) -> torch.Tensor:
        """Any of them, (k,) -> (k, D) as they are stored."""
        view, number = np.divmod(positions, len(self.rows))
        return self.stream.read(self.rows[number], view)


@dataclass(frozen=True)
class Task:
    """Pooled features to train on, raw: they are standardised where they are multiplied, a batch at a time.

    stream: rows (D,) in V views of the manifest's N images. fake: (N,) bool, on the device that trains. centre, scale:
    (D,) mean and deviation over all rows that any fold trains on. mean, std: (F, D), what is then left to standardise
    by a fold's own training rows. mean_views: heads are judged by the mean of their scores over the views, not by
    view 0.
    """

    stream: RowStream
    fake: torch.Tensor
    folds: Folds
    centre: torch.Tensor
    scale: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    mean_views: bool = False

    @classmethod
    def of(cls, stream: RowStream, fake: np.ndarray, folds: Folds, *, mean_views: bool = False,
           alike: bool = False) -> "Task":  # fmt: skip
        """Reads all training rows twice. Constant columns stay constant; what trains is the stream's device.

        alike: all columns are divided by one deviation, so that their proportions stay.
        """
        device = torch.device(stream.device)
        trained = torch.from_numpy(folds.trained).to(device)
        rows = SomeRows(stream, folds.rows, stream.views)
        centre, scale, mean, std = (each.float() for each in _moments(rows, trained, device, alike=alike))
        return cls(stream, torch.tensor(fake, device=device), folds, centre, scale, mean, std, mean_views)

    @property
    def device(self) -> torch.device:
        return self.fake.device

    @property
    def columns(self) -> int:
        return len(self.centre)

    @property
    def judging_views(self) -> int:
        """By how many views heads are judged."""
        return self.stream.views if self.mean_views else 1

    def standard(self, values: torch.Tensor) -> torch.Tensor:
        """Rows as they are stored (..., D), standardised by centre and scale: float32, on the device that trains."""
        return (values.to(self.device) - self.centre).div_(self.scale)

    def moments(self, fold: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation (D,), (D,) float32 of raw features on the fold's training rows."""
        return self.centre + self.scale * self.mean[fold], self.scale * self.std[fold]

    def standardisation(self, fold: int) -> dict[str, torch.Tensor]:
        """The same for a head of its own, on the CPU: mean, std (D,)."""
        return {name: each.cpu() for name, each in zip(("mean", "std"), self.moments(fold), strict=True)}

    def training(self, fold: int) -> SomeRows:
        """Every view of the fold's training rows, raw."""
        return SomeRows(self.stream, np.flatnonzero(self.folds.trained[fold]), self.stream.views)

    def training_labels(self, fold: int) -> np.ndarray:
        """Of every one of those, (V * n,) bool."""
        return np.tile(self.fake.cpu().numpy()[self.folds.trained[fold]], self.stream.views)

    def training_rows(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Every view of the fold's training rows, standardised: (V * n, D) float32, and the labels (V * n,) bool.

        Raises:
            UserError: so many numbers do not fit into memory.
        """
        return self._copied(self.training(fold), fold), self.training_labels(fold)

    def training_groups(self, fold: int) -> np.ndarray:
        """The group of every one of those, (V * n,) int64: views of an image share it."""
        return np.tile(self.folds.groups[self.folds.trained[fold]], self.stream.views)

    def judged(self, fold: int) -> SomeRows:
        """The fold's held-out rows in the views that heads are judged by, raw."""
        return SomeRows(self.stream, np.flatnonzero(self.folds.held_out[fold]), self.judging_views)

    def judged_rows(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """The fold's held-out rows as heads are judged by them: (1 or V, m, D) float32, and the labels (m,).

        Raises:
            UserError: so many numbers do not fit into memory.
        """
        X = self._copied(self.judged(fold), fold).reshape(self.judging_views, -1, self.columns)
        return X, self.fake.cpu().numpy()[self.folds.held_out[fold]]

    def _copied(self, rows: SomeRows, fold: int) -> np.ndarray:
        """(k, D) float32, standardised by the fold's own."""
        needed, free = 4 * len(rows) * rows.columns, free_memory()
        if needed > free:
            raise UserError(
                f"{len(rows)} rows of {rows.columns} features as one matrix are {needed / 1e9:.1f} GB, and "
                f"{free / 1e9:.1f} GB are free. Name fewer FEATURES or VIEWS, use `avg` in place of `avgstd`, or leave "
                "families that need all rows at once, such as scikit-learn's, out of the GRID."
            )
        X = np.empty((len(rows), rows.columns), np.float32)
        for at, values in rows.parts(self.device):
            X[at] = ((self.standard(values) - self.mean[fold]) / self.std[fold]).cpu().numpy()
        return X


@dataclass(frozen=True)
class MapTask:
    """stream: the maps of one feature. fake: (N,) bool. weights: as WEIGHTS names the backbone's weight file."""

    stream: RowStream
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


def _moments(rows: SomeRows, trained: torch.Tensor, device: torch.device, *,
             alike: bool) -> tuple[torch.Tensor, ...]:  # fmt: skip
    """Mean and deviation, float64, of all training rows (D,), (D,), and then of each fold's (F, D), (F, D).

    Those of a fold are what is left once all rows are standardised; of a single fold nothing is. A constant column has
    deviation 1. Two passes: squares are of distances from the mean, where they lose nothing to rounding.

    Args:
        trained: (F, N) bool, which of the manifest's rows each fold trains on. alike: of all columns the root of their
            mean variance.
    """
    mean = sum(products.added(values) for _, values in rows.doubles(device)) / len(rows)
    every = torch.from_numpy(np.tile(rows.rows, rows.views)).to(device)
    sums, squares = torch.zeros(2, 1 + len(trained), rows.columns, dtype=torch.float64, device=device)
    for at, values in rows.doubles(device):
        chosen = torch.cat([torch.ones(1, at.stop - at.start, device=device), trained[:, every[at]]]).double().T
        distance = products.less(values, mean)
        sums += products.across(distance, chosen).T
        squares += products.across(products.by_itself(distance), chosen).T
    counts = rows.views * torch.cat([trained.any(dim=0).sum()[None], trained.sum(dim=1)]).double()[:, None]
    std = _deviation(squares[:1] / counts[:1], mean, alike=alike)
    if len(trained) == 1:
        return mean, std[0], torch.zeros_like(std), torch.ones_like(std)
    means, spread = sums[1:] / counts[1:] / std, squares[1:] / counts[1:] / std**2
    return mean, std[0], means, _deviation((spread - means**2).clamp_min(0), means, alike=alike)


def _deviation(variance: torch.Tensor, mean: torch.Tensor, *, alike: bool) -> torch.Tensor:
    """(F, D) of variances (F, D); 1 for a constant column."""
    std = (variance.mean(dim=1, keepdim=True).expand_as(variance) if alike else variance).sqrt()
    return torch.where(std > CONSTANT * (mean.abs() + CONSTANT), std, 1.0)
