"""A detector whose networks OpenVINO runs on the CPU; its head stays in torch, in float32.

A graph rounds at other places than torch, so logits are torch's to the tolerance of the number type, as features are.
Graphs are kept in cache/engines/: a finished detector is converted once, and that of a head on cached features is the
graph that made those, where it is there.
"""

import torch
from torch import nn

from cache.checkpoint import checksum
from cache.features import Preprocess
from cache.key import plain
from extract.computing.conversions import Conversion, of_features
from extract.computing.openvino_engine import Pooled
from extract.computing.openvino_graph import Graph
from finetune.detectors.detector import Detector, FeatureDetector, NetworkDetector, Trunk


class OpenVinoDetector:
    """uint8 pixels (batch, side, side, 3), one tensor for each of the detector's preprocessings -> logits (batch,).

    Args:
        detector: in eval mode, on the CPU. tuned: its networks' weights are not those that its specs name.

    Raises:
        NotTaken: OpenVINO does not take one of its networks, or has no such number type.
    """

    def __init__(self, detector: Detector, *, batch: int, tuned: bool) -> None:
        self.detector = detector
        if isinstance(detector, FeatureDetector):
            self.graphs = [_of_trunk(trunk, batch, tuned=tuned) for trunk in detector.trunks]
        else:
            self.graphs = [_of_network(detector, batch)]

    @property
    def preprocess(self) -> Preprocess:
        return self.detector.preprocess

    def __call__(self, *pixels: torch.Tensor) -> torch.Tensor:
        if not isinstance(self.detector, FeatureDetector):
            return self.detector.judged(self.graphs[0](*pixels)[0])
        of, trunks = dict(zip(self.detector.preprocesses, pixels, strict=True)), self.detector.trunks
        found = [graph(of[trunk.inputs[0].preprocess]) for graph, trunk in zip(self.graphs, trunks, strict=True)]
        kept = [trunk.stored(each) for trunk, each in zip(trunks, found, strict=True)]
        return self.detector.judged(self.detector.joined(kept))


class Vectors(nn.Module):
    """uint8 pixels (N, side, side, 3) -> a tuple of the vectors (N, D) that a NetworkDetector's linear layer reads."""

    def __init__(self, detector: NetworkDetector) -> None:
        super().__init__()
        self.normalise, self.body = detector.normalise, detector.network.body

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.body(self.normalise(pixels)),)


def _of_trunk(trunk: Trunk, batch: int, *, tuned: bool) -> Graph:
    tensors = checksum(dict(trunk.tapped.state_dict())) if tuned else ""
    conversion = of_features(trunk.inputs, batch, tensors=tensors)
    return Graph(conversion, Pooled(trunk.tapped, trunk.inputs), trunk.compute)


def _of_network(detector: NetworkDetector, batch: int) -> Graph:
    module = Vectors(detector).eval()
    made_from = {
        "module": repr(module), "preprocess": plain(detector.preprocess),
        "tensors": checksum(dict(module.state_dict())),
    }  # fmt: skip
    name = type(module.body).__name__.lower()
    return Graph(Conversion(name, made_from, batch, detector.preprocess.crop), module, detector.compute)
