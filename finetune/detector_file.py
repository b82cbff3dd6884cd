"""A detector on disk: one safetensors file with all its weights and the record that rebuilds it, without any hub.

detector, record = load_detector(path)      detector(pixels) is the logit of fake
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from cache import checkpoint
from cache.errors import UserError, one_of
from cache.features import Preprocess
from cache.records import from_plain
from extract.backbones import empty
from extract.options import COMPUTE
from finetune.detector import Detector, FeatureDetector, NetworkDetector
from finetune.networks import NETWORKS
from heads.families import refuse_unlike
from heads.head_file import UNFIT, HeadRecord, refuse_large


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
        """Raises: UserError where it is no such record."""
        made = from_plain(cls, record)
        refuse_large(made.preprocess)
        one_of(made.compute, COMPUTE, what="compute")
        if made.own:
            one_of(made.network, NETWORKS, what="network")
        if made.outputs not in (1, 2) or not 0 <= made.dropout < 1:
            raise UserError(f"outputs = {made.outputs}, dropout = {made.dropout}: expected 1 or 2 outputs and a share")
        return made


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
        """Raises: UserError where it is no such record."""
        kind = HeadRecord if "head" in record else NetworkRecord
        name = "head" if kind is HeadRecord else "network"
        if record.keys() != {name, "made"} or not isinstance(record["made"], dict):
            raise UserError(f"a detector's record has {name} and made, this one {', '.join(record) or 'nothing'}")
        from_plain(
            _Trained, {each: record["made"][each] for each in _Trained.__annotations__ if each in record["made"]}
        )
        return cls(kind.from_json(record[name]), record["made"])


@dataclass(frozen=True)
class _Trained:
    """What the program itself reads of a detector's training."""

    epoch: int = 0
    val_auc: float = 0.0
    val_loss: float = 0.0
    run: str = ""
    manifest_key: str = ""


def network_detector(record: NetworkRecord, network: torch.nn.Module | None = None) -> NetworkDetector:
    """The detector around `network`, or around one that is still to be filled."""
    if network is None and record.own:
        network = NETWORKS[record.network](record.preprocess.crop)
    elif network is None:
        network = empty(record.network).module
    return NetworkDetector(
        network, record.preprocess, outputs=record.outputs, dropout=record.dropout, compute=record.compute
    )


def save_detector(path: Path, tensors: dict[str, torch.Tensor], record: DetectorRecord) -> None:
    """Write one file that rebuilds a detector. tensors: its state_dict, name -> any shape."""
    checkpoint.save_weights(path, tensors, record.to_json())


def load_detector(path: Path) -> tuple[Detector, DetectorRecord]:
    """In eval mode, frozen, on the CPU.

    Raises:
        UserError: the file is missing, damaged, or no detector.
    """
    tensors, found = checkpoint.load_weights(path)
    record = _record(path, found)
    try:
        _refuse_other_shapes(record.built_from, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        detector = _outline(record.built_from)
    except (UserError, *UNFIT) as error:
        raise UserError(f"{path} is no detector of this program: {error}") from error
    checkpoint.load_strictly(detector, tensors, where=str(path))
    return detector.eval().requires_grad_(False), record


def read_record(path: Path) -> DetectorRecord:
    """Only the record, without its tensors. Raises: UserError as load_detector, but for damage in tensors."""
    return _record(path, checkpoint.read_record(path))


def checked_record(path: Path) -> DetectorRecord:
    """The record of a file that is whole: all of it is read. Raises: UserError as load_detector."""
    return _record(path, checkpoint.load_weights(path)[1])


def _record(path: Path, found: dict) -> DetectorRecord:
    try:
        return DetectorRecord.from_json(found)
    except UserError as error:
        raise UserError(f"{path} is no detector of this program: {error}") from error


def _refuse_other_shapes(record: HeadRecord | NetworkRecord, shapes: dict[str, tuple[int, ...]]) -> None:
    """As of heads; of the original projects' networks, which grow with the image, too. Others have one size.

    Raises:
        UserError: the file does not hold what its record speaks of.
    """
    if isinstance(record, HeadRecord):
        of_head = {name.removeprefix("head."): shape for name, shape in shapes.items() if name.startswith("head.")}
        record.config.refuse_other_shapes(record, of_head)
    elif record.own:
        with torch.device("meta"):  # where nothing takes any room
            expected = {name: tuple(each.shape) for name, each in network_detector(record).state_dict().items()}
        refuse_unlike(expected, shapes)


def _outline(record: HeadRecord | NetworkRecord) -> Detector:
    if isinstance(record, NetworkRecord):
        return network_detector(record)
    weights = {spec.backbone: spec.weights for spec in record.inputs}
    backbones = [empty(name, identity=identity) for name, identity in weights.items()]
    return FeatureDetector(backbones, record.config.empty(record), record.inputs)
