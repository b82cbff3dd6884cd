"""The timm models outside the registry: what timm says of each, and their structure without memory behind it."""

from collections.abc import Iterable
from functools import cache

import timm
import torch
from torch import nn

from cache.errors import one_of
from extract.networks.catalogue import Entry
from extract.networks.weights import Origin


def entry(name: str, *, known: Iterable[str]) -> Entry:
    """What timm says of a model; every stage's avgstd is kept of it.

    Args:
        known: the names of backbones that are not asked of timm, for the message.

    Raises:
        UserError: timm has no such model, with what the name could mean.
    """
    if not timm.is_model(name.split(".")[0]):
        one_of(name, dict.fromkeys([*known, *timm.list_models()]), what="backbone")
    return _entry(name)


def outline(name: str) -> nn.Module:
    """The model on the meta device: enough to ask for its structure."""
    with torch.device("meta"):
        return timm.create_model(name)


def named_stages(module: nn.Module) -> list[dict]:
    """What timm says of the network's stages, as far as it names their modules; num_chs: channels."""
    return [stage for stage in getattr(module, "feature_info", None) or [] if stage.get("module")]


@cache
def _entry(name: str) -> Entry:
    cfg, module = timm.get_pretrained_cfg(name), outline(name)
    return Entry(
        Origin(cfg.hf_hub_id or "", cfg.url or ""),
        tuple(f"{stage['module']}:avgstd" for stage in named_stages(module)),
        name,
        crop=cfg.input_size[-1],
        crop_share=cfg.crop_pct,
        mean=tuple(cfg.mean),
        std=tuple(cfg.std),
        interpolation=cfg.interpolation,
        one_size=bool(cfg.fixed_input_size),
        channels_last=str(getattr(module, "output_fmt", "NCHW")).endswith("NHWC"),
        prefix_tokens=getattr(module, "num_prefix_tokens", 0),
    )
