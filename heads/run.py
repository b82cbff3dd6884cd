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
from data.perturb import PERTURBATIONS
from extract.backbones import default_features
from extract.compute import training_device
from extract.ranks import together
from extract.run import ExtractConfig, parse_features, share_of, specs_of
from extract.run import run as extract
from extract.run import run_perturbed as extract_perturbed
from heads import other
from heads.families import Tail
from heads.head_file import HeadRecord, load_head
from heads.other import OtherConfig
from heads.perturbed import score_head
from heads.sweep.conclusion import HEAD_FILE
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
    parts = config.parts()
    configs = read_grid(config.grid, epochs=config.epochs, batch=config.head_batch)
    if any(isinstance(each, Tail) for each in configs) and not any(map(_keeps_maps, parts)):
        raise UserError("the grid holds tail heads, which read maps: add one to FEATURES, for example layer3:map")
    _refuse_one_class(Manifest.load(data_build.run(config)).usable)
    specs = [spec for part in parts for spec in _extracted(part)]
    weights = {part.backbone: part.weights for part in parts}
    return sweep(
        SweepConfig(
            paths.manifest_file(config.dataset), specs, configs, folds=config.folds, seeds=config.seeds,
            inputs=config.inputs, one_se=config.one_se, mean_views=config.mean_views, weights=weights,
            device=_device(config), part=share_of(config.part),
        )
    )  # fmt: skip


def _refuse_one_class(manifest: Manifest) -> None:
    if manifest.fake.all() or not manifest.fake.any():
        lacking = "real" if manifest.fake.all() else "fake"
        raise UserError(
            f"{manifest.dataset} holds {len(manifest)} images but none is {lacking}: heads need both classes. A data "
            "set of one class can be scored: make report DATA=... EVAL=..."
        )


def _keeps_maps(config: HeadsConfig) -> bool:
    wanted = config.features or " ".join(default_features(config.backbone))
    return any(pooling == "map" for _, pooling in parse_features(wanted))


def _device(config: HeadsConfig) -> str:
    return str(training_device(config.device))


def _extracted(config: HeadsConfig) -> list[FeatureSpec]:
    """The features of all images.

    Processes of torchrun share the images and wait for one another. One with a PART given by hand cannot know whether
    the others still compute, or ever will: it does its share and says so, rather than theirs once more.

    Raises:
        UserError: other parts have images left.
    """
    return specs_of(extract(config))


def run_other(config: HeadsConfig, folder: Path, data: str) -> Path:
    """Extract from another data set what the head of a finished sweep reads, and score it there.

    Args:
        config: the one that the sweep was run with. folder: the sweep's. data: as DATA names a data set.
    """
    elsewhere = on_other_data(config, data)
    extract_for(load_head(folder / HEAD_FILE)[1], elsewhere)
    return other.run(OtherConfig(folder, paths.manifest_file(elsewhere.dataset), _device(config)))


def run_perturbed(config: HeadsConfig, folders: list[Path], manifest: Manifest, chosen: Manifest) -> None:
    """Score the heads of finished sweeps on perturbed images; one pass over those fills what all heads read.

    Args:
        config: the one that the sweeps were run with. folders: of sweeps whose heads read pooled features.
        manifest: their data set's. chosen: the images of it that are perturbed.
    """
    inputs = dict.fromkeys(spec for folder in folders for spec in load_head(folder / HEAD_FILE)[1].inputs)
    for part in config.parts():
        read = " ".join(spec.feature for spec in inputs if spec.backbone == part.backbone)
        if read:
            extract_perturbed(replace(part, features=read, part="0/1"), chosen, PERTURBATIONS)
    for folder in folders:
        score_head(folder, manifest, chosen, device=_device(config))


def on_other_data(config: HeadsConfig, data: str) -> HeadsConfig:
    """The same options for another data set, as DATA names it."""
    return replace(config, data=data, name="", root="", train_csv="", valid_csv="", test_csv="", group="")


def extract_for(record: HeadRecord, config: HeadsConfig) -> None:
    """Extract what a head reads from the images of config.data, as far as it is missing."""
    for part in config.parts():
        features = " ".join(spec.feature for spec in record.inputs if spec.backbone == part.backbone)
        if features:
            _extracted(replace(part, features=features, views=record.views - 1))


def run_each(config: HeadsConfig) -> list[Path]:
    """One backbone after the other."""
    with together(training_device(config.device)):
        return [run(each) for each in config.each_backbone()]
