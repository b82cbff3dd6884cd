"""`make extract`: the rows that are missing -> batches -> one forward -> shards.

    python -m extract --data=path --backbone=resnet18 --features="layer3:map layer3:avg" --part=0/2

Kill it anywhere and run it again: what the shards hold is not missing any more. That is the whole resume code.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cache import paths, runs
from cache.atomic import locked, remove_leftovers
from cache.command import option
from cache.errors import UserError, one_of
from cache.features import LONGEST_SIDE, MOST_VIEWS, FeatureSpec, Preprocess, shard_paths
from cache.key import key
from cache.pooling import POOLINGS, pool
from cache.progress import Progress
from cache.table import FeatureTable, present
from data import build as data_build
from data.build import DataConfig
from data.manifest import Manifest
from data.preprocess import AUGMENTATION, of_view
from extract.backbones import DEFAULT, Backbone, Normalise, build, default_features, locate, preprocess, refuse_unknown
from extract.compute import COMPUTE, compute_of, computing_in, device_of, moved
from extract.layout import layout, refuse_other_layout
from extract.loading import batches, default_workers
from extract.outcome import ExtractResult
from extract.ranks import meet
from extract.weights import RANDOM, RANDOM_SOURCE
from extract.writing import ShardWriter

CPU_BATCH, GPU_BATCH = 32, 256  # images


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(DataConfig):
    """Run frozen backbones over a data set's images and keep the features that are not kept yet."""

    backbone: str = option(DEFAULT, "one or several names: tf_efficientnet_lite0, resnet18, ..., any timm model")
    features: str = option("", "tap:pooling ..., pooling map, avg or avgstd (default: the backbone's own list)")
    weights: str = option("", "a file, random, or name=file for each of several backbones (default: found)")
    size: int = option(0, "side of the network's input in pixels (default: the model's own)")
    crop_only: bool = option(False, "no resize, centre crop only")
    views: int = option(0, "augmented views to keep beside the evaluation view")
    compute: str = option("auto", "bf16, fp16 or fp32; auto = bf16 where the machine gains from it")
    stored: str = option("auto", "float16 or float32; auto = float16 for maps, float32 for pooled vectors")
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto = the best there is")
    part: str = option("", "i/n: this process's share (default: torchrun's rank, else 0/1)")
    batch: int = option(0, "images in a forward pass (default 32 on a CPU, 256 on a GPU)")
    workers: int = option(-1, "processes that decode images, 0 = threads (default: 0 beside a CPU, else one a core)")
    shard_mb: int = option(256, "largest shard in MB")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.compute, ("auto", *COMPUTE), what="COMPUTE")
        one_of(self.stored, ("auto", "float16", "float32"), what="STORED")
        if min(self.views, self.size, self.batch) < 0 or self.shard_mb < 1:
            raise UserError("VIEWS, SIZE and BATCH must not be negative and SHARD_MB must be at least 1")
        if self.size > LONGEST_SIDE or self.views >= MOST_VIEWS:
            raise UserError(f"SIZE must be at most {LONGEST_SIDE} and VIEWS below {MOST_VIEWS}")

    def each_backbone(self) -> Iterator["ExtractConfig"]:
        """One config for each backbone named, with the weights meant for it.

        Raises:
            UserError: an unknown one, before any work starts; one weight file for several.
        """
        names = self.backbone.replace(",", " ").split()
        for name in names:
            refuse_unknown(name)
        given = dict(word.split("=", 1) for word in self.weights.split() if "=" in word)
        for name in names:
            if self.weights and not given and self.weights != RANDOM and len(names) > 1:
                raise UserError(f"WEIGHTS={self.weights} for {len(names)} backbones: write WEIGHTS='{name}=file ...'")
            yield replace(self, backbone=name, weights=given.get(name, "") if given else self.weights)


def run(config: ExtractConfig) -> Path:
    """Compute what is missing for one backbone; the folder whose result.json lists the specs once all rows exist.

    Raises:
        UserError: unknown backbone or tap, no weights, images that changed since they were hashed, a full disk, a cache
            that is removed meanwhile.
    """
    return extract(config, Manifest.load(data_build.run(config)).usable)


def extract(config: ExtractConfig, manifest: Manifest) -> Path:
    """The same for the images of a manifest, which need not be those that config.data names."""
    return fill(config, manifest, *_specs(config))


