"""What the cache lacks of some features of a manifest's images, and the parts of it that processes take."""

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from cache.features import FeatureSpec
from cache.table import Places, present
from data.manifest import Manifest

View = tuple[int, str]  # FeatureSpec.view and its augmentation


@dataclass(frozen=True)
class Missing:
    """Rows that are not in the cache.

    rows: (M,) places in the manifest of its distinct images, each one's first copy. masks: for each feature which of
    these it lacks, (M,) bool.
    """

    manifest: Manifest
    rows: np.ndarray
    masks: dict[FeatureSpec, np.ndarray]

    @classmethod
    def of(cls, manifest: Manifest, specs: list[FeatureSpec]) -> Self:
        """As the cache is now."""
        rows = np.flatnonzero(~manifest.rows.digest.duplicated())
        places = Places(manifest.digests[rows])
        return cls(manifest, rows, {spec: ~present(spec, places) for spec in specs})

    def part(self, share: int, shares: int) -> Self:
        """What PART=share/shares takes: always the same images, whatever is missing."""
        mine = (np.arange(len(self.rows)) % shares) == share
        return replace(self, masks={spec: mask & mine for spec, mask in self.masks.items()})

    @property
    def images(self) -> int:
        """Distinct images that lack something."""
        return int(np.logical_or.reduce(list(self.masks.values())).sum())

    @property
    def passes(self) -> int:
        """Images to be computed, each view of one for itself."""
        return sum(map(len, self.todo.values()))

    @property
    def views(self) -> dict[View, list[FeatureSpec]]:
        """The features that lack something, by what the network looks at."""
        found = defaultdict(list)
        for spec, mask in self.masks.items():
            if mask.any():
                found[spec.view, spec.augmentation].append(spec)
        return dict(found)

    @property
    def todo(self) -> dict[View, np.ndarray]:
        """For each view which of `rows` lack a feature of it, (k,)."""
        return {
            view: np.flatnonzero(np.logical_or.reduce([self.masks[spec] for spec in specs]))
            for view, specs in self.views.items()
        }
