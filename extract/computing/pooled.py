"""A network and its poolings as one module, which engines make one graph of."""

import torch
from torch import nn

from cache.features import FeatureSpec
from cache.pooling import pool_in_graph
from extract.networks.backbones import Backbone, Normalise


class Pooled(nn.Module):
    """uint8 pixels (N, side, side, 3) -> a tuple of the features of specs, float32, as one graph.

    tapped: the backbone's, of the taps of specs in their order.
    """

    def __init__(self, tapped: nn.Module, specs: list[FeatureSpec]) -> None:
        super().__init__()
        self.specs, self.taps = specs, taps_of(specs)
        self.normalise = Normalise(specs[0].preprocess)
        self.tapped = tapped

    @classmethod
    def of(cls, backbone: Backbone, specs: list[FeatureSpec]) -> "Pooled":
        return cls(backbone.tapped(taps_of(specs)), specs)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.normalise(pixels)  # (N, side, side, 3) uint8 -> (N, 3, side, side) float32
        maps = dict(zip(self.taps, self.tapped(x), strict=True))  # each (N, C, H, W), or tokens (N, T, C)
        return tuple(
            pool_in_graph(maps[s.tap], s.pooling, channels_last=s.channels_last, prefix_tokens=s.prefix_tokens)
            for s in self.specs
        )  # pooled: (N, C) or (N, 2C)


def taps_of(specs: list[FeatureSpec]) -> tuple[str, ...]:
    """Each once, in the order of specs."""
    return tuple(dict.fromkeys(spec.tap for spec in specs))
