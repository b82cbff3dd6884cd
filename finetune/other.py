"""A fine-tuned detector on another data set: everything fixed, every image scored once, from the images themselves."""

from pathlib import Path

import numpy as np

from cache import paths
from data import build as data_build
from data.manifest import Manifest
from extract.compute import training_device
from finetune.detector_file import load_detector
from finetune.start import scores
from finetune.training.job import BEST
from heads.other import score_elsewhere
from heads.run import HeadsConfig, on_other_data


def run_other(config: HeadsConfig, folder: Path, data: str) -> Path:
    """Score the detector of a finished training; the folder in runs/other.

    Args:
        config: device, batch and workers as for extraction. folder: the training's. data: as DATA names a data set.

    Raises:
        UserError: no such data, or nothing left to score there.
    """
    elsewhere = on_other_data(config, data)
    data_build.run(elsewhere)
    device = training_device(config.device)

    def from_images(manifest: Manifest) -> np.ndarray:
        detector = load_detector(folder / BEST)[0].to(device)
        rows = np.arange(len(manifest))
        return scores(detector, manifest, rows, device, batch=config.batch, workers=config.workers)

    return score_elsewhere(folder, paths.manifest_file(elsewhere.dataset), from_images)
