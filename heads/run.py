"""`make heads`: features if they are missing, then the sweep over them.

python -m heads --data=path --backbone="resnet18 cvt_13 resnet18+cvt_13" --folds=5
"""

from pathlib import Path

from cache import paths, runs
from cache.errors import UserError
from cache.features import FeatureSpec
from data.build import run as build_manifest
from data.manifest import Manifest
from extract.computing.machine import training_device
from extract.networks.catalogue import default_features
from extract.options import ExtractConfig, parse_features, share_of
from extract.ranks import together
from extract.run import extract, specs_of
from heads.families import Family
from heads.folds import refuse_uncut
from heads.memory import bytes_of
from heads.options import HeadsConfig
from heads.sweep import VALIDATION
from heads.sweep.grid import UNSEEN, read_grid
from heads.sweep.run import SweepConfig
from heads.sweep.run import run as sweep
from heads.sweep.sweep_result import SweepResult


def run(config: HeadsConfig) -> Path:
    """Extract what is missing of one backbone, or of several joined ones, and sweep; the sweep's run folder."""
    refuse_tails_without_maps(config)
    manifest = Manifest.load(build_manifest(config.extract.data)).usable
    return train_heads(config, extract_features(config, manifest))


def reached(folder: Path) -> str:
    """What a complete sweep chose; '' where other parts have heads left, which is told already."""
    if not runs.is_complete(folder):
        return ""
    found = runs.result(folder).into(SweepResult)
    doubt = f"\n  {found.doubt}" if found.doubt else ""
    return f"heads {found.backbone}: complete: {found.chosen} -> {folder}{doubt}"


def comes_next(config: HeadsConfig) -> str:
    """The commands that go on from a complete sweep."""
    whole = config.but(part="")
    tunable = not config.crosses and len(config.parts()) == 1  # as finetune.start has it
    return f"make report {whole.given()}".strip() + ("; or make finetune, with the same options" if tunable else "")


def extract_features(config: HeadsConfig, manifest: Manifest) -> list[FeatureSpec]:
    """The features that heads may read, all of them in the cache then.

    Raises:
        UserError: images of one class alone, or which FOLDS cannot cut, before anything is computed; as extract.run.
    """
    _refuse_one_class(manifest)
    refuse_uncut(manifest, config.folds)
    return [spec for part in config.parts() for spec in specs_of(extract(part, manifest))]


def train_heads(config: HeadsConfig, features: list[FeatureSpec]) -> Path:
    """The sweep over cached features; its run folder. Raises: UserError as heads.sweep.run."""
    extraction = config.extract
    return sweep(
        SweepConfig(
            paths.manifest_file(extraction.data.dataset), features, _heads(config), folds=config.folds,
            choose=config.choose, seeds=config.seeds, inputs=config.inputs, one_se=config.one_se,
            mean_views=config.mean_views,
            weights={part.backbone: part.weights for part in config.parts()},
            device=training_device(extraction.device), part=share_of(extraction.part), memory=bytes_of(config.memory),
        )
    )  # fmt: skip


def run_each(config: HeadsConfig) -> list[Path]:
    """One backbone after the other."""
    with together(training_device(config.extract.device)):
        return [run(each) for each in config.each_backbone()]


def _heads(config: HeadsConfig) -> list[Family]:
    named = "" if config.choose == VALIDATION else UNSEEN  # without GRID
    return read_grid(config.grid or named, epochs=config.head_epochs, batch=config.head_batch)


def refuse_tails_without_maps(config: HeadsConfig) -> None:
    """Raises: UserError if the grid holds heads that read maps, and none are asked for."""
    if any(each.reads_maps for each in _heads(config)) and not any(map(_keeps_maps, config.parts())):
        raise UserError("the grid holds tail heads, which read maps: add one to FEATURES, for example layer3:map")


def _keeps_maps(config: ExtractConfig) -> bool:
    wanted = config.features or " ".join(default_features(config.backbone))
    return any(pooling == "map" for _, pooling in parse_features(wanted))


def _refuse_one_class(manifest: Manifest) -> None:
    if manifest.fake.all() or not manifest.fake.any():
        lacking = "real" if manifest.fake.all() else "fake"
        raise UserError(
            f"{manifest.dataset} holds {len(manifest)} images but none is {lacking}: heads need both classes. A data "
            "set of one class can be scored: make report DATA=... EVAL=..."
        )
