"""CvT-13 (Wu et al. 2021, arXiv:2103.15808) through transformers, behind the same face as the timm models.

    stages.0  (N, 64, 56, 56)    stages.1  (N, 192, 28, 28)    stages.2  (N, 1 + 14*14, 384) tokens, class token first
    class_token  (N, 384)        classifier  (N, 1000)                                       at 224 pixels

The last stage hands on tokens, not a map: its class token is what the classifier reads, and it is no part of
the map. Its attention projections contain BatchNorm, so frozen means eval() here too.
"""

import logging

import torch
from torch import nn
from transformers import CvtConfig, CvtForImageClassification

logging.getLogger("transformers").setLevel(logging.ERROR)


class Cvt13(nn.Module):
    """Images (N, 3, H, W), H and W multiples of 16, to 1000 ImageNet logits; parameters as transformers names them."""

    def __init__(self) -> None:
        super().__init__()
        # transformers applies drop_path after the residual sum, which silences whole samples in training: off.
        parts = CvtForImageClassification(CvtConfig(drop_path_rate=[0.0, 0.0, 0.0], num_labels=1000))
        self.stages = nn.Sequential(*(_Stage(stage) for stage in parts.cvt.encoder.stages))
        self.class_token = _ClassToken(parts.layernorm)
        self.classifier = parts.classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.class_token(self.stages(images)))


def network() -> nn.Module:
    """What timm.create_model gives of its models."""
    return Cvt13()


def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of a transformers checkpoint as the names of Cvt13's parameters."""
    names = {}
    for name, tensor in tensors.items():
        name = name.replace("cvt.encoder.stages.", "stages.", 1)
        if name.startswith("stages."):
            _, number, rest = name.split(".", 2)
            name = f"stages.{number}.inner.{rest}"
        names[name.replace("layernorm.", "class_token.norm.", 1) if name.startswith("layernorm.") else name] = tensor
    return names


class _Stage(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spatial, class_token = self.inner(x)  # (N, C, H, W), (N, 1, C) or None
        if class_token is None:
            return spatial
        return torch.cat([class_token, spatial.flatten(2).transpose(1, 2)], dim=1)  # (N, 1 + H*W, C)


class _ClassToken(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.norm(tokens[:, :1]).mean(dim=1)
