"""Options of stage one: which backbones run, what is kept of them, and how it is computed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from cache.errors import UserError, one_of
from cache.options import Options, option, section
from cache.settings import LONGEST_SIDE, MOST_VIEWS
from data.options import AUGMENTATIONS, MILD, DataConfig

DEFAULT = "tf_efficientnet_lite0"  # the backbone whose weights come with the installation
RANDOM = "random"  # the word of WEIGHTS that means none
POOLINGS = ("map", "avg", "avgstd", "cls")  # that cache.pooling.pool knows
COMPUTE = ("bf16", "fp16", "fp32")  # that a network may compute in
TORCH, OPENVINO, COMPILED = "torch", "openvino", "compiled"  # engines
AUTO = "auto"  # the word of ENGINE that takes the fastest where it pays
ENGINES = (TORCH, OPENVINO, COMPILED, AUTO)  # words of ENGINE
OF_CLUSTER = ("parts", "cores")  # options that only CLUSTER heeds


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(Options):
    """Run frozen backbones over a data set's images and keep the features that are not kept yet."""

    data: DataConfig = section(DataConfig)
    backbone: str = option(DEFAULT, "one or several names: tf_efficientnet_lite0, resnet18, ..., any timm model")
    features: str = option("", "tap:pooling ..., pooling map, avg, avgstd or cls (default: the backbone's own list)")
    weights: str = option("", "a file, random, or name=file for each of several backbones (default: found)")
    size: int = option(0, "side of the network's input in pixels (default: the model's own)")
    crop_only: bool = option(False, "no resize, centre crop only")
    views: int = option(0, "augmented views to keep beside the evaluation view")
    augment: str = option(MILD, "what changes those views: mild, or harsh = blur, strong JPEG and chains of both")
    compute: str = option("auto", "bf16, fp16 or fp32; auto = bf16 where the machine gains from it")
    stored: str = option("auto", "float16 or float32; auto = float16 for maps, float32 for pooled vectors")
    engine: str = option(AUTO, "torch, openvino (on CPUs), compiled, or auto = openvino where images are many")
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto = the best there is")
    part: str = option("", "i/n: this process's share (default: torchrun's rank, else 0/1)")
    cluster: str = option("", "local, auto or ray://host:10001: hand out parts to the machines of a Ray cluster")
    parts: int = option(64, "parts that the machines of CLUSTER take one after another")
    cores: int = option(0, "cores of a part on CLUSTER (default: all of the smallest machine; its share beside a GPU)")
    batch: int = option(0, "images in a forward pass (default 32 on a CPU, 256 on a GPU)")
    workers: int = option(-1, "processes that decode images, 0 = threads (default: 0 beside a CPU, else one a core)")
    shard_mb: int = option(256, "largest shard in MB")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.compute, ("auto", *COMPUTE), what="COMPUTE")
        one_of(self.engine, ENGINES, what="ENGINE")
        one_of(self.augment, AUGMENTATIONS, what="AUGMENT")
        if self.augment != MILD and not self.views:
            raise UserError(f"AUGMENT={self.augment} says what changes views, and VIEWS is 0: VIEWS=4, for example")
        one_of(self.stored, ("auto", "float16", "float32"), what="STORED")
        if min(self.views, self.size, self.batch) < 0 or self.shard_mb < 1:
            raise UserError("VIEWS, SIZE and BATCH must not be negative and SHARD_MB must be at least 1")
        if self.parts < 1 or self.cores < 0:
            raise UserError("PARTS must be at least 1 and CORES must not be negative")
        self._refuse_other_clusters()
        self._refuse_no_cluster()
        if self.size > LONGEST_SIDE or self.views >= MOST_VIEWS:
            raise UserError(f"SIZE must be at most {LONGEST_SIDE} and VIEWS below {MOST_VIEWS}")

    def _refuse_other_clusters(self) -> None:
        if not self.cluster:
            return
        if not self.cluster.startswith("ray://"):
            one_of(self.cluster, ("local", "auto", "ray://host:10001"), what="CLUSTER")
        if share_of(self.part)[1] > 1:
            raise UserError("CLUSTER hands out parts itself: leave out PART and torchrun")

    def _refuse_no_cluster(self) -> None:
        """Raises: UserError for what only a cluster would heed."""
        for name in () if self.cluster else OF_CLUSTER:
            if getattr(self, name) != getattr(ExtractConfig, name):
                raise UserError(
                    f"{name.upper()}={getattr(self, name)} is for CLUSTER=...; by hand a process takes PART=0/4, for "
                    "example"
                )

    def here(self, share: int, shares: int) -> "ExtractConfig":
        """The same for one process, without the cluster: its part, share of shares."""
        return self.but(cluster="", part=f"{share}/{shares}",
                        **{name: getattr(ExtractConfig, name) for name in OF_CLUSTER})  # fmt: skip

    def each_backbone(self) -> Iterator["ExtractConfig"]:
        """One config for each backbone named, with the weights meant for it.

        Raises:
            UserError: an unknown one, before any work starts; one weight file for several.
        """
        from extract.networks.catalogue import entry  # which reads these options' words

        names = self.backbone.replace(",", " ").split()
        for name in names:
            entry(name)  # an unknown one is refused
        given = dict(word.split("=", 1) for word in self.weights.split() if "=" in word)
        for name in names:
            if self.weights and not given and self.weights != RANDOM and len(names) > 1:
                raise UserError(f"WEIGHTS={self.weights} for {len(names)} backbones: write WEIGHTS='{name}=file ...'")
            yield self.but(backbone=name, weights=given.get(name, "") if given else self.weights)


def engine_of(compute: str) -> str:
    """The engine in FeatureSpec.compute: openvino of `openvino-bf16`; where none is named it is torch."""
    return compute.rpartition("-")[0] or TORCH


def engine_meant(word: str) -> str:
    """The engine beside torch that a word of ENGINE means."""
    return COMPILED if word == COMPILED else OPENVINO


def number_type(compute: str) -> str:
    """The word of COMPUTE in FeatureSpec.compute: bf16 of `bf16` and of `openvino-bf16`."""
    return compute.rpartition("-")[2]


def parse_features(text: str) -> list[tuple[str, str]]:
    """'layer3:map layer3:avg' -> [(tap, pooling), ...].

    Raises:
        UserError: a word that is not tap:pooling, or one that comes twice.
    """
    words = text.replace(",", " ").split()
    for word in words:
        tap, colon, pooling = word.rpartition(":")
        if not colon or not tap:
            raise UserError(f"FEATURES: {word!r} is not tap:pooling, for example {word.strip(':')}:avgstd")
        one_of(pooling, POOLINGS, what="pooling", where=f" in FEATURES={word}")
    if len(set(words)) < len(words):
        raise UserError(f"FEATURES={text}: a feature is named twice")
    return [(tap, pooling) for tap, _, pooling in (word.rpartition(":") for word in words)]


def share_of(text: str) -> tuple[int, int]:
    """PART=i/n, or torchrun's rank and world size, as numbers.

    Raises:
        UserError: not two whole numbers with i below n.
    """
    text = text or f"{os.environ.get('RANK', 0)}/{os.environ.get('WORLD_SIZE', 1)}"
    share, _, shares = text.partition("/")
    if not (share.isdigit() and shares.isdigit() and int(share) < int(shares)):
        raise UserError(f"PART={text}: expected i/n with i from 0 to n-1, for example 0/2 and 1/2")
    return int(share), int(shares)
