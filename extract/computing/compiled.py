"""A module from pixels to vectors or maps as kernels that torch.compile makes; on a GPU they are replayed as a CUDA
graph, for which every batch has the same size.

Compiling EfficientNet-Lite0 took most of a minute on two cores, and a dozen seconds the second time, by what torch
keeps where TORCHINDUCTOR_CACHE_DIR says, or among temporary files. A network that is new here is compiled twice: to
see that it can be, and to run. On a CPU it needs a C++ compiler. Kernels add up in another order than torch's eager
mode, so features of this engine have a name of their own.
"""

import logging
import warnings

import torch
from torch import nn

from cache.errors import UserError
from cache.features import FeatureSpec
from extract.computing.compute import computing_in, moved
from extract.computing.conversions import Conversion, NotTaken
from extract.computing.pooled import Pooled
from extract.loading import Batch
from extract.networks.backbones import Backbone
from extract.options import number_type

TOLERANCES = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.02}  # of an output's largest value; other networks are beyond


class Kernels:
    """uint8 pixels (batch, side, side, 3) -> the outputs of a module, each (batch, ...), on the device.

    Args:
        module: in eval mode, from such pixels to a tuple of tensors. compute: bf16, fp16 or fp32.

    Raises:
        NotTaken: it cannot be compiled here, or what was made of it is another module.
    """

    def __init__(self, module: nn.Module, device: torch.device, compute: str, *, batch: int, side: int) -> None:
        self.device, self.compute = device, compute
        plain = module.eval().to(device, memory_format=torch.channels_last)
        options = {"triton.cudagraphs": True} if device.type == "cuda" else {"freezing": True}
        self._module = torch.compile(plain, fullgraph=True, dynamic=False, options=options)
        noise = torch.randint(0, 256, (batch, side, side, 3), generator=torch.Generator().manual_seed(0)).byte()
        self._refuse_other(noise, plain)

    def __call__(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        # Copied, because the next batch's outputs will lie where these do.
        return [each.clone() for each in self._run(self._module, pixels)]

    def _run(self, module: nn.Module, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # Freezing is for what has no gradient, and does not know inference mode.
        with torch.inference_mode(mode=False), torch.no_grad(), computing_in(self.compute, self.device):
            try:
                return module(moved(pixels.clone(), self.device))
            except torch.OutOfMemoryError as error:
                raise UserError(f"out of GPU memory with {len(pixels)} images at once: lower BATCH") from error

    def _refuse_other(self, pixels: torch.Tensor, plain: nn.Module) -> None:
        expected = self._run(plain, pixels)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what it thinks of the machine
                logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
                found = self(pixels)
        except UserError:
            raise
        except Exception as error:  # it raises what it likes
            said = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise NotTaken(f"torch.compile does not take it: {[*said, type(error).__name__][0]}") from error
        for ours, theirs in zip(found, expected, strict=True):
            difference = float((ours.float() - theirs.float()).abs().max() / theirs.abs().max().clamp_min(1e-9))
            if not difference <= TOLERANCES[self.compute]:
                raise NotTaken(f"what torch.compile made differs from it by {difference:.1g} of the largest value")


class CompiledEngine:
    """Batches of `batch` images -> the rows of specs, which differ in tap and pooling only. Raises: as Kernels."""

    def __init__(self, backbone: Backbone, specs: list[FeatureSpec], device: torch.device, *, batch: int) -> None:
        module, compute = Pooled.of(backbone, specs), number_type(specs[0].compute)
        self._kernels = Kernels(module, device, compute, batch=batch, side=specs[0].preprocess.crop)

    def __call__(self, batch: Batch) -> list[torch.Tensor]:
        return [rows[: batch.count] for rows in self._kernels(batch.pixels)]


def try_out(backbone: Backbone, specs: list[FeatureSpec], device: torch.device, conversion: Conversion) -> None:
    """Keep whether these features of a backbone can be had. Raises: NotTaken where they cannot."""
    print(f"compiling {conversion.name}", flush=True)
    try:
        CompiledEngine(backbone, specs, device, batch=conversion.batch)
    except NotTaken as error:
        conversion.refuse(str(error))
        raise
    conversion.take()
