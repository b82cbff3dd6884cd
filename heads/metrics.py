"""Validation metrics for a whole block of heads at once: scores (N, H), one column a head."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits


def auc(scores: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Area under the ROC curve of each column, ties counted half: (H,) float64.

    Args:
        scores: (N, H), logits of fake. fake: (N,) bool, both classes present. A column with a NaN gives NaN.
    """
    ordered, order = scores.sort(dim=0)
    positions = torch.arange(len(scores), device=scores.device)[:, None].expand_as(ordered)
    changes = ordered[1:] != ordered[:-1]
    edge = torch.ones_like(changes[:1])
    first = torch.where(torch.cat([edge, changes]), positions, 0).cummax(dim=0).values
    last = torch.where(torch.cat([changes, edge]), positions, len(scores)).flip(0).cummin(dim=0).values.flip(0)
    ranks = (first + last).double() / 2 + 1  # equal scores share their mean rank
    positives = int(fake.sum())
    negatives = len(fake) - positives
    rank_sum = (ranks * fake[order]).sum(dim=0)
    area = (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
    return torch.where(scores.isnan().any(dim=0), torch.nan, area)


def log_loss(scores: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy of each column in nats: (H,)."""
    targets = fake.to(scores.dtype)[:, None].expand_as(scores)
    return binary_cross_entropy_with_logits(scores, targets, reduction="none").mean(dim=0)
