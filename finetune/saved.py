"""A detector on disk: one safetensors file with all its weights and the record that rebuilds it, without any hub.

detector, record = load_detector(path)      detector(pixels) is the logit of fake
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from cache.checkpoint import load_strictly, load_weights, save_weights
from cache.errors import UserError
from cache.features import Preprocess
from extract.backbones import build
from extract.weights import RANDOM
from finetune.detector import Detector, FeatureDetector, NetworkDetector
from finetune.networks import NETWORKS
from heads.saved import HeadRecord, empty_head


@dataclass(frozen=True)
class NetworkRecord:
    """What rebuilds a NetworkDetector. own: one of finetune.networks, not of extract.backbones."""

    network: str
    own: bool
    preprocess: Preprocess
    outputs: int
    dropout: float
    compute: str

    @classmethod
    def from_json(cls, record: dict) -> "NetworkRecord":
        return cls(**{**record, "preprocess": Preprocess.from_json(record["preprocess"])})


@dataclass(frozen=True)
class DetectorRecord:
    """built_from: a cached head's record, or a network's. made: what a person wants to know of its training."""

    built_from: HeadRecord | NetworkRecord
    made: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict:
        if isinstance(self.built_from, HeadRecord):
            return {"head": self.built_from.to_json(), "made": self.made}
        return {"network": asdict(self.built_from), "made": self.made}

    @classmethod
    def from_json(cls, record: dict) -> "DetectorRecord":
        """Raises: KeyError, TypeError or UserError where it is no such record."""
        if "head" in record:
            return cls(HeadRecord.from_json(record["head"]), record["made"])
        return cls(NetworkRecord.from_json(record["network"]), record["made"])


def network_detector(record: NetworkRecord, network: torch.nn.Module | None = None) -> NetworkDetector:
    """The detector around `network`, or around one that is still to be filled."""
    if network is None and record.own:
        network = NETWORKS[record.network](record.preprocess.crop)
    elif network is None:
        network = build(record.network, weights=RANDOM).module
    return NetworkDetector(
        network, record.preprocess, outputs=record.outputs, dropout=record.dropout, compute=record.compute
    )


def save_detector(path: Path, tensors: dict[str, torch.Tensor], record: DetectorRecord) -> None:
    """tensors: the detector's state_dict."""
    save_weights(path, tensors, record.to_json())


def load_detector(path: Path) -> tuple[Detector, DetectorRecord]:
    """In eval mode, frozen, on the CPU.

    Raises:
        UserError: the file is missing, damaged, or no detector.
    """
    tensors, found = load_weights(path)
    record = _record(path, found)
    detector = _outline(record.built_from)
    load_strictly(detector, tensors, where=str(path))
    return detector.eval().requires_grad_(False), record


def read_record(path: Path) -> DetectorRecord:
    """Only the record. Raises: UserError as load_detector."""
    return _record(path, load_weights(path)[1])


def _record(path: Path, found: dict) -> DetectorRecord:
    try:
        return DetectorRecord.from_json(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no detector of this program: its record lacks {error}") from error


def _outline(record: HeadRecord | NetworkRecord) -> Detector:
    if isinstance(record, NetworkRecord):
        return network_detector(record)
    backbones = []
    for name in dict.fromkeys(spec.backbone for spec in record.inputs):
        backbone = build(name, weights=RANDOM)  # filled from the file a moment later
        spec = next(each for each in record.inputs if each.backbone == name)
        backbones.append(replace(backbone, weights=replace(backbone.weights, identity=spec.weights)))
    return FeatureDetector(backbones, empty_head(record), record.inputs)
