"""Heads: pooled features (N, D) -> logit of fake (N,), alone as `Head` or many at once as `Stack`."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm, normalize, relu

from cache.checkpoint import load_strictly
from heads.families.base import L2, LAYER, PLAIN, UNIT

ACTIVATIONS = {"gelu": gelu, "relu": relu}
NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Shape:
    """What heads must share to be stacked: columns read, widths of the hidden layers, activation, LayerNorm."""

    columns: int
    hidden: tuple[int, ...] = ()
    activation: str = "gelu"
    layer_norm: bool = False

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of one head's parameters: weight1, bias1, ... of the hidden layers, then weight and bias."""
        shapes, width = {}, self.columns
        for number, hidden in enumerate(self.hidden, start=1):
            shapes |= {f"weight{number}": (hidden, width), f"bias{number}": (hidden,)}
            if self.layer_norm:
                shapes |= {f"scale{number}": (hidden,), f"shift{number}": (hidden,)}
            width = hidden
        return shapes | {"weight": (width,), "bias": ()}

    @property
    def parameters(self) -> int:
        """Numbers in one head."""
        return sum(torch.Size(shape).numel() for shape in self.tensors().values())


@dataclass(frozen=True)
class Dropout:
    """rates: (H,) of each head. seeds: (H,) of each head. Masks depend on (seed, step, layer) alone, so that a head
    sees the same ones in a stack as alone; heads that share a seed share its draws."""

    rates: torch.Tensor
    seeds: tuple[int, ...]
    step: int

    def drawn(self, layer: int, shape: tuple[int, ...], device: torch.device) -> dict[int, torch.Tensor]:
        """Uniform numbers of `shape` for each distinct seed."""
        numbers = {}
        for seed in dict.fromkeys(self.seeds):
            generator = torch.Generator().manual_seed((seed * 1_000_003 + self.step) * 8 + layer)
            numbers[seed] = torch.rand(shape, generator=generator).to(device)
        return numbers


class Stack(nn.Module):
    """H heads of one shape side by side: x (N, D) -> logits (N, H). Parameters carry a leading head axis.

    Args:
        tensors: name -> (H, ...), as Shape.tensors names them.
        mean, std: (H, D) standardisation of each head, on top of whatever x went through; none if left out. It is
            folded into the first layer's weights, which are few, and not applied to x for every head.
    """

    def __init__(self, shape: Shape, tensors: dict[str, torch.Tensor], *, mean: torch.Tensor | None = None,
                 std: torch.Tensor | None = None) -> None:  # fmt: skip
        super().__init__()
        self.shape = shape
        for name in shape.tensors():
            setattr(self, name, nn.Parameter(tensors[name]))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def selected(self, heads: torch.Tensor) -> "Stack":
        """A stack of copies of some of the heads, by number."""
        tensors = {name: p.detach()[heads] for name, p in self.named_parameters()}
        mean, std = (None if each is None else each[heads] for each in (self.mean, self.std))
        return Stack(self.shape, tensors, mean=mean, std=std)

    def forward(self, x: torch.Tensor, dropout: Dropout | None = None) -> torch.Tensor:
        weight, bias = self._first_layer()
        if not self.shape.hidden:
            return _linear(x, weight, bias, dropout)
        heads = len(self.bias)
        a = torch.addmm(bias.flatten(), x, weight.flatten(0, 1).T).unflatten(1, (heads, -1)).transpose(0, 1)
        for layer in range(1, len(self.shape.hidden) + 1):  # a: (H, N, width)
            if layer > 1:
                weight, bias = getattr(self, f"weight{layer}"), getattr(self, f"bias{layer}")
                a = torch.baddbmm(bias[:, None], a, weight.transpose(1, 2))
            a = ACTIVATIONS[self.shape.activation](self._normed(a, layer))
            a = a if dropout is None else _dropped(a, dropout, layer)
        return torch.bmm(a, self.weight[..., None])[..., 0].T + self.bias

    def _first_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        name = "1" if self.shape.hidden else ""
        weight, bias = getattr(self, f"weight{name}"), getattr(self, f"bias{name}")
        if self.mean is None:
            return weight, bias
        per_head = (len(bias), *[1] * (weight.ndim - 2), -1)
        weight = weight / self.std.view(per_head)
        return weight, bias - (weight * self.mean.view(per_head)).sum(dim=-1)

    def _normed(self, a: torch.Tensor, layer: int) -> torch.Tensor:
        if not self.shape.layer_norm:
            return a
        normed = layer_norm(a, a.shape[-1:], eps=NORM_EPSILON)
        return normed * getattr(self, f"scale{layer}")[:, None] + getattr(self, f"shift{layer}")[:, None]


