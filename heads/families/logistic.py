"""The family `logistic`: logistic regression, all penalties in one run of L-BFGS."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from heads.families.penalised import Penalised

if TYPE_CHECKING:
    from heads.fitting.convex import Principal

TOLERANCE = 1e-6  # bound on the distance of weights and intercept from the optimum
FLATTEST = 0.05  # the intercept has no penalty; its curvature is that of its scores, at most 1 / 4


@dataclass(frozen=True)
class Logistic(Penalised):
    """L2-penalised logistic regression; penalty / 2 on the squared weights against the mean over rows."""

    family: ClassVar[str] = "logistic"

    @classmethod
    def path(cls, principal: "Principal", fake: np.ndarray, penalties: list[float], *,
             groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Its scores are logits by themselves, whatever the groups."""
        return logistic_path(principal, fake, penalties)


def logistic_path(principal: "Principal", fake: np.ndarray, penalties: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (P, D) and intercepts (P,), float64, of L2-penalised logistic regression for every penalty.

    Minimises the mean log loss plus penalty / 2 * |w|^2, all penalties together. A penalty that has not converged
    after heads.fitting.lbfgs.MAX_STEPS stays where it is: an early-stopped head like any other.

    Args:
        fake: (N,) bool.
    """
    from scipy.special import expit

    from heads.fitting.lbfgs import lbfgs

    strength, rows = np.asarray(penalties), len(fake)

    def evaluate(v: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loss (p,) and gradient (r + 1, p) of some penalties at v, whose last row is the intercept."""
        scores = principal.scores(v[:-1]) + v[-1]
        loss = (np.logaddexp(0, scores) - fake[:, None] * scores).mean(axis=0)
        errors = (expit(scores) - fake[:, None]) / rows
        shrinking = strength[which] * v[:-1]
        gradient = np.concatenate([principal.gather(errors) + shrinking, errors.sum(axis=0, keepdims=True)])
        return loss + 0.5 * (shrinking * v[:-1]).sum(axis=0), gradient

    # The Hessian at zero, where every probability is one half.
    curvature = np.concatenate([principal.values[:, None] / (4 * rows) + strength, np.full((1, len(strength)), 0.25)])
    found = lbfgs(evaluate, curvature, tolerance=TOLERANCE * np.minimum(strength, FLATTEST))
    weights = principal.weights(found[:-1])
    return weights, found[-1] - weights @ principal.mean
