"""Heat maps: where in an image the evidence for a class lies, for every detector of this project.

heat_maps(detector, pixels, targets)    pixels (N, side, side, 3) uint8 -> maps (N, side, side) float32 in 0..1

A map is relative to its image: 1 where the evidence is strongest, 0 where there is least of it, or none. It is zero
everywhere where no place speaks for the class more than another does. The library is pytorch-grad-cam.

METHOD      hirescam    the gradient times the activations, place by place (Draelos and Carin 2020, arXiv:2011.08891)
            layercam    the same where the gradient is positive (Jiang et al. 2021, doi:10.1109/TIP.2021.3089943)
            gradcam     activations weighted by the mean gradient of their channel (Selvaraju et al. 2017,
                        arXiv:1610.02391)
            auto        hirescam

Grad-CAM's weights are spatial means of the gradient. That of a standard deviation over space has the mean 0, so
Grad-CAM cannot see half of what a head on `avgstd` reads; neither do channel means suit a network that flattens its
map. HiResCAM needs no mean. Of a linear head on pooled maps it is an exact account: mean and deviation both double
when the map does, so that (Euler) gradient times activation, summed over the map, is the head's logit but for its
bias. Where a network ends in average pooling and a linear layer both methods are the same.

Of a head on several taps the map is the mean over all taps that it reads, each scaled to 0..1 by the library. Measured
by gradcam.faithfulness.road on 16 test images of mini140k and the avgstd of `bn1` to `blocks.5`, in logits by which
maps are ahead of the same maps in another place:

                        all taps    best one alone    deepest alone    all taps, Grad-CAM
    ridge head          6.7         6.9 (blocks.1)    0.8              2.6
    the same fine-tuned 16.6        14.1 (blocks.1)   6.7              not measured
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
import torch
from pytorch_grad_cam import GradCAM, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from analysis.gradcam.options import AUTO, METHODS
from cache.errors import UserError, one_of
from data.manifest import LABELS
from finetune.detectors.detector import Detector, FeatureDetector, NetworkDetector, Trunk

CLASSES = dict(zip(METHODS, (HiResCAM, HiResCAM, LayerCAM, GradCAM), strict=True))
BATCH = 8  # images whose activations and gradients are held at once
# What comes before the attention of a transformer's block, as timm and transformers call it.
BEFORE_ATTENTION = ("norm1", "layernorm_before")
SMALLEST_SIDE = 2  # of a map, in places: one place alone is no map


def heat_maps(detector: Detector, pixels: torch.Tensor, targets: Sequence[str], *, method: str = AUTO) -> np.ndarray:
    """Where the evidence for a class lies.

    Args:
        detector: left as it is; the maps are computed where it lies, in float32. pixels: (N, side, side, 3) uint8 as
            its preprocess makes them. targets: `real` or `fake` for each image. method: of METHODS.

    Returns:
        (N, side, side) float32 in 0..1; all zero for an image in which nothing speaks for the class.

    Raises:
        UserError: a head of scikit-learn, which passes no gradient; backbones joined with different preprocessings;
            a network without maps.
    """
    return Explained(detector).maps(pixels, targets, method=method)


class Explained(nn.Module):
    """A copy of a detector as the library takes networks: pixels (N, 3, side, side) float32 in 0..255 -> (N, 2).

    The outputs are the logits of real and fake, [-logit, logit]. The copy computes in float32 and rounds no feature to
    float16 as the cache does: that would swallow small gradients, and the library can read no bfloat16. It is frozen.

    layers: the modules whose outputs are explained, by their names.

    Raises:
        UserError: as heat_maps.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        _refuse_opaque(detector)
        self.how = detector.preprocess
        self.detector = _exact(copy.deepcopy(detector))
        self.layers = _layers(self.detector)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = self.detector(pixels.permute(0, 2, 3, 1))
        return torch.stack([-logits, logits], dim=1)

    def maps(self, pixels: torch.Tensor, targets: Sequence[str], *, method: str = AUTO) -> np.ndarray:
        """As heat_maps."""
        kind = CLASSES[one_of(method, METHODS, what="METHOD")]
        cam = kind(self, list(self.layers.values()), reshape_transform=self._as_map)
        try:
            parts = [
                cam(self.prepared(pixels[at : at + BATCH]).requires_grad_(), class_targets(targets[at : at + BATCH]))
                for at in range(0, len(pixels), BATCH)
            ]
        finally:
            cam.activations_and_grads.release()  # not by `with`, which swallows an IndexError
        found = np.concatenate(parts) if parts else np.zeros((0, self.how.crop, self.how.crop), np.float32)
        return np.where(np.isfinite(found).all(axis=(1, 2), keepdims=True), found, 0).astype(np.float32)

    def prepared(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, side, side, 3) uint8 -> what forward takes, where the detector lies."""
        device = next(self.detector.parameters()).device
        return pixels.to(device).permute(0, 3, 1, 2).float()

    def _as_map(self, output: torch.Tensor) -> torch.Tensor:
        """A layer's output -> (N, C, H, W)."""
        if output.ndim == 4:
            return output.permute(0, 3, 1, 2) if _channels_last(self.detector) else output
        side = isqrt(output.shape[1])
        return output[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))


