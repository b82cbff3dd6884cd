"""Engines: what runs a frozen network. One face, uint8 pixels in, for each feature the rows to keep out.

torch       everywhere, in torch's eager mode
openvino    on CPUs, 2 to 3 times faster: the network and its poolings as one compiled graph

They round at different places, so FeatureSpec.compute names the engine that is not torch: `openvino-bf16`.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cache.errors import UserError
from cache.features import FeatureSpec
from extract.computing.machine import batch_of, device_of
from extract.options import OPENVINO, ExtractConfig, engine_of

if TYPE_CHECKING:
    import torch

    from extract.loading import Batch
    from extract.networks.backbones import Backbone

    # A batch of pixels -> each output's rows (count, ...), those of the black images left out.
    Engine = Callable[[Batch], list[torch.Tensor]]


def engine(backbone: "Backbone", specs: list[FeatureSpec], device: "torch.device", *, batch: int) -> "Engine":
    """The network whose outputs are the features of specs, which differ in tap and pooling only.

    Args:
        batch: images in every batch that it will be given.

    Raises:
        UserError: the specs name an engine that is not installed, or cannot take the network.
    """
    if engine_of(specs[0].compute) == OPENVINO:
        _refuse_missing(f"{backbone.name}'s features of {specs[0].compute}")
        from extract.computing.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(backbone, specs, batch=batch)
    from extract.computing.torch_engine import TorchEngine

    return TorchEngine(backbone, specs, device)


def device_for(compute: str, word: str) -> str:
    """The device of a DEVICE word, for features of FeatureSpec.compute: those of OpenVINO are made on the CPU."""
    return "cpu" if engine_of(compute) == OPENVINO else device_of(word)


def chosen(config: ExtractConfig, specs: list[FeatureSpec],
           backbone: "Backbone | None") -> "tuple[list[FeatureSpec], Backbone | None]":  # fmt: skip
    """Torch's specs as those of the engine that ENGINE means here, and the backbone if it had to be built.

    A line says what was chosen, and why. A network that was converted before is not built.

    Raises:
        UserError: ENGINE=openvino on another device or in another number type than it has, or without its package.
    """
    reason = _why_not(config, specs[0].compute)
    if not reason:
        from extract.computing.openvino_engine import NotTaken, prepare

        try:
            backbone = prepare(config, specs, backbone, batch=batch_of(config.batch, "cpu"))
        except NotTaken as error:
            reason = str(error)
    said = f"engine of {config.backbone}: {{}} (ENGINE={config.engine}"
    if reason:
        print(f"{said.format('torch')}, {reason})")
        return specs, backbone
    print(f"{said.format(OPENVINO)}, it takes the network)")
    return [replace(spec, compute=f"{OPENVINO}-{spec.compute}") for spec in specs], backbone


def _why_not(config: ExtractConfig, compute: str) -> str:
    """Why OpenVINO is out of the question here, or nothing. Raises: UserError where it was asked for."""
    if config.engine == OPENVINO:
        _refuse_missing("ENGINE=openvino")
    device = device_of(config.device)
    if find_spec(OPENVINO) is None:
        reason = "openvino is not installed"
    elif device != "cpu":
        reason = f"openvino computes on CPUs and the device is {device}"
    elif compute == "fp16":
        reason = "openvino computes in bf16 or fp32, not in fp16"
    else:
        return ""
    if config.engine == OPENVINO:
        raise UserError(f"ENGINE=openvino: {reason}. ENGINE=torch, or DEVICE=cpu and COMPUTE=bf16 or fp32")
    return reason


def _refuse_missing(what: str) -> None:
    if find_spec(OPENVINO) is None:
        raise UserError(
            f"{what}: the package openvino is not installed. `.venv/bin/pip install openvino` puts it there; "
            "ENGINE=torch does without, and its features are others"
        )
