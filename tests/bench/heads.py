"""Linear heads over 100 000 x 1 024 features for one epoch: stacked, in a loop within one pass, one by one.

    python -m tests.bench.heads

The one-by-one form is timed on one head and multiplied, since its heads do not know of each other. Every form
includes what it does once an epoch, and the stacked ones also the AUC of every head on its held-out rows.
"""

import time

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from heads.families import Linear, Member
from heads.fitting.stacked import fit
from heads.fitting.task import Task
from heads.folds import Folds
from tests.bench import rounds
from tests.tables import in_memory

ROWS, HELD_OUT, COLUMNS, HEADS, BATCH = 100_000, 10_000, 1024, 64, 1024
MANY, FOLDS = 256, 5


def task(folds: int) -> Task:
    """One fold: ROWS to train on and HELD_OUT more. Several: ROWS cut into them."""
    rng = np.random.default_rng(0)
    rows = ROWS + (HELD_OUT if folds == 1 else 0)
    fake = rng.random(rows) < 0.5
    X = rng.standard_normal((1, rows, COLUMNS), dtype=np.float32) + np.float32(0.05) * fake[None, :, None]
    number = np.arange(rows)
    held_out = np.stack([number % folds == fold for fold in range(folds)]) if folds > 1 else number[None] >= ROWS
    return Task.of(in_memory(X), fake, Folds(~held_out, held_out, np.arange(held_out.shape[1])))


def stacked(on: Task, heads: int) -> float:
    """Seconds of an epoch with its validation; every head in every fold."""
    configs = [Linear(lr=1e-3 * 1.01**i, weight_decay=0.01, epochs=1, batch=BATCH) for i in range(heads)]
    members = [Member(config, fold, 0) for config in configs for fold in range(len(on.folds))]
    start = time.perf_counter()
    fit(members, on)
    return time.perf_counter() - start


def looped(X: torch.Tensor, y: torch.Tensor) -> float:
    """As DINOv2's linear evaluation: one pass, a Python loop over the heads, one optimiser with a group each."""
    heads = [torch.nn.Linear(COLUMNS, 1) for _ in range(HEADS)]
    optimiser = torch.optim.AdamW([{"params": head.parameters(), "lr": 1e-3} for head in heads])
    start = time.perf_counter()
    for rows in torch.randperm(ROWS).split(BATCH):
        batch, labels = X[rows], y[rows]
        loss = sum(binary_cross_entropy_with_logits(head(batch)[:, 0], labels) for head in heads)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return time.perf_counter() - start


def alone(X: torch.Tensor, y: torch.Tensor) -> float:
    """Seconds of one head with a DataLoader, times the number of heads."""
    head = torch.nn.Linear(COLUMNS, 1)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
    start = time.perf_counter()
    for batch, labels in DataLoader(TensorDataset(X, y), batch_size=BATCH, shuffle=True):
        loss = binary_cross_entropy_with_logits(head(batch)[:, 0], labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (time.perf_counter() - start) * HEADS


def main() -> None:
    given = task(1)
    X, y = given.standard(given.stream.held[:ROWS]), given.fake[:ROWS].float()
    rivals = {
        f"{HEADS} heads stacked": lambda: stacked(given, HEADS),
        f"{HEADS} heads in a loop": lambda: looped(X, y),
        f"{HEADS} heads one by one": lambda: alone(X, y),
        "1 head stacked": lambda: stacked(given, 1),
        "100 heads stacked": lambda: stacked(given, 100),
    }
    print(f"one epoch over {ROWS} x {COLUMNS} features, batches of {BATCH}:")
    found = rounds(rivals, count=5, unit="s")
    ours = found[f"{HEADS} heads stacked"]
    print(f"  loop / stacked = {found[f'{HEADS} heads in a loop'] / ours:.1f}, "
          f"one by one / stacked = {found[f'{HEADS} heads one by one'] / ours:.0f}, "
          f"100 heads / 1 head = {found['100 heads stacked'] / found['1 head stacked']:.1f}")  # fmt: skip
    cut = task(FOLDS)
    rounds({f"{MANY} heads x {FOLDS} folds": lambda: stacked(cut, MANY)}, count=3, unit="s")


if __name__ == "__main__":
    main()
