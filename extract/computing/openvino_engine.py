"""The frozen network and its poolings as one graph that OpenVINO compiles for the CPU."""

import torch
from torch import nn

from cache.features import FeatureSpec
from cache.pooling import pool_in_graph
from extract.computing.conversions import Conversion, of_features
from extract.computing.openvino_graph import Graph, converted
from extract.loading import Batch
from extract.networks.backbones import Backbone, Normalise
from extract.options import number_type


class Pooled(nn.Module):
    """uint8 pixels (N, side, side, 3) -> a tuple of the features of specs, float32, as one graph.

    tapped: the backbone's, of the taps of specs in their order.
    """

    def __init__(self, tapped: nn.Module, specs: list[FeatureSpec]) -> None:
        super().__init__()
        self.specs, self.taps = specs, taps_of(specs)
        self.normalise = Normalise(specs[0].preprocess)
        self.tapped = tapped

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.normalise(pixels)  # (N, side, side, 3) uint8 -> (N, 3, side, side) float32
        maps = dict(zip(self.taps, self.tapped(x), strict=True))  # each (N, C, H, W), or tokens (N, T, C)
        return tuple(
            pool_in_graph(maps[s.tap], s.pooling, channels_last=s.channels_last, prefix_tokens=s.prefix_tokens)
            for s in self.specs
        )  # pooled: (N, C) or (N, 2C)


class OpenVinoEngine:
    """Batches of `batch` images -> the rows of specs, which differ in tap and pooling only.

    Raises:
        UserError: the network cannot be converted, or the CPU does not multiply in the number type.
    """

    def __init__(self, backbone: Backbone, specs: list[FeatureSpec], *, batch: int) -> None:
        module = Pooled(backbone.tapped(taps_of(specs)), specs)
        self.graph = Graph(of_features(specs, batch), module, number_type(specs[0].compute))

    def __call__(self, batch: Batch) -> list[torch.Tensor]:
        return [rows[: batch.count] for rows in self.graph(batch.pixels)]


def convert(backbone: Backbone, specs: list[FeatureSpec], conversion: Conversion) -> None:
    """Keep the graph of a backbone for these features. Raises: NotTaken where it cannot be converted."""
    converted(conversion, Pooled(backbone.tapped(taps_of(specs)), specs))


def taps_of(specs: list[FeatureSpec]) -> tuple[str, ...]:
    """Each once, in the order of specs."""
    return tuple(dict.fromkeys(spec.tap for spec in specs))
