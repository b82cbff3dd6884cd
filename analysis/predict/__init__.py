"""What a finished run says of new images.

from analysis.predict import Predictor
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """The Predictor, imported when it is asked for: its network takes seconds, and the command's help none."""
    if name == "Predictor":
        from analysis.predict.predictor import Predictor

        return Predictor
    raise AttributeError(name)
