"""Heads: pooled features (N, D) -> logit of fake (N,), alone as `Head` or many at once as `Stack`."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import gelu

from cache.checkpoint import load_strictly, load_weights, save_weights
from cache.features import FeatureSpec


@dataclass(frozen=True)
class HeadConfig:
    """One head of a sweep.

    family: linear or mlp (trained), ridge or logistic (convex). hidden: width of the mlp's layer, else 0.
    lr: peak learning rate of AdamW. weight_decay: decoupled, a step. penalty: L2 strength of the convex ones.
    """

    family: str
    hidden: int = 0
    lr: float = 0.0
    weight_decay: float = 0.0
    penalty: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        """Unique among configs: every field that its family uses, unrounded."""
        used = {k: v for k, v in asdict(self).items() if k != "family" and (v or k == "seed")}
        return " ".join([self.family, *(f"{name}={value!r}" for name, value in used.items())])


class Stack(nn.Module):
    """H heads of one shape side by side: x (N, D) -> logits (N, H). Parameters carry a leading head axis."""

    def __init__(self, inputs: int, hidden: int, seeds: list[int]) -> None:
        super().__init__()
        shapes = {"weight": (inputs,), "bias": ()}
        if hidden:
            shapes = {"weight1": (hidden, inputs), "bias1": (hidden,), "weight": (hidden,), "bias": ()}
        self.hidden = hidden
        drawn = [_drawn(shapes, seed) for seed in seeds]
        for name in shapes:
            setattr(self, name, nn.Parameter(torch.stack([each[name] for each in drawn])))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.hidden:
            return torch.addmm(self.bias, x, self.weight.T)  # (N, D) @ (D, H)
        first = self.weight1.flatten(0, 1)  # (H * hidden, D): one matrix product for all heads
        activations = gelu(torch.addmm(self.bias1.flatten(), x, first.T)).unflatten(1, self.bias1.shape)
        return (activations * self.weight).sum(dim=2) + self.bias  # (N, H, hidden) -> (N, H)


class Head(nn.Module):
    """One head with the standardisation it was trained with: raw pooled features (N, D) -> logit of fake (N,)."""

    def __init__(self, inputs: int, hidden: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.stack = Stack(inputs, hidden, seeds=[0])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.stack((features.float() - self.mean) / self.std)[:, 0]

    @classmethod
    def of(cls, parameters: dict[str, torch.Tensor], mean: torch.Tensor, std: torch.Tensor) -> "Head":
        """From one head's parameters, without the head axis, and the standardisation (D,)."""
        hidden = len(parameters["bias1"]) if "bias1" in parameters else 0
        head = cls(len(mean), hidden)
        tensors = {f"stack.{name}": tensor[None] for name, tensor in parameters.items()}
        load_strictly(head, {"mean": mean, "std": std, **tensors}, where="trained head")
        return head.eval().requires_grad_(False)


@dataclass(frozen=True)
class HeadRecord:
    """What a saved head needs to be used: its inputs in order, and how it came about."""

    config: HeadConfig
    inputs: list[FeatureSpec]
    dimensions: int


def save_head(path: Path, head: Head, record: HeadRecord) -> None:
    save_weights(path, head.state_dict(), asdict(record))


def load_head(path: Path) -> tuple[Head, HeadRecord]:
    """Raises: UserError if the file is missing or is no head."""
    tensors, record = load_weights(path)
    config = HeadConfig(**record["config"])
    head = Head(record["dimensions"], config.hidden)
    load_strictly(head, tensors, where=str(path))
    inputs = [FeatureSpec.from_json(spec) for spec in record["inputs"]]
    return head.eval().requires_grad_(False), HeadRecord(config, inputs, record["dimensions"])


def _drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """PyTorch's default initialisation of linear layers, from a seed of its own for each head."""
    generator = torch.Generator().manual_seed(seed)
    fan_in = shapes["weight1"][-1] if "weight1" in shapes else shapes["weight"][0]
    drawn = {}
    for name, shape in shapes.items():
        bound = (fan_in if name.endswith("1") or "weight1" not in shapes else shapes["weight"][0]) ** -0.5
        drawn[name] = (torch.rand(shape, generator=generator) * 2 - 1) * bound
    return drawn
