"""The detector: backbones, poolings and head as one module, image to logit of fake.

It computes exactly what extraction and the head compute apart: logits(cache -> head) == logits(image -> Detector).
"""

from itertools import groupby
from pathlib import Path

import torch
from torch import nn

from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from cache.pooling import pool
from extract.backbones import Backbone, Normalise
from extract.compute import computing_in
from heads.inputs import vectors
from heads.saved import load_head
from heads.tail import TailHead


class Trunk(nn.Module):
    """uint8 pixels (N, crop, crop, 3) -> what the cache would hold of one backbone, a tensor for each spec.

    Args:
        inputs: specs of this backbone, all with one preprocessing.

    Raises:
        UserError: the specs are not of this backbone with these weights, or differ in preprocessing or compute dtype.
    """

    def __init__(self, backbone: Backbone, inputs: list[FeatureSpec]) -> None:
        super().__init__()
        _refuse_mismatch(backbone, inputs)
        self.inputs = inputs
        self.taps = tuple(dict.fromkeys(spec.tap for spec in inputs))
        self.normalise = Normalise(inputs[0].preprocess)
        self.tapped = backbone.tapped(self.taps)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        compute = self.inputs[0].compute
        with computing_in(compute, pixels.device):
            maps = dict(zip(self.taps, self.tapped(self.normalise(pixels)), strict=True))
        return [_stored(spec, maps[spec.tap]) for spec in self.inputs]


class Detector(nn.Module):
    """Pixels to logits of fake (N,) float32.

    It sees an image in one view; a head judged by the mean over several (MEAN_VIEWS) is scored from the cache.

    forward takes one uint8 tensor (N, crop, crop, 3) for each of `preprocesses`: a single one, unless backbones with
    different preprocessings are joined.

    Args:
        backbones: those whose features the head was trained on. head: what load_head gave. inputs: its specs in order.

    Raises:
        UserError: a backbone that the head was not trained on, or was with other weights.
    """

    def __init__(self, backbones: list[Backbone], head: nn.Module, inputs: list[FeatureSpec]) -> None:
        super().__init__()
        groups = {name: list(specs) for name, specs in groupby(inputs, key=lambda spec: spec.backbone)}
        known = {backbone.name: backbone for backbone in backbones}
        if known.keys() != groups.keys():
            raise UserError(f"the head reads features of {', '.join(groups)}, not of {', '.join(known)}")
        self.inputs, self.head = inputs, head
        self.trunks = nn.ModuleList(Trunk(known[name], specs) for name, specs in groups.items())
        self.preprocesses = list(dict.fromkeys(spec.preprocess for spec in inputs))

    @property
    def preprocess(self) -> Preprocess:
        """The only one.

        Raises:
            UserError: backbones with different preprocessings are joined.
        """
        if len(self.preprocesses) > 1:
            raise UserError("joined backbones with different preprocessings take the image in several forms")
        return self.preprocesses[0]

    def forward(self, *pixels: torch.Tensor) -> torch.Tensor:
        of = dict(zip(self.preprocesses, pixels, strict=True))
        stored = [each for trunk in self.trunks for each in trunk(of[trunk.inputs[0].preprocess])]
        if isinstance(self.head, TailHead):
            return self.head(stored[0])
        return self.head(
            torch.cat([vectors(each, spec) for each, spec in zip(stored, self.inputs, strict=True)], dim=1)
        )

    @classmethod
    def load(cls, head_file: Path, backbones: list[Backbone]) -> "Detector":
        """From a saved head. Raises: UserError if the file is no head or was trained on other backbones."""
        head, record = load_head(head_file)
        return cls(backbones, head, record.inputs).eval()


def _stored(spec: FeatureSpec, tapped: torch.Tensor) -> torch.Tensor:
    """Pooled and rounded as the cache does it."""
    layout = {"channels_last": spec.channels_last, "prefix_tokens": spec.prefix_tokens}
    return pool(tapped, spec.pooling, **layout).to(getattr(torch, spec.stored))


def _refuse_mismatch(backbone: Backbone, inputs: list[FeatureSpec]) -> None:
    found = {(spec.backbone, spec.weights) for spec in inputs}
    if found != {(backbone.name, backbone.weights.identity)}:
        raise UserError(
            f"the head reads features of {sorted(found)}, not of {backbone.name} with weights "
            f"{backbone.weights.identity}: give the weights it was trained on with WEIGHTS=..."
        )
    if len({(spec.preprocess, spec.compute) for spec in inputs}) > 1:
        raise UserError(f"the head reads features of {backbone.name} in several preprocessings or compute dtypes")
