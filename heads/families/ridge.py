"""The family `ridge`: ridge regression, whose optimum is a division in the basis of the features' principal axes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from heads.families.penalised import Penalised

if TYPE_CHECKING:
    import torch

    from heads.fitting.convex import Lines, Principal

ROUNDING = 1e-14  # of a leverage of one
SMALLEST_PENALTY = 1e-10  # of the largest eigenvalue; below it scores of left-out rows are rounding
LARGEST = 256  # rows of a group that are left out together
SOLVED = 2048  # rows of groups that are solved at once


@dataclass(frozen=True)
class Ridge(Penalised):
    """Ridge regression on targets -1 and 1; penalty on the squared weights against the sum over rows."""

    family: ClassVar[str] = "ridge"

    @classmethod
    def path(cls, principal: "Principal", fake: np.ndarray, configs: "list[Ridge]", *,
             groups: np.ndarray) -> "tuple[torch.Tensor, torch.Tensor]":  # fmt: skip
        return ridge_logits(principal, fake, [config.penalty for config in configs], groups=groups)


def ridge_path(principal: "Principal", fake: np.ndarray, penalties: list[float]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Weights (P, D) and intercepts (P,), float64, of ridge regression on targets -1 and 1 for every penalty.

    Minimises |Xw + b - t|^2 + penalty * |w|^2 (Hoerl and Kennard 1970).

    Args:
        fake: (N,) bool.
    """
    targets = _targets(principal, fake)
    level = targets.mean()
    shares = 1 / (principal.values[:, None] + targets.new_tensor(penalties))
    weights = principal.weights(principal.gather((targets - level)[:, None]) * shares)
    return weights, level - weights @ principal.offset


def ridge_logits(principal: "Principal", fake: np.ndarray, penalties: list[float], *,
                 groups: np.ndarray) -> "tuple[torch.Tensor, torch.Tensor]":  # fmt: skip
    """The ridge path with scores that are logits: scaled by what each row's head says that its group left alone.

    Args:
        fake: (N,) bool. groups: (N,) int64.
    """
    return ridge_lines(principal, fake, penalties, groups=groups).logits(fake)


def ridge_lines(principal: "Principal", fake: np.ndarray, penalties: list[float], *, groups: np.ndarray) -> "Lines":
    """The ridge path, and what its heads say of each row when its group is left out.

    Args:
        fake: (N,) bool. groups: (N,) int64.
    """
    from heads.fitting.convex import Lines

    return Lines(*ridge_path(principal, fake, penalties), left_out_scores(principal, fake, penalties, groups=groups))


def left_out_scores(principal: "Principal", fake: np.ndarray, penalties: list[float], *,
                    groups: np.ndarray) -> "torch.Tensor":  # fmt: skip
    """Scores (N, P) of every row by the ridge heads that are fitted without its group; nothing is fitted again.

    Without the rows B of a group their residuals are (I - H_BB)^-1 times those of all rows, H being the hat matrix
    (of one row: Allen 1974). The intercept is then that of all rows: one that lacks a row's label lies on the other
    side of it, which would turn the scores of strongly penalised heads round. Of a group of more than LARGEST rows so
    many are left out at a time.

    Args:
        fake: (N,) bool. groups: (N,) int64.
    """
    import torch

    targets = _targets(principal, fake)
    level, count = targets.mean(), len(fake)
    smallest = SMALLEST_PENALTY * max(principal.values.tolist(), default=0.0)
    shares = 1 / (principal.values[:, None] + targets.new_tensor(penalties).clamp_min(smallest))
    solved = principal.gather((targets - level)[:, None]) * shares
    residuals = (targets - level)[:, None] - principal.scores(solved)
    scores = torch.empty_like(residuals)
    for positions in _blocks(groups):
        size, rows = positions.shape[1], torch.from_numpy(positions).to(targets.device)
        hats = 1 / count + _products(principal.coordinates(positions), shares)  # (P, G, s, s)
        rest = (1 + ROUNDING) * torch.eye(size, dtype=hats.dtype, device=hats.device) - hats
        left = torch.linalg.solve(rest, residuals[rows].permute(2, 0, 1)[..., None])  # (P, G, s, 1)
        without = (count * level - targets[rows].sum(dim=1, keepdim=True)) / max(count - size, 1)
        scores[rows] = (targets[rows] + level - without)[..., None] - left[..., 0].permute(1, 2, 0)
    return scores


def _targets(principal: "Principal", fake: np.ndarray) -> "torch.Tensor":
    """-1 and 1, (N,) float64."""
    import torch

    return torch.from_numpy(np.where(fake, 1.0, -1.0)).to(principal.device)


def _blocks(groups: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers (G, s) of groups that have as many rows, so many groups at a time that they stay small."""
    order = np.argsort(groups, kind="stable")
    _, first, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, counts)  # within its group
    starts = np.flatnonzero(rank % LARGEST == 0)
    sizes = np.diff(np.append(starts, len(order)))
    for size in np.unique(sizes):
        alike = order[np.repeat(sizes == size, sizes)].reshape(-1, size)
        alike = alike[np.argsort(alike[:, 0])]  # rows are read in their order where they are streamed
        together = max(1, SOLVED // size)
        yield from np.split(alike, range(together, len(alike), together))


def _products(coordinates: "torch.Tensor", shares: "torch.Tensor") -> "torch.Tensor":
    """Of the rows of each group with one another, weighted: (G, s, r), (r, P) -> (P, G, s, s)."""
    import torch

    if coordinates.shape[1] == 1:  # the usual case, one product for all
        return (coordinates[:, 0] ** 2 @ shares).T[..., None, None]
    return torch.stack([(coordinates * share) @ coordinates.mT for share in shares.T])
