"""A detector whose networks another engine than torch's eager mode runs; its head stays in torch, in float32.

A graph rounds at other places than torch, so logits are torch's to the tolerance of the number type, as features are.
Graphs of OpenVINO are kept in cache/engines/: a finished detector is converted once, and that of a head on cached
features is the graph that made those, where it is there.
"""

from collections.abc import Callable

import torch
from torch import nn

from cache.checkpoint import checksum
from cache.features import Preprocess
from cache.key import plain
from extract.computing.conversions import Conversion, of_features
from extract.computing.pooled import Pooled
from extract.options import COMPILED
from finetune.detectors.detector import Detector, FeatureDetector, NetworkDetector, Trunk

Graph = Callable[[torch.Tensor], list[torch.Tensor]]  # pixels of a full batch -> outputs


class EngineDetector:
    """uint8 pixels (batch, side, side, 3), one tensor for each of the detector's preprocessings -> logits (batch,).

    Args:
        detector: in eval mode, on the device. engine: what runs its networks. tuned: their weights are not those that
            its specs name.

    Raises:
        NotTaken: the engine does not take one of its networks, or has no such number type.
    """

    def __init__(self, detector: Detector, engine: str, device: str, *, batch: int, tuned: bool) -> None:
        self.detector = detector
        make = _kernels if engine == COMPILED else _openvino
        if isinstance(detector, FeatureDetector):
            self.graphs = [make(*_of_trunk(trunk, batch, tuned=tuned), trunk.compute, device)
                           for trunk in detector.trunks]  # fmt: skip
        else:
            self.graphs = [make(*_of_network(detector, batch), detector.compute, device)]

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


def _openvino(module: nn.Module, conversion: Conversion, compute: str, _device: str) -> Graph:
    from extract.computing.openvino_graph import Graph

    return Graph(conversion, module, compute)


def _kernels(module: nn.Module, conversion: Conversion, compute: str, device: str) -> Graph:
    from extract.computing.compiled import Kernels

    return Kernels(module, torch.device(device), compute, batch=conversion.batch, side=conversion.crop)


def _of_trunk(trunk: Trunk, batch: int, *, tuned: bool) -> tuple[nn.Module, Conversion]:
    tensors = checksum(dict(trunk.tapped.state_dict())) if tuned else ""
    return Pooled(trunk.tapped, trunk.inputs), of_features(trunk.inputs, batch, tensors=tensors)


def _of_network(detector: NetworkDetector, batch: int) -> tuple[nn.Module, Conversion]:
    module = Vectors(detector).eval()
    made_from = {
        "module": repr(module), "preprocess": plain(detector.preprocess),
        "tensors": checksum(dict(module.state_dict())),
    }  # fmt: skip
    name = type(module.body).__name__.lower()
    return module, Conversion(name, made_from, batch, detector.preprocess.crop)
