"""Rows of features -> shards on disk, in a thread of its own, a bounded number of batches behind the network."""

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from cache.features import FeatureSpec, write_shard

AHEAD = 4  # batches that may wait to be written
KEEP_EVERY = 60.0  # seconds of work that a kill can lose at most


class ShardWriter:
    """Collects rows of several specs and writes a shard whenever one is full or a minute old.

    A context manager. Leaving it, also by an error or Ctrl-C, writes the rows that came in so far.
    """

    def __init__(self, specs: list[FeatureSpec], *, limit: int) -> None:
        self.limit = limit  # bytes
        self.buffers = [_Buffer(spec) for spec in specs]
        self.pool = ThreadPoolExecutor(1)
        self.waiting: deque[Future] = deque()

    def add(self, digests: np.ndarray, features: list[torch.Tensor], wanted: list[np.ndarray]) -> None:
        """Hand over digests (n, 32) and for each spec its features (n, ...) and which of them are wanted (n,).

        Raises:
            UserError: an earlier batch could not be written.
        """
        self.waiting.append(self.pool.submit(self._add, digests, features, wanted))
        while len(self.waiting) > AHEAD:
            self.waiting.popleft().result()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.pool.shutdown(wait=True)
        failed = [future.exception() for future in self.waiting if future.exception()]
        if failed and kind is None:
            raise failed[0]
        if not failed:
            for buffer in self.buffers:
                buffer.write()

    def _add(self, digests: np.ndarray, features: list[torch.Tensor], wanted: list[np.ndarray]) -> None:
        for buffer, rows, mask in zip(self.buffers, features, wanted, strict=True):
            buffer.add(digests[mask], rows, mask)
            if buffer.bytes >= self.limit or time.monotonic() - buffer.since > KEEP_EVERY:
                buffer.write()


class _Buffer:
    """The rows of one spec that are in no shard yet."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.dtype = getattr(torch, spec.stored)
        self._empty()

    def add(self, digests: np.ndarray, rows: torch.Tensor, mask: np.ndarray) -> None:
        if len(digests):
            # A value beyond float16 becomes infinite here and is refused by write_shard.
            self.rows.append(rows.to(self.dtype).cpu().contiguous().numpy()[mask])
            self.digests.append(digests)
            self.bytes += self.rows[-1].nbytes

    def write(self) -> None:
        if self.rows:
            write_shard(self.spec, np.concatenate(self.digests), np.concatenate(self.rows))
        self._empty()

    def _empty(self) -> None:
        self.rows: list[np.ndarray] = []
        self.digests: list[np.ndarray] = []
        self.bytes = 0
        self.since = time.monotonic()
