"""The timm models outside the registry: what timm says of each, and their structure without memory behind it."""

from collections.abc import Iterable
from functools import cache
from importlib import import_module

import timm
import torch
from torch import nn

from cache.errors import UserError, one_of
from extract.networks.entries import Entry
from extract.networks.weights import Origin


def entry(name: str, *, known: Iterable[str]) -> Entry:
    """What timm says of a model; every stage's avgstd is kept of it.

    Args:
        known: the names of backbones that are not asked of timm, for the message.

    Raises:
        UserError: timm has no such model, with what the name could mean.
    """
    if not has(name):
        one_of(name, dict.fromkeys([*known, *timm.list_models()]), what="backbone")
    return _entry(name)


def has(name: str) -> bool:
    """Whether timm has a model of that name, the tag of its weights left aside."""
    return timm.is_model(name.split(".")[0])


def outline(name: str, size: int = 0) -> nn.Module:
    """The model on the meta device, for images of `size` pixels: enough to ask for its structure.

    Raises:
        UserError: it cannot be built for them.
    """
    with torch.device("meta"):
        return network(name, size=size)


def network(name: str, *, size: int = 0, global_pool: str = "") -> nn.Module:
    """The model with its classifier and weights that mean nothing yet.

    Args:
        size: side of the images in pixels, 0 = the model's own. A model that is built for one size is built for this
            one; where it would read the size of each batch, which nothing behind a cut could know, that is switched
            off. global_pool: what it pools with, '' = as it does by itself.

    Raises:
        UserError: it cannot be built for that size.
    """
    cfg, options = timm.get_pretrained_cfg(name), {"global_pool": global_pool} if global_pool else {}
    native = cfg.input_size[-1]
    if cfg.fixed_input_size and _reads_sizes(name):
        options |= {"dynamic_img_size": False, "img_size": size or native}
    elif cfg.fixed_input_size and size not in (0, native):
        options["img_size"] = size
    try:
        return timm.create_model(name, **options)
    except (TypeError, RuntimeError, AssertionError, ValueError) as error:
        if "img_size" not in options:
            raise
        raise UserError(f"{name} takes {native}-pixel images only, not SIZE={size}: {error}") from error


@cache
def _reads_sizes(name: str) -> bool:
    with torch.device("meta"):
        return bool(getattr(timm.create_model(name), "dynamic_img_size", False))


def renamed(tensors: dict[str, torch.Tensor], module: nn.Module, *, where: str) -> dict[str, torch.Tensor]:
    """A published checkpoint under timm's names and in the module's shapes, as timm makes it of one that it downloads.

    It knows the names of several publishers, and resamples position embeddings to the module's size of images.

    Raises:
        UserError: tensors of another network.
    """
    own = {name: tensor.shape for name, tensor in module.state_dict().items()}
    translate = getattr(import_module(type(module).__module__), "checkpoint_filter_fn", None)
    if translate is None or own == {name: tensor.shape for name, tensor in tensors.items()}:
        return tensors
    try:
        known = translate(tensors, module)
        unfit = any(own.get(name, tensor.shape) != tensor.shape for name, tensor in known.items())
        return translate(known, module) if unfit else known  # of some publishers' files it only translates names
    except (KeyError, IndexError, RuntimeError, ValueError, AttributeError, AssertionError) as error:
        raise UserError(f"{where}: its tensors are not those of {type(module).__name__}: {error!r}") from error


def named_stages(module: nn.Module) -> list[dict]:
    """What timm says of the network's stages, as far as it names their modules; num_chs: channels."""
    return [stage for stage in getattr(module, "feature_info", None) or [] if stage.get("module")]


@cache
def _entry(name: str) -> Entry:
    cfg, module = timm.get_pretrained_cfg(name), outline(name)
    return Entry(
        Origin(cfg.hf_hub_id or "", cfg.url or ""),
        tuple(dict.fromkeys(f"{stage['module']}:avgstd" for stage in named_stages(module))),
        name,
        crop=cfg.input_size[-1],
        crop_share=cfg.crop_pct,
        mean=tuple(cfg.mean),
        std=tuple(cfg.std),
        interpolation=cfg.interpolation,
        one_size=bool(cfg.fixed_input_size),
        patch=_patch(module) if cfg.fixed_input_size else 1,
        channels_last=str(getattr(module, "output_fmt", "NCHW")).endswith("NHWC"),
        prefix_tokens=getattr(module, "num_prefix_tokens", 0),
        class_token=getattr(module, "cls_token", None) is not None,
        width=module.num_features,
        licence=cfg.license or "",
    )


def _patch(module: nn.Module) -> int:
    """Pixels on a side of the patches that it reads, 1 where it names none."""
    side = getattr(getattr(module, "patch_embed", None), "patch_size", 1)
    return max(side) if isinstance(side, tuple) else side