def class_targets(targets: Sequence[str]) -> list[ClassifierOutputTarget]:
    """`real` or `fake` -> the output of Explained that the library looks at."""
    return [ClassifierOutputTarget(LABELS.index(each)) for each in targets]


@dataclass(frozen=True)
class _Call:
    """A module that gave a map in a forward pass. tokens: (N, T, C), not (N, C, H, W)."""

    name: str
    module: nn.Module
    tokens: bool


def _refuse_opaque(detector: Detector) -> None:
    if isinstance(detector, FeatureDetector) and not detector.trainable:
        raise UserError(
            "heat maps follow the gradient, and a head of scikit-learn passes none: choose a linear, mlp, ridge, "
            "logistic or tail head, or a fine-tuned detector, with RUN=..."
        )


def _exact(detector: Detector) -> Detector:
    """In place: evaluates in float32, rounds nothing, frozen."""
    detector.evaluate_in("fp32")
    for module in detector.modules():
        if isinstance(module, Trunk):
            module.inputs = [replace(spec, stored="float32") for spec in module.inputs]
    return detector.eval().requires_grad_(False)


def _layers(detector: Detector) -> dict[str, nn.Module]:
    """What is explained, by name: every tap that a pooled head reads; of other networks the last map they make."""
    calls = _map_calls(detector)
    if isinstance(detector, FeatureDetector) and not detector.head.reads_maps:
        taps = {f"trunks.{number}.tapped.{tap}": _class_token_alone(trunk, tap)
                for number, trunk in enumerate(detector.trunks) for tap in trunk.taps}  # fmt: skip
        found = [call for call in calls if taps.get(call.name) is False]
        found += filter(None, [_last(calls, f"{tap}.") for tap, alone in taps.items() if alone])
        found = found or [_last(calls, f"trunks.{number}.") for number in range(len(detector.trunks))]
    elif isinstance(detector, NetworkDetector):
        found = [_last(calls, "network.body.")]
    else:  # a tail that is no more than a pooling makes no map of its own
        tails = range(len(detector.head.networks))
        found = [_last(calls, f"head.networks.{number}.body.") or _last(calls, "trunks.") for number in tails]
    if None in found:
        raise UserError("this network makes no map of its images that a heat map could be drawn from")
    return {call.name: call.module for call in found}


def _class_token_alone(trunk: Trunk, tap: str) -> bool:
    """Whether no other token of a tap is read: the tap's own output then says nothing of places."""
    return all(spec.pooling == "cls" for spec in trunk.inputs if spec.tap == tap)


def _last(calls: list[_Call], inside: str) -> _Call | None:
    """The last map made inside a part of the network.

    Of tokens it is the one before the last block's attention: where the class token alone is read, later tokens
    change nothing any more.
    """
    calls = [call for call in calls if call.name.startswith(inside)]
    if calls and calls[-1].tokens:
        calls = [call for call in calls if call.name.rpartition(".")[2] in BEFORE_ATTENTION]
    return calls[-1] if calls else None


@torch.no_grad()
def _map_calls(detector: Detector) -> list[_Call]:
    """Every module that gives a map, in the order in which they end; found by showing the detector a black image."""
    calls: list[_Call] = []
    channels_last = _channels_last(detector)

    def noting(name: str):
        def note(module: nn.Module, _: tuple, output: object) -> None:
            if _is_map(output, channels_last) and not isinstance(module, nn.AdaptiveAvgPool2d):
                calls.append(_Call(name, module, output.ndim == 3))

        return note

    handles = [module.register_forward_hook(noting(name)) for name, module in detector.named_modules() if name]
    side = detector.preprocess.crop
    device = next(detector.parameters()).device
    try:
        detector(torch.zeros(1, side, side, 3, dtype=torch.uint8, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _is_map(output: object, channels_last: bool) -> bool:
    if not isinstance(output, torch.Tensor) or output.ndim not in (3, 4):
        return False
    places = output.shape[1:3] if channels_last else output.shape[2:]
    return (isqrt(output.shape[1]) if output.ndim == 3 else min(places)) >= SMALLEST_SIDE


def _channels_last(detector: Detector) -> bool:
    """Whether the network's maps are (N, H, W, C)."""
    if isinstance(detector, FeatureDetector):
        return detector.inputs[0].channels_last
    return str(getattr(detector.network.body, "output_fmt", "NCHW")).endswith("NHWC")
