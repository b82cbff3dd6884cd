"""Cached pooled features: rows in manifest order, several features and backbones side by side, all their views."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch

from cache.errors import UserError
from cache.features import FeatureSpec
from cache.pooling import pool
from cache.table import FeatureTable, Places
from data.manifest import Manifest
from heads.stream import Change, RowStream

ALL = "all"  # the name of everything, where there are several features
WINDOWS = (2, 3)  # neighbouring features that are offered together
BLOCK = 256  # rows that are converted or pooled at once


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


class SideBySide:
    """One view of several features as one table: rows (D,), pooled, of the widest number type among them."""

    def __init__(self, tables: list[FeatureTable]) -> None:
        self.tables = tables
        ends = np.cumsum([_width(table) for table in tables]).tolist()
        self.columns = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        self.row_shape = (ends[-1],)
        self.dtype = np.result_type(*(np.float32 if each.spec.pooling == "map" else each.dtype for each in tables))

    def __len__(self) -> int:
        return len(self.tables[0])

    @property
    def row_bytes(self) -> int:
        return self.row_shape[0] * self.dtype.itemsize

    def location(self, rows: np.ndarray) -> np.ndarray:
        """As FeatureTable has it, of the first: what is extracted together lies in the same order."""
        return self.tables[0].location(rows)

    def read(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(k, D), in the given order."""
        out = np.empty((len(rows), *self.row_shape), self.dtype) if out is None else out
        self.scatter(rows, out, range(len(rows)))
        return out

    def scatter(self, rows: np.ndarray, out: np.ndarray, places: Iterable[int]) -> None:
        """Read rows into the given places of `out`."""
        places = np.asarray(places)
        for table, where in zip(self.tables, self.columns, strict=True):
            if table.row_shape == (where.stop - where.start,) and table.dtype == out.dtype:
                table.scatter(rows, out[:, where], places)
            else:
                _convert(table, rows, out[:, where], places)

    def narrowed(self, columns: slice) -> "SideBySide":
        """Those of the tables whose columns these are."""
        inside = [columns.start <= each.start and each.stop <= columns.stop for each in self.columns]
        return SideBySide([table for table, chosen in zip(self.tables, inside, strict=True) if chosen])


@dataclass(frozen=True)
class Inputs:
    """rows: (D,) of all pooled features side by side, a block of columns for each spec. specs: of view 0. columns:
    where each block is. maps: name -> the specs of all views, of the features that are kept as maps.
    """

    rows: RowStream
    specs: list[FeatureSpec]
    columns: list[slice]
    maps: dict[str, list[FeatureSpec]]

    def of(self, choice: Choice, change: Change | None = None) -> RowStream:
        """The columns of a choice alone, changed on the way; of held rows a part without a copy."""
        tables = [table.narrowed(choice.columns) for table in self.rows.tables]
        held = None if self.rows.held is None else self.rows.held[:, choice.columns]
        return RowStream(tables, memory=0, device=self.rows.device, held=held, change=change)

    def choices(self, *, windows: bool = False) -> list[Choice]:
        """What a head may read: everything, which comes first; each feature; the first k of a backbone; all of one.

        Leaving out the deepest taps can pay: they describe what ImageNet asked for and can drown what tells a
        camera from a generator. Leaving out the first ones too can pay on generators that were never seen: they
        describe how an image was sampled and stored.

        Args:
            windows: two or three neighbours as well.
        """
        last = len(self.specs)
        spans = [(0, last, ALL if last > 1 else self._named(0)), *((i, i + 1, self._named(i)) for i in range(last))]
        for backbone, (first, end) in self._backbones().items():
            spans += [(first, k, f"up to {self._named(k - 1)}") for k in range(first + 2, end)]
            spans += [(first, end, f"all of {backbone}")]
            spans += self._neighbours(first, end) if windows else []
        distinct: dict[tuple[int, int], str] = {}
        for first, end, name in spans:
            distinct.setdefault((first, end), name)
        return [self._choice(*span, name) for span, name in distinct.items()]

    def _neighbours(self, first: int, end: int) -> list[tuple[int, int, str]]:
        """Spans of WINDOWS features between two of them, with their names."""
        return [
            (k, k + width, f"{self._named(k)} to {self._named(k + width - 1)}")
            for width in WINDOWS for k in range(first, end - width + 1)
        ]  # fmt: skip

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


def load_inputs(manifest: Manifest, specs: list[FeatureSpec], *, memory: int | None = None,
                device: str = "cpu") -> Inputs:  # fmt: skip
    """All views of every spec, pooled, for the manifest's rows; nothing is read yet.

    A map is pooled when it is read (mean and standard deviation over space) unless a pooled form of its tap is there.

    Args:
        memory, device: how much of them may be held, and where, as heads.stream.RowStream takes it.

    Raises:
        UserError: no features to read, rows missing from the cache, or a feature in fewer views than another.
    """
    views = _views(specs)
    pooled_taps = {(spec.backbone, spec.tap) for spec in views if spec.pooling != "map"}
    used = [spec for spec in views if spec.pooling != "map" or (spec.backbone, spec.tap) not in pooled_taps]
    if not used:
        raise UserError("no features to train on: run `make extract` first")
    several = len({spec.backbone for spec in specs}) > 1
    maps = {feature_name(spec, several=several): views[spec] for spec in views if spec.pooling == "map"}
    places = Places(manifest.digests)
    tables = [
        SideBySide([FeatureTable(spec, manifest, places) for spec in of_view])
        for of_view in zip(*(views[first] for first in used), strict=True)
    ]
    return Inputs(RowStream(tables, memory=memory, device=device), used, tables[0].columns, maps)


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


def _convert(table: FeatureTable, rows: np.ndarray, out: np.ndarray, places: np.ndarray) -> None:
    """Read rows of another shape or number type into the given places of `out` (N, d)."""
    buffer = np.empty((min(BLOCK, len(rows)), *table.row_shape), table.dtype)
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        read = table.read(some, buffer[: len(some)])
        out[places[start : start + BLOCK]] = vectors(torch.from_numpy(read), table.spec).numpy()
