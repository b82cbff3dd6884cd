"""What a network computes on and in: the device, and the number type of its products."""

import os

import torch
from torch import nn

from cache.errors import UserError
from extract.options import COMPUTE

DTYPES = dict(zip(COMPUTE, (torch.bfloat16, torch.float16, torch.float32), strict=True))
# float32 is to mean float32 on every machine: cuDNN would multiply in TF32, whose mantissa has 10 bits.
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
DEPTHWISE_SHARE = 0.02  # of a network's weights, from which on training in bfloat16 does not pay on a CPU


def device_of(word: str) -> torch.device:
    """The device that a DEVICE word names; auto and cuda take torchrun's LOCAL_RANK into account."""
    if word == "auto":
        word = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if ":" in word and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError(f"DEVICE={word} under torchrun would put all processes on one device: leave DEVICE out")
    word = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if word == "cuda" else word
    try:
        torch.empty(1, device=word)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"DEVICE={word} cannot be used here: {str(error).splitlines()[0]}") from error
    return torch.device(word)


def training_device(word: str) -> torch.device:
    """The device of a DEVICE word that trains and scores: CUDA or the CPU. Apple's GPUs, which only extract, have no
    float64 to sum in."""
    device = device_of(word)
    return device if device.type == "cuda" else torch.device("cpu")


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device, there when it is first read.

    Only a copy from pinned memory to CUDA goes on by itself: CUDA waits for it where it is used. Apple's GPUs may read
    pageable memory that has been freed meanwhile.
    """
    return tensor.to(device, non_blocking=device.type == "cuda" and tensor.is_pinned())


def compute_of(word: str, device: torch.device) -> str:
    """auto -> bf16 on GPUs and CPUs that multiply it natively, else fp32."""
    if word != "auto":
        return word
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    native = device.type == "cpu" and any(torch.cpu.get_capabilities().get(f) for f in ("avx512_bf16", "amx_bf16"))
    return "bf16" if native else "fp32"


def computing_in(compute: str, device: torch.device) -> torch.autocast:
    """A context in which products are computed in a number type of COMPUTE."""
    return torch.autocast(device.type, DTYPES[compute], enabled=compute != "fp32")


class Computing(nn.Module):
    """A network that evaluates in one number type of COMPUTE, `compute`, and trains in another, `trained_in`."""

    compute: str
    trained_in: str

    def computing(self, device: torch.device) -> torch.autocast:
        """The context of a forward pass: in training mode that of training."""
        return computing_in(self.trained_in if self.training else self.compute, device)


def training_compute(module: nn.Module, compute: str, device: torch.device) -> str:
    """The number type to train a network in that is evaluated in `compute`: the same, but for one kind on a CPU.

    There the gradient of a depthwise convolution is slower in bfloat16 than in float32: EfficientNet-Lite0 trains at
    49 images/s against 68, where ResNet-18 gains from 81 to 136 and CvT-13 from 8 to 17.
    """
    return "fp32" if device.type == "cpu" and _depthwise_share(module) > DEPTHWISE_SHARE else compute


def _depthwise_share(module: nn.Module) -> float:
    """How much of the convolutions' and linear layers' weights is depthwise."""
    layers = [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    depthwise = sum(each.weight.numel() for each in layers if isinstance(each, nn.Conv2d) and each.groups > 1)
    return depthwise / max(1, sum(each.weight.numel() for each in layers))
