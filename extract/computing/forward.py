"""One pass over images -> the features of a backbone that miss them: decode, one forward, shards."""

from collections import defaultdict

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
from extract.networks.backbones import Backbone
from extract.options import ExtractConfig
from extract.writing import ShardWriter


def compute(config: ExtractConfig, backbone: Backbone, manifest: Manifest, rows: np.ndarray,
             missing: dict[FeatureSpec, np.ndarray]) -> tuple[float, int]:  # fmt: skip
    """One forward per image and view fills every feature that misses it. Returns seconds and images computed."""
    views = defaultdict(list)
    for spec, mask in missing.items():
        remove_leftovers(spec.folder)
        if mask.any():
            views[spec.view, spec.augmentation].append(spec)
    todo = {view: np.flatnonzero(np.logical_or.reduce([missing[s] for s in specs])) for view, specs in views.items()}
    label = f"extract {backbone.name} part {config.part or '0/1'}"
    with Progress(label, sum(map(len, todo.values()))) as progress:
        for view, specs in views.items():
            progress.note = " ".join(filter(None, [f"view {view[0]}" if view[0] else "", view[1].rpartition(":")[2]]))
            wanted = {spec: missing[spec][todo[view]] for spec in specs}
            _one_view(config, backbone, manifest, rows[todo[view]], wanted, progress)
    return progress.seconds, progress.done


def _one_view(config: ExtractConfig, backbone: Backbone, manifest: Manifest, rows: np.ndarray,
              wanted: dict[FeatureSpec, np.ndarray], progress: Progress) -> None:  # fmt: skip
    specs, first = list(wanted), next(iter(wanted))
    device = torch.device(device_for(first.compute, config.device))
    size = batch_of(config.batch, device.type)
    network = engine(backbone, specs, device, batch=size)
    workers = default_workers(device) if config.workers < 0 else config.workers
    draw = of_view(first.view, first.augmentation)
    loader = batches(manifest, rows, first.preprocess, draw=draw, size=size, workers=workers)
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
