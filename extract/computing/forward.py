"""One pass over images -> the features of a backbone that miss them: decode, one forward, shards."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from cache.atomic import remove_leftovers
from cache.features import FeatureSpec
from cache.progress import Progress
from data.manifest import Manifest
from data.preprocess import of_view
from extract.computing.engines import device_for, engine
from extract.computing.machine import batch_of
from extract.loading import batches, default_workers
from extract.missing import Missing
from extract.networks.backbones import Backbone
from extract.options import ExtractConfig
from extract.writing import ShardWriter

if TYPE_CHECKING:
    from extract.computing.engines import Engine


@dataclass(frozen=True)
class Networks:
    """The engines of one backbone, each made once: a report sees images in 28 views, and compiling takes a second."""

    backbone: Backbone
    device: torch.device
    batch: int
    _made: "dict[tuple[FeatureSpec, ...], Engine]" = field(default_factory=dict)

    def of(self, specs: list[FeatureSpec]) -> "Engine":
        """The engine of features of one view; what is done to an image before it is nothing to the network."""
        plain = tuple(replace(spec, view=0, augmentation="") for spec in specs)
        if plain not in self._made:
            self._made[plain] = engine(self.backbone, list(plain), self.device, batch=self.batch)
        return self._made[plain]


def compute(config: ExtractConfig, backbone: Backbone, missing: Missing) -> tuple[float, int]:
    """One forward per image and view fills every feature that misses it. Returns seconds and images computed."""
    for spec in missing.masks:
        remove_leftovers(spec.folder)
    todo = missing.todo
    device = torch.device(device_for(next(iter(missing.masks)).compute, config.device))
    networks = Networks(backbone, device, batch_of(config.batch, device.type))
    with Progress(f"extract {backbone.name} part {config.part or '0/1'}", missing.passes) as progress:
        for (view, augmentation), specs in missing.views.items():
            progress.note = " ".join(filter(None, [f"view {view}" if view else "", augmentation.rpartition(":")[2]]))
            chosen = todo[view, augmentation]
            wanted = {spec: missing.masks[spec][chosen] for spec in specs}
            _one_view(config, networks, missing.manifest, missing.rows[chosen], wanted, progress)
    return progress.seconds, progress.done


def _one_view(config: ExtractConfig, networks: Networks, manifest: Manifest, rows: np.ndarray,
              wanted: dict[FeatureSpec, np.ndarray], progress: Progress) -> None:  # fmt: skip
    specs, first = list(wanted), next(iter(wanted))
    network = networks.of(specs)
    workers = default_workers(networks.device) if config.workers < 0 else config.workers
    draw = of_view(first.view, first.augmentation)
    loader = batches(manifest, rows, first.preprocess, draw=draw, size=networks.batch, workers=workers)
    done = 0
    with ShardWriter(specs, limit=config.shard_mb * 1_000_000) as writer:
        while True:
            with progress.timing("read"):
                batch = next(loader, None)
            if batch is None:
                return
            with progress.timing("forward"):
                kept = network(batch)
            with progress.timing("write"):
                at = slice(done, done + batch.count)
                writer.add(manifest.digests[rows[at]], kept, [wanted[spec][at] for spec in specs])
            done += batch.count
            progress.advance(batch.count)
