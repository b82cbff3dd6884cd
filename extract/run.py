"""`make extract`: the rows that are missing -> batches -> one forward -> shards.

    python -m extract --data=path --backbone=resnet18 --features="layer3:map layer3:avg" --part=0/2

Kill it anywhere and run it again: what the shards hold is not missing any more. That is the whole resume code.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cache import paths, runs
from cache.atomic import locked
from cache.errors import UserError, counted
from cache.features import FeatureSpec, shard_sizes
from cache.key import key
from cache.merging import merge_small
from cache.table import FeatureTable, Places
from data.build import run as build_manifest
from data.manifest import Manifest
from data.options import AUGMENTATIONS
from extract.computing.machine import compute_of, device_of
from extract.extraction import ExtractResult
from extract.missing import Missing
from extract.networks.catalogue import REGISTRY, default_features, layout, locate, preprocess, refuse_pooling
from extract.networks.weights import RANDOM_SOURCE
from extract.options import AUTO, RANDOM, TORCH, ExtractConfig, parse_features, share_of
from extract.parts import Computed, compute, ready
from extract.ranks import meet, together

if TYPE_CHECKING:
    from extract.networks.backbones import Backbone


FEW = 400  # images: torch is about through with them when OpenVINO has converted a network and computed them too


def run(config: ExtractConfig) -> Path:
    """Compute what is missing for one backbone; the folder whose result.json lists the specs once all rows exist.

    Raises:
        UserError: unknown backbone or tap, no weights, images that changed since they were hashed, a full disk, a cache
            that is removed meanwhile.
    """
    return extract(config, Manifest.load(build_manifest(config.data)).usable)


def run_each(config: ExtractConfig) -> list[Path]:
    """One backbone after the other."""
    with together(device_of(config.device)):
        return [run(each) for each in config.each_backbone()]


def reached(folder: Path) -> str:
    """What a complete extraction filled; '' where other parts have images left, which is told already."""
    if not runs.is_complete(folder):
        return ""
    found = runs.result(folder).into(ExtractResult)
    return (
        f"extract {found.backbone}: complete: {counted(len(found.specs), 'feature')} of "
        f"{counted(found.images, 'image')} of {found.dataset} "
        f"in {paths.features_dir()} -> {folder}"
    )


def extract(config: ExtractConfig, manifest: Manifest) -> Path:
    """Compute what is missing for the images of a manifest, which need not be those that config.data names."""
    return fill(config, manifest, *_specs(config, manifest))


def fill(config: ExtractConfig, manifest: Manifest, specs: list[FeatureSpec],
         backbone: "Backbone | None" = None) -> Path:  # fmt: skip
    """Compute what is missing of some features of one backbone; the folder, as of `run`.

    Args:
        config: where the backbone's weights are, and how to compute; what to compute is in specs. backbone: built
            already, or None.

    Raises:
        UserError: as `run`; other weights than those that specs name.
    """
    share, shares = share_of(config.part)
    folder = paths.run_dir("extract", f"{manifest.dataset}-{config.backbone}-{_identity(manifest, specs)}")
    missing, computed = Missing.of(manifest, specs), Computed()
    mine = missing.part(share, shares)
    if mine.images:
        backbone = ready(config, mine, backbone)
        with runs.alone(folder, f"extract {config.backbone}", runs.part_lock(share, shares)) as waited:
            mine = Missing.of(manifest, specs).part(share, shares) if waited else mine
            if mine.images:
                computed = _compute(config, mine, backbone, folder)
    meet()  # what the other processes still compute is not missing
    if missing.images:
        missing = Missing.of(manifest, specs)
        _refuse_lost(config, missing.part(share, shares))
    if missing.images:
        print(f"extract {config.backbone}: part {share}/{shares} is done, {missing.images} images are left to the "
              "other parts")  # fmt: skip
        return folder
    if not runs.is_complete(folder):
        with locked(folder / "lock"):  # several may be through at the same time; one of them concludes
            if not runs.is_complete(folder):
                _finish(folder, config, manifest, specs, computed)
    if computed.images:
        for spec in specs:
            merge_small(spec, limit=config.shard_mb * 1_000_000)
    return folder


def _compute(config: ExtractConfig, missing: Missing, backbone: "Backbone | None", folder: Path) -> Computed:
    runs.begin(folder, config.flat())
    side = next(
        iter(missing.masks)
    ).preprocess.crop  # told: an image costs its square, and some networks read large ones
    print(f"extract {config.backbone}: images of {side} x {side} pixels")
    return compute(config, missing, backbone)


def specs_of(folder: Path) -> list[FeatureSpec]:
    """The specs that a complete extract run filled.

    Raises:
        UserError: it is not complete.
    """
    if not runs.is_complete(folder):
        raise UserError(
            f"{folder} is not complete: other parts have images left. Run the same command again when they are done, "
            "or without PART to compute what is left here."
        )
    return runs.result(folder).into(ExtractResult).specs


def tables(config: ExtractConfig) -> list[FeatureTable]:
    """The features of a data set, for notebooks; what is missing is computed first.

    Returns:
        One table for each of FEATURES in its order, view by view.
    """
    specs = specs_of(run(config))
    manifest = Manifest.load(paths.manifest_file(config.data.dataset)).usable
    places = Places(manifest.digests)
    return [FeatureTable(spec, manifest, places) for spec in specs]


def _specs(config: ExtractConfig, manifest: Manifest) -> "tuple[list[FeatureSpec], Backbone | None]":
    """One spec for each feature and view. Random weights are known by what was built, so that comes along."""
    how = preprocess(config.backbone, size=config.size, crop_only=config.crop_only)
    backbone = _randomised(config.backbone, how.crop) if config.weights == RANDOM else None
    weights = backbone.weights if backbone else locate(config.backbone, weights=config.weights)
    compute = compute_of(config.compute, device_of(config.device))
    wanted = parse_features(config.features or " ".join(default_features(config.backbone)))
    for tap, pooling in wanted:
        refuse_pooling(config.backbone, tap, pooling)
    laid_out = layout(config.backbone)
    _refuse_other_layout(config.backbone, tuple(tap for tap, _ in wanted), crop=how.crop)
    specs = [
        FeatureSpec(
            backbone=config.backbone, weights=weights.identity, tap=tap, pooling=pooling, preprocess=how,
            compute=compute, stored=_stored(config.stored, pooling),
            view=view, augmentation=AUGMENTATIONS[config.augment] if view else "", **laid_out,
        )
        for view in range(config.views + 1) for tap, pooling in wanted
    ]  # fmt: skip
    if config.engine == TORCH or (config.engine == AUTO and _stays_with_torch(manifest, specs)):
        return specs, backbone
    from extract.computing.engines import chosen

    return chosen(config, specs, backbone)


def _stays_with_torch(manifest: Manifest, specs: list[FeatureSpec]) -> bool:
    """Whether a conversion would take longer than what it spares, or most of torch's features are here already."""
    if len(manifest) < FEW:
        return True
    missing = Missing.of(manifest, specs[:1])  # of one feature: all are looked up once more when they are filled
    return 2 * missing.images < len(missing.rows)


