"""A detector on images as a Scorer, and the one place that opens whatever a finished run folder holds.

open_scorer(folder)      the cheapest way to its scores: a head from cached features, a detector from the images
open_detector(folder)    from images alone, for images that are in no data set: prediction, heat maps, export
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.augment import Draw
from data.manifest import Manifest
from data.perturb import Perturbation
from data.preprocess import draws_of
from extract.computing.conversions import NotTaken
from extract.computing.engines import tell, why_not
from extract.computing.machine import batch_of, training_device
from extract.options import AUTO, COMPILED, TORCH, engine_meant, engine_of
from finetune.training.job import BEST
from heads.head_file import HeadRecord, load_head, read_record
from heads.scorer import HeadScorer, Scorer
from heads.sweep.sweep_result import HEAD_FILE

if TYPE_CHECKING:
    from finetune.detectors.detector import Detector
    from finetune.detectors.engine_detector import EngineDetector


@dataclass(frozen=True)
class DetectorScorer(Scorer):
    """The detector of a finished sweep or training, on images.

    size: images in a forward pass. views: whose mean is the score; all but the first are changed by `augmentation`.
    workers: processes that decode, -1 = as many as suit the device. wanted: the word of ENGINE for its networks.
    """

    folder: Path
    device: str
    size: int
    views: int = 1
    workers: int = -1
    wanted: str = TORCH
    augmentation: str = ""

    @cached_property
    def detector(self) -> "Detector":
        """On the device, in eval mode, frozen; loaded when it is first asked for.

        Raises:
            UserError: its file is damaged, or the weights of a backbone are not those that the head was trained on.
        """
        from finetune.detectors.detector_file import (
            load_detector,  # networks, which a scorer that scores nothing does without
        )

        detector = load_detector(self.folder / BEST)[0] if self._trained else _with_backbones(self.folder)
        return detector.to(self.device)

    @cached_property
    def judge(self) -> "Detector | EngineDetector":
        """The same for scores alone: its networks run by the engine that is wanted, or by torch where that cannot.

        Raises:
            UserError: as `detector`; an engine that is not to be had here.
        """
        if self.wanted == TORCH:
            return self.detector
        reason = why_not(self.wanted, self.device, self.detector.compute)
        if not reason:
            from finetune.detectors.engine_detector import EngineDetector

            try:
                return EngineDetector(self.detector, engine_meant(self.wanted), self.device, batch=self.size,
                                      tuned=self._trained)  # fmt: skip
            except NotTaken as error:
                reason = str(error)
        tell(self.folder.name, self.wanted, reason)
        return self.detector

    @property
    def engine(self) -> str:
        return TORCH if self.judge is self.detector else engine_meant(self.wanted)

    @property
    def draws(self) -> list[Draw | Perturbation | None]:
        """What makes each of its views."""
        return draws_of(self.views, self.augmentation)

    @property
    def once(self) -> "DetectorScorer":
        return replace(self, views=1)

    def scores(self, manifest: Manifest, change: Perturbation | None = None) -> np.ndarray:
        import torch

        from finetune.detectors.logits import logits_of

        draws = [change] if change else self.draws
        rows, device = np.arange(len(manifest)), torch.device(self.device)
        return np.mean([logits_of(self.judge, manifest, rows, device, batch=self.size, workers=self.workers,
                                  draw=draw) for draw in draws], axis=0)  # fmt: skip

    @property
    def _trained(self) -> bool:
        return model_file(self.folder).name == BEST


def open_scorer(
    folder: Path, *, device: str = "auto", batch: int = 0, workers: int = -1, engine: str = TORCH
) -> Scorer:
    """Of a finished sweep or training. A head reads cached features: `extract_missing` computes those that lack.

    Args:
        device, batch, workers, engine: as for extraction.

    Raises:
        UserError: its file is missing or damaged, or the device is not there.
    """
    if model_file(folder).name == HEAD_FILE:
        return HeadScorer.load(folder / HEAD_FILE, device=training_device(device))
    return open_detector(folder, device=device, batch=batch, workers=workers, engine=engine)


def open_detector(
    folder: Path, *, device: str = "auto", batch: int = 0, workers: int = -1, engine: str = TORCH
) -> DetectorScorer:
    """The same from images alone; of a sweep's head with its backbones before it.

    Args:
        engine: for the networks of a trained detector. Those of a head are run by what made its features, whatever is
            said here, so that its scores are those from the cache.

    Raises:
        UserError: as open_scorer; the head is judged by views that this version of the program draws otherwise.
    """
    where, views, augmentation = training_device(device), 1, ""
    if model_file(folder).name == HEAD_FILE:
        record = read_record(folder / HEAD_FILE)
        engine = _engine_of_features(record)
        views, augmentation = record.views, record.augmentation
    draws_of(views, augmentation)  # views that are drawn no more are told before anything is loaded
    return DetectorScorer(folder, where, batch_of(batch, where), views, workers, engine, augmentation)


def model_file(folder: Path) -> Path:
    """What a finished run left: its detector, or its head."""
    return folder / BEST if (folder / BEST).exists() else folder / HEAD_FILE


def _with_backbones(folder: Path) -> "Detector":
    """A head behind the backbones that it was trained on."""
    from extract.networks.backbones import build
    from finetune.detectors.detector import FeatureDetector

    head, record = load_head(folder / HEAD_FILE)
    weights = HeadScorer.load(folder / HEAD_FILE).weights
    sides = {spec.backbone: spec.preprocess.crop for spec in record.inputs}
    backbones = [build(name, weights=weights.get(name, ""), size=side) for name, side in sides.items()]
    return FeatureDetector(backbones, head, record.inputs).eval().requires_grad_(False)


def _engine_of_features(record: HeadRecord) -> str:
    """What made all that a head reads; auto where that is openvino, whose absence here is no error."""
    made_by = {engine_of(spec.compute) for spec in record.inputs}
    return made_by.pop() if made_by in ({TORCH}, {COMPILED}) else AUTO
