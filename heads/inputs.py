"""Cached features as matrices: pooled rows in manifest order, several features side by side."""

from dataclasses import dataclass

import numpy as np
import torch

from cache.errors import UserError
from cache.features import FeatureSpec
from cache.pooling import pool
from cache.progress import Progress
from cache.table import FeatureTable
from data.manifest import Manifest

BLOCK = 256  # rows of a map read at once


@dataclass(frozen=True)
class Inputs:
    """X: (N, D) float32, one block of columns for each spec; columns: where each block is."""

    X: np.ndarray
    specs: list[FeatureSpec]
    columns: list[slice]

    def choices(self) -> list["Choice"]:
        """What a head may read: everything; each feature alone; the first k, which leaves out the deepest taps.

        The deepest taps describe what ImageNet asked for and can drown what tells a camera from a generator.
        """
        last = len(self.specs)
        spans = [(0, last), *((i, i + 1) for i in range(last)), *((0, i) for i in range(2, last))]
        return [self._choice(first, end) for first, end in dict.fromkeys(spans)]

    def _choice(self, first: int, end: int) -> "Choice":
        specs = self.specs[first:end]
        names = [spec.feature for spec in self.specs]
        name = names[first] if end - first == 1 else "all" if end == len(names) else f"up to {names[end - 1]}"
        return Choice(name, specs, slice(self.columns[first].start, self.columns[end - 1].stop))


@dataclass(frozen=True)
class Choice:
    """Some of the features, side by side in X: a name for tables, their specs, their columns."""

    name: str
    specs: list[FeatureSpec]
    columns: slice


def load_inputs(manifest: Manifest, specs: list[FeatureSpec]) -> Inputs:
    """The evaluation view of every spec, pooled, for the manifest's rows.

    A map is pooled here (mean and standard deviation over space) unless a pooled form of its tap is there too.

    Raises:
        UserError: no features to read, or rows missing from the cache.
    """
    first = [spec for spec in specs if spec.view == 0]
    pooled_taps = {(spec.backbone, spec.tap) for spec in first if spec.pooling != "map"}
    used = [spec for spec in first if spec.pooling != "map" or (spec.backbone, spec.tap) not in pooled_taps]
    if not used:
        raise UserError("no features to train on: run `make extract` first")
    blocks = [_matrix(FeatureTable(spec, manifest.digests)) for spec in used]
    ends = np.cumsum([block.shape[1] for block in blocks])
    columns = [slice(int(end - block.shape[1]), int(end)) for end, block in zip(ends, blocks, strict=True)]
    return Inputs(np.concatenate(blocks, axis=1), used, columns)


def vectors(rows: torch.Tensor, spec: FeatureSpec) -> torch.Tensor:
    """What a pooled head reads of a spec's stored rows (n, ...): pooled rows as they are, maps as avgstd; float32."""
    if spec.pooling != "map":
        return rows.float().flatten(1)
    return pool(rows, "avgstd", channels_last=spec.channels_last, prefix_tokens=spec.prefix_tokens)


def _matrix(table: FeatureTable) -> np.ndarray:
    if table.spec.pooling != "map":
        return vectors(torch.from_numpy(table.load()), table.spec).numpy()
    parts, buffer = [], np.empty((BLOCK, *table.row_shape), table.dtype)
    with Progress(f"heads: pooling {table.spec.backbone} {table.spec.feature}", len(table)) as progress:
        for start in range(0, len(table), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(table)))
            parts.append(vectors(torch.from_numpy(table.read(rows, buffer[: len(rows)])), table.spec).numpy())
            progress.advance(len(rows))
    return np.concatenate(parts)
