"""Features of a data set that an extraction left: nothing is computed for the audit."""

from dataclasses import replace

import numpy as np

from cache import paths, runs
from cache.errors import UserError
from cache.features import DamagedShard, FeatureSpec
from cache.table import FeatureTable
from data.manifest import Manifest
from extract.run import specs_of


def newest_features(manifest: Manifest, rows: np.ndarray) -> FeatureTable | None:
    """Of these rows, from the middle layer of the latest extraction that has them all; None where there is none.

    Raises:
        DamagedShard: there is one, and it is damaged.
    """
    images = replace(manifest, rows=manifest.rows.iloc[rows].reset_index(drop=True))
    for folder in sorted(paths.runs_dir().glob("extract/*"), key=lambda each: -each.stat().st_mtime):
        pooled = [spec for spec in specs_of(folder) if _is_plain(spec)] if runs.is_complete(folder) else []
        if pooled:
            try:
                return FeatureTable(pooled[len(pooled) // 2], images)
            except DamagedShard:
                raise
            except UserError:  # of other images: the next one may have these
                continue
    return None


def _is_plain(spec: FeatureSpec) -> bool:
    return spec.view == 0 and not spec.augmentation and spec.pooling in ("avg", "avgstd")
