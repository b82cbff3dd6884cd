"""What is known of a backbone without building it: how images are prepared for it, its taps, where its weights lie.

What is written down in extract.networks.entries is read there, so that a stage with nothing left to do imports no
network, which takes seconds. Of any other timm model, timm is asked.
"""

from cache.errors import UserError, one_of, shown
from cache.features import Preprocess
from data.preprocess import INTERPOLATION
from extract.networks.entries import REGISTRY, Entry
from extract.networks.weights import Weights, find


def entry(name: str) -> Entry:
    """What is known of a backbone.

    Raises:
        UserError: neither the registry nor timm has it, with what it could mean.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    word = name.lower()
    meant = [each for each, known in REGISTRY.items() if word in known.known_as or each.startswith(word)]
    from extract.networks import timm_models

    if meant and not timm_models.has(name):
        raise UserError(f"unknown backbone {shown(name)}; did you mean {' or '.join(meant)}?")
    return timm_models.entry(name, known=REGISTRY)


def preprocess(name: str, *, size: int = 0, crop_only: bool = False) -> Preprocess:
    """How images are prepared for a backbone.

    Args:
        size: another crop side in pixels, in the same share of the resized side. crop_only: no resize.

    Raises:
        UserError: the network cannot be built for images of that size.
    """
    known = entry(name)
    crop = size or known.crop
    _refuse_size(name, known, crop)
    interpolation = one_of(known.interpolation, INTERPOLATION, what="interpolation")
    return Preprocess(0 if crop_only else round(crop / known.crop_share), crop, interpolation, known.mean, known.std)


def _refuse_size(name: str, known: Entry, size: int) -> None:
    if size == known.crop or not known.one_size:
        return
    if known.module:
        raise UserError(f"{name} takes {known.crop}-pixel images only, not SIZE={size}")
    if size % known.patch:
        below = size - size % known.patch
        near = " or ".join(f"SIZE={each}" for each in (below, below + known.patch) if each)
        raise UserError(f"{name} reads patches of {known.patch} pixels, and SIZE={size} is no multiple: {near}")
    if name not in REGISTRY:
        from extract.networks.timm_models import outline

        outline(name, size)


def default_features(name: str) -> tuple[str, ...]:
    """What is kept of a backbone when FEATURES is not given."""
    features = entry(name).features
    if not features:
        raise UserError(f"{name} does not name its stages: give FEATURES='tap:avgstd ...'")
    return features


def layout(name: str) -> dict[str, bool | int]:
    """How the backbone's taps are laid out: the keywords channels_last and prefix_tokens of cache.pooling.pool."""
    known = entry(name)
    return {"channels_last": known.channels_last, "prefix_tokens": known.prefix_tokens}


def refuse_pooling(name: str, tap: str, pooling: str) -> None:
    """Raises: UserError if a tap has no class token, of which `cls` is to be kept."""
    if pooling == "cls" and not entry(name).has_class_token:
        raise UserError(f"{tap}:cls: {name} has no class token; {tap}:avg keeps the mean over the image")


def locate(name: str, *, weights: str) -> Weights:
    """The weight file of a backbone, hashed and not read: '' finds it, or a path."""
    return find(name, entry(name).origin, weights)
