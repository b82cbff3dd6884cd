"""Where fine-tuning starts: the chosen cached head, a pretrained network, or one without weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache import paths, runs
from cache.errors import UserError, one_of
from cache.key import file_digest
from data.build import run as build_manifest
from data.manifest import Manifest
from extract.computing.machine import compute_of, training_device
from extract.networks.catalogue import entry, locate, preprocess
from extract.networks.weights import Weights
from extract.options import DEFAULT, RANDOM, ExtractConfig
from finetune.detectors.detector_record import DetectorRecord, NetworkRecord
from finetune.recipes import Recipe
from heads.head_file import HeadRecord
from heads.options import HeadsConfig
from heads.predictions import read_scores
from heads.run import run as run_heads
from heads.scorer import HeadScorer, extract_missing
from heads.sweep import DATE, GENERATOR
from heads.sweep.sweep_result import HEAD_FILE

SIZE = 224  # pixels, of a network of finetune.detectors.networks where neither SIZE nor the recipe says


@dataclass(frozen=True)
class Start:
    """What is trained before its weights are read.

    identity: what a run's key must hold of it. head_file: of the cached head, if it is one. network: for people.
    weights: as WEIGHTS names the backbone's file. one_size: the network takes images of its own size only.
    """

    manifest: Manifest
    record: DetectorRecord
    identity: str
    network: str
    random_weights: bool
    head_file: Path | None
    weights: str
    one_size: bool


def with_network(config: HeadsConfig, recipe: Recipe) -> HeadsConfig:
    """The options with the recipe's backbone and size where the user gave none.

    Raises:
        UserError: several backbones, or another one than the recipe's.
    """
    wanted = recipe.network or config.extract.backbone
    if config.extract.backbone not in (DEFAULT, wanted):
        raise UserError(f"this recipe trains {wanted}, not BACKBONE={config.extract.backbone}: leave BACKBONE out")
    if len(wanted.replace("+", " ").replace(",", " ").split()) > 1:
        raise UserError(f"BACKBONE={wanted}: a detector is fine-tuned on one backbone; name one")
    backbone = config.extract.backbone if recipe.start == "scratch" else wanted
    return config.but(backbone=backbone, size=config.extract.size or recipe.size)


def starting_head(config: HeadsConfig, given: str, wait: Callable[[], None]) -> Path:
    """The file of the head to start from: a given one, or that which the sweep of these options chooses.

    The sweep, and the features that it reads, are made as far as they are missing.

    Args:
        given: a sweep's run folder or a head's file; '' = none. wait: for the other processes, which share the work.

    Raises:
        UserError: a head of folds, or one that other parts have not finished.
    """
    if config.crosses and not given:
        raise UserError("the members of a head with FOLDS have seen the validation images: leave FOLDS out")
    folder = Path(given).expanduser() if given else run_heads(config)
    wait()
    if not given and not runs.is_complete(folder):
        raise UserError("other parts have not finished their heads: run the same command again when they have")
    file = folder / HEAD_FILE if folder.is_dir() else folder
    _refuse_folds(file.parent)
    return file


def from_head(config: HeadsConfig, file: Path, *, given: bool) -> Start:
    """From a cached head and its backbone.

    Args:
        given: the head is not that of the sweep of these options; the features that it reads may be missing yet.

    Raises:
        UserError: a head of several backbones, or of another one; one that was trained on images that are held out.
    """
    scorer = HeadScorer.load(file)
    record, spec = scorer.record, scorer.record.inputs[0]
    if any(each.backbone != spec.backbone for each in record.inputs):
        raise UserError(f"{file} joins several backbones; a detector is fine-tuned on one")
    if spec.backbone != config.extract.backbone:
        raise UserError(
            f"{file} reads features of {spec.backbone}, not of {config.extract.backbone}: BACKBONE={spec.backbone}"
        )
    if given:
        _refuse_other_size(record, config.extract.size, file)
    data = config.extract.data
    manifest = Manifest.load(build_manifest(data) if given else paths.manifest_file(data.dataset)).usable
    if given:
        extract_missing([scorer], manifest, config.extract)
    _refuse_seen(file.parent / "predictions-train.csv", manifest)
    weights = next(config.extract.each_backbone()).weights or scorer.weights.get(spec.backbone, "")
    return Start(
        manifest, DetectorRecord(record), file_digest(file), spec.backbone, spec.random_weights, file, weights,
        entry(spec.backbone).one_size,
    )  # fmt: skip


def from_network(config: ExtractConfig, recipe: Recipe) -> Start:
    """From a pretrained network with a new last layer, or from one without weights; no head and no features.

    Raises:
        UserError: an unknown network, or no weights to be had.
    """
    manifest = Manifest.load(build_manifest(config.data)).usable
    compute = compute_of(config.compute, training_device(config.device))
    settings = {"outputs": recipe.outputs, "dropout": recipe.dropout, "compute": compute, "unit": recipe.unit}
    if recipe.start == "scratch":
        from finetune.detectors.networks import NETWORKS, preprocess_for

        name = one_of(recipe.network, NETWORKS, what="network")
        record = NetworkRecord(name, True, preprocess_for(config.size or SIZE), **settings)
        return Start(manifest, DetectorRecord(record), name, name, False, None, "", one_size=name.startswith("cnn"))
    name, weights = config.backbone, next(config.each_backbone()).weights
    random = weights == RANDOM
    how = preprocess(name, size=config.size, crop_only=config.crop_only)
    identity = (_randomised(name, how.crop) if random else locate(name, weights=weights)).identity
    record = NetworkRecord(name, False, how, **settings)
    return Start(manifest, DetectorRecord(record), identity, name, random, None, weights, entry(name).one_size)


def _randomised(name: str, size: int) -> Weights:
    from extract.networks.backbones import build

    return build(name, weights=RANDOM, size=size).weights


def _refuse_folds(folder: Path) -> None:
    """A sweep's config.json lies beside its head; one that was copied elsewhere vouches for itself."""
    config = folder / "config.json"
    folds = runs.read_json(config).get("folds", 1) if config.exists() else 1
    if folds not in (1, GENERATOR, DATE):
        raise UserError(
            f"the members of the head in {folder} were trained in {folds} folds and have seen the validation images; "
            "take the head of a sweep without FOLDS"
        )


def _refuse_seen(trained_on: Path, manifest: Manifest) -> None:
    """A sweep on an earlier split, or on a data set that shares images, may have trained on what is held out now."""
    if not trained_on.exists():
        return
    held_out = manifest.rows[manifest.rows.split != "train"]
    seen = int(held_out.digest.isin(set(read_scores(trained_on).digest)).sum())
    if seen:
        raise UserError(
            f"the head in {trained_on.parent} was trained on {seen} images that {manifest.dataset} holds out: run "
            "`make heads` on the data as it is now"
        )


def _refuse_other_size(record: HeadRecord, size: int, file: Path) -> None:
    how = record.inputs[0].preprocess
    if size and size != how.crop:
        raise UserError(f"{file} reads features of {how.crop}-pixel images, not SIZE={size}: leave SIZE out")
