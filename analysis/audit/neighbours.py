"""Near copies that thumbnails miss, as of a crop from anywhere, by features that are cached already.

An image and its copy are each other's nearest neighbour in most layers of a network. Such pairs alone are opened, and
confirmed on pixels as all others are (data.audit.copies).
"""

import numpy as np
import pandas as pd

from analysis.audit.cached import newest_features
from cache.table import FeatureTable
from data.audit.copies import Copy, confirmed
from data.audit.lookalikes import SIDES, Candidates
from data.manifest import Manifest

ENOUGH = 50_000  # images; the search grows with their square, and takes minutes then
MOST = 2_000  # pairs that are opened, the most alike first
ROWS = 2_048  # images that are compared with all at once


def copies_by_features(manifest: Manifest) -> list[Copy] | None:
    """Near copies of two groups, by row numbers of the manifest; None where nothing is cached, or too much."""
    rows = np.flatnonzero((manifest.rows.status == "ok") & ~manifest.rows.digest.duplicated())
    if not 2 <= len(rows) <= ENOUGH:
        return None
    table = newest_features(manifest, rows)
    if table is None:
        return None
    first, second, alike = _mutual(_scaled(table), pd.factorize(manifest.rows.group.iloc[rows])[0])
    order = np.argsort(-alike)[:MOST]
    paths = [manifest.root / path for path in manifest.rows.path.iloc[rows]]
    found = {}
    for each in confirmed(_every_side(first[order], second[order], alike[order]), paths):
        pair = (min(each.first, each.second), max(each.first, each.second))
        found[pair] = max(each, found.get(pair, each), key=lambda copy: copy.alike)
    return [Copy(int(rows[each.first]), int(rows[each.second]), each.mirrored, each.part, each.alike)
            for each in found.values()]  # fmt: skip


def _scaled(table: FeatureTable) -> np.ndarray:
    """(N, D) float32 of length 1; every number of like weight."""
    found = table.X.astype(np.float32)
    found -= found.mean(axis=0)
    found /= found.std(axis=0) + 1e-6
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-9)


def _mutual(features: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of two groups that are nearest to each other, (K,) and (K,), and their cosines."""
    nearest, cosine = np.empty(len(features), np.int64), np.empty(len(features), np.float32)
    for start in range(0, len(features), ROWS):
        some = slice(start, start + ROWS)
        near = features[some] @ features.T
        near[groups[some, None] == groups] = -np.inf
        nearest[some], cosine[some] = near.argmax(axis=1), near.max(axis=1)
    here = np.arange(len(features))
    first = here[(nearest[nearest] == here) & (here < nearest) & np.isfinite(cosine)]
    return first, nearest[first], cosine[first]


def _every_side(first: np.ndarray, second: np.ndarray, alike: np.ndarray) -> Candidates:
    """Each pair once for each part and side by which one may show the other."""
    kinds = [(whole, other, number, mirrored) for number, mirrored in SIDES
             for whole, other in ((first, second), (second, first))]  # fmt: skip
    whole, other = (np.stack([each[at] for each in kinds], axis=1).ravel() for at in (0, 1))
    part, mirrored = (np.tile([each[at] for each in kinds], len(first)) for at in (2, 3))
    return Candidates(whole, other, part, mirrored.astype(bool), np.repeat(alike, len(kinds)))
