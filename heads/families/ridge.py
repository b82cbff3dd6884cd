"""The family `ridge`: ridge regression, whose optimum is a division in the basis of the features' principal axes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from heads.families.penalised import Penalised

if TYPE_CHECKING:
    import torch

    from heads.fitting.convex import Lines
    from heads.fitting.principal import Principal
    from heads.fitting.training import Training

ROUNDING = 1e-14  # of a leverage of one
SMALLEST_PENALTY = 1e-10  # of the largest eigenvalue; below it scores of left-out rows are rounding
SOLVED = 2048  # rows of groups that are solved at once


@dataclass(frozen=True)
class Ridge(Penalised):
    """Ridge regression on targets -1 and 1; penalty on the squared weights against the sum over rows."""

    family: ClassVar[str] = "ridge"

    @classmethod
    def path(cls, training: "Training", configs: "list[Ridge]") -> "tuple[torch.Tensor, torch.Tensor]":
        return ridge_lines(training, [config.penalty for config in configs]).logits(training)


def ridge_path(training: "Training", penalties: list[float]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Weights (P, D) and intercepts (P,), float64, of ridge regression on targets -1 and 1 for every penalty.

    Minimises |Xw + b - t|^2 + penalty * |w|^2 (Hoerl and Kennard 1970).
    """
    principal = training.principal
    weights = principal.weights(training.pull * _shares(principal, penalties))
    return weights, training.targets.mean() - weights @ principal.offset


def ridge_lines(training: "Training", penalties: list[float]) -> "Lines":
    """The ridge path, and what its heads say of each row when its group is left out."""
    from heads.fitting.convex import Lines

    return Lines(*ridge_path(training, penalties), left_out_scores(training, penalties))


def left_out_scores(training: "Training", penalties: list[float]) -> "torch.Tensor":
    """Scores (M, P) of the rows Training.fair by ridge heads that are fitted without their group; none is fitted again.

    Without the rows B of a group their residuals are (I - H_BB)^-1 times those of all rows, H being the hat matrix
    (of one row: Allen 1974). The intercept is then that of all rows: one that lacks a row's label lies on the other
    side of it, which would turn the scores of strongly penalised heads round. Of a group of more than
    heads.fitting.training.LARGEST rows so many are left out at a time.
    """
    import torch

    principal, targets = training.principal, training.targets
    level, count = targets.mean(), len(targets)
    smallest = SMALLEST_PENALTY * max(principal.values.tolist(), default=0.0)
    shares = _shares(principal, [max(penalty, smallest) for penalty in penalties])
    solved = training.pull * shares
    scores = targets.new_empty(len(training.fair), len(penalties))
    for positions in _few_at_once(training.blocks):
        size, rows = positions.shape[1], torch.from_numpy(positions).to(targets.device)
        coordinates = principal.coordinates(positions)  # (G, s, r)
        residuals = (targets[rows] - level)[..., None] - coordinates @ solved
        hats = 1 / count + _products(coordinates, shares)  # (P, G, s, s)
        rest = (1 + ROUNDING) * torch.eye(size, dtype=hats.dtype, device=hats.device) - hats
        left = torch.linalg.solve(rest, residuals.permute(2, 0, 1)[..., None])  # (P, G, s, 1)
        without = (count * level - targets[rows].sum(dim=1, keepdim=True)) / max(count - size, 1)
        places = torch.from_numpy(np.searchsorted(training.fair, positions)).to(targets.device)
        scores[places] = (targets[rows] + level - without)[..., None] - left[..., 0].permute(1, 2, 0)
    return scores


def _shares(principal: "Principal", penalties: list[float]) -> "torch.Tensor":
    """What each penalty leaves of each axis, (r, P)."""
    return 1 / (principal.values[:, None] + principal.values.new_tensor(penalties))


def _few_at_once(blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The same, so many groups at a time that they stay small, in the order of their first rows, as disks like it."""
    for alike in blocks:
        together = max(1, SOLVED // alike.shape[1])
        yield from np.split(alike[np.argsort(alike[:, 0])], range(together, len(alike), together))


def _products(coordinates: "torch.Tensor", shares: "torch.Tensor") -> "torch.Tensor":
    """Of the rows of each group with one another, weighted: (G, s, r), (r, P) -> (P, G, s, s)."""
    import torch

    if coordinates.shape[1] == 1:  # the usual case, one product for all
        return (coordinates[:, 0] ** 2 @ shares).T[..., None, None]
    return torch.stack([(coordinates * share) @ coordinates.mT for share in shares.T])
