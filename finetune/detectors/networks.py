"""Networks that the original projects trained from nothing: normalised images (N, 3, H, W) -> vectors (N, D).

The last linear layer of each is the detector's own (heads.fitting.tails.TailNetwork), so none is here.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torchvision
from torch import nn

from cache.features import Preprocess
from extract.networks.entries import IMAGENET_MEAN, IMAGENET_STD


def cnn_fc6(size: int) -> nn.Module:
    """Four convolutions with pooling, then six linear layers, the last of them left out: D = 32.

    There is no activation between the linear layers, as in the project that it comes from.
    """
    channels, kernels, paddings = (3, 6, 12, 26, 32), (5, 5, 5, 3), (0, 0, 0, 1)
    blocks = nn.Sequential(*(
        _block(nn.Conv2d(channels[i], channels[i + 1], kernels[i], padding=paddings[i])) for i in range(4)
    ))  # fmt: skip
    widths = (_flat(blocks, size), 512, 256, 128, 64, 32)
    linear = nn.Sequential(*(nn.Linear(before, after) for before, after in zip(widths, widths[1:], strict=False)))
    return nn.Sequential(OrderedDict(blocks=blocks, flatten=nn.Flatten(), linear=linear))


def cnn_dropout(size: int) -> nn.Module:
    """Three convolutions with pooling, then linear layers of 512 and 128 with dropout: D = 128."""
    widths = ((3, 16), (16, 32), (32, 64))
    blocks = nn.Sequential(*(_block(nn.Conv2d(before, after, 3, padding=1)) for before, after in widths))
    linear = nn.Sequential(
        nn.Dropout(0.25), nn.Linear(_flat(blocks, size), 512), nn.ReLU(),
        nn.Dropout(0.25), nn.Linear(512, 128), nn.ReLU(),
    )  # fmt: skip
    return nn.Sequential(OrderedDict(blocks=blocks, flatten=nn.Flatten(), linear=linear))


def resnet18(_: int) -> nn.Module:
    """torchvision's (He et al. 2016, arXiv:1512.03385): D = 512."""
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    return network


def vgg19(_: int) -> nn.Module:
    """torchvision's (Simonyan and Zisserman 2015, arXiv:1409.1556): D = 4096."""
    return _without_last(torchvision.models.vgg19())


def vgg19_bn(_: int) -> nn.Module:
    """torchvision's VGG-19 with BatchNorm behind every convolution: D = 4096."""
    return _without_last(torchvision.models.vgg19_bn())


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "cnn-fc6": cnn_fc6, "cnn-dropout": cnn_dropout, "resnet18": resnet18, "vgg19": vgg19, "vgg19_bn": vgg19_bn,
}  # fmt: skip


def preprocess_for(size: int) -> Preprocess:
    """Images at `size` pixels, whole, with ImageNet's mean and deviation."""
    return Preprocess(size, size, "bilinear", IMAGENET_MEAN, IMAGENET_STD)


def _block(convolution: nn.Conv2d) -> nn.Module:
    return nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2))


def _without_last(network: nn.Module) -> nn.Module:
    network.classifier[-1] = nn.Identity()
    return network


@torch.no_grad()
def _flat(blocks: nn.Module, size: int) -> int:
    """Numbers behind the convolutions for an image of `size` pixels."""
    return blocks(torch.zeros(1, 3, size, size)).numel()
