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

import torch
from torch import fx, nn

from cache.checkpoint import load_strictly
from cache.errors import UserError, one_of
from cache.features import Preprocess
from extract.networks import timm_models
from extract.networks.catalogue import entry, locate
from extract.networks.weights import Weights, randomised
from extract.options import RANDOM


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
        return _network(self.module, _until(graph, (at,))), _network(self.module, self._after(graph, at))

    def tapped(self, taps: tuple[str, ...]) -> nn.Module:
        """A module from images to a tuple of the maps of `taps`; nothing behind the last tap is computed."""
        graph = self._trace(taps)
        return _network(self.module, _until(graph, tuple(_node(graph, tap, self) for tap in taps), pack=True))

    def _trace(self, taps: tuple[str, ...]) -> fx.Graph:
        names = dict(self.module.named_modules())
        for tap in taps:
            one_of(tap, names if tap in names else self.taps, what=f"tap of {self.name}")
        try:
            return _TapTracer(taps).trace(self.module, concrete_args=_defaults(self.module))
        except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
            raise UserError(f"{self.name} cannot be traced to its taps {', '.join(taps)}: {error}") from error

    def _after(self, graph: fx.Graph, at: fx.Node) -> fx.Graph:
        """The part of the graph behind `at`. What it needs beside that and the images do not change, rotary position
        embeddings for example, is computed there again.
        """
        tail, (end,), of_images = fx.Graph(), graph.find_nodes(op="output"), _from_images(graph)
        needed, copies = _before((end,), until=at), {at: tail.placeholder("tapped")}
        nodes = [node for node in graph.nodes if node in needed]
        for node in reversed(nodes[: nodes.index(at)]):
            if node in of_images:
                raise UserError(
                    f"{self.name} cannot be split at {at.target}: {node} passes beside it. "
                    f"Choose among {', '.join(self.taps)}."
                )
        for node in nodes:
            if node is not at:
                copies[node] = tail.node_copy(node, copies.__getitem__)
        return tail


def parts(network: nn.Module) -> list[str]:
    """Names of a network's direct children, each followed by its own children where it is a sequence.

    A list of modules runs none of them itself, so its children alone are named.
    """
    names = []
    for name, part in network.named_children():
        steps = [f"{name}.{step}" for step, _ in part.named_children()]
        if isinstance(part, nn.ModuleList):
            names += steps
        else:
            names += [name, *steps] if isinstance(part, nn.Sequential) else [name]
    return names


class Normalise(nn.Module):
    """Pixels (N, H, W, 3) uint8 -> network input (N, 3, H, W) float32, channels-last in memory."""

    def __init__(self, how: Preprocess) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(how.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(how.std).view(3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std


def build(name: str, *, weights: str = "", size: int = 0) -> Backbone:
    """The backbone with its weights, frozen and in eval mode.

    Args:
        name: of extract.networks.catalogue, or any timm model name. weights: '' (find them), a path, or `random`.
        size: side of the images in pixels, for networks that are built for one size; 0 = the backbone's own.

    Raises:
        UserError: unknown name; no weights to be had; weights that do not fit.
    """
    if weights == RANDOM:
        module, found = randomised(lambda: _module(name, size))
    else:
        found = locate(name, weights=weights)
        module = _module(name, size)
        where = f"{name} weights {found.source}"
        load_strictly(module, _renamed(name, found.read(), module, where=where), where=where)
    return _frozen(name, module, found)


def empty(name: str, *, identity: str = "", size: int = 0) -> Backbone:
    """The same with numbers that mean nothing, to be filled from a file; none is looked for and nothing is hashed.

    Args:
        identity: of the weights that it will hold. size: as of build.
    """
    with torch.random.fork_rng(devices=[]):
        return _frozen(name, _module(name, size), Weights(identity, "a file that holds them", None))


def _module(name: str, size: int) -> nn.Module:
    """The whole network as its library makes it, its classifier too."""
    known = entry(name)
    if known.module:
        return import_module(known.module).network()
    return timm_models.network(known.timm_name, size=size or known.crop, global_pool=known.global_pool)


def _frozen(name: str, module: nn.Module, weights: Weights) -> Backbone:
    """The network without its classifier."""
    _without_classifier(module)
    return Backbone(name, module.eval().requires_grad_(False), weights)


def _renamed(name: str, tensors: dict[str, torch.Tensor], module: nn.Module, *, where: str) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors under the module's names, for publishers whose names differ."""
    known = entry(name)
    if known.module:
        return import_module(known.module).renamed(tensors)
    own = module.state_dict()
    # The pip packages name their tensors otherwise but hold the same ones in the same order.
    if known.origin.package and [t.shape for t in tensors.values()] == [t.shape for t in own.values()]:
        return dict(zip(own, tensors.values(), strict=True))
    return timm_models.renamed(tensors, module, where=where)


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


def _network(root: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """A part of `root` that computes `graph`.

    Tensors that the network only has while it runs are numbered anew by every recording: they belong into no file.
    """
    network = fx.GraphModule(root, graph)
    for name, tensor in list(network.named_buffers(recurse=False)):
        if name.startswith("_tensor_constant"):
            network.register_buffer(name, tensor, persistent=False)
    return network


def _node(graph: fx.Graph, tap: str, backbone: Backbone) -> fx.Node:
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == tap]
    if len(calls) != 1:
        raise UserError(f"{backbone.name} runs {tap} {len(calls)} times in a forward pass; a tap must run once")
    return calls[0]


def _until(graph: fx.Graph, ends: tuple[fx.Node, ...], *, pack: bool = False) -> fx.Graph:
    """The part of the graph that `ends` need, returning them as a tuple or, one alone, as it is."""
    needed = _before(ends)
    trunk = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in needed:
            copies[node] = trunk.node_copy(node, copies.__getitem__)
    trunk.output(tuple(copies[end] for end in ends) if pack else copies[ends[0]])
    return trunk


def _before(ends: tuple[fx.Node, ...], *, until: fx.Node | None = None) -> set[fx.Node]:
    """The nodes that `ends` need and they themselves; what `until` needs is left out."""
    needed, open_ends = set(ends), list(ends)
    while open_ends:
        node = open_ends.pop()
        before = set(node.all_input_nodes) - needed if node is not until else set()
        needed |= before
        open_ends += before
    return needed


def _from_images(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that the images change."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or found & set(node.all_input_nodes):
            found.add(node)
    return found


def _defaults(module: nn.Module) -> dict[str, object]:
    """Optional arguments of forward, fixed at their defaults so that they are no inputs of the graph."""
    parameters: Callable = inspect.signature(module.forward).parameters
    return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
