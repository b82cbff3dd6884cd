"""A detector on disk: one safetensors file with all its weights and the record that rebuilds it, without any hub.

detector, record = load_detector(path)      detector(pixels) is the logit of fake
"""

from pathlib import Path

import torch

from cache import checkpoint
from cache.errors import UserError
from extract.networks.backbones import empty
from finetune.detectors.detector import Detector, FeatureDetector, NetworkDetector
from finetune.detectors.detector_record import DetectorRecord, NetworkRecord, described
from finetune.detectors.networks import NETWORKS
from heads.families import refuse_unlike
from heads.head_file import UNFIT, HeadRecord


def network_detector(record: NetworkRecord, network: torch.nn.Module | None = None) -> NetworkDetector:
    """The detector around `network`, or around one that is still to be filled."""
    if network is None and record.own:
        network = NETWORKS[record.network](record.preprocess.crop)
    elif network is None:
        network = empty(record.network, size=record.preprocess.crop).module
    return NetworkDetector(
        network, record.preprocess, outputs=record.outputs, dropout=record.dropout, compute=record.compute,
        unit=record.unit,
    )  # fmt: skip


def save_detector(path: Path, tensors: dict[str, torch.Tensor], record: DetectorRecord) -> None:
    """Write one file that rebuilds a detector. tensors: its state_dict, name -> any shape."""
    checkpoint.save_weights(path, tensors, record.to_json())


def load_detector(path: Path) -> tuple[Detector, DetectorRecord]:
    """In eval mode, frozen, on the CPU.

    Raises:
        UserError: the file is missing, damaged, or no detector.
    """
    tensors, found = checkpoint.load_weights(path)
    record = described(path, found)
    try:
        _refuse_other_shapes(record.built_from, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        detector = _outline(record.built_from)
    except (UserError, *UNFIT) as error:
        raise UserError(f"{path} is no detector of this program: {error}") from error
    checkpoint.load_strictly(detector, tensors, where=str(path))
    return detector.eval().requires_grad_(False), record


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
    last = {spec.backbone: spec for spec in record.inputs}
    backbones = [empty(name, identity=spec.weights, size=spec.preprocess.crop) for name, spec in last.items()]
    return FeatureDetector(backbones, record.config.empty(record), record.inputs)
