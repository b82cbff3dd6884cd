"""Two terms of a loss that shape embeddings on the unit sphere (Wang and Isola 2020, arXiv:2005.10242).

Both look at pairs of images within one part of a step, so that `accumulate` and several processes leave fewer pairs.
"""

import math

import torch
from torch.nn.functional import normalize

SHARPNESS = 2.0  # of uniformity; t in the paper


def alignment(embeddings: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Mean squared distance () of two images of one class; 0 where there are no two.

    Args:
        embeddings: (n, D) of any length. fake: (n,) bool.
    """
    one, other, distances = _pairs(embeddings)
    alike = fake[one] == fake[other]
    return (distances * alike).sum() / alike.sum().clamp(min=1)


def uniformity(embeddings: torch.Tensor) -> torch.Tensor:
    """Logarithm () of the mean Gaussian potential of two images: the lower, the more evenly they are spread.

    Args:
        embeddings: (n, D) of any length. Of a single image it is 0.
    """
    _, _, distances = _pairs(embeddings)
    if not len(distances):
        return embeddings.sum() * 0.0
    return torch.logsumexp(-SHARPNESS * distances, dim=0) - math.log(len(distances))


def _pairs(embeddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every two images once: their numbers, and the squared distances of their embeddings at length one."""
    unit = normalize(embeddings.float(), dim=1)
    one, other = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
    return one, other, 2 - 2 * (unit @ unit.T)[one, other]