def _randomised(name: str, size: int) -> "Backbone":
    from extract.networks.backbones import build

    return build(name, weights=RANDOM, size=size)


def _refuse_other_layout(name: str, taps: tuple[str, ...], *, crop: int) -> None:
    """As networks.layout does, but for the registry's own backbones, which are known to be laid out as it says."""
    if name not in REGISTRY:
        from extract.networks.layout import refuse_other_layout

        refuse_other_layout(name, taps, layout(name), crop=crop)


def _stored(word: str, pooling: str) -> str:
    if word != "auto":
        return word
    return "float16" if pooling == "map" else "float32"


def _refuse_lost(config: ExtractConfig, missing: Missing) -> None:
    """Raises: UserError if rows that were just computed are not there."""
    if missing.images:
        raise UserError(
            f"extract {config.backbone}: features of {missing.images} images were written and are gone: somebody "
            f"removed them from {paths.features_dir()} meanwhile. The same command computes what "
            "is missing"
        )


def _identity(manifest: Manifest, specs: list[FeatureSpec]) -> str:
    return key({"manifest": manifest.key, "specs": [spec.key for spec in specs]})


def _finish(folder: Path, config: ExtractConfig, manifest: Manifest, specs: list[FeatureSpec],
            computed: "Computed") -> None:  # fmt: skip
    if not (folder / "config.json").exists():
        runs.begin(folder, config.flat())
    source = RANDOM_SOURCE if specs[0].random_weights else locate(config.backbone, weights=config.weights).source
    size = sum(sum(shard_sizes(spec.folder).values()) for spec in specs)
    seconds = computed.seconds
    rate = round(computed.images / seconds, 1) if seconds else 0.0
    found = ExtractResult(
        manifest.dataset, config.backbone, source, len(manifest), computed.images, round(seconds, 2), rate, size, specs
    )
    runs.finish(folder, asdict(found))
    runs.log(
        folder,
        f"extract {config.backbone} ({source}): complete: {counted(len(specs), 'feature')} of "
        f"{counted(len(manifest), 'image')} -> {folder}",
    )
