"""The detector: image to logit of fake as one module, made of a cached head or of a network alone.

`FeatureDetector` computes exactly what extraction and the head compute apart: logits(cache -> head) ==
logits(image -> detector). `NetworkDetector` is a network with a linear layer, for training without a cached head.
In training mode both compute in another number type (`train_in`) and round nothing as the cache does.
"""

import math
import re
from itertools import groupby
from pathlib import Path

import torch
from timm.layers import RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d
from torch import nn
from torch.nn.functional import normalize

from cache.errors import UserError, one_of
from cache.features import FeatureSpec, Preprocess
from cache.pooling import pool
from extract.computing.compute import Computing, training_compute
from extract.networks.backbones import Backbone, Normalise, parts
from extract.options import number_type
from heads.fitting.stack import Committee, Stack
from heads.fitting.tails import TailNetwork, width_of
from heads.head_file import load_head
from heads.inputs import vectors

HEAD = "head"  # the stage of everything behind the networks
NETWORK_PREFIX = re.compile(r"(trunks\.\d+\.tapped|head\.networks\.\d+\.body|network\.body)\.")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
# timm's others are subclasses of PyTorch's.
WITH_AFFINE = (*NORMS, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.RMSNorm, RmsNorm, RmsNorm2d, SimpleNorm,
               SimpleNorm2d)  # fmt: skip


