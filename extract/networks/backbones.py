"""Backbones: a name -> its network with its weights, split at any tap into trunk and tail.

    backbone = build("resnet18")
    trunk, tail = backbone.split("layer3")          tail(trunk(x)) == backbone(x), exactly
    outputs = backbone.tapped(("layer3", "layer4"))(x)      one forward, a tuple

A tap is the name of a module inside the network, as the network names it; its output is the tap's map. The cut
is made in the graph that torch.fx records with the tapped modules as leaves, so it needs no code per architecture,
and it is refused where something passes beside the tap.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import timm
import torch
from torch import fx, nn

from cache.checkpoint import load_strictly
from cache.errors import UserError, one_of
from cache.features import Preprocess
from extract.networks.catalogue import entry, locate
from extract.networks.weights import Weights, randomised
from extract.options import DEFAULT, RANDOM


@dataclass(frozen=True)
class Backbone:
    """A network in eval mode from normalised images (N, 3, H, W) float to its pooled vector (N, D)."""

    name: str
    module: nn.Module
    weights: Weights

    @property
    def taps(self) -> list[str]:
        """The names to choose from first: the network's parts, and the steps of those that are sequences."""
        return parts(self.module)

    def split(self, tap: str) -> tuple[nn.Module, nn.Module]:
        """Trunk (images -> the tap's map) and tail (map -> pooled vector), sharing the backbone's parameters.

        Raises:
            UserError: no such tap, or the network cannot be cut there.
        """
        graph = self._trace((tap,))
        at = _node(graph, tap, self)
        return fx.GraphModule(self.module, _until(graph, (at,))), fx.GraphModule(self.module, self._after(graph, at))

    def tapped(self, taps: tuple[str, ...]) -> nn.Module:
        """A module from images to a tuple of the maps of `taps`; nothing behind the last tap is computed."""
        graph = self._trace(taps)
        return fx.GraphModule(self.module, _until(graph, tuple(_node(graph, tap, self) for tap in taps), pack=True))

    def _trace(self, taps: tuple[str, ...]) -> fx.Graph:
        names = dict(self.module.named_modules())
        for tap in taps:
            one_of(tap, names if tap in names else self.taps, what=f"tap of {self.name}")
        try:
            return _TapTracer(taps).trace(self.module, concrete_args=_defaults(self.module))
        except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
            raise UserError(f"{self.name} cannot be traced to its taps {', '.join(taps)}: {error}") from error

    def _after(self, graph: fx.Graph, at: fx.Node) -> fx.Graph:
        tail, nodes = fx.Graph(), list(graph.nodes)
        copies = {at: tail.placeholder("tapped")}
        for node in nodes[nodes.index(at) + 1 :]:
            try:
                copies[node] = tail.node_copy(node, copies.__getitem__)
            except KeyError as error:
                raise UserError(
                    f"{self.name} cannot be split at {at.target}: {error.args[0]} passes beside it. "
                    f"Choose among {', '.join(self.taps)}."
                ) from error
        return tail


def parts(network: nn.Module) -> list[str]:
    """Names of a network's direct children, each followed by its own children where it is a sequence."""
    names = []
    for name, part in network.named_children():
        steps = [f"{name}.{step}" for step, _ in part.named_children()] if isinstance(part, nn.Sequential) else []
        names += [name, *steps]
    return names


class Normalise(nn.Module):
    """Pixels (N, H, W, 3) uint8 -> network input (N, 3, H, W) float32, channels-last in memory."""

    def __init__(self, how: Preprocess) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(how.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(how.std).view(3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std


def build(name: str, *, weights: str = "") -> Backbone:
    """The backbone with its weights, frozen and in eval mode.

    Args:
        name: of extract.networks.catalogue, or any timm model name. weights: '' (find them), a path, or `random`.

    Raises:
        UserError: unknown name; no weights to be had; weights that do not fit.
    """
    if weights == RANDOM:
        module, found = randomised(lambda: _module(name))
    else:
        found = locate(name, weights=weights)
        module = _module(name)
        load_strictly(module, _renamed(name, found.read(), module), where=f"{name} weights {found.source}")
    return _frozen(name, module, found)


def empty(name: str, *, identity: str = "") -> Backbone:
    """The same with numbers that mean nothing, to be filled from a file; none is looked for and nothing is hashed.

    Args:
        identity: of the weights that it will hold.
    """
    with torch.random.fork_rng(devices=[]):
        return _frozen(name, _module(name), Weights(identity, "a file that holds them", None))


def _module(name: str) -> nn.Module:
    """The whole network as its library makes it, its classifier too."""
    known = entry(name)
    return import_module(known.module).network() if known.module else timm.create_model(known.timm_name)


def _frozen(name: str, module: nn.Module, weights: Weights) -> Backbone:
    """The network without its classifier."""
    _without_classifier(module)
    return Backbone(name, module.eval().requires_grad_(False), weights)


def _renamed(name: str, tensors: dict[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors under the module's names, for the two publishers whose names differ."""
    known = entry(name)
    if known.module:
        return import_module(known.module).renamed(tensors)
    own = module.state_dict()
    # The pip package names its tensors otherwise but holds the same ones in the same order.
    if name == DEFAULT and tensors.keys() != own.keys() and [t.shape for t in tensors.values()] == [
        t.shape for t in own.values()
    ]:  # fmt: skip
        return dict(zip(own, tensors.values(), strict=True))
    return tensors


def _without_classifier(module: nn.Module) -> None:
    if hasattr(module, "reset_classifier"):
        module.reset_classifier(0)
    else:
        module.classifier = nn.Identity()


class _TapTracer(fx.Tracer):
    """Records a network as calls of its largest modules that contain no tap."""

    def __init__(self, taps: tuple[str, ...]) -> None:
        super().__init__()
        self.taps = taps

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return name in self.taps or not any(tap.startswith(f"{name}.") for tap in self.taps)


def _node(graph: fx.Graph, tap: str, backbone: Backbone) -> fx.Node:
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == tap]
    if len(calls) != 1:
        raise UserError(f"{backbone.name} runs {tap} {len(calls)} times in a forward pass; a tap must run once")
    return calls[0]


def _until(graph: fx.Graph, ends: tuple[fx.Node, ...], *, pack: bool = False) -> fx.Graph:
    """The part of the graph that `ends` need, returning them as a tuple or, one alone, as it is."""
    needed, open_ends = set(ends), list(ends)
    while open_ends:
        before = set(open_ends.pop().all_input_nodes) - needed
        needed |= before
        open_ends += before
    trunk = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in needed:
            copies[node] = trunk.node_copy(node, copies.__getitem__)
    trunk.output(tuple(copies[end] for end in ends) if pack else copies[ends[0]])
    return trunk


def _defaults(module: nn.Module) -> dict[str, object]:
    """Optional arguments of forward, fixed at their defaults so that they are no inputs of the graph."""
    parameters: Callable = inspect.signature(module.forward).parameters
    return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
