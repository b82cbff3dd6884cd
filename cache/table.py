"""The shards of one spec joined with a manifest: one array in the manifest's order, in memory or read row by row.

table = FeatureTable(spec, manifest)
table.X, table.y                      (N, ...) all features; (N,) 0 = real, 1 = fake
table.split, table.group              (N,) text
batch = table.read(rows)              (k, ...) any rows, at memory speed, each checked
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from cache.errors import UserError
from cache.features import DIGEST_BYTES, FeatureSpec, RemovedShard, Shard, open_shard, shard_paths

BIG_ROW = 1 << 16  # bytes; from here on two threads fill a buffer faster than one (tests/bench/store.py)


class Images(Protocol):
    """What a table needs of a manifest; everything (N, ...) in the manifest's order."""

    @property
    def digests(self) -> np.ndarray:
        """(N, 32) uint8."""

    @property
    def y(self) -> np.ndarray: ...

    @property
    def split(self) -> np.ndarray: ...

    @property
    def group(self) -> np.ndarray: ...


class Places:
    """Where images lie in the shards of a feature. Features that were filled together hold the same images in the same
    order: these are looked up once.

    Args:
        digests: (N, 32) uint8.
    """

    def __init__(self, digests: np.ndarray) -> None:
        self.digests = digests
        self._known = np.zeros((0, DIGEST_BYTES), np.uint8)
        self._at = np.full(len(digests), -1)

    def among(self, shards: list[Shard]) -> tuple[np.ndarray, np.ndarray]:
        """Shard number (-1 = nowhere) and row within it, (N,) int64 each. A row held twice is taken from the first."""
        known = np.concatenate([self._known[:0], *(shard.digests for shard in shards)])
        if not np.array_equal(known, self._known):
            self._known = known
            self._at = _places(known, self.digests) if len(self.digests) else self._at
        starts = np.cumsum([0, *map(len, shards)])
        shard_of = np.where(self._at < 0, -1, np.searchsorted(starts, self._at, side="right") - 1)
        return shard_of, np.where(self._at < 0, 0, self._at - starts[shard_of])


class FeatureTable:
    """Rows of one FeatureSpec joined with the images of a manifest.

    Args:
        places: of the same images, where several features are opened.

    Raises:
        UserError: images without a row, with the command that computes them; a shard of another spec or damaged.
    """

    def __init__(self, spec: FeatureSpec, images: Images, places: Places | None = None):
        self.spec, self.images = spec, images
        self.shards = open_shards(spec)
        self._shard_of, self._row_of = (places or Places(images.digests)).among(self.shards)
        missing, count = int((self._shard_of < 0).sum()), len(self._shard_of)
        if missing or not count:
            raise UserError(
                f"{missing} of {count} images have no row of {spec.backbone} {spec.feature} in {spec.folder}: "
                "run `make extract` with the same DATA, BACKBONE and FEATURES."
            )
        self.row_shape: tuple[int, ...] = self.shards[0].features.shape[1:]
        self.dtype: np.dtype = self.shards[0].features.dtype

    def __len__(self) -> int:
        return len(self._shard_of)

    @property
    def X(self) -> np.ndarray:  # noqa: N802, the field's name for it
        """All features, (N, ...) of the stored dtype, read anew at each call."""
        return self.read(np.arange(len(self)))

    @property
    def y(self) -> np.ndarray:
        """(N,) int64: 0 = real, 1 = fake."""
        return self.images.y

    @property
    def split(self) -> np.ndarray:
        """(N,) text: train, val or test."""
        return self.images.split

    @property
    def group(self) -> np.ndarray:
        """(N,) text: what must stay in one split."""
        return self.images.group

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.row_shape)) * self.dtype.itemsize

    def read(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Rows in the given order, (k, ...) of the stored dtype; into `out` when given (faster: no fresh pages)."""
        rows = np.asarray(rows)
        fresh = out is None  # two threads would wait for each other's new pages
        out = np.empty((len(rows), *self.row_shape), self.dtype) if fresh else out
        if fresh or self.row_bytes < BIG_ROW:
            self.scatter(rows, out, range(len(rows)))
            return out
        half = len(rows) // 2
        with ThreadPoolExecutor(1) as other:
            second = other.submit(self.scatter, rows[half:], out, range(half, len(rows)))
            self.scatter(rows[:half], out, range(half))
            second.result()
        return out

    def location(self, rows: np.ndarray) -> np.ndarray:
        """A number for each row that grows along the disk, (k,) int64."""
        return (self._shard_of[rows].astype(np.int64) << 40) + self._row_of[rows]

    def scatter(self, rows: np.ndarray, out: np.ndarray, places: Iterable[int]) -> None:
        """Read rows into the given places of `out`, one by one, so that each is checked while still in the cache."""
        for slot, number, row in zip(places, self._shard_of[rows], self._row_of[rows], strict=True):
            shard = self.shards[number]
            out[slot] = shard.features[row]
            shard.check(row, out[slot])


def open_shards(spec: FeatureSpec) -> list[Shard]:
    """Every finished shard of `spec`, frame-checked and mapped.

    Where one is merged into another between being listed and being opened, its rows are found in a new list.
    """
    listed = shard_paths(spec.folder)
    try:
        return [open_shard(path, spec) for path in listed]
    except RemovedShard:
        if shard_paths(spec.folder) == listed:  # a link that leads nowhere stays
            raise
    return open_shards(spec)


def present(spec: FeatureSpec, places: Places) -> np.ndarray:
    """Which of the images have a row already: (N,) bool."""
    return places.among(open_shards(spec))[0] >= 0


def verify(path: Path) -> int:
    """Read every row of a shard against its checksum; the number of rows.

    Raises:
        DamagedShard: with the file and what is wrong.
    """
    shard = open_shard(path)
    for row in range(len(shard)):
        shard.check(row, shard.features[row])
    return len(shard)


def _places(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where in `known` (M, 32) each of `wanted` (N, 32) comes first: (N,) int64, -1 = nowhere.

    Looked up by their first eight bytes, which are sorted as one number many times faster than 32 bytes are. Digests
    that begin alike, which chance brings about once in billions of images, are looked up by all.
    """
    if not len(known):
        return np.full(len(wanted), -1)
    wanted = np.ascontiguousarray(wanted)
    at = _looked_up(_beginnings(known), _beginnings(wanted))
    other = (at >= 0) & (known[at].view(np.uint64) != wanted.view(np.uint64)).any(axis=1)
    return _looked_up(_as_keys(known), _as_keys(wanted)) if other.any() else at


def _looked_up(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """As `_places`, of values that can be sorted: both are, because looking up in order takes a twentieth as long."""
    order, asked = np.argsort(known, kind="stable"), np.argsort(wanted)
    at = np.empty(len(wanted), np.int64)
    at[asked] = order[np.minimum(np.searchsorted(known[order], wanted[asked]), len(known) - 1)]
    return np.where(known[at] == wanted, at, -1)


def _beginnings(digests: np.ndarray) -> np.ndarray:
    """(N, 32) uint8 -> (N,) uint64."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0]


def _as_keys(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}")[:, 0]
