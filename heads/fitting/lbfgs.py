"""L-BFGS on many strictly convex functions at once, one a column."""

from collections.abc import Callable

import torch

MEMORY = 12  # steps that L-BFGS remembers
MAX_STEPS = 1000
MAX_HALVINGS = 40
SMALLEST_CURVATURE = 1e-200
SUFFICIENT = 1e-4  # share of the expected decrease that a step must bring (Armijo 1966)
ROUNDING = 1e-14  # of a loss


Evaluate = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def lbfgs(evaluate: Evaluate, curvature: torch.Tensor, *,
          tolerance: torch.Tensor) -> torch.Tensor:  # fmt: skip
    """Minimise P strictly convex functions of n numbers at once, from zero: (n, P).

    L-BFGS (Liu and Nocedal 1989) in every column, with backtracking of its own for each; a finished column leaves.
    Everything is float64, on the device of `curvature`.

    Args:
        evaluate: x (n, p) and the numbers (p,) of its columns -> losses (p,), gradients (n, p).
        curvature: (n, P), diagonal guess of the Hessians. tolerance: (P,), norm of the gradient that ends a column.
    """
    which = torch.arange(curvature.shape[1], device=curvature.device)
    x, found = torch.zeros_like(curvature), torch.zeros_like(curvature)
    loss, gradient = evaluate(x, which)
    history: list[tuple[torch.Tensor, torch.Tensor]] = []
    moved = torch.ones_like(which, dtype=torch.bool)
    for _ in range(MAX_STEPS):
        running = moved & (gradient.norm(dim=0) > tolerance[which])
        if not running.all():
            found[:, which] = x
            which, x, loss, gradient = which[running], x[:, running], loss[running], gradient[:, running]
            history = [(step[:, running], change[:, running]) for step, change in history]
        if not len(which):
            return found
        direction = -_inverse_hessian_times(gradient, history, curvature[:, which])
        step, loss, new_gradient = _backtracked(evaluate, which, x, loss, gradient, direction)
        moved = step.any(dim=0)  # a column that no step improves is as good as rounding lets it be
        history = [*history[1 - MEMORY :], (step, new_gradient - gradient)]
        x, gradient = x + step, new_gradient
    found[:, which] = x
    return found


def _backtracked(evaluate: Evaluate, which: torch.Tensor, x: torch.Tensor, loss: torch.Tensor, gradient: torch.Tensor,
                 direction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """The first of direction, direction / 2, ... that lowers each column's loss enough, else 0; with loss, gradient."""
    slope = (direction * gradient).sum(dim=0)
    length = torch.ones_like(loss)
    for _ in range(MAX_HALVINGS):
        step = length * direction
        new_loss, new_gradient = evaluate(x + step, which)
        # Rounding of the loss itself must not stop a column that is nearly there.
        enough = new_loss <= loss + SUFFICIENT * length * slope + ROUNDING * loss.abs()
        if enough.all():
            break
        length = torch.where(enough, length, length / 2)
    step = torch.where(enough, step, 0.0)
    return step, torch.where(enough, new_loss, loss), torch.where(enough, new_gradient, gradient)


def _inverse_hessian_times(gradient: torch.Tensor, history: list[tuple[torch.Tensor, torch.Tensor]],
                           curvature: torch.Tensor) -> torch.Tensor:  # fmt: skip
    """The two-loop recursion in every column."""
    q, shares = gradient, []
    inverse = [_reciprocals((step * change).sum(dim=0)) for step, change in history]
    for (step, change), rho in zip(reversed(history), reversed(inverse), strict=True):
        shares.append(rho * (step * q).sum(dim=0))
        q = q - shares[-1] * change
    q = q * _scale(history, curvature) / curvature
    for (step, change), rho, share in zip(history, inverse, reversed(shares), strict=True):
        q = q + step * (share - rho * (change * q).sum(dim=0))
    return q


def _scale(history: list[tuple[torch.Tensor, torch.Tensor]], curvature: torch.Tensor) -> torch.Tensor | float:
    """By how much the latest step says that the guess of the curvature is too large (Nocedal and Wright 2006, 7.20).

    Without it steps far from zero, where a logistic loss is flat, are as short as at zero, and the same minimum takes
    two to fourteen times as many.
    """
    if not history:
        return 1.0
    step, change = history[-1]
    along, guessed = (step * change).sum(dim=0), (change * change / curvature).sum(dim=0)
    known = (along > SMALLEST_CURVATURE) & (guessed > SMALLEST_CURVATURE)
    return torch.where(known, along / guessed.clamp_min(SMALLEST_CURVATURE), 1.0)


def _reciprocals(curvature: torch.Tensor) -> torch.Tensor:
    """1 / curvature (P,); 0, which leaves a step out, where rounding has eaten it."""
    return torch.where(curvature > SMALLEST_CURVATURE, 1 / curvature.clamp_min(SMALLEST_CURVATURE), 0.0)
