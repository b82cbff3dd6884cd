"""The family `blend`: ridge regression and a discriminant whitened by real images, as one linear head."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cache.settings import setting
from heads.families.discriminant import Discriminant, discriminant_lines
from heads.families.penalised import Penalised
from heads.families.ridge import ridge_lines

if TYPE_CHECKING:
    import torch

    from heads.fitting.convex import Lines
    from heads.fitting.training import Training

FLAT = 1e-12  # a deviation of scores that is nothing to divide by


@dataclass(frozen=True)
class Blend(Penalised):
    """The mean of both heads' scores, each divided by its deviation over rows that it did not see.

    Ridge regression leans on what separates the generators that it knows, the discriminant on what real images do not
    vary in; where one is wrong about a generator that neither knows the other often is not. Nothing is fitted to weigh
    them. penalty: that of ridge. whitening: the penalty of the discriminant, whose covariance is of real images alone.
    """

    family: ClassVar[str] = "blend"
    apart: ClassVar[bool] = True
    whitening: float = setting(0.3, above=0)

    @classmethod
    def path(cls, training: "Training", configs: "list[Blend]") -> "tuple[torch.Tensor, torch.Tensor]":
        penalties = list(dict.fromkeys(config.penalty for config in configs))
        whitenings = list(dict.fromkeys(config.whitening for config in configs))
        ridges = _unit(ridge_lines(training, penalties))
        whitened = [Discriminant(penalty=each) for each in whitenings]
        others = _unit(discriminant_lines(training, whitened))
        first = [penalties.index(config.penalty) for config in configs]
        second = [whitenings.index(config.whitening) for config in configs]
        return _mean(ridges, first, others, second).logits(training)


def _unit(lines: "Lines") -> "Lines":
    """With scores of deviation 1."""
    return lines.scaled(1 / lines.fair.std(dim=0).clamp_min(FLAT))


def _mean(one: "Lines", first: list[int], other: "Lines", second: list[int]) -> "Lines":
    """Of heads of both, by number."""
    from heads.fitting.convex import Lines

    return Lines(
        (one.weights[first] + other.weights[second]) / 2,
        (one.intercepts[first] + other.intercepts[second]) / 2,
        (one.fair[:, first] + other.fair[:, second]) / 2,
    )
