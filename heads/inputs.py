"""Cached features as matrices: rows in manifest order, several features and backbones side by side, all their views."""

from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch

from cache.errors import UserError
from cache.features import FeatureSpec
from cache.pooling import pool
from cache.progress import Progress
from cache.table import FeatureTable
from data.manifest import Manifest
from heads.memory import free_memory

ALL = "all"  # the name of everything, where there are several features
COPIES = 4  # of pooled features at most: as read, standardised, the rows of a fold, its held-out rows in float64
BLOCK = 256  # rows of a map read at once


@dataclass(frozen=True)
class Choice:
    """Some of the features side by side: a name for tables, their specs (view 0), their columns in X."""

    name: str
    specs: list[FeatureSpec]
    columns: slice

    @property
    def width(self) -> int:
        """Numbers that a head reads of one image."""
        return self.columns.stop - self.columns.start


@dataclass(frozen=True)
class Inputs:
    """X: (V, N, D) float32, one block of columns for each spec; specs: of view 0; columns: where each block is.

    maps: name -> the specs of all views, of the features that are kept as maps.
    """

    X: np.ndarray
    specs: list[FeatureSpec]
    columns: list[slice]
    maps: dict[str, list[FeatureSpec]]

    def choices(self) -> list[Choice]:
        """What a head may read: everything, which comes first; each feature; the first k of a backbone; all of one.

        Leaving out the deepest taps can pay: they describe what ImageNet asked for and can drown what tells a
        camera from a generator.
        """
        last = len(self.specs)
        spans = [(0, last, ALL if last > 1 else self._named(0)), *((i, i + 1, self._named(i)) for i in range(last))]
        for backbone, (first, end) in self._backbones().items():
            spans += [(first, k, f"up to {self._named(k - 1)}") for k in range(first + 2, end)]
            spans += [(first, end, f"all of {backbone}")]
        distinct: dict[tuple[int, int], str] = {}
        for first, end, name in spans:
            distinct.setdefault((first, end), name)
        return [self._choice(*span, name) for span, name in distinct.items()]

    def _choice(self, first: int, end: int, name: str) -> Choice:
        return Choice(name, self.specs[first:end], slice(self.columns[first].start, self.columns[end - 1].stop))

    def _named(self, number: int) -> str:
        return feature_name(self.specs[number], several=len(self._backbones()) > 1)

    def _backbones(self) -> dict[str, tuple[int, int]]:
        """Backbone -> its first spec and the one behind its last."""
        spans, at = {}, 0
        for backbone, group in groupby(self.specs, key=lambda spec: spec.backbone):
            spans[backbone] = (at, at + len(list(group)))
            at = spans[backbone][1]
        return spans


def feature_name(spec: FeatureSpec, *, several: bool) -> str:
    """`layer3:avg`, with the backbone before it where there are several."""
    return f"{spec.backbone}/{spec.feature}" if several else spec.feature


def load_inputs(manifest: Manifest, specs: list[FeatureSpec]) -> Inputs:
    """All views of every spec, pooled, for the manifest's rows.

    A map is pooled here (mean and standard deviation over space) unless a pooled form of its tap is there too.

    Raises:
        UserError: no features to read, rows missing from the cache, a feature in fewer views than another, or more
            numbers than fit into memory.
    """
    views = _views(specs)
    pooled_taps = {(spec.backbone, spec.tap) for spec in views if spec.pooling != "map"}
    used = [spec for spec in views if spec.pooling != "map" or (spec.backbone, spec.tap) not in pooled_taps]
    if not used:
        raise UserError("no features to train on: run `make extract` first")
    several = len({spec.backbone for spec in specs}) > 1
    maps = {feature_name(spec, several=several): views[spec] for spec in views if spec.pooling == "map"}
    tables = [[FeatureTable(spec, manifest) for spec in views[first]] for first in used]
    ends = np.cumsum([_width(each[0]) for each in tables])
    columns = [slice(int(end) - _width(each[0]), int(end)) for end, each in zip(ends, tables, strict=True)]
    X = _allocated(len(tables[0]), len(manifest), int(ends[-1]))
    for each, where in zip(tables, columns, strict=True):
        for view, table in enumerate(each):
            _fill(X[view, :, where], table)
    return Inputs(X, used, columns, maps)


def vectors(rows: torch.Tensor, spec: FeatureSpec) -> torch.Tensor:
    """What a pooled head reads of a spec's stored rows (n, ...): pooled rows as they are, maps as avgstd; float32."""
    if spec.pooling != "map":
        return rows.float().flatten(1)
    return pool(rows, "avgstd", channels_last=spec.channels_last, prefix_tokens=spec.prefix_tokens)


def _views(specs: list[FeatureSpec]) -> dict[FeatureSpec, list[FeatureSpec]]:
    """Spec of view 0 -> itself and its augmented views in order."""
    views: dict[FeatureSpec, list[FeatureSpec]] = {}
    for spec in specs:
        views.setdefault(replace(spec, view=0, augmentation=""), []).append(spec)
    if len(set(specs)) < len(specs):
        raise UserError("a feature is named twice: name each backbone and feature once")
    counts = {first.feature: len(each) for first, each in views.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"features differ in their number of views: {counts}; extract all with the same VIEWS")
    return {first: sorted(each, key=lambda spec: spec.view) for first, each in views.items()}


def _width(table: FeatureTable) -> int:
    return vectors(torch.from_numpy(table.read(np.zeros(1, int))), table.spec).shape[1]


def _allocated(*shape: int) -> np.ndarray:
    """Raises: UserError if COPIES of it are more than the free memory."""
    size, free = 4 * int(np.prod(shape)), free_memory()
    if COPIES * size > free:
        raise UserError(
            f"the pooled features of {shape[1]} images in {shape[0]} views, {shape[2]} numbers each, are "
            f"{size / 1e9:.1f} GB and training needs {COPIES} times that; {free / 1e9:.1f} GB are free. "
            "Name fewer FEATURES, use `avg` in place of `avgstd`, or fewer VIEWS."
        )
    return np.empty(shape, np.float32)


def _fill(X: np.ndarray, table: FeatureTable) -> None:
    """(N, d), from one table."""
    if table.spec.pooling != "map":
        X[:] = vectors(torch.from_numpy(table.X), table.spec).numpy()
        return
    buffer = np.empty((BLOCK, *table.row_shape), table.dtype)
    with Progress(f"heads: pooling {table.spec.backbone} {table.spec.feature}", len(table)) as progress:
        for start in range(0, len(table), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(table)))
            X[rows] = vectors(torch.from_numpy(table.read(rows, buffer[: len(rows)])), table.spec).numpy()
            progress.advance(len(rows))
