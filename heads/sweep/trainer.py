"""Buckets of heads to their families: what each is trained on is made here, once for all that share it."""

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from cache.table import FeatureTable
from data.manifest import Manifest
from heads.families import Fitted, Report, Source
from heads.families.base import PLAIN, UNIT
from heads.fitting.stack import normed_rows
from heads.fitting.task import MapTask, Task
from heads.fitting.unfinished import Unfinished
from heads.folds import Folds
from heads.inputs import Choice, Inputs
from heads.stream import RowStream
from heads.sweep.buckets import Bucket


@dataclass
class Trainer:
    """Trains buckets on the features of one manifest.

    choices: by name, what pooled heads may read. weights: backbone -> its weight file as WEIGHTS names it, for tails.
    mean_views: heads are judged by the mean of their scores over the views. memory: bytes that features may be held in.
    """

    manifest: Manifest
    inputs: Inputs
    choices: dict[str, Choice]
    folds: Folds
    weights: dict[str, str]
    device: str
    mean_views: bool
    memory: int | None = None
    _latest: tuple[str, Any] | None = None
    _measured: dict[str, dict[Hashable, float]] = field(default_factory=lambda: defaultdict(dict))

    def train(self, bucket: Bucket, report: Report, unfinished: Unfinished) -> list[Fitted]:
        """The bucket's members, in its order; what is unfinished is gone on with."""
        source = replace(self._source(bucket, self._kept_maps), unfinished=unfinished)
        return bucket.family.fit(list(bucket.members), source, report=report)

    def expected_seconds(self, bucket: Bucket) -> float | None:
        """About what a bucket takes, early stopping left aside; None = unknown."""
        return bucket.family.seconds(list(bucket.members), self._source(bucket, self._maps))

    def _source(self, bucket: Bucket, maps: Callable[[str], MapTask]) -> Source:
        name, norm = bucket.inputs, bucket.members[0].config.norm
        rows = int(self.folds.trained[0].sum()) * self.inputs.rows.views
        columns = self.choices[name].width if name in self.choices else 0
        return Source(columns, rows, len(self.folds), partial(self._kept_pooled, name, norm), partial(maps, name),
                      self._measured[name])  # fmt: skip

    def _kept_pooled(self, name: str, norm: str) -> Task:
        """Of a choice of pooled features, each row normalised."""
        return self._kept(f"{name} {norm}", lambda _: self._pooled(name, norm))

    def _kept_maps(self, name: str) -> MapTask:
        """Of the maps of a feature; says where they are held."""

        def made(_: str) -> MapTask:
            task = self._maps(name)
            print(f"heads: {name}: {task.stream.mode}", flush=True)
            return task

        return self._kept(f"maps of {name}", made)

    def _kept(self, name: str, make: Callable[[str], Any]) -> Any:
        """The latest is kept until another is asked for: features are large, and buckets come choice by choice."""
        if self._latest is None or self._latest[0] != name:
            self._latest = None  # its memory is needed
            self._latest = (name, make(name))
        return self._latest[1]

    def _pooled(self, name: str, norm: str) -> Task:
        change = None if norm == PLAIN else partial(normed_rows, norm=norm)
        rows = self.inputs.of(self.choices[name], change)
        return Task.of(rows, self.manifest.fake, self.folds, mean_views=self.mean_views, alike=norm == UNIT)

    def _maps(self, name: str) -> MapTask:
        specs = self.inputs.maps[name]
        stream = RowStream([FeatureTable(spec, self.manifest) for spec in specs], memory=self._left())
        weights = self.weights.get(specs[0].backbone, "")
        return MapTask(stream, specs[0], self.manifest.fake, self.folds, weights, self.device, self.mean_views)

    def _left(self) -> int | None:
        """Bytes of the memory that held pooled features leave to maps; None = as much as the stream finds."""
        taken = self.inputs.rows.bytes if self.inputs.rows.in_memory else 0
        return None if self.memory is None else max(0, self.memory - taken)
