"""Buckets of heads to their families: what each is trained on is made here, once for all that share it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cache.table import FeatureTable
from data.manifest import Manifest
from heads.families import Estimator, Tail
from heads.fitting.convex import fit_convex, seconds_a_path
from heads.fitting.estimators import fit_estimators
from heads.fitting.stacked import Report, fit, seconds_an_epoch
from heads.fitting.task import Fitted, Task
from heads.folds import Folds
from heads.inputs import Choice, Inputs
from heads.stream import MapStream
from heads.sweep.buckets import Bucket, is_convex

if TYPE_CHECKING:
    from heads.fitting.tails import MapTask  # imports the backbones, which pooled heads do without


@dataclass
class Trainer:
    """Trains buckets on the features of one manifest.

    choices: by name, what pooled heads may read. weights: backbone -> its weight file as WEIGHTS names it, for tails.
    mean_views: heads are judged by the mean of their scores over the views.
    """

    manifest: Manifest
    inputs: Inputs
    choices: dict[str, Choice]
    folds: Folds
    weights: dict[str, str]
    device: str
    mean_views: bool
    _latest: tuple[str, Any] | None = None
    _measured: dict[tuple[str, int], float] = field(default_factory=dict)

    def train(self, bucket: Bucket, report: Report) -> list[Fitted]:
        """The bucket's members, in its order."""
        members, first = list(bucket.members), bucket.members[0].config
        if isinstance(first, Tail):
            from heads.fitting.tails import fit_tails

            return fit_tails(members, self.map_task(bucket.inputs), report=report)
        task = self.task(bucket.inputs)
        if is_convex(first):
            return fit_convex(members, task)
        return fit_estimators(members, task) if isinstance(first, Estimator) else fit(members, task, report=report)

    def expected_seconds(self, bucket: Bucket) -> float:
        """About what a bucket takes, early stopping and validation left aside; 0 for scikit-learn heads, unknown."""
        first = bucket.members[0].config
        if isinstance(first, Tail):
            return bucket.epochs * len(bucket.members) * self._tail_epoch(bucket)
        if is_convex(first):
            rows, width = int(self.folds.trained[0].sum()) * len(self.inputs.X), self.choices[bucket.inputs].width
            penalties = len({member.config for member in bucket.members})
            return len(self.folds) * seconds_a_path(rows, width, penalties)
        if isinstance(first, Estimator):
            return 0.0
        return bucket.epochs * seconds_an_epoch(list(bucket.members), self.task(bucket.inputs))

    def _tail_epoch(self, bucket: Bucket) -> float:
        """Seconds; measured once for all tails that differ in nothing that costs time."""
        from heads.fitting.tails import seconds_an_epoch as of_tail

        kind = (bucket.inputs, bucket.members[0].config.batch)
        if kind not in self._measured:
            self._measured[kind] = of_tail(bucket.members[0], self._maps(bucket.inputs))
        return self._measured[kind]

    def task(self, name: str) -> Task:
        """Of a choice of pooled features."""
        return self._kept(name, self._pooled)

    def map_task(self, name: str) -> "MapTask":
        """Of the maps of a feature; says where they are held."""

        def made(_: str) -> "MapTask":
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

    def _pooled(self, name: str) -> Task:
        X = self.inputs.X[:, :, self.choices[name].columns]
        return Task.of(X, self.manifest.fake, self.folds, device=self.device, mean_views=self.mean_views)

    def _maps(self, name: str) -> "MapTask":
        from heads.fitting.tails import MapTask

        specs = self.inputs.maps[name]
        stream = MapStream([FeatureTable(spec, self.manifest) for spec in specs])
        weights = self.weights.get(specs[0].backbone, "")
        return MapTask(stream, specs[0], self.manifest.fake, self.folds, weights, self.device, self.mean_views)