def fill(config: ExtractConfig, manifest: Manifest, specs: list[FeatureSpec],
         backbone: Backbone | None = None) -> Path:  # fmt: skip
    """Compute what is missing of some features of one backbone; the folder, as of `run`.

    Args:
        config: where the backbone's weights are, and how to compute; what to compute is in specs. backbone: built
            already, or None.

    Raises:
        UserError: as `run`; other weights than those that specs name.
    """
    share, shares = share_of(config.part)
    folder = paths.run_dir("extract", f"{manifest.dataset}-{config.backbone}-{_identity(manifest, specs)}")
    digests, rows = _distinct(manifest)
    missing = {spec: ~present(spec, digests) for spec in specs}
    mine = (np.arange(len(digests)) % shares) == share
    seconds = computed = 0
    if any((mask & mine).any() for mask in missing.values()):
        backbone = backbone or build(config.backbone, weights=config.weights)
        _refuse_other_weights(backbone, specs)
        backbone.tapped(tuple(dict.fromkeys(spec.tap for spec in specs)))  # an unknown tap is told before anything
        runs.begin(folder, _own(config))
        seconds, computed = _extract(config, backbone, manifest, rows, {s: m & mine for s, m in missing.items()})
    meet()  # what the other processes still compute is not missing
    if any(mask.any() for mask in missing.values()):
        missing = {spec: ~present(spec, digests) for spec in specs}
        _refuse_lost(config, {spec: mask & mine for spec, mask in missing.items()})
    left = int(np.logical_or.reduce(list(missing.values())).sum())
    if left:
        print(f"extract {config.backbone}: part {share}/{shares} is done, {left} images are left to the other parts")
    elif not runs.is_complete(folder):
        with locked(folder / "lock"):  # several may be through at the same time; one of them concludes
            if not runs.is_complete(folder):
                _finish(folder, config, manifest, specs, seconds=seconds, computed=computed)
    return folder


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
    manifest = Manifest.load(paths.manifest_file(config.dataset)).usable
    return [FeatureTable(spec, manifest) for spec in specs]


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
        one_of(pooling, POOLINGS, what=f"pooling in {word!r}")
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


def forward(module: nn.Module, pixels: torch.Tensor, compute: str) -> tuple[torch.Tensor, ...]:
    """uint8 pixels (N, H, W, 3) on the device through Normalise and the tapped backbone in `compute`."""
    with torch.inference_mode(), computing_in(compute, pixels.device):
        try:
            return module(pixels)
        except torch.OutOfMemoryError as error:
            raise UserError(f"out of GPU memory with {len(pixels)} images at once: lower BATCH") from error


def frozen(backbone: Backbone, taps: tuple[str, ...], how: Preprocess, device: torch.device) -> nn.Module:
    """uint8 pixels -> the maps of `taps`, in the memory layout that the device is fastest with."""
    network = nn.Sequential(Normalise(how), backbone.tapped(taps))
    return network.eval().to(device, memory_format=torch.channels_last)


def _specs(config: ExtractConfig) -> tuple[list[FeatureSpec], Backbone | None]:
    """One spec for each feature and view. Random weights are known by what was built, so that comes along."""
    backbone = build(config.backbone, weights=RANDOM) if config.weights == RANDOM else None
    how = preprocess(config.backbone, size=config.size, crop_only=config.crop_only)
    weights = backbone.weights if backbone else locate(config.backbone, weights=config.weights)
    compute = compute_of(config.compute, device_of(config.device))
    wanted = parse_features(config.features or " ".join(default_features(config.backbone)))
    laid_out = layout(config.backbone)
    refuse_other_layout(config.backbone, tuple(tap for tap, _ in wanted), laid_out, crop=how.crop)
    return [
        FeatureSpec(
            backbone=config.backbone, weights=weights.identity, tap=tap, pooling=pooling, preprocess=how,
            compute=compute, stored=_stored(config.stored, pooling),
            view=view, augmentation=AUGMENTATION if view else "", **laid_out,
        )
        for view in range(config.views + 1) for tap, pooling in wanted
    ], backbone  # fmt: skip


def _stored(word: str, pooling: str) -> str:
    if word != "auto":
        return word
    return "float16" if pooling == "map" else "float32"


