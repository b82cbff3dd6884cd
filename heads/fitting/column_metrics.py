"""Validation metrics for a whole block of heads at once: scores (N, H), one column a head."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits


def auc(scores: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Area under the ROC curve of each column, ties counted half: (H,) float64, on the CPU.

    Counted from the sorted scores of both classes: NumPy sorts several times faster than any way to get ranks.

    Args:
        scores: (N, H), logits of fake. fake: (N,) bool, both classes present. A column with a NaN gives NaN.
    """
    columns, positive = scores.T.contiguous().cpu().numpy(), fake.cpu().numpy()
    reals, fakes = (np.sort(columns[:, chosen], axis=1) for chosen in (~positive, positive))
    area = np.array([_pairs_in_order(*each) for each in zip(reals, fakes, strict=True)])
    area /= reals.shape[1] * fakes.shape[1]
    return torch.from_numpy(np.where(np.isnan(columns).any(axis=1), np.nan, area))


def _pairs_in_order(real: np.ndarray, fake: np.ndarray) -> float:
    """How many pairs have the fake above the real, ties half; both sorted."""
    return (np.searchsorted(real, fake, "left").sum() + np.searchsorted(real, fake, "right").sum()) / 2


def log_loss(scores: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy of each column in nats: (H,)."""
    targets = fake.to(scores.dtype)[:, None].expand_as(scores)
    return binary_cross_entropy_with_logits(scores, targets, reduction="none").mean(dim=0)
