"""A whole path of logistic regression: all penalties together, and scikit-learn's, one penalty after the other.

    python -m tests.bench.convex [ROUNDS [ROWS [DECAY]]]

scikit-learn's is given the standardised matrix, starts each penalty where the last one ended, and stops at gradients of
1e-4 (its default) and of 1e-6. How far each stays above the least loss that any of them found is printed too.
"""

import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from heads.families import Logistic, Member
from heads.fitting.convex import fit_convex
from heads.fitting.task import Task
from heads.folds import Folds
from tests.bench import rounds
from tests.tables import in_memory

COLUMNS = 1024
PENALTIES = np.geomspace(1e-5, 1, 11)
Found = list[tuple[np.ndarray, float]]  # weights (D,) on standardised columns and the intercept, for each penalty


def main(count: int = 3, rows: int = 20_000, decay: int = 1) -> None:
    task = made(rows, decay)
    X, y = task.training_rows(0)
    found: dict[str, Found] = {}
    rivals = {
        "all penalties together": lambda: timed(found, "ours", lambda: together(task)),
        "scikit-learn, 1e-4": lambda: timed(found, "1e-4", lambda: one_by_one(X, y, 1e-4)),
        "scikit-learn, 1e-6": lambda: timed(found, "1e-6", lambda: one_by_one(X, y, 1e-6)),
    }
    print(f"{len(PENALTIES)} penalties on {rows} x {COLUMNS}:")
    seconds = rounds(rivals, count=count, unit="s")
    losses = {name: np.array([loss(X, y, *each) for each in zip(of, PENALTIES, strict=True)])
              for name, of in found.items()}  # fmt: skip
    least = np.min(list(losses.values()), axis=0)
    above = {name: f"{(each - least).max():.1e}" for name, each in losses.items()}
    print(f"  scikit-learn at 1e-6 / ours = {seconds['scikit-learn, 1e-6'] / seconds['all penalties together']:.1f}, "
          f"most above the least loss: {above}")  # fmt: skip


def made(rows: int, decay: int) -> Task:
    """The k-th principal axis has a deviation of k ** -decay: a network's columns are about as correlated as decay 1
    makes them, with 0 they are independent. Everything trains; a few rows are judged, as every head is.
    """
    rng = np.random.default_rng(0)
    fake = rng.random(rows + 1000) < 0.5
    axes = np.linalg.qr(rng.standard_normal((COLUMNS, COLUMNS)))[0] * np.arange(1.0, COLUMNS + 1)[:, None] ** -decay
    X = rng.standard_normal((1, len(fake), COLUMNS), dtype=np.float32) + np.float32(0.05) * fake[None, :, None]
    X = X @ axes.astype(np.float32)
    held_out = np.arange(len(fake))[None] >= rows
    return Task.of(in_memory(X), fake, Folds(~held_out, held_out, np.arange(len(fake))))


def timed(found: dict[str, Found], name: str, fit: Callable[[], Found]) -> float:
    start = time.perf_counter()
    found[name] = fit()
    return time.perf_counter() - start


def together(task: Task) -> Found:
    fitted = fit_convex([Member(Logistic(penalty=float(each)), 0, 0) for each in PENALTIES], task)
    return [(each.parameters["weight"].double().numpy(), float(each.parameters["bias"])) for each in fitted]


def one_by_one(X: np.ndarray, y: np.ndarray, tolerance: float) -> Found:
    """From the strongest penalty to the weakest, warm."""
    found = []
    model = LogisticRegression(tol=tolerance, max_iter=1000, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for penalty in PENALTIES[::-1]:
            model.set_params(C=1 / (penalty * len(X))).fit(X, y)
            found.append((model.coef_[0].copy(), float(model.intercept_[0])))
    return found[::-1]


def loss(X: np.ndarray, y: np.ndarray, found: tuple[np.ndarray, float], penalty: float) -> float:
    weights, intercept = found
    scores = X @ weights + intercept
    return float((np.logaddexp(0, scores) - y * scores).mean() + penalty / 2 * (weights**2).sum())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
