"""Convex heads over a whole penalty path: the floor that every trained head must beat."""

import warnings

import numpy as np
from scipy.linalg import eigh
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

MAX_ITERATIONS = 300


def ridge_path(X: np.ndarray, fake: np.ndarray, penalties: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (P, D) and intercepts (P,), float64, of ridge regression on targets -1 and 1 for every penalty.

    Minimises |Xw + b - t|^2 + penalty * |w|^2 (Hoerl and Kennard 1970). One eigendecomposition of the smaller of
    X'X and XX' serves all penalties, as in big_vision's few-shot evaluator; each further one costs a matrix product.

    Args:
        X: (N, D). fake: (N,) bool.
    """
    targets = np.where(fake, 1.0, -1.0)
    mean, level = X.mean(axis=0, dtype=np.float64), targets.mean()
    centred = X.astype(np.float64) - mean
    wide = X.shape[1] > X.shape[0]
    values, vectors = eigh(centred @ centred.T if wide else centred.T @ centred)
    values = np.maximum(values, 0)  # rounding can make the smallest ones negative
    projected = vectors.T @ ((targets - level) if wide else centred.T @ (targets - level))
    scaled = projected[:, None] / (values[:, None] + np.asarray(penalties))  # (rank, P)
    solutions = vectors @ scaled
    weights = (centred.T @ solutions if wide else solutions).T
    return weights, level - weights @ mean


def logistic_path(X: np.ndarray, fake: np.ndarray, penalties: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (P, D) and intercepts (P,) of L2-penalised logistic regression, strongest penalty first in the solving.

    Minimises the mean log loss plus penalty / 2 * |w|^2 with scikit-learn's L-BFGS, each fit starting at the last.

    Args:
        X: (N, D). fake: (N,) bool.
    """
    model = LogisticRegression(warm_start=True, max_iter=MAX_ITERATIONS)
    found = {}
    for penalty in sorted(penalties, reverse=True):
        model.C = 1 / (penalty * len(X))
        with warnings.catch_warnings():
            # The weakest penalties may stop at MAX_ITERATIONS; they are then early-stopped heads like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, fake)
        found[penalty] = model.coef_[0].copy(), model.intercept_[0]
    return np.stack([found[p][0] for p in penalties]), np.array([found[p][1] for p in penalties])


def to_logits(scores: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """Slope and offset that turn scores (N,) into logits (Platt 1999), the slope never negative."""
    scale = scores.std() or 1.0
    model = LogisticRegression(C=1e3).fit(scores[:, None] / scale, fake)
    return max(float(model.coef_[0, 0]), 1e-6) / scale, float(model.intercept_[0])
