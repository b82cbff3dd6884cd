"""64 linear heads for one epoch over 100 000 x 1 024 features: stacked, in a loop within one pass, one by one.

    python -m tests.bench.heads

The one-by-one form is timed on one head and multiplied, since its heads do not know of each other.
"""

import time

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from heads.fit import Split, fit
from heads.models import HeadConfig
from tests.bench import rounds

ROWS, COLUMNS, HEADS, BATCH = 100_000, 1024, 64, 1024


def data(rows: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    fake = torch.rand(rows, generator=generator) < 0.5
    return Split(torch.randn(rows, COLUMNS, generator=generator) + 0.05 * fake[:, None], fake)


def stacked(train: Split, val: Split, heads: int) -> float:
    """Seconds of an epoch with its validation."""
    configs = [HeadConfig("linear", lr=1e-3 * 1.05**i, weight_decay=0.01) for i in range(heads)]
    start = time.perf_counter()
    fit(configs, train, val, epochs=1, batch=BATCH)
    return time.perf_counter() - start


def looped(train: Split, val: Split) -> float:
    """As DINOv2's linear evaluation: one pass, a Python loop over the heads, one optimiser with a group each."""
    heads = [torch.nn.Linear(COLUMNS, 1) for _ in range(HEADS)]
    optimiser = torch.optim.AdamW([{"params": head.parameters(), "lr": 1e-3} for head in heads])
    start = time.perf_counter()
    for rows in torch.randperm(ROWS).split(BATCH):
        X, y = train.X[rows], train.fake[rows].float()
        loss = sum(binary_cross_entropy_with_logits(head(X)[:, 0], y) for head in heads)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        [head(val.X) for head in heads]
    return time.perf_counter() - start


def alone(train: Split) -> float:
    """Seconds of one head with a DataLoader, times the number of heads."""
    head = torch.nn.Linear(COLUMNS, 1)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
    start = time.perf_counter()
    for X, y in DataLoader(TensorDataset(train.X, train.fake.float()), batch_size=BATCH, shuffle=True):
        loss = binary_cross_entropy_with_logits(head(X)[:, 0], y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (time.perf_counter() - start) * HEADS


def main() -> None:
    train, val = data(ROWS, 0), data(10_000, 1)
    rivals = {
        f"{HEADS} heads stacked": lambda: stacked(train, val, HEADS),
        f"{HEADS} heads in a loop": lambda: looped(train, val),
        f"{HEADS} heads one by one": lambda: alone(train),
        "1 head stacked": lambda: stacked(train, val, 1),
        "100 heads stacked": lambda: stacked(train, val, 100),
    }
    print(f"one epoch over {ROWS} x {COLUMNS} features, batches of {BATCH}:")
    found = rounds(rivals, count=5, unit="s")
    ours = found[f"{HEADS} heads stacked"]
    print(f"  loop / stacked = {found[f'{HEADS} heads in a loop'] / ours:.1f}, "
          f"one by one / stacked = {found[f'{HEADS} heads one by one'] / ours:.0f}, "
          f"100 heads / 1 head = {found['100 heads stacked'] / found['1 head stacked']:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
