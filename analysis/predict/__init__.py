"""What a finished run says of new images, and what it said of its own.

from analysis.predict import Predictor, saved_predictions
"""

from importlib import import_module
from typing import Any

MODULES = {"Predictor": "analysis.predict.predictor", "saved_predictions": "analysis.predict.own_images"}


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: a Predictor's network takes seconds, and the command's help none."""
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(name)
