"""The number type that a network computes in, and how its input comes to the device."""

import torch
from torch import nn

from extract.options import COMPUTE

DTYPES = dict(zip(COMPUTE, (torch.bfloat16, torch.float16, torch.float32), strict=True))
# float32 is to mean float32 on every machine: cuDNN would multiply in TF32, whose mantissa has 10 bits.
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
DEPTHWISE_SHARE = 0.02  # of a network's weights, from which on training in bfloat16 does not pay on a CPU


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device, there when it is first read.

    Only a copy from pinned memory to CUDA goes on by itself: CUDA waits for it where it is used. Apple's GPUs may read
    pageable memory that has been freed meanwhile.
    """
    return tensor.to(device, non_blocking=device.type == "cuda" and tensor.is_pinned())


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
