"""`make heads`: features if they are missing, then the sweep over them.

python -m heads --data=path --backbone="resnet18 cvt_13 resnet18+cvt_13" --folds=5
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cache import paths
from cache.command import option
from cache.errors import UserError
from cache.features import FeatureSpec
from data import build as data_build
from data.manifest import Manifest
from extract.backbones import default_features
from extract.compute import training_device
from extract.ranks import together
from extract.run import ExtractConfig, extract, parse_features, share_of, specs_of
from heads.families import HeadConfig, Tail
from heads.sweep.grid import read_grid
from heads.sweep.run import SEARCH, SweepConfig
from heads.sweep.run import run as sweep


@dataclass(frozen=True, kw_only=True)
class HeadsConfig(ExtractConfig):
    """Train a grid of heads on cached features and choose one on validation data.

    BACKBONE may also join backbones whose features are read side by side: "resnet18+cvt_13".
    """

    grid: str = option("", "default, convex, tail, wrn50-2-layer4, a JSON file, or JSON itself")
    folds: int = option(1, "cut train and val anew into k folds (default: the given split)")
    seeds: int = option(3, "how often each trained head is initialised anew")
    epochs: int = option(0, "epochs of linear and mlp heads whose grid does not say (default 30)")
    head_batch: int = option(0, "rows a step of linear and mlp heads whose grid does not say (default 256)")
    inputs: str = option(SEARCH, "all, a feature, 'up to' a feature; search = let the convex heads find the best")
    one_se: bool = option(False, "choose the simplest head within one standard error of the best; needs FOLDS")
    mean_views: bool = option(False, "judge and score images by the mean over their cached views, not by view 0")

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.seeds, self.folds) < 1 or min(self.epochs, self.head_batch) < 0:
            raise UserError("SEEDS and FOLDS must be at least 1, EPOCHS and HEAD_BATCH must not be negative")
        if self.one_se and self.folds < 2:
            raise UserError("ONE_SE needs the spread over folds: give FOLDS=5, for example")
        if self.mean_views and not self.views:
            raise UserError("MEAN_VIEWS needs cached views: give VIEWS=4, for example")
        read_grid(self.grid)  # a bad grid is known before the features are computed

    def each_backbone(self) -> Iterator["HeadsConfig"]:
        """One config for each word of BACKBONE, joined backbones among them."""
        self.parts()  # one weight file for several is refused
        yield from (replace(self, backbone=word) for word in self.backbone.replace(",", " ").split())

    def parts(self) -> list["HeadsConfig"]:
        """One config for each backbone, joined ones taken apart."""
        return list(ExtractConfig.each_backbone(replace(self, backbone=self.backbone.replace("+", " "))))


def run(config: HeadsConfig) -> Path:
    """Extract what is missing of one backbone, or of several joined ones, and sweep; the sweep's run folder."""
    manifest = Manifest.load(data_build.run(config)).usable
    return train_heads(config, extract_features(config, manifest))


def extract_features(config: HeadsConfig, manifest: Manifest) -> list[FeatureSpec]:
    """The features that heads may read, all of them in the cache then.

    Raises:
        UserError: what the grid or the data lack, before anything is computed; as extract.run.
    """
    _refuse_tails_without_maps(config)
    _refuse_one_class(manifest)
    return [spec for part in config.parts() for spec in specs_of(extract(part, manifest))]


def train_heads(config: HeadsConfig, features: list[FeatureSpec]) -> Path:
    """The sweep over cached features; its run folder. Raises: UserError as heads.sweep.run."""
    return sweep(
        SweepConfig(
            paths.manifest_file(config.dataset), features, _heads(config), folds=config.folds, seeds=config.seeds,
            inputs=config.inputs, one_se=config.one_se, mean_views=config.mean_views,
            weights={part.backbone: part.weights for part in config.parts()},
            device=str(training_device(config.device)), part=share_of(config.part),
        )
    )  # fmt: skip


def run_each(config: HeadsConfig) -> list[Path]:
    """One backbone after the other."""
    with together(training_device(config.device)):
        return [run(each) for each in config.each_backbone()]


def _heads(config: HeadsConfig) -> list[HeadConfig]:
    return read_grid(config.grid, epochs=config.epochs, batch=config.head_batch)


def _refuse_tails_without_maps(config: HeadsConfig) -> None:
    if any(isinstance(each, Tail) for each in _heads(config)) and not any(map(_keeps_maps, config.parts())):
        raise UserError("the grid holds tail heads, which read maps: add one to FEATURES, for example layer3:map")


def _keeps_maps(config: HeadsConfig) -> bool:
    wanted = config.features or " ".join(default_features(config.backbone))
    return any(pooling == "map" for _, pooling in parse_features(wanted))


def _refuse_one_class(manifest: Manifest) -> None:
    if manifest.fake.all() or not manifest.fake.any():
        lacking = "real" if manifest.fake.all() else "fake"
        raise UserError(
            f"{manifest.dataset} holds {len(manifest)} images but none is {lacking}: heads need both classes. A data "
            "set of one class can be scored: make report DATA=... EVAL=..."
        )
