"""A saved head over cached features: what it says of every image of a manifest."""

from dataclasses import replace

import numpy as np
import torch

from cache.features import FeatureSpec
from cache.table import FeatureTable
from data.manifest import Manifest
from heads.families import Tail
from heads.fitting.stack import Committee
from heads.head_file import HeadRecord
from heads.inputs import load_inputs
from heads.stream import MapStream

AT_ONCE = 16_384  # rows of pooled features
MAPS_AT_ONCE = 64


def member_scores(head: Committee, record: HeadRecord, manifest: Manifest, *, device: str = "cpu") -> np.ndarray:
    """Logits of fake of every member, the mean over the views that the head is judged by: (N, M) float64.

    Raises:
        UserError: images without the features that the head reads.
    """
    head = head.to(device)
    if isinstance(record.config, Tail):
        return np.mean([_of_maps(head, specs[0], manifest, device) for specs in _views(record)], axis=0)
    X = load_inputs(manifest, [spec for specs in _views(record) for spec in specs]).X
    return np.mean([of_vectors(head, view, device=device) for view in X], axis=0)


@torch.inference_mode()
def of_vectors(head: Committee, X: np.ndarray, *, device: str = "cpu") -> np.ndarray:
    """Logits of every member for raw pooled features (N, D) float32: (N, M) float64."""
    starts = range(0, len(X), AT_ONCE)
    parts = [head.each(torch.from_numpy(X[start : start + AT_ONCE]).to(device)) for start in starts]
    return torch.cat(parts).cpu().double().numpy()


@torch.inference_mode()
def _of_maps(head: Committee, spec: FeatureSpec, manifest: Manifest, device: str) -> np.ndarray:
    stream = MapStream([FeatureTable(spec, manifest)], memory=0)
    batches = stream.ordered(np.arange(len(manifest)), view=0, batch=MAPS_AT_ONCE)
    return torch.cat([head.each(batch.maps.to(device)) for batch in batches]).cpu().double().numpy()


def _views(record: HeadRecord) -> list[list[FeatureSpec]]:
    """The head's inputs in each view that it is judged by."""
    return [
        [replace(spec, view=view, augmentation=record.augmentation) if view else spec for spec in record.inputs]
        for view in range(record.views)
    ]
