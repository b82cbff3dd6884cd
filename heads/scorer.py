"""What a finished run says of images: a `Scorer`. Everything that is asked of a run besides its record asks one.

Here are heads on cached features. finetune.detectors.image_scorer has detectors on images, and opens whichever a run
folder holds.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache import runs
from cache.features import FeatureSpec
from data.manifest import Manifest
from heads.head_file import HeadRecord, load_head, read_record

if TYPE_CHECKING:  # they need images, which a sweep does without
    from data.perturb import Perturbation
    from extract.options import ExtractConfig
    from heads.fitting.stack import Committee

AS_IT_IS = (None,)  # no change to an image


class Scorer(ABC):
    """A finished run, ready to judge images. folder: the run's."""

    folder: Path

    @property
    @abstractmethod
    def views(self) -> int:
        """The run's own scores are means over so many views of an image."""

    @property
    @abstractmethod
    def once(self) -> "Scorer":
        """The same, but looking at each image once, in the evaluation view."""

    @abstractmethod
    def scores(self, manifest: Manifest, change: "Perturbation | None" = None) -> np.ndarray:
        """Logits of fake of every image of a manifest: (N,) float64.

        Args:
            change: what every image goes through first; changed images are seen once, in the evaluation view.

        Raises:
            UserError: features that are not in the cache (`extract_missing` computes them), images that cannot be read.
        """

    @property
    @abstractmethod
    def engine(self) -> str:
        """What runs the networks between an image and its score: torch or openvino."""

    @property
    def manifest_file(self) -> Path:
        """The CSV of the data set that the run was made on; it may be gone, or say something else by now.

        Raises:
            DamagedRun: the run does not say so.
        """
        return Path(runs.read_json(self.folder / "config.json")["manifest"])


@dataclass(frozen=True)
class HeadScorer(Scorer):
    """The head of a finished sweep over cached features.

    file: the head's. weights: backbone -> its weight file as WEIGHTS named it for the sweep. device: cpu, cuda, cuda:1.
    """

    folder: Path
    file: Path
    record: HeadRecord
    weights: dict[str, str]
    device: str = "cpu"

    @classmethod
    def load(cls, file: Path, *, device: str = "cpu") -> "HeadScorer":
        """Of a head's file, in its run folder or copied elsewhere.

        Raises:
            UserError: it is no head. DamagedRun: its run folder has lost config.json.
        """
        config = file.parent / "config.json"
        known = config.exists() or runs.is_complete(file.parent)
        weights = runs.read_json(config).get("weights", {}) if known else {}
        return cls(file.parent, file, read_record(file), weights, device)

    @property
    def views(self) -> int:
        return self.record.views

    @property
    def once(self) -> "HeadScorer":
        return replace(self, record=replace(self.record, views=1))

    @property
    def engine(self) -> str:
        from extract.options import engine_of

        return engine_of(self.record.inputs[0].compute)

    def reads(self, change: "Perturbation | None" = None) -> list[FeatureSpec]:
        """The cached features that `scores` needs."""
        return [spec for view in self._views(change) for spec in view]

    def scores(self, manifest: Manifest, change: "Perturbation | None" = None) -> np.ndarray:
        from heads.scoring import member_scores  # of torch, which nobody needs who only asks what a scorer reads

        return member_scores(self.head, self._views(change), manifest, device=self.device).mean(axis=1)

    @cached_property
    def head(self) -> "Committee":
        return load_head(self.file)[0]

    def _views(self, change: "Perturbation | None") -> list[list[FeatureSpec]]:
        if change is None:
            return views_of(self.record)
        return [[replace(spec, augmentation=change.policy) for spec in self.record.inputs]]


def extract_missing(scorers: Sequence[Scorer], manifest: Manifest, config: "ExtractConfig",
            changes: "Sequence[Perturbation | None]" = AS_IT_IS) -> None:  # fmt: skip
    """Extract what some scorers need to judge these images, as they are or changed, as far as the cache lacks it.

    One pass over the images serves all that read features of one backbone.

    Args:
        config: of the extraction: device, batch, workers, part; and WEIGHTS, without which the sweeps' own are taken.

    Raises:
        UserError: weights that are not those that a head was trained on; a PART of the images left to others.
    """
    from extract import run as extract

    heads = [each for each in scorers if isinstance(each, HeadScorer)]  # others read the images
    recorded = {name: file for each in heads for name, file in each.weights.items()}
    wanted = dict.fromkeys(spec for change in changes for each in heads for spec in each.reads(change))
    ordered = sorted(wanted, key=lambda spec: spec.backbone)  # of one backbone they stay in order
    for backbone, specs in groupby(ordered, key=lambda spec: spec.backbone):
        found, given = list(specs), next(config.but(backbone=backbone).each_backbone()).weights
        here = config.but(
            backbone=backbone, weights=given or recorded.get(backbone, ""), views=max(spec.view for spec in found),
            features=" ".join(dict.fromkeys(spec.feature for spec in found)),
        )  # fmt: skip
        extract.specs_of(extract.fill(here, manifest, found))


def views_of(record: HeadRecord) -> list[list[FeatureSpec]]:
    """What a head reads, in each of the views that it is judged by."""
    return [
        [replace(spec, view=view, augmentation=record.augmentation) if view else spec for spec in record.inputs]
        for view in range(record.views)
    ]
