"""A head -> what each of its members says of images whose features are in the cache."""

from collections.abc import Iterator

import numpy as np
import torch

from cache.features import FeatureSpec
from cache.table import FeatureTable
from data.manifest import Manifest
from heads.fitting.stack import Committee
from heads.inputs import load_inputs
from heads.stream import MapStream

AT_ONCE = 16_384  # rows of pooled features
MAPS_AT_ONCE = 64


def member_scores(head: Committee, views: list[list[FeatureSpec]], manifest: Manifest, *,
                  device: str = "cpu") -> np.ndarray:  # fmt: skip
    """Logits of fake of every member of a head, the mean over views: (N, M) float64.

    Args:
        views: what the head reads, view by view, all in the cache.

    Raises:
        UserError: images without those features.
    """
    head = head.to(device)
    if head.reads_maps:
        return np.mean([_of_maps(head, specs[0], manifest, device) for specs in views], axis=0)
    X = load_inputs(manifest, [spec for specs in views for spec in specs]).X  # (V, N, D)
    return np.mean([of_vectors(head, view, device=device) for view in X], axis=0)


@torch.inference_mode()
def of_vectors(head: Committee, X: np.ndarray, *, device: str = "cpu") -> np.ndarray:
    """Logits of every member for raw pooled features (N, D) float32: (N, M) float64."""
    parts = [head.each(torch.from_numpy(part).to(device)) for part in _parts(X)]
    return torch.cat(parts).cpu().double().numpy()


def _parts(X: np.ndarray) -> Iterator[np.ndarray]:
    yield from (X[start : start + AT_ONCE] for start in range(0, len(X), AT_ONCE))


@torch.inference_mode()
def _of_maps(head: Committee, spec: FeatureSpec, manifest: Manifest, device: str) -> np.ndarray:
    stream = MapStream([FeatureTable(spec, manifest)], memory=0)
    batches = stream.ordered(np.arange(len(manifest)), view=0, batch=MAPS_AT_ONCE)
    return torch.cat([head.each(batch.maps.to(device)) for batch in batches]).cpu().double().numpy()
