"""The smallest sweep that has everything a page can show, and one head alone."""

import json
from pathlib import Path

import numpy as np

from data.build import run as build
from data.manifest import Manifest
from data.perturb import Perturbation
from finetune.detectors.image_scorer import open_scorer
from heads.elsewhere import score_other_data
from heads.options import HeadsConfig
from heads.scorer import Scorer, extract_missing

GRID = json.dumps([
    {"family": "linear", "lr": [1e-3, 1e-2], "weight_decay": [0.1, 1.0]},
    {"family": "mlp", "lr": [1e-2], "hidden": [4, 16, [16, 4]]},
    {"family": "ridge", "penalty": [1.0, 100.0]},
    {"family": "sklearn.linear_model.SGDClassifier", "loss": "log_loss", "penalty": "l1"},
])  # fmt: skip
SMALL = {
    "backbone": "resnet18", "weights": "random", "size": 64, "device": "cpu", "workers": 0, "compute": "fp32",
    "features": "layer1:avgstd layer2:avgstd", "head_epochs": 3, "seeds": 2, "head_batch": 16, "grid": GRID,
}  # fmt: skip
RIDGE = {**SMALL, "grid": '[{"family": "ridge", "penalty": 1.0}]'}
# Pictures of the chosen model on every page.
RESULTS = {"confusion", "roc", "precision_recall", "det", "scores", "reliability", "sample", "errors"}


class Saying(Scorer):
    """A run that says the same of every image."""

    views, engine = 1, "torch"

    def __init__(self, folder: Path, score: float = 0.0) -> None:
        self.folder, self.score = folder, score

    @property
    def once(self) -> "Saying":
        return self

    def scores(self, manifest: Manifest, change: Perturbation | None = None) -> np.ndarray:
        return np.full(len(manifest), self.score)


def on_other_data(config: HeadsConfig, folder: Path, data: Path) -> Path:
    """What `make report` does with EVAL and one run."""
    extraction = config.extract
    manifest = Manifest.load(build(extraction.data.elsewhere(str(data)))).usable
    scorer = open_scorer(folder, device=extraction.device, workers=extraction.workers)
    extract_missing([scorer], manifest, extraction)
    return score_other_data(scorer, manifest)
