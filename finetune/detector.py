"""The detector: backbone, pooling and head as one module, image to logit of fake.

It computes exactly what extraction and the head compute apart: logits(cache -> head) == logits(image -> Detector).
"""

from pathlib import Path

import torch
from torch import nn

from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from cache.pooling import pool
from extract.backbones import Backbone, Normalise
from extract.run import COMPUTE
from heads.inputs import vectors
from heads.models import Head, load_head


class Detector(nn.Module):
    """uint8 pixels (N, crop, crop, 3) to logits of fake (N,) float32.

    Args:
        backbone: the one whose features the head was trained on. inputs: the head's specs, in its order.

    Raises:
        UserError: the head was trained on another backbone, or on other weights or preprocessing in one input
            than in another.
    """

    def __init__(self, backbone: Backbone, head: Head, inputs: list[FeatureSpec]) -> None:
        super().__init__()
        _refuse_mismatch(backbone, inputs)
        self.inputs = inputs
        self.taps = tuple(dict.fromkeys(spec.tap for spec in inputs))
        self.normalise = Normalise(inputs[0].preprocess)
        self.tapped = backbone.tapped(self.taps)
        self.head = head

    @property
    def preprocess(self) -> Preprocess:
        return self.inputs[0].preprocess

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        compute = self.inputs[0].compute
        with torch.autocast(pixels.device.type, COMPUTE[compute], enabled=compute != "fp32"):
            maps = dict(zip(self.taps, self.tapped(self.normalise(pixels)), strict=True))
        return self.head(torch.cat([self._vector(spec, maps[spec.tap]) for spec in self.inputs], dim=1))

    @staticmethod
    def _vector(spec: FeatureSpec, tapped: torch.Tensor) -> torch.Tensor:
        layout = {"channels_last": spec.channels_last, "prefix_tokens": spec.prefix_tokens}
        stored = pool(tapped, spec.pooling, **layout).to(getattr(torch, spec.stored))  # as the cache would round it
        return vectors(stored, spec)

    @classmethod
    def load(cls, head_file: Path, backbone: Backbone) -> "Detector":
        """From a saved head. Raises: UserError if the file is no head or was trained on another backbone."""
        head, record = load_head(head_file)
        return cls(backbone, head, record.inputs).eval()


def _refuse_mismatch(backbone: Backbone, inputs: list[FeatureSpec]) -> None:
    found = {(spec.backbone, spec.weights) for spec in inputs}
    if found != {(backbone.name, backbone.weights.identity)}:
        raise UserError(
            f"the head reads features of {sorted(found)}, not of {backbone.name} with weights "
            f"{backbone.weights.identity}: give the weights it was trained on with WEIGHTS=..."
        )
    if len({(spec.preprocess, spec.compute) for spec in inputs}) > 1:
        raise UserError("the head reads features of several preprocessings; one network cannot serve them at once")
