"""Cached rows, batch by batch: from memory where they fit, else streamed through two bounded buffers.

Rows are maps, or pooled features side by side. The order of an epoch depends on its number and on the shards, not on
this machine's memory: blocks of rows that are neighbours on disk are shuffled, then the rows within each buffer. What
fits one buffer is shuffled whole.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from heads.memory import free_memory, free_on

BUFFER_BYTES = 512_000_000
BLOCK_BYTES = 16_000_000  # read in one go: neighbours on disk
MEMORY_SHARE = 0.5  # of the free memory that rows may take


Change = Callable[[torch.Tensor], torch.Tensor]  # float32 rows (k, ...) -> as many, each by itself


class Table(Protocol):
    """What is read of one view: a cache.table.FeatureTable, or several of them side by side."""

    row_shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int: ...

    @property
    def row_bytes(self) -> int: ...

    def location(self, rows: np.ndarray) -> np.ndarray: ...

    def read(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...

    def scatter(self, rows: np.ndarray, out: np.ndarray, places: Iterable[int]) -> None: ...


@dataclass(frozen=True)
class Batch:
    """rows: (b,) of the manifest. values: (b, ...), to be read only, valid until the next batch; of the stored dtype,
    or float32 where the stream changes them.
    """

    rows: np.ndarray
    values: torch.Tensor


class RowStream:
    """Batches of rows in V views.

    Args:
        tables: one a view, over the same N images. memory: bytes that may be held, None = MEMORY_SHARE of what is
            free. device: where held rows lie; on a GPU at most MEMORY_SHARE of what is free there is held. held:
            (V * N, ...), all rows, where they have been read already. change: of all that is read, such as a norm;
            what is held stays as it is.
    """

    def __init__(self, tables: list[Table], *, memory: float | None = None, device: str = "cpu",
                 held: torch.Tensor | None = None, change: Change | None = None) -> None:  # fmt: skip
        self.tables, self.device, self.change = tables, device, change
        self.images = len(tables[0])
        self.row_bytes = tables[0].row_bytes
        self.bytes = len(tables) * self.images * self.row_bytes
        limit = free_memory() * MEMORY_SHARE if memory is None else memory
        self.in_memory = held is not None or self.bytes <= min(limit, free_on(device) * MEMORY_SHARE)
        self._given = held

    @cached_property
    def held(self) -> torch.Tensor | None:
        """All rows (V * N, ...), read when they are first asked for; None where they are streamed."""
        if self._given is not None:
            return self._given
        return self._loaded().to(self.device) if self.in_memory else None

    @property
    def views(self) -> int:
        return len(self.tables)

    @property
    def mode(self) -> str:
        """Where the rows are, in words that a person reads before training begins."""
        size = f"{self.bytes / 1e9:.1f} GB"
        if self.in_memory:
            return f"{size} in memory"
        return f"{size} streamed, {min(self.bytes, 2 * BUFFER_BYTES) / 1e9:.1f} GB at a time"

    def epoch(self, rows: np.ndarray, number: int, *, batch: int) -> Iterator[Batch]:
        """`rows` of the manifest once, shuffled, each in a view drawn anew for this epoch."""
        rng = np.random.default_rng([number, 1])
        views = rng.integers(len(self.tables), size=len(rows))
        order = self._shuffled(rows, views, rng)
        yield from self._batches(rows[order], views[order], batch)

    def ordered(self, rows: np.ndarray, *, view: int, batch: int) -> Iterator[Batch]:
        """`rows` of the manifest in the order given, in one view."""
        yield from self._batches(rows, np.full(len(rows), view), batch)

    def some(self, rows: np.ndarray, *, batch: int) -> Batch:
        """One batch out of `rows` of the manifest, in view 0; nothing else is read."""
        drawn = np.random.default_rng(0).permutation(rows)[:batch]
        return Batch(drawn, self._changed(torch.from_numpy(self.tables[0].read(drawn))))

    def read(self, rows: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Any rows (k,) of the manifest, each in its view (k,): (k, ...)."""
        if self.held is not None:
            return self._changed(self._taken(views * self.images + rows))
        buffer = np.empty((len(rows), *self.tables[0].row_shape), self.tables[0].dtype)
        return self._changed(torch.from_numpy(self._fill(buffer, rows, views)))

    def _changed(self, values: torch.Tensor) -> torch.Tensor:
        return values if self.change is None else self.change(values.float())

    def _shuffled(self, rows: np.ndarray, views: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A permutation of the positions in `rows`."""
        if len(rows) * self.row_bytes <= BUFFER_BYTES:
            return rng.permutation(len(rows))
        block = max(1, BLOCK_BYTES // self.row_bytes)
        buffer = max(1, BUFFER_BYTES // self.row_bytes)
        on_disk = np.lexsort(
            (np.concatenate([t.location(rows)[None] for t in self.tables])[views, range(len(rows))], views)
        )
        blocks = np.array_split(on_disk, range(block, len(rows), block))
        order = np.concatenate([blocks[number] for number in rng.permutation(len(blocks))])
        return np.concatenate(
            [rng.permutation(part) for part in np.array_split(order, range(buffer, len(order), buffer))]
        )

    def _batches(self, rows: np.ndarray, views: np.ndarray, batch: int) -> Iterator[Batch]:
        if self.held is not None:
            for at in np.array_split(np.arange(len(rows)), range(batch, len(rows), batch)):
                yield Batch(rows[at], self._changed(self._taken(views[at] * self.images + rows[at])))
            return
        with ThreadPoolExecutor(1) as reader:
            yield from self._streamed(rows, views, batch, reader)

    def _taken(self, at: np.ndarray) -> torch.Tensor:
        """Some of the held rows; without a copy where they are neighbours in order."""
        if len(at) and (np.diff(at) == 1).all():
            return self.held[int(at[0]) : int(at[-1]) + 1]
        if self.held.device.type == "cpu":  # torch's threads and NumPy's, which multiply, would wait for one another
            return torch.from_numpy(self.held.numpy()[at])  # np.take would copy all of what is a block of columns
        return self.held.index_select(0, torch.from_numpy(at).to(self.held.device))  # several times faster than [at]

    def _streamed(self, rows: np.ndarray, views: np.ndarray, batch: int, reader: ThreadPoolExecutor) -> Iterator[Batch]:
        """One buffer is read while the other is used."""
        many = max(batch, BUFFER_BYTES // self.row_bytes // batch * batch)
        parts = np.array_split(np.arange(len(rows)), range(many, len(rows), many))
        shape, dtype = self.tables[0].row_shape, self.tables[0].dtype
        buffers = [np.empty((min(many, len(rows)), *shape), dtype) for _ in range(min(2, len(parts)))]
        coming = reader.submit(self._fill, buffers[0], rows[parts[0]], views[parts[0]])
        for number, part in enumerate(parts):
            ready = coming.result()
            if number + 1 < len(parts):
                after = parts[number + 1]
                coming = reader.submit(self._fill, buffers[(number + 1) % 2], rows[after], views[after])
            for start in range(0, len(part), batch):
                values = torch.from_numpy(ready[start : start + batch])
                yield Batch(rows[part[start : start + batch]], self._changed(values))

    def _fill(self, buffer: np.ndarray, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Read in the order of the disk into the places asked for."""
        for view in np.unique(views):
            at = np.flatnonzero(views == view)
            table = self.tables[view]
            at = at[np.argsort(table.location(rows[at]))]
            table.scatter(rows[at], buffer, at)
        return buffer[: len(rows)]

    def _loaded(self) -> torch.Tensor:
        """(V * N, ...), read once."""
        first = self.tables[0]
        held = np.empty((len(self.tables) * self.images, *first.row_shape), first.dtype)
        for view, table in enumerate(self.tables):
            table.read(np.arange(self.images), held[view * self.images : (view + 1) * self.images])
        return torch.from_numpy(held)
