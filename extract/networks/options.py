"""Options of `make backbones`."""

from dataclasses import dataclass

from cache.options import Options


@dataclass(frozen=True, kw_only=True)
class BackbonesConfig(Options):
    """Print the backbones that are written down, and whether their weights are at hand; any other timm model is one."""
