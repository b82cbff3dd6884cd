"""L-BFGS on many strictly convex functions at once, one a column."""

from collections.abc import Callable

import numpy as np

MEMORY = 12  # steps that L-BFGS remembers
MAX_STEPS = 1000
MAX_HALVINGS = 40
SMALLEST_CURVATURE = 1e-200
SUFFICIENT = 1e-4  # share of the expected decrease that a step must bring (Armijo 1966)
ROUNDING = 1e-14  # of a loss


def lbfgs(evaluate: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], curvature: np.ndarray, *,
          tolerance: np.ndarray) -> np.ndarray:  # fmt: skip
    """Minimise P strictly convex functions of n numbers at once, from zero: (n, P).

    L-BFGS (Liu and Nocedal 1989) in every column, with backtracking of its own for each; a finished column leaves.

    Args:
        evaluate: x (n, p) and the numbers (p,) of its columns -> losses (p,), gradients (n, p).
        curvature: (n, P), diagonal guess of the Hessians. tolerance: (P,), norm of the gradient that ends a column.
    """
    which = np.arange(curvature.shape[1])
    x, found = np.zeros_like(curvature), np.zeros_like(curvature)
    loss, gradient = evaluate(x, which)
    history: list[tuple[np.ndarray, np.ndarray]] = []
    moved = np.ones(len(which), bool)
    for _ in range(MAX_STEPS):
        running = moved & (np.linalg.norm(gradient, axis=0) > tolerance[which])
        if not running.all():
            found[:, which] = x
            which, x, loss, gradient = which[running], x[:, running], loss[running], gradient[:, running]
            history = [(step[:, running], change[:, running]) for step, change in history]
        if not len(which):
            return found
        direction = -_inverse_hessian_times(gradient, history, curvature[:, which])
        step, loss, new_gradient = _backtracked(evaluate, which, x, loss, gradient, direction)
        moved = step.any(axis=0)  # a column that no step improves is as good as rounding lets it be
        history = [*history[1 - MEMORY :], (step, new_gradient - gradient)]
        x, gradient = x + step, new_gradient
    found[:, which] = x
    return found


def _backtracked(evaluate: Callable, which: np.ndarray, x: np.ndarray, loss: np.ndarray, gradient: np.ndarray,
                 direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The first of direction, direction / 2, ... that lowers each column's loss enough, else 0; with loss, gradient."""
    slope = (direction * gradient).sum(axis=0)
    length = np.ones_like(loss)
    for _ in range(MAX_HALVINGS):
        step = length * direction
        new_loss, new_gradient = evaluate(x + step, which)
        # Rounding of the loss itself must not stop a column that is nearly there.
        enough = new_loss <= loss + SUFFICIENT * length * slope + ROUNDING * np.abs(loss)
        if enough.all():
            break
        length = np.where(enough, length, length / 2)
    step = np.where(enough, step, 0.0)
    return step, np.where(enough, new_loss, loss), np.where(enough, new_gradient, gradient)


def _inverse_hessian_times(gradient: np.ndarray, history: list[tuple[np.ndarray, np.ndarray]],
                           curvature: np.ndarray) -> np.ndarray:  # fmt: skip
    """The two-loop recursion in every column."""
    q, shares = gradient, []
    inverse = [_reciprocals((step * change).sum(axis=0)) for step, change in history]
    for (step, change), rho in zip(reversed(history), reversed(inverse), strict=True):
        shares.append(rho * (step * q).sum(axis=0))
        q = q - shares[-1] * change
    q = q / curvature
    for (step, change), rho, share in zip(history, inverse, reversed(shares), strict=True):
        q = q + step * (share - rho * (change * q).sum(axis=0))
    return q


def _reciprocals(curvature: np.ndarray) -> np.ndarray:
    """1 / curvature (P,); 0, which leaves a step out, where rounding has eaten it."""
    return np.where(curvature > SMALLEST_CURVATURE, 1 / np.maximum(curvature, SMALLEST_CURVATURE), 0.0)
