"""The frozen network in torch's eager mode."""

import torch
from torch import nn

from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from cache.pooling import pool
from extract.computing.compute import computing_in, moved
from extract.loading import Batch
from extract.networks.backbones import Backbone, Normalise


class TorchEngine:
    """Batches -> the rows of specs, which differ in tap and pooling only."""

    def __init__(self, backbone: Backbone, specs: list[FeatureSpec], device: torch.device) -> None:
        self.specs, self.device = specs, device
        self.taps = tuple(dict.fromkeys(spec.tap for spec in specs))
        self.module = frozen(backbone, self.taps, specs[0].preprocess, device)

    def __call__(self, batch: Batch) -> list[torch.Tensor]:
        tapped = forward(self.module, moved(batch.pixels, self.device), self.specs[0].compute)
        outputs = dict(zip(self.taps, tapped, strict=True))
        return [_kept(spec, outputs[spec.tap][: batch.count]) for spec in self.specs]


def forward(module: nn.Module, pixels: torch.Tensor, compute: str) -> tuple[torch.Tensor, ...]:
    """uint8 pixels (N, H, W, 3) on the device through Normalise and the tapped backbone in `compute`."""
    with torch.inference_mode(), computing_in(compute, pixels.device):
        try:
            return module(pixels)
        except torch.OutOfMemoryError as error:
            raise UserError(f"out of GPU memory with {len(pixels)} images at once: lower BATCH") from error


def frozen(backbone: Backbone, taps: tuple[str, ...], how: Preprocess, device: torch.device) -> nn.Module:
    """uint8 pixels -> the maps of `taps`, in the memory layout that the device is fastest with."""
    network = nn.Sequential(Normalise(how), backbone.tapped(taps))
    return network.eval().to(device, memory_format=torch.channels_last)


def _kept(spec: FeatureSpec, tapped: torch.Tensor) -> torch.Tensor:
    return pool(tapped, spec.pooling, channels_last=spec.channels_last, prefix_tokens=spec.prefix_tokens)
