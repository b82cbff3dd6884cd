"""The family `discriminant`: Fisher's discriminant, whitened by what real images vary in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cache.settings import setting
from heads.families.penalised import Penalised

if TYPE_CHECKING:
    import torch

    from heads.fitting.convex import Lines
    from heads.fitting.principal import Sums
    from heads.fitting.training import Training


@dataclass(frozen=True)
class Discriminant(Penalised):
    """The difference of the class means, divided by a covariance: (C + penalty)^-1 (mean of fakes - mean of reals).

    reals: C is so much of the covariance of the real images and else of that within both classes, as in Friedman's
    regularised discriminant (1989). With 0 its direction is that of ridge regression. With 1 the fakes give no more
    than their mean: what the images of some generators vary in is not taken for noise, as where a detector is whitened
    by a background alone (Hariharan, Malik and Ramanan 2012). penalty: added to the variance along every direction;
    that of a column is 1.
    """

    family: ClassVar[str] = "discriminant"
    apart: ClassVar[bool] = True
    reals: float = setting(1.0, least=0, most=1)

    @classmethod
    def path(cls, training: "Training", configs: "list[Discriminant]") -> "tuple[torch.Tensor, torch.Tensor]":
        return discriminant_lines(training, configs).logits(training)


def discriminant_lines(training: "Training", configs: list[Discriminant]) -> "Lines":
    """Every setting's head, float64, and what heads that are fitted without a part of the rows say of it."""
    import torch

    from heads.fitting.convex import Lines

    principal, parts, rows = training.principal, training.inner[:, training.fair], training.fair
    real, made = principal.sums[: len(parts)], principal.sums[len(parts) :]
    both = [sum(each[1:], each[0]) for each in (real, made)]
    axes, levels = _heads(*both, configs)
    turned = principal.turned(axes)
    fair = turned.new_empty(len(rows), len(configs))
    for part, of_real, of_made in zip(parts, real, made, strict=True):
        # Of a class in one group there is nothing else than the head itself.
        inner, level = (axes, levels) if len(parts) == 1 else _heads(both[0] - of_real, both[1] - of_made, configs)
        fair[torch.from_numpy(part).to(fair.device)] = principal.scores(principal.turned(inner), rows[part]) + level
    weights = principal.weights(turned)
    return Lines(weights, levels - weights @ principal.offset, fair)


def _heads(real: "Sums", made: "Sums", configs: list[Discriminant]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Axes (f, P) in the frame of the sums, and levels (P,): a score is row @ axis + level, 0 half way between both."""
    import torch

    apart, between = made.mean - real.mean, (made.mean + real.mean) / 2
    of_real, of_both = real.scatter / real.count, (real.scatter + made.scatter) / (real.count + made.count)
    axes = []
    for config in configs:
        covariance = of_real.lerp(of_both, 1 - config.reals)
        covariance.diagonal().add_(config.penalty)
        axes.append(torch.cholesky_solve(apart[:, None], torch.linalg.cholesky(covariance)))
    found = torch.cat(axes, dim=1)
    return found, -between @ found
