"""Whether a backbone's taps are laid out as the network says: pooling must not take a place for a channel."""

import math
from collections.abc import Callable

import torch
from torch import nn

from cache.errors import UserError
from extract.networks.timm_models import named_stages, outline


def refuse_other_layout(name: str, taps: tuple[str, ...], said: dict[str, bool | int], *, crop: int) -> None:
    """Raises: UserError unless taps on images of `crop` pixels have the channels and places that the network names.

    Args:
        said: its layout.

    Nothing is computed.
    """
    module = outline(name, crop)
    channels = {stage["module"]: stage["num_chs"] for stage in named_stages(module)}
    for tap, shape in _shapes(name, module, taps, crop).items():
        if not _fits(shape, channels.get(tap), **said):
            order = "channels last" if said["channels_last"] else "channels first"
            raise UserError(
                f"{tap} of {name} gives {shape or 'no single tensor'}, and the network says {order}, "
                f"{channels.get(tap, 'unnamed')} channels, {said['prefix_tokens']} tokens before the spatial ones. "
                "Pooling would take one for the other: choose another tap or backbone."
            )


def _shapes(name: str, module: nn.Module, taps: tuple[str, ...], crop: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the taps' outputs for one image, () where that is no single tensor; module: an outline."""
    shapes: dict[str, tuple[int, ...]] = {}

    def noting(tap: str) -> Callable:
        return lambda _module, _given, output: shapes.update({tap: tuple(getattr(output, "shape", ()))})

    modules = dict(module.named_modules())
    for tap in set(taps) & modules.keys():  # an unknown one is told where the network is cut
        modules[tap].register_forward_hook(noting(tap))
    try:
        with torch.device("meta"), torch.inference_mode():
            module.eval()(torch.zeros(1, 3, crop, crop))
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise UserError(f"{name} does not take images of {crop} pixels: {str(error).splitlines()[0]}") from error
    return shapes


def _fits(shape: tuple[int, ...], channels: int | None, *, channels_last: bool, prefix_tokens: int) -> bool:
    """Whether a tap's output (1, ...) has so many channels, where that is known, over the places of a square."""
    if len(shape) == 4:
        high, wide, width = shape[1:] if channels_last else (*shape[2:], shape[1])
        square = high == wide
    elif len(shape) == 3:
        places, width = shape[1] - prefix_tokens, shape[2]
        square = places > 0 and math.isqrt(places) ** 2 == places
    else:
        return len(shape) == 2
    return square and channels in (None, width)