class Committee(nn.Module):
    """Inputs (N, ...) -> logit of fake (N,): the mean of M members, one for each fold and seed of a setting.

    reads_maps: inputs are maps, not pooled vectors. differentiable: gradients pass from its logits to its inputs.
    """

    reads_maps = False
    differentiable = True

    def __init__(self, members: int) -> None:
        super().__init__()
        self.members = members

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.each(inputs).mean(dim=1)

    def each(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N, M), one column a member."""
        return torch.cat([self.member(inputs, number) for number in range(self.members)], dim=1)

    def member(self, inputs: torch.Tensor, number: int) -> torch.Tensor:
        """(N, 1)."""
        raise NotImplementedError


class Head(Committee):
    """Stacked heads on raw pooled features (N, D), each with the standardisation of its own training rows.

    norm: of each row before that, a word of NORMS.
    """

    def __init__(self, shape: Shape, members: int, *, norm: str = PLAIN) -> None:
        super().__init__(members)
        self.norm = norm
        self.stack = Stack(shape, initial(shape, [0] * members))
        self.register_buffer("mean", torch.zeros(members, shape.columns))
        self.register_buffer("std", torch.ones(members, shape.columns))

    def fill(self, members: list[dict[str, torch.Tensor]]) -> None:
        """Take over the tensors of trained members: mean, std, and those of Shape.tensors."""
        stacked = {name: torch.stack([each[name] for each in members]) for name in members[0]}
        named = {name if name in ("mean", "std") else f"stack.{name}": tensor for name, tensor in stacked.items()}
        load_strictly(self, named, where="trained head")

    def member(self, inputs: torch.Tensor, number: int) -> torch.Tensor:
        standard = (normed_rows(inputs.float(), self.norm) - self.mean[number]) / self.std[number]
        one = {name: p[number : number + 1] for name, p in self.stack.named_parameters()}
        return torch.func.functional_call(self.stack, one, standard)


def normed_rows(x: torch.Tensor, norm: str) -> torch.Tensor:
    """Rows (..., D) float32 by themselves, as a word of NORMS says. A row of zeros stays one."""
    if norm in (L2, UNIT):
        return normalize(x, dim=-1)
    return layer_norm(x, x.shape[-1:], eps=NORM_EPSILON) if norm == LAYER else x


def initial(shape: Shape, seeds: list[int]) -> dict[str, torch.Tensor]:
    """PyTorch's default initialisation of linear layers: name -> (H, ...), each head from a seed of its own."""
    drawn = [_initial(shape, torch.Generator().manual_seed(seed)) for seed in seeds]
    return {name: torch.stack([each[name] for each in drawn]) for name in shape.tensors()}


def _initial(shape: Shape, generator: torch.Generator) -> dict[str, torch.Tensor]:
    drawn, bound = {}, 0.0
    for name, size in shape.tensors().items():
        if name.startswith("weight"):
            bound = size[-1] ** -0.5  # of this layer's bias too, which comes next
        if name.startswith(("weight", "bias")):
            drawn[name] = (torch.rand(size, generator=generator) * 2 - 1) * bound
        else:
            drawn[name] = (torch.ones if name.startswith("scale") else torch.zeros)(size)
    return drawn


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, dropout: Dropout | None) -> torch.Tensor:
    """(N, D) @ (D, H); with dropout one product for each distinct mask."""
    if dropout is None:
        return torch.addmm(bias, x, weight.T)
    kinds = list(zip(dropout.seeds, dropout.rates.tolist(), strict=True))
    uniform = dropout.drawn(0, tuple(x.shape), x.device)
    logits = torch.empty(len(x), len(bias), dtype=x.dtype, device=x.device)
    for seed, rate in dict.fromkeys(kinds):
        which = torch.tensor([number for number, kind in enumerate(kinds) if kind == (seed, rate)], device=x.device)
        kept = x * (uniform[seed] >= rate) / (1 - rate)
        logits[:, which] = torch.addmm(bias[which], kept, weight[which].T)
    return logits


def _dropped(a: torch.Tensor, dropout: Dropout, layer: int) -> torch.Tensor:
    """Inverted dropout of (H, N, width)."""
    uniform = dropout.drawn(layer, tuple(a.shape[1:]), a.device)
    kept = torch.stack([uniform[seed] for seed in dropout.seeds]) >= dropout.rates[:, None, None]
    return a * kept / (1 - dropout.rates[:, None, None])
