"""The family `logistic`: logistic regression, all penalties in one run of L-BFGS."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from heads.families.penalised import Penalised

if TYPE_CHECKING:
    import torch

    from heads.fitting.training import Training

TOLERANCE = 1e-6  # bound on the distance of weights and intercept from the optimum
FLATTEST = 0.05  # the intercept has no penalty; its curvature is that of its scores, at most 1 / 4


@dataclass(frozen=True)
class Logistic(Penalised):
    """L2-penalised logistic regression; penalty / 2 on the squared weights against the mean over rows."""

    family: ClassVar[str] = "logistic"

    @classmethod
    def path(cls, training: "Training", configs: "list[Logistic]") -> "tuple[torch.Tensor, torch.Tensor]":
        """Its scores are logits by themselves, whatever the groups."""
        return logistic_path(training, [config.penalty for config in configs])


def logistic_path(training: "Training", penalties: list[float]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Weights (P, D) and intercepts (P,), float64, of L2-penalised logistic regression for every penalty.

    Minimises the mean log loss plus penalty / 2 * |w|^2, all penalties together; a step is one pass over the rows. A
    penalty that has not converged after heads.fitting.lbfgs.MAX_STEPS stays where it is: an early-stopped head like any
    other.
    """
    import torch

    from heads.fitting.lbfgs import lbfgs

    principal = training.principal
    labels = torch.from_numpy(training.fake.astype(float)).to(principal.device)[:, None]
    strength, rows = labels.new_tensor(penalties), len(labels)

    def evaluate(v: torch.Tensor, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (p,) and gradient (r + 1, p) of some penalties at v, whose last row is the intercept."""
        loss, slope = torch.zeros(2, v.shape[1], dtype=v.dtype, device=v.device)

        def errors(at: slice, scores: torch.Tensor) -> torch.Tensor:
            scores = scores + v[-1]
            loss.add_((torch.logaddexp(scores, torch.zeros_like(scores)) - labels[at] * scores).sum(dim=0) / rows)
            found = (scores.sigmoid() - labels[at]) / rows
            slope.add_(found.sum(dim=0))
            return found

        shrinking = strength[which] * v[:-1]
        gradient = torch.cat([principal.swept(v[:-1], errors) + shrinking, slope[None]])
        return loss + 0.5 * (shrinking * v[:-1]).sum(dim=0), gradient

    # The Hessian at zero, where every probability is one half.
    flat = torch.full_like(strength, 0.25)[None]
    curvature = torch.cat([principal.values[:, None] / (4 * rows) + strength, flat])
    found = lbfgs(evaluate, curvature, tolerance=TOLERANCE * strength.clamp_max(FLATTEST))
    weights = principal.weights(found[:-1])
    return weights, found[-1] - weights @ principal.offset
