"""Detectors on perturbed images, from the images themselves: fine-tuned ones, and heads that read cached maps.

Pooled features of perturbed images are cached, where one pass serves all heads; maps would be gigabytes.
"""

from pathlib import Path

import numpy as np

from cache.progress import Progress
from data.manifest import Manifest
from data.perturb import PERTURBATIONS, Perturbation
from extract.compute import training_device
from finetune.detector import Detector
from finetune.start import scores
from heads.perturbed import score_perturbed
from heads.run import HeadsConfig


def run_perturbed(config: HeadsConfig, folder: Path, detector: Detector, manifest: Manifest, chosen: Manifest, *,
                  views: int) -> Path:  # fmt: skip
    """Score the detector of a finished run; the folder in runs/perturbed.

    Args:
        config: device, batch and workers as for extraction. folder: the run's. manifest: its data set's.
        chosen: the images of it that are perturbed. views: over how many the run's own scores are means.
    """
    device = training_device(config.device)
    detector = detector.to(device)

    with Progress(f"perturbed {folder.name}", len(chosen) * (1 + len(PERTURBATIONS))) as progress:

        def scored(perturbation: Perturbation | None) -> np.ndarray:
            progress.note = perturbation.name if perturbation else ""
            rows = np.arange(len(chosen))
            found = scores(
                detector, chosen, rows, device, batch=config.batch, workers=config.workers, draw=perturbation
            )
            progress.advance(len(found))
            return found

        return score_perturbed(folder, manifest, chosen, scored, views=views)
