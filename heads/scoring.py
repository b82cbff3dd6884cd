"""A head -> what each of its members says of images whose features are in the cache."""

from collections.abc import Sequence

import numpy as np
import torch

from cache.features import FeatureSpec
from cache.table import FeatureTable
from data.manifest import Manifest
from heads.fitting.stack import Committee
from heads.inputs import load_inputs
from heads.stream import RowStream

VECTORS_AT_ONCE = 4096  # rows of pooled features
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
        stream = RowStream([FeatureTable(spec, manifest) for (spec,) in views], memory=0)
    else:
        stream = load_inputs(manifest, [spec for specs in views for spec in specs], memory=0).rows
    return stream_scores(head, stream, range(len(views)), device=device)


@torch.inference_mode()
def stream_scores(head: Committee, stream: RowStream, views: Sequence[int], *, device: str = "cpu") -> np.ndarray:
    """Logits of every member for every row of a stream, the mean over some views: (N, M) float64."""
    rows, batch = np.arange(stream.images), MAPS_AT_ONCE if head.reads_maps else VECTORS_AT_ONCE
    each = [
        torch.cat([head.each(part.values.to(device)) for part in stream.ordered(rows, view=view, batch=batch)])
        for view in views
    ]
    return np.mean([scores.cpu().double().numpy() for scores in each], axis=0)
