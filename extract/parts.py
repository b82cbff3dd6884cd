"""Missing features computed: by this process, or in parts by the machines of a cluster."""

from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cache.errors import UserError
from cache.features import FeatureSpec
from cache.progress import Progress
from data.manifest import Manifest
from extract.missing import Missing
from extract.options import ExtractConfig

if TYPE_CHECKING:
    from extract.networks.backbones import Backbone


@dataclass(frozen=True)
class Computed:
    """What was done. images: computed, each view of one for itself."""

    seconds: float = 0.0
    images: int = 0


def ready(config: ExtractConfig, missing: Missing, backbone: "Backbone | None" = None) -> "Backbone | None":
    """The network that computes what is missing, built unless it is given; None where the machines of CLUSTER build it.

    Raises:
        UserError: other weights than the features name, or an unknown tap, which is told before anything is begun.
    """
    if config.cluster:
        return None
    specs = list(missing.masks)
    backbone = backbone or _built(config.backbone, config.weights, specs[0].preprocess.crop)
    _refuse_other_weights(backbone, specs)
    backbone.tapped(tuple(dict.fromkeys(spec.tap for spec in specs)))
    return backbone


def compute(config: ExtractConfig, missing: Missing, backbone: "Backbone | None") -> Computed:
    """Compute what is missing, here or where CLUSTER says. backbone: what `ready` gave.

    Raises:
        UserError: as extract.run.run.
    """
    if config.cluster:
        return _on_cluster(config, missing)
    from extract.computing import forward  # where nothing is missing, no network is imported

    return Computed(*forward.compute(config, backbone, missing))


def _on_cluster(config: ExtractConfig, missing: Missing) -> Computed:
    """Each part is what PART=i/n would be. One that is begun anew, because its machine died, does what was not kept."""
    from extract.cluster import machines, results
    from extract.computing.machine import batch_of

    count = min(config.parts, -(-missing.images // batch_of(config.batch, "cpu")))  # no part is less than a batch
    sizes = [missing.part(share, count).passes for share in range(count)]
    shares = [share for share in range(count) if sizes[share]]
    done = results(config, _part, shares, config, missing.manifest, list(missing.masks), count)
    with closing(done), Progress(f"extract {config.backbone} on {config.cluster}", missing.passes) as progress:
        for finished, share in enumerate(done, start=1):
            progress.note = f"part {finished}/{len(shares)}, {machines()}"
            progress.advance(sizes[share])
    return Computed(progress.seconds, progress.done)


def _part(share: int, config: ExtractConfig, manifest: Manifest, specs: list[FeatureSpec], count: int) -> int:
    """One part, on a machine of the cluster, whose process keeps the network for the next one; its number."""
    missing = Missing.of(manifest, specs).part(share, count)
    if missing.images:
        here = config.here(share, count)
        network = _kept(config.backbone, config.weights, specs[0].preprocess.crop)
        compute(here, missing, ready(here, missing, network))
    return share


def _built(name: str, weights: str, size: int) -> "Backbone":
    from extract.networks import backbones

    return backbones.build(name, weights=weights, size=size)


_kept = lru_cache(maxsize=1)(_built)


def _refuse_other_weights(backbone: "Backbone", specs: list[FeatureSpec]) -> None:
    wanted = {spec.weights for spec in specs}
    if wanted != {backbone.weights.identity}:
        raise UserError(
            f"features of {backbone.name} with weights {', '.join(sorted(wanted))} are missing, and it is found with "
            f"{backbone.weights.identity}: give the right file with WEIGHTS=..."
        )
