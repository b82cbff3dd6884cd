"""Whether a detector says what the cached head says that it was started from: compared at every start."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cache.errors import UserError
from data.manifest import Manifest
from finetune.detectors.detector import Detector
from finetune.detectors.logits import logits_of
from finetune.start import Start
from heads.scorer import HeadScorer

PARITY_IMAGES = 256  # of the validation split, compared at every start
# Largest difference in standard deviations of the scores that another machine may make with the same number type. The
# default backbone's scores of 256 faces differ by .02 between kernels that round bfloat16 at the same places; between
# bfloat16 and float32 by .18, float16 and float32 by .03. Two machines that round at other places each differ so from
# float32, from one another by up to 1.4 times that.
PARITY_LIMITS = {"fp32": 1e-2, "fp16": 5e-2, "bf16": 3e-1}
OTHER_MACHINE = (
    " If they were made on a machine that rounds otherwise, run the same command with COMPUTE=fp32, in which machines "
    "agree, and without HEAD: it makes features and head anew."
)


def parity(start: Start, detector: Detector, device: torch.device, *, batch: int = 0, workers: int = -1) -> str:
    """Compare the detector's logits with those of the cached head on validation images; a sentence to print.

    Raises:
        UserError: they differ by more than the number type explains.
    """
    if start.head_file is None:
        return "parity: started without a cached head, there is nothing to compare"
    manifest = _first_of_val(start.manifest)
    cached = HeadScorer.load(start.head_file, device=str(device)).once.scores(manifest)
    found = logits_of(detector, manifest, np.arange(len(manifest)), device, batch=batch, workers=workers)
    return compared(found, cached, compute=detector.compute, head_file=start.head_file)


def compared(found: np.ndarray, cached: np.ndarray, *, compute: str, head_file: Path) -> str:
    """A sentence about the logits (n,) of a detector beside those of the cached head; both in the number type compute.

    Raises:
        UserError: they differ by more than the number type explains.
    """
    largest, spread = float(np.abs(found - cached).max()), float(cached.std())
    allowed = PARITY_LIMITS[compute] * max(spread, 1e-3)
    if not largest <= allowed:
        raise UserError(
            f"the detector does not say what the cached head of {head_file} says: over {len(found)} validation images "
            f"logits differ by up to {largest:.2g}, where {compute} explains {allowed:.2g} at their spread of "
            f"{spread:.2g}. The head, the backbone's weights or the features are not those of one another: run "
            f"`make verify` and `make heads`.{'' if compute == 'fp32' else OTHER_MACHINE}"
        )
    return (
        f"parity: on {len(found)} validation images the detector's logits are the cached head's, largest difference "
        f"{largest:.1e} at a spread of {spread:.2g}"
    )


def _first_of_val(manifest: Manifest) -> Manifest:
    rows = manifest.where("val")[:PARITY_IMAGES]
    return replace(manifest, rows=manifest.rows.iloc[rows].reset_index(drop=True))
