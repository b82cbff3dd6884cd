"""The frozen network and its poolings as one graph that OpenVINO compiles for the CPU."""

import torch

from cache.features import FeatureSpec
from extract.computing.conversions import Conversion, of_features
from extract.computing.openvino_graph import Graph, converted
from extract.computing.pooled import Pooled
from extract.loading import Batch
from extract.networks.backbones import Backbone
from extract.options import number_type


class OpenVinoEngine:
    """Batches of `batch` images -> the rows of specs, which differ in tap and pooling only.

    Raises:
        UserError: the network cannot be converted, or the CPU does not multiply in the number type.
    """

    def __init__(self, backbone: Backbone, specs: list[FeatureSpec], *, batch: int) -> None:
        module = Pooled.of(backbone, specs)
        self.graph = Graph(of_features(specs, batch), module, number_type(specs[0].compute))

    def __call__(self, batch: Batch) -> list[torch.Tensor]:
        return [rows[: batch.count] for rows in self.graph(batch.pixels)]


def convert(backbone: Backbone, specs: list[FeatureSpec], conversion: Conversion) -> None:
    """Keep the graph of a backbone for these features. Raises: NotTaken where it cannot be converted."""
    converted(conversion, Pooled.of(backbone, specs))