def _extract(config: ExtractConfig, backbone: Backbone, manifest: Manifest, rows: np.ndarray,
             missing: dict[FeatureSpec, np.ndarray]) -> tuple[float, int]:  # fmt: skip
    """One forward per image and view fills every feature that misses it. Returns seconds and images computed."""
    views = defaultdict(list)
    for spec, mask in missing.items():
        remove_leftovers(spec.folder)
        if mask.any():
            views[spec.view, spec.augmentation].append(spec)
    todo = {view: np.flatnonzero(np.logical_or.reduce([missing[s] for s in specs])) for view, specs in views.items()}
    label = f"extract {backbone.name} part {config.part or '0/1'}"
    with Progress(label, sum(map(len, todo.values()))) as progress:
        for view, specs in views.items():
            progress.note = " ".join(filter(None, [f"view {view[0]}" if view[0] else "", view[1].rpartition(":")[2]]))
            wanted = {spec: missing[spec][todo[view]] for spec in specs}
            _one_view(config, backbone, manifest, rows[todo[view]], wanted, progress)
    return progress.seconds, progress.done


def _one_view(config: ExtractConfig, backbone: Backbone, manifest: Manifest, rows: np.ndarray,
              wanted: dict[FeatureSpec, np.ndarray], progress: Progress) -> None:  # fmt: skip
    device = device_of(config.device)
    specs, first = list(wanted), next(iter(wanted))
    taps = tuple(dict.fromkeys(spec.tap for spec in specs))
    module = frozen(backbone, taps, first.preprocess, device)
    size = config.batch or (CPU_BATCH if device.type == "cpu" else GPU_BATCH)
    workers = default_workers(device) if config.workers < 0 else config.workers
    draw = of_view(first.view, first.augmentation)
    loader = batches(manifest, rows, first.preprocess, draw=draw, size=size, workers=workers)
    done = 0
    with ShardWriter(specs, limit=config.shard_mb * 1_000_000) as writer:
        while True:
            with progress.timing("read"):
                batch = next(loader, None)
            if batch is None:
                return
            with progress.timing("forward"):
                tapped = forward(module, moved(batch.pixels, device), first.compute)
                outputs = dict(zip(taps, tapped, strict=True))
                kept = [_kept(spec, outputs[spec.tap][: batch.count]) for spec in specs]
            with progress.timing("write"):
                at = slice(done, done + batch.count)
                writer.add(manifest.digests[rows[at]], kept, [wanted[spec][at] for spec in specs])
            done += batch.count
            progress.advance(batch.count)


def _refuse_lost(config: ExtractConfig, missing: dict[FeatureSpec, np.ndarray]) -> None:
    """Raises: UserError if rows that were just computed are not there."""
    lost = int(np.logical_or.reduce(list(missing.values())).sum())
    if lost:
        raise UserError(
            f"extract {config.backbone}: features of {lost} images were written and are gone: somebody removed them "
            f"from {paths.features_dir()} meanwhile, `make clean` perhaps. The same command computes what is missing"
        )


def _refuse_other_weights(backbone: Backbone, specs: list[FeatureSpec]) -> None:
    wanted = {spec.weights for spec in specs}
    if wanted != {backbone.weights.identity}:
        raise UserError(
            f"features of {backbone.name} with weights {', '.join(sorted(wanted))} are missing, and it is found with "
            f"{backbone.weights.identity}: give the right file with WEIGHTS=..."
        )


def _kept(spec: FeatureSpec, tapped: torch.Tensor) -> torch.Tensor:
    return pool(tapped, spec.pooling, channels_last=spec.channels_last, prefix_tokens=spec.prefix_tokens)


def _distinct(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Digests (M, 32) of the distinct images in manifest order, and the row of each one's first copy (M,)."""
    rows = np.flatnonzero(~manifest.rows.digest.duplicated())
    return manifest.digests[rows], rows


def _identity(manifest: Manifest, specs: list[FeatureSpec]) -> str:
    return key({"manifest": manifest.key, "specs": [spec.key for spec in specs]})


def _own(config: ExtractConfig) -> dict:
    """Its options without those of a stage that calls this one: they say nothing here, and one holds a password."""
    return {each.name: getattr(config, each.name) for each in fields(ExtractConfig)}


def _finish(folder: Path, config: ExtractConfig, manifest: Manifest, specs: list[FeatureSpec], *, seconds: float,
            computed: int) -> None:  # fmt: skip
    if not (folder / "config.json").exists():
        runs.begin(folder, _own(config))
    source = RANDOM_SOURCE if specs[0].random_weights else locate(config.backbone, weights=config.weights).source
    size = sum(path.stat().st_size for spec in specs for path in shard_paths(spec.folder))
    rate = round(computed / seconds, 1) if seconds else 0.0
    found = ExtractResult(
        manifest.dataset, config.backbone, source, len(manifest), computed, round(seconds, 2), rate, size, specs
    )
    runs.finish(folder, asdict(found))
    runs.log(
        folder, f"extract {config.backbone} ({source}): {len(specs)} features of {len(manifest)} images are complete"
    )
