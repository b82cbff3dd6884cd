"""The smallest sweep that has everything a page can show, and one head alone."""

import json

GRID = json.dumps([
    {"family": "linear", "lr": [1e-3, 1e-2], "weight_decay": [0.1, 1.0]},
    {"family": "mlp", "lr": [1e-2], "hidden": [4, 16, [16, 4]]},
    {"family": "ridge", "penalty": [1.0, 100.0]},
    {"family": "sklearn.linear_model.SGDClassifier", "loss": "log_loss", "penalty": "l1"},
])  # fmt: skip
SMALL = {
    "backbone": "resnet18", "weights": "random", "size": 64, "device": "cpu", "workers": 0, "compute": "fp32",
    "features": "layer1:avgstd layer2:avgstd", "epochs": 3, "seeds": 2, "head_batch": 16, "grid": GRID,
}  # fmt: skip
RIDGE = {**SMALL, "grid": '[{"family": "ridge", "penalty": 1.0}]'}
# Pictures of the chosen model on every page.
RESULTS = {"confusion", "roc", "precision_recall", "det", "scores", "reliability", "sample", "errors"}
