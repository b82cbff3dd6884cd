"""`make backbones`: what is written down of each backbone, and whether its weights are at hand.

python -m extract.networks
"""

from extract.networks.entries import REGISTRY, Entry
from extract.networks.options import BackbonesConfig
from extract.networks.weights import at_hand

COLUMNS = ("backbone", "weights", "input", "width", "licence", "gated", "published as", "timm's name", "features")


def run(_: BackbonesConfig) -> None:
    """Print a line for each backbone of the registry. Nothing is downloaded, hashed or built."""
    rows = [COLUMNS, *(_row(name, known) for name, known in REGISTRY.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print("Any other model of timm is a backbone by timm's name. WEIGHTS=file or WEIGHTS=random does without the hub.")


def _row(name: str, known: Entry) -> tuple[str, ...]:
    return (
        name, "at hand" if at_hand(known.origin) else "not here", str(known.crop), str(known.width or "-"),
        known.licence or "-", known.gated or "no", known.origin.hub_id or "-", known.timm_name or "-", _short(known),
    )  # fmt: skip


def _short(known: Entry) -> str:
    """Default features, those of one tap together: `blocks.2:cls,avg blocks.5:cls,avg`."""
    poolings: dict[str, list[str]] = {}
    for tap, _, pooling in (feature.rpartition(":") for feature in known.features):
        poolings.setdefault(tap, []).append(pooling)
    return " ".join(f"{tap}:{','.join(each)}" for tap, each in poolings.items())
