"""Products of many rows with few columns in float64; on a CPU by NumPy.

2 048 rows of 1 024 columns by three took torch 7 to 21 ms and NumPy 2 to 4, on an AMD EPYC with two cores. And the
threads of both wait for one another: where they take turns at arrays of this size each turn costs 12 ms. So what
is as large as the rows is touched by one of them alone.
"""

import numpy as np
import torch

TOGETHER = 1 << 21  # numbers of rows that are multiplied with one another at once, 16 MB


def times(rows: torch.Tensor, few: torch.Tensor) -> torch.Tensor:
    """rows @ few: (k, D), (D, P) -> (k, P)."""
    return torch.from_numpy(rows.numpy() @ few.numpy()) if _on_cpu(rows) else rows @ few


def across(rows: torch.Tensor, few: torch.Tensor) -> torch.Tensor:
    """rows' @ few: (k, D), (k, P) -> (D, P)."""
    return torch.from_numpy(few.numpy().T @ rows.numpy()).T if _on_cpu(rows) else rows.T @ few


def less(rows: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """rows - point: (k, D), (D,); in place."""
    if _on_cpu(rows):
        np.subtract(rows.numpy(), point.numpy(), out=rows.numpy())
        return rows
    return rows.sub_(point)


def by_itself(rows: torch.Tensor) -> torch.Tensor:
    """Each number times itself; in place."""
    if _on_cpu(rows):
        np.multiply(rows.numpy(), rows.numpy(), out=rows.numpy())
        return rows
    return rows.square_()


def added(rows: torch.Tensor) -> torch.Tensor:
    """Over the rows: (k, D) -> (D,)."""
    return torch.from_numpy(rows.numpy().sum(axis=0)) if _on_cpu(rows) else rows.sum(dim=0)


def doubled(rows: torch.Tensor, buffer: torch.Tensor | None) -> torch.Tensor:
    """Rows (k, D) of any number type as float64; on a CPU in the first k of the buffer, if there is one."""
    if not _on_cpu(rows):
        return rows.double()
    out = torch.empty(rows.shape, dtype=torch.float64) if buffer is None else buffer[: len(rows)]
    np.copyto(out.numpy(), rows.numpy())
    return out


class Products:
    """Rows come part by part; their number, their sum (D,) and their products with one another (D, D), float64.

    On a CPU a few thousand rows are multiplied at once, however few come at a time: each product costs passes over a
    D x D matrix beside it. NumPy knows that a product with oneself is symmetric and takes half the time.
    """

    def __init__(self, columns: int, device: torch.device) -> None:
        self.count = 0
        self.total = torch.zeros(columns, dtype=torch.float64, device=device)
        self._square = torch.zeros(columns, columns, dtype=torch.float64, device=device)
        if _on_cpu(self.total):
            self._waiting = np.empty((max(1, TOGETHER // columns), columns))
            self._product = np.empty((columns, columns))
            self._filled = 0

    def add(self, rows: torch.Tensor, chosen: np.ndarray) -> None:
        """Those of rows (k, D) that are chosen, (k,) bool."""
        self.count += int(chosen.sum())
        if not _on_cpu(rows):
            mine = rows[torch.from_numpy(chosen).to(rows.device)]
            self.total += mine.sum(dim=0)
            self._square += mine.T @ mine
            return
        left = np.flatnonzero(chosen)
        while len(left):
            taken, left = np.split(left, [len(self._waiting) - self._filled])
            end = self._filled + len(taken)
            np.take(rows.numpy(), taken, axis=0, out=self._waiting[self._filled : end], mode="clip")
            self._filled = end
            if end == len(self._waiting):
                self._multiply()

    @property
    def square(self) -> torch.Tensor:
        if _on_cpu(self.total) and self._filled:
            self._multiply()
        return self._square

    def _multiply(self) -> None:
        waiting = self._waiting[: self._filled]
        self.total += torch.from_numpy(waiting.sum(axis=0))
        square = self._square.numpy()
        np.add(square, np.matmul(waiting.T, waiting, out=self._product), out=square)
        self._filled = 0


def _on_cpu(rows: torch.Tensor) -> bool:
    return rows.device.type == "cpu"
