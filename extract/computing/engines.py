"""Engines: what runs a frozen network. One face, uint8 pixels in, for each feature the rows to keep out.

torch       everywhere, in torch's eager mode
openvino    on CPUs, 2 to 3 times faster: the network and its poolings as one compiled graph
compiled    on CPUs and CUDA: the same by torch.compile, on CUDA as a CUDA graph; only where it is asked for

They round at different places, so FeatureSpec.compute names the engine that is not torch: `openvino-bf16`.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cache.errors import UserError
from cache.features import FeatureSpec
from extract.computing.conversions import Conversion, NotTaken, of_features
from extract.computing.machine import batch_of, device_of, multiplies_bf16
from extract.options import AUTO, COMPILED, OPENVINO, TORCH, ExtractConfig, engine_meant, engine_of

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
    wanted = engine_of(specs[0].compute)
    if wanted == OPENVINO:
        _refuse_missing(f"{backbone.name}'s features of {specs[0].compute}")
        from extract.computing.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(backbone, specs, batch=batch)
    if wanted == COMPILED:
        from extract.computing.compiled import CompiledEngine

        return CompiledEngine(backbone, specs, device, batch=batch)
    from extract.computing.torch_engine import TorchEngine

    return TorchEngine(backbone, specs, device)


def device_for(compute: str, word: str) -> str:
    """The device of a DEVICE word, for features of FeatureSpec.compute: those of OpenVINO are made on the CPU."""
    return "cpu" if engine_of(compute) == OPENVINO else device_of(word)


def chosen(config: ExtractConfig, specs: list[FeatureSpec],
           backbone: "Backbone | None") -> "tuple[list[FeatureSpec], Backbone | None]":  # fmt: skip
    """Torch's specs as those of the engine that ENGINE means here, and the backbone if it had to be built.

    A line says what was chosen, and why, when a network is met for the first time. One that was converted or refused
    before is not built, and neither torch nor OpenVINO is imported for it.

    Raises:
        UserError: ENGINE=openvino on another device or in another number type than it has, or without its package.
    """
    name = engine_meant(config.engine)
    reason, settled = why_not(config.engine, config.device, specs[0].compute), False
    if not reason:
        device = "cpu" if name == OPENVINO else device_of(config.device)
        plain = [spec for spec in specs if not spec.view]
        conversion = of_features(plain, batch_of(config.batch, device), engine=name, device=device)
        reason = conversion.refusal
        settled = bool(reason) or conversion.file.exists()
        if not settled:
            backbone, reason = _converted(config, plain, backbone, conversion, device)
    if not settled or (reason and config.engine != AUTO):
        tell(config.backbone, config.engine, reason)
    if reason:
        return specs, backbone
    return [replace(spec, compute=f"{name}-{spec.compute}") for spec in specs], backbone


def tell(network: str, word: str, reason: str) -> None:
    """Say which engine a network has. reason: why it is torch, or nothing."""
    taken = TORCH if reason else engine_meant(word)
    print(f"engine of {network}: {taken} (ENGINE={word}, {reason or 'it takes the network'})")


def why_not(word: str, device: str, compute: str) -> str:
    """Why the engine that ENGINE means is out of the question whatever the network, or nothing.

    Args:
        word: of ENGINE. device: a word of DEVICE. compute: bf16, fp16 or fp32.

    Raises:
        UserError: the engine was asked for by its name, and its package, the device or the number type is the reason.
    """
    if word == OPENVINO:
        _refuse_missing("ENGINE=openvino")
    device = device_of(device)
    if word == COMPILED:
        if device == "mps":
            raise UserError("ENGINE=compiled is for CPUs and CUDA and the device is mps: ENGINE=torch")
        return ""
    if find_spec(OPENVINO) is None:
        reason = "openvino is not installed"
    elif device != "cpu":
        reason = f"openvino computes on CPUs and the device is {device}"
    elif compute == "fp16":
        reason = "openvino computes in bf16 or fp32, not in fp16"
    elif compute == "bf16" and not multiplies_bf16():
        return "this CPU does not multiply in bf16: COMPUTE=fp32"  # torch, which imitates it, takes over
    else:
        return ""
    if word == OPENVINO:
        raise UserError(f"ENGINE=openvino: {reason}. ENGINE=torch, or DEVICE=cpu and COMPUTE=bf16 or fp32")
    return reason


def _converted(config: ExtractConfig, specs: list[FeatureSpec], backbone: "Backbone | None", conversion: Conversion,
               device: str) -> "tuple[Backbone, str]":  # fmt: skip
    """The backbone, and why the engine of the conversion did not take it, or nothing."""
    from extract.networks.backbones import build

    backbone = backbone or build(config.backbone, weights=config.weights, size=specs[0].preprocess.crop)
    try:
        if conversion.engine == COMPILED:
            import torch

            from extract.computing.compiled import try_out

            try_out(backbone, specs, torch.device(device), conversion)
        else:
            from extract.computing.openvino_engine import convert

            convert(backbone, specs, conversion)
    except NotTaken as error:
        return backbone, str(error)
    return backbone, ""


def _refuse_missing(what: str) -> None:
    if find_spec(OPENVINO) is None:
        raise UserError(
            f"{what}: the package openvino is not installed. `.venv/bin/pip install openvino` puts it there; "
            "ENGINE=torch does without, and its features are others"
        )
