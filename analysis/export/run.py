"""`make export`: a finished run as an ONNX graph that needs nothing of this program, and the card that goes with it.

    python -m analysis.export --run=name

runs/export/<run>/preprocess.json, README.md, example.py, model.onnx      the graph, last, says that all are there

The graph is compared with the detector before anything is written. A head of scikit-learn, and one that is judged by
the mean over several views or joins backbones with different preprocessings, cannot be exported.
"""

import hashlib
import time
from pathlib import Path

import numpy as np

from analysis.export.card import card
from analysis.export.onnx_graph import INPUT, OUTPUT, measured_parity, to_onnx
from analysis.export.options import ExportConfig
from analysis.found.run_option import chosen_run
from analysis.judge.calibrate import Calibration, calibration_of
from analysis.judge.rules import DEFAULT_RULE, RULES
from cache import paths
from cache.atomic import copy, write_bytes, write_json, write_text
from cache.errors import UserError
from cache.features import Preprocess
from data.manifest import Manifest
from extract.loading import batches
from finetune.detectors.image_scorer import DetectorScorer, open_detector
from heads.predictions import predictions_file, read_predictions

STAGE = "export"
MODEL = "model.onnx"
EXAMPLE = Path(__file__).with_name("onnx_example.py")
IMAGES = 32  # of the validation split, that the graph is compared on


def run(config: ExportConfig) -> Path:
    """Export what config names; its folder. Made anew at each call.

    Raises:
        UserError: no such run; a detector that cannot be a graph, or whose graph says something else.
    """
    started = time.perf_counter()
    judge = chosen_run(config.run)
    calibration = calibration_of(judge)
    scorer = open_detector(judge, device="cpu")
    _refuse_views(scorer)
    detector = scorer.detector
    model = to_onnx(detector, opset=config.opset)
    pixels, against = _pixels(scorer)
    spread = float(read_predictions(predictions_file(judge, "val")).scores.std())
    parity = measured_parity(model, detector, pixels, against=against, spread=spread, threshold=calibration.threshold)
    folder = Path(config.out).expanduser() if config.out else paths.run_dir(STAGE, judge.name)
    text = card(judge, calibration, detector.preprocess, parity, hashlib.sha256(model).hexdigest())
    (folder / MODEL).unlink(missing_ok=True)
    write_json(folder / "preprocess.json", _preprocess(detector.preprocess, calibration))
    write_text(folder / "README.md", text)
    copy(EXAMPLE, folder / "example.py")
    write_bytes(folder / MODEL, model)
    print(
        f"export {judge.name}: {parity.words}; {len(model) / 1e6:.1f} MB, {parity.milliseconds:.0f} ms an image, "
        f"made in {time.perf_counter() - started:.0f} s -> {folder / MODEL}"
    )
    return folder


def _refuse_views(scorer: DetectorScorer) -> None:
    if scorer.views > 1:
        raise UserError(
            f"{scorer.folder.name} is judged by the mean over {scorer.views} views of an image, and a graph sees one: "
            "its threshold would not hold. Export a run without MEAN_VIEWS."
        )


def _pixels(scorer: DetectorScorer) -> tuple[np.ndarray, str]:
    """Validation images of the run's data set, spread over the split; seeded noise where they are gone."""
    how = scorer.detector.preprocess
    try:
        manifest = Manifest.load(scorer.manifest_file).usable
        rows = manifest.where("val")
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), IMAGES)).astype(int)]
        if len(rows) > 1:
            return next(batches(manifest, rows, how, size=len(rows), workers=0)).pixels.numpy(), "validation images"
    except UserError as error:
        print(f"export: compared on noise, because validation images cannot be had: {error}")
    return np.random.default_rng(0).integers(0, 256, (8, how.crop, how.crop, 3), np.uint8), "images of noise"


def _preprocess(how: Preprocess, calibration: Calibration) -> dict:
    """Everything between an image file and a decision that is not in the graph."""
    resize = (
        f"resize with {how.interpolation} interpolation (Pillow, antialiased) by resize / shorter side, both sides "
        f"rounded and at least {how.resize}" if how.resize else "no resize"
    )  # fmt: skip
    return {
        "steps": [
            "decode; of an animation the first frame", "turn upright as EXIF says",
            "16-bit values: scale by 255 / 65535", "transparent images: lay over white", "convert to RGB", resize,
            f"cut out the central {how.crop}x{how.crop} pixels from left = round((width - {how.crop}) / 2), top alike; "
            "black where the image is smaller",
            f"uint8 array (N, {how.crop}, {how.crop}, 3), RGB, not normalised: the graph does that",
        ],
        "resize": how.resize, "crop": how.crop, "interpolation": how.interpolation,
        "input": {"name": INPUT, "type": "uint8", "shape": ["N", how.crop, how.crop, 3]},
        "output": {"name": OUTPUT, "type": "float32", "shape": ["N"], "meaning": "logit of fake"},
        "threshold": calibration.threshold, "rule": DEFAULT_RULE, "thresholds": calibration.thresholds,
        "rules": {name: each.meaning for name, each in RULES.items()},
        "decision": "fake where score >= threshold, else real",
        "temperature": calibration.temperature, "probability": "of fake: 1 / (1 + exp(-score / temperature))",
        "uncertain_band": list(calibration.band), "uncertain": "low <= score < high: too close to call",
    }  # fmt: skip
