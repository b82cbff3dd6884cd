"""A detector on images: the logits of some rows of a manifest."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from cache.errors import UserError
from data.augment import Draw
from data.manifest import Manifest
from data.perturb import Perturbation
from extract.computing.compute import moved
from extract.computing.machine import batch_of
from extract.loading import batches, default_workers
from finetune.detectors.detector import Detector

if TYPE_CHECKING:
    from finetune.detectors.engine_detector import EngineDetector


@torch.inference_mode()
def logits_of(detector: "Detector | EngineDetector", manifest: Manifest, rows: np.ndarray, device: torch.device, *,
           batch: int = 0, workers: int = -1, draw: Draw | Perturbation | None = None) -> np.ndarray:  # fmt: skip
    """Of fake, (k,) float64, of some rows of a manifest: in the evaluation view, or as `draw` changes them.

    detector: on the device, in eval mode; OpenVINO's is on the CPU.

    Raises:
        UserError: images that are gone or changed since they were hashed; out of memory.
    """
    size = batch_of(batch, device.type)
    workers = default_workers(device) if workers < 0 else workers
    loader = batches(manifest, rows, detector.preprocess, draw=draw, size=size, workers=workers)
    try:
        found = [detector(moved(each.pixels, device))[: each.count].cpu().double() for each in loader]
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of memory with {size} images at once in evaluation: lower BATCH") from error
    return torch.cat(found).numpy() if found else np.zeros(0)
