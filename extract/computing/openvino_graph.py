"""A module from pixels to vectors or maps as a graph that OpenVINO compiles for the CPU.

Converting a network takes seconds to a minute, so the graph is kept in cache/engines/, named by all that it was made
from. It is in float32: the number type is chosen when it is compiled, which takes half a second.
"""

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import nn

from cache.atomic import remove_leftovers, replacing
from cache.checkpoint import load_weights, save_weights
from cache.errors import UserError
from extract.computing.conversions import Conversion, NotTaken

PRECISIONS = {"bf16": openvino.Type.bf16, "fp32": openvino.Type.f32}
TOLERANCE = 1e-3  # of an output's largest value: how far the graph may be from torch in float32; a wrong one is beyond


class Graph:
    """uint8 pixels (batch, crop, crop, 3) on the CPU -> the outputs of a module, each (batch, ...) float32.

    Args:
        module: in eval mode, on the CPU, from such pixels to a tuple of tensors; what `conversion` speaks of.
        compute: bf16 or fp32.

    Raises:
        NotTaken: the module cannot be converted, or the CPU does not multiply in the number type.
    """

    def __init__(self, conversion: Conversion, module: nn.Module, compute: str) -> None:
        _refuse_number_type(compute)
        kept = _kept(conversion.file)
        if not kept and conversion.refusal:
            raise NotTaken(conversion.refusal)
        self.request = _compiled(kept or converted(conversion, module), compute).create_infer_request()

    def __call__(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        outputs = self.request.infer([pixels.numpy()], share_inputs=True).values()
        return [torch.from_numpy(rows) for rows in outputs]


@cache
def core() -> openvino.Core:
    """OpenVINO, once for as long as the process lives.

    It gives the thread that first needs it a stack for signals, large enough for AMX, and takes that away with the last
    reference. Where another thread drops that, the first one's next signal, Ctrl-C for example, ends the process.
    """
    return openvino.Core()


def converted(conversion: Conversion, module: nn.Module) -> openvino.Model:
    """The graph of a module, compared with it and kept; as it is read again, because the last bits may differ.

    Raises:
        NotTaken: it cannot be converted. That is kept, too.
    """
    print(f"converting {conversion.name} for openvino (once)", flush=True)
    try:
        _keep(conversion.file, _equal_graph(conversion, module.eval()))
    except NotTaken as error:
        conversion.refuse(str(error))
        raise
    return _kept(conversion.file)


def _equal_graph(conversion: Conversion, module: nn.Module) -> openvino.Model:
    """The graph, compared with the module on a batch of noise. Raises: NotTaken."""
    shape = (conversion.batch, conversion.crop, conversion.crop, 3)
    pixels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).byte()
    try:
        graph = _graph(module, pixels)
        found = _compiled(graph, "fp32")([pixels.numpy()]).values()
    except Exception as error:  # both libraries raise what they like
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise NotTaken(f"openvino does not take it: {said[-1].lstrip('- ')}") from error
    with torch.inference_mode():
        _refuse_other(found, module(pixels))
    return graph


def _kept(path: Path) -> openvino.Model | None:
    """The graph that an earlier conversion left, if it is as it was written."""
    if not path.exists():
        return None
    try:
        tensors, _ = load_weights(path)
    except UserError:
        print(f"{path} is not what was written, the network is converted again")
        return None
    graph, constants = (tensors[name].numpy() for name in ("graph", "constants"))
    return core().read_model(graph.tobytes(), openvino.Tensor(constants))


def _graph(module: nn.Module, pixels: torch.Tensor) -> openvino.Model:
    """A module on pixels of one shape as OpenVINO's graph.

    This is what openvino.convert_model does, without the message that it sends to its makers.
    """
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and what it made is compared with the network
        decoder = TorchScriptPythonDecoder(torch.jit.trace(module, pixels, check_trace=False))
    graph = frontend.convert(frontend.load(decoder))  # which reads the decoder and does not keep it alive
    graph.reshape(list(pixels.shape))
    return graph


def _compiled(graph: openvino.Model, compute: str) -> openvino.CompiledModel:
    """For as many threads as torch has."""
    wanted = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[compute], "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # parts that run side by side would sit on the same cores
    }  # fmt: skip
    return core().compile_model(graph, "CPU", wanted)


def _refuse_number_type(compute: str) -> None:
    """OpenVINO would take float32 in its place without a word."""
    if compute == "bf16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise NotTaken("openvino does not compute in bf16 on this CPU: COMPUTE=fp32")


def _refuse_other(found: list[np.ndarray], expected: tuple[torch.Tensor, ...]) -> None:
    for ours, theirs in zip(expected, found, strict=True):
        difference = float((ours - torch.from_numpy(theirs)).abs().max() / ours.abs().max().clamp_min(1e-9))
        if not difference <= TOLERANCE:
            raise NotTaken(f"what openvino made of it differs from it by {difference:.1g} of the largest value")


def _keep(path: Path, graph: openvino.Model) -> None:
    """Both files of OpenVINO's format in one that carries a checksum.

    Raises:
        UserError: the disk is full, for example.
    """
    remove_leftovers(path.parent)
    with replacing(path) as temporary:
        files = {"graph": temporary.with_suffix(".xml"), "constants": temporary.with_suffix(".bin")}
        try:
            openvino.serialize(graph, *files.values())
            save_weights(
                temporary, {name: torch.from_numpy(np.fromfile(file, np.uint8)) for name, file in files.items()}, {}
            )
        except RuntimeError as error:
            raise UserError(f"{path} could not be written: {error}") from error
        finally:
            for file in files.values():
                file.unlink(missing_ok=True)