class Detector(nn.Module):
    """uint8 pixels (N, side, side, 3) -> logits of fake (N,) float32.

    preprocesses: one for each tensor of pixels that forward takes. compute: number type of evaluation. steps: names of
    the networks' parts, inputs first, as the networks name them. embeds: whether what reaches the last layers is a
    vector for each image.
    """

    preprocesses: list[Preprocess]
    compute: str
    steps: list[str]
    embeds: bool = True

    def forward(
        self, *pixels: torch.Tensor, with_embeddings: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Logits (N,); with_embeddings: and what they are made of, vectors (N, D) or maps, as the head reads."""
        embeddings = self.embedded(*pixels)
        logits = self.judged(embeddings)
        return (logits, embeddings) if with_embeddings else logits

    def embedded(self, *pixels: torch.Tensor) -> torch.Tensor:
        """What the networks say."""
        raise NotImplementedError

    def judged(self, embeddings: torch.Tensor) -> torch.Tensor:
        """What the head says of it: (N,)."""
        raise NotImplementedError

    @property
    def preprocess(self) -> Preprocess:
        """The only one.

        Raises:
            UserError: backbones with different preprocessings are joined.
        """
        if len(self.preprocesses) > 1:
            raise UserError("joined backbones with different preprocessings take the image in several forms")
        return self.preprocesses[0]

    def stages(self) -> dict[str, list[nn.Parameter]]:
        """What is frozen and unfrozen together, from the input on; the head is the last."""
        found: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            found.setdefault(self._stage(name), []).append(parameter)
        found = _with_norms(found)
        return {name: each for name, each in found.items() if name != HEAD} | {HEAD: found[HEAD]}

    def norms(self) -> set[nn.Parameter]:
        """Weights and biases of normalisation layers, which are found by their type; those of the head are none."""
        body = {p for name, parameters in self.stages().items() if name != HEAD for p in parameters}
        layers = [module for module in self.modules() if isinstance(module, WITH_AFFINE)]
        return {p for layer in layers for p in layer.parameters(recurse=False)} & body

    def matrices(self) -> set[nn.Parameter]:
        """Matrices and kernels: not biases, nor the vectors of norms. Stacked heads have them with a head axis."""
        stacks = [module for module in self.modules() if isinstance(module, Stack)]
        stacked = {p for stack in stacks for p in stack.parameters()}
        heads = {p for stack in stacks for name, p in stack.named_parameters() if name.startswith("weight")}
        return {p for p in self.parameters() if p.ndim > 1 and p not in stacked} | heads

    def train_in(self, precision: str, device: torch.device) -> str:
        """Train in bf16, fp16 or fp32; auto = as it is evaluated, unless float32 is faster. Returns the choice."""
        chosen = training_compute(self, self.compute, device) if precision == "auto" else precision
        for module in self.modules():
            if isinstance(module, Computing):
                module.trained_in = chosen
        return chosen

    def evaluate_in(self, compute: str) -> None:
        """Evaluate in bf16, fp16 or fp32 from now on."""
        self.compute = compute
        for module in self.modules():
            if isinstance(module, Computing):
                module.compute = compute

    def training_mode(self, *, frozen_norm: bool) -> None:
        """train(), but the statistics of BatchNorm do not move in frozen stages, nor anywhere with frozen_norm."""
        self.train()
        for module in self.modules():
            if isinstance(module, NORMS) and (frozen_norm or not any(p.requires_grad for p in module.parameters())):
                module.eval()

    def _stage(self, parameter: str) -> str:
        prefix = NETWORK_PREFIX.match(parameter)
        if not prefix:
            return HEAD
        name = parameter[prefix.end() :]
        return max((step for step in self.steps if name.startswith(f"{step}.")), key=len, default=name.split(".")[0])


def _with_norms(stages: dict[str, list[nn.Parameter]]) -> dict[str, list[nn.Parameter]]:
    """A stage that is only a norm goes with the one before it, which it belongs to."""
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameters in stages.items():
        before = next(reversed(found), None)
        if before and HEAD not in (name, before) and all(p.ndim == 1 for p in parameters):
            found[before] = found[before] + parameters
        else:
            found[name] = parameters
    return found


def stages_from(stages: list[str], first: str) -> list[str]:
    """The stages from the one called `first`, or from the first one inside it, on; '' = all.

    Raises:
        UserError: no stage of that name.
    """
    if not first:
        return stages
    inside = [number for number, name in enumerate(stages) if name == first or name.startswith(f"{first}.")]
    if not inside:
        one_of(first, stages, what="stage")
    return stages[inside[0] :]


class Trunk(Computing):
    """uint8 pixels (N, side, side, 3) -> what the cache would hold of one backbone, a tensor for each spec.

    Args:
        inputs: specs of this backbone, all with one preprocessing.

    Raises:
        UserError: the specs are not of this backbone with these weights, or differ in preprocessing or compute dtype.
    """

    def __init__(self, backbone: Backbone, inputs: list[FeatureSpec]) -> None:
        super().__init__()
        _refuse_mismatch(backbone, inputs)
        self.inputs = inputs
        self.compute = self.trained_in = number_type(inputs[0].compute)  # of features that another engine made, too
        self.taps = tuple(dict.fromkeys(spec.tap for spec in inputs))
        self.normalise = Normalise(inputs[0].preprocess)
        self.tapped = backbone.tapped(self.taps)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        with self.computing(pixels.device):
            x = self.normalise(pixels)  # (N, side, side, 3) uint8 -> (N, 3, side, side) float32
            maps = dict(zip(self.taps, self.tapped(x), strict=True))  # each (N, C, H, W), or tokens (N, T, C)
        return self.stored(
            [
                pool(maps[s.tap], s.pooling, channels_last=s.channels_last, prefix_tokens=s.prefix_tokens)
                for s in self.inputs
            ]
        )  # pooled: (N, C) or (N, 2C)

    def stored(self, pooled: list[torch.Tensor]) -> list[torch.Tensor]:
        """Rounded as the cache does it, except in training, where float16 would swallow small gradients."""
        if self.training:
            return pooled
        return [each.to(getattr(torch, spec.stored)) for spec, each in zip(self.inputs, pooled, strict=True)]


class FeatureDetector(Detector):
    """Backbones, poolings and a head that was trained on their features.

    It sees an image in one view; a head judged by the mean over several (MEAN_VIEWS) is scored from the cache.
    forward takes one tensor of pixels for each of `preprocesses`: a single one, unless backbones with different
    preprocessings are joined.

    Args:
        backbones: those whose features the head was trained on. head: what load_head gave. inputs: its specs in order.

    Raises:
        UserError: a backbone that the head was not trained on, or was with other weights.
    """

    def __init__(self, backbones: list[Backbone], head: Committee, inputs: list[FeatureSpec]) -> None:
        super().__init__()
        groups = {name: list(specs) for name, specs in groupby(inputs, key=lambda spec: spec.backbone)}
        known = {backbone.name: backbone for backbone in backbones}
        if known.keys() != groups.keys():
            raise UserError(f"the head reads features of {', '.join(groups)}, not of {', '.join(known)}")
        self.inputs, self.head = inputs, head
        self.trunks = nn.ModuleList(Trunk(known[name], specs) for name, specs in groups.items())
        self.preprocesses = list(dict.fromkeys(spec.preprocess for spec in inputs))
        self.compute = number_type(inputs[0].compute)
        self.steps = [step for name in groups for step in known[name].taps]

    def embedded(self, *pixels: torch.Tensor) -> torch.Tensor:
        of = dict(zip(self.preprocesses, pixels, strict=True))
        return self.joined([trunk(of[trunk.inputs[0].preprocess]) for trunk in self.trunks])

    def joined(self, trunks: list[list[torch.Tensor]]) -> torch.Tensor:
        """What the head reads, of what each of the trunks gave."""
        kept = [each for trunk in trunks for each in trunk]
        if self.head.reads_maps:
            return kept[0]
        columns = [vectors(each, spec) for each, spec in zip(kept, self.inputs, strict=True)]
        return torch.cat(columns, dim=1)  # (N, all columns)

    def judged(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self.head(embeddings)

    @property
    def embeds(self) -> bool:
        return not self.head.reads_maps

    @property
    def trainable(self) -> bool:
        """Whether gradients reach the backbones: scikit-learn's heads pass none."""
        return self.head.differentiable

    @classmethod
    def load(cls, head_file: Path, backbones: list[Backbone]) -> "FeatureDetector":
        """From a saved head. Raises: UserError if the file is no head or was trained on other backbones."""
        head, record = load_head(head_file)
        return cls(backbones, head, record.inputs).eval()


class UnitLinear(nn.Linear):
    """Vectors (N, D) -> (N, outputs): brought to length one, times a scale that is learned, through a linear layer.

    The scale starts where a vector's numbers have variance one, as a linear layer expects them, and moves by shares.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(width, outputs)
        self.log_scale = nn.Parameter(torch.tensor(0.5 * math.log(width)))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return super().forward(normalize(vectors, dim=1) * self.log_scale.exp())


class NetworkDetector(Detector):
    """A network from images to vectors, with dropout and a linear layer of one or two outputs behind it."""

    def __init__(self, network: nn.Module, how: Preprocess, *, outputs: int, dropout: float, compute: str,
                 unit: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.preprocesses, self.compute, self.steps = [how], compute, parts(network)
        self.normalise = Normalise(how)
        width = width_of(network, torch.zeros(1, 3, how.crop, how.crop))
        self.network = TailNetwork(
            network, width=width, dropout=dropout, outputs=outputs, compute=compute, trained_in=compute
        )
        if unit:
            self.network.linear = UnitLinear(width, outputs)

    def embedded(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network.pooled(self.normalise(pixels))  # (N, 3, side, side) float32 -> (N, D)

    def judged(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self.network.judged(embeddings)  # (N, D) -> (N,)


def _refuse_mismatch(backbone: Backbone, inputs: list[FeatureSpec]) -> None:
    found = {(spec.backbone, spec.weights) for spec in inputs}
    if found != {(backbone.name, backbone.weights.identity)}:
        raise UserError(
            f"the head reads features of {sorted(found)}, not of {backbone.name} with weights "
            f"{backbone.weights.identity}: give the weights it was trained on with WEIGHTS=..."
        )
    if len({(spec.preprocess, spec.compute) for spec in inputs}) > 1:
        raise UserError(f"the head reads features of {backbone.name} in several preprocessings or compute dtypes")
