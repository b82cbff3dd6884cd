"""How far heat maps can be believed: two checks, each with what a worthless map would get.

road             take the places away that a map calls most relevant, and the least: does the score follow?
randomisation    shuffle the detector's weights: does the map change?

A third one, analysis.gradcam.seams, is for the built-in sample.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from analysis.gradcam.findings import PARTS, Road, Sanity
from analysis.gradcam.heatmaps import Explained, class_targets
from analysis.gradcam.options import AUTO
from analysis.judge.bootstrap import bootstrap
from analysis.judge.intervals import Interval
from finetune.detectors.detector import HEAD
from heads.fitting.seeds import seeded

# Percentiles of a map above which places are taken away, and their share. Solving for a larger one takes long: on one
# core 0.02 s for 5 % of 256x256 pixels, 0.07 s for 15 %, 0.2 s for 30 %.
PERCENTILES = (95, 85)
NOISE = 0.01 * 255  # grey levels; the method's own 0.01, for images in 0..1
TIE_WIDTH = 12  # pixels of the smooth noise that orders places of equal relevance
THIN = 4  # every so many pixels in both directions is compared between maps, which are smoother than that


def road(explained: Explained, pixels: torch.Tensor, maps: np.ndarray, targets: Sequence[str], *,
         groups: np.ndarray | None = None, seed: int = 0) -> Road:  # fmt: skip
    """Remove and debias (Rong et al. 2022, arXiv:2202.00449), with noisy linear imputation.

    What is taken away is filled from its surroundings, so that no black hole gives the place away. The control moves
    each map by a random quarter to three quarters of the image and may mirror it: it says the same of another place.

    Args:
        pixels: (N, side, side, 3) uint8. maps: (N, side, side). targets: what they explain, `real` or `fake` each.
            groups: (N,) of images that belong together; by default each is its own.
    """
    rng = np.random.default_rng(seed)
    found = _road_each(explained, pixels, _ranked(maps, rng), targets, seed)
    control = _road_each(explained, pixels, _ranked(_moved(maps, rng), rng), targets, seed)
    intervals = [mean_interval(each, groups) for each in (found, control, found - control)]
    return Road(
        len(maps), [round(1 - each / 100, 3) for each in PERCENTILES], *intervals, float(np.mean(found > control))
    )


def randomisation(explained: Explained, pixels: torch.Tensor, maps: np.ndarray, targets: Sequence[str], *,
            method: str = AUTO, seed: int = 0) -> list[Sanity]:  # fmt: skip
    """The model parameter randomisation test (Adebayo et al. 2018, arXiv:1810.03292): the head's, then all weights.

    Args:
        as for road; method: that made the maps.
    """
    between = _mean(_correlations(maps, np.roll(maps, 1, axis=0)))
    found = []
    for part in PARTS:
        other = _correlations(maps, shuffled(explained, part, seed=seed).maps(pixels, targets, method=method))
        lowest, highest = (float(other.min()), float(other.max())) if len(other) else (None, None)
        found.append(Sanity(part, len(other), _mean(other), lowest, highest, between))
    return found


def shuffled(explained: Explained, part: str, *, seed: int) -> Explained:
    """A copy in which the numbers of each parameter, of the head or of everything, have changed places.

    Every parameter keeps its mean and its spread, so that the network stays in its range. What BatchNorm has counted
    of its inputs stays.
    """
    changed = copy.deepcopy(explained)
    stages = changed.detector.stages()
    chosen = stages[HEAD] if part == HEAD else [each for stage in stages.values() for each in stage]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for each in chosen:
            order = torch.randperm(each.numel(), generator=generator).to(each.device)
            each.copy_(each.flatten()[order].view_as(each))
    return changed


def mean_interval(values: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    """Mean of (N,) with its interval over the images, or over groups (N,) of them."""
    groups = np.arange(len(values)) if groups is None else groups
    mean = bootstrap(
        lambda counts: {"mean": counts @ values / counts.sum(axis=1)}, np.zeros(len(values), bool), groups
    )["mean"]
    return Interval.of_mean(mean)


def _road_each(explained: Explained, pixels: torch.Tensor, ranks: np.ndarray, targets: Sequence[str],
               seed: int) -> np.ndarray:  # fmt: skip
    """(N,) logits, mean over PERCENTILES."""
    x, looked_at = explained.prepared(pixels), class_targets(targets)
    gaps = []
    for percentile in PERCENTILES:
        after = []
        for kind in (RemoveLeastRelevantFirst, RemoveMostRelevantFirst):
            with seeded("cpu", seed):  # the imputer's noise: the same for the maps and for their control
                metric = PerturbationConfidenceMetric(kind(percentile, NoisyLinearImputer(NOISE)))
                after.append(metric(x, ranks, looked_at, explained, return_diff=False))
        gaps.append(after[0] - after[1])
    return np.mean(gaps, axis=0, dtype=np.float64)


def _ranked(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each map's places by rank in [0, 1), float32.

    The library cuts at a percentile of the map's values. Of a map that is zero over half the image such a cut takes
    all of that half or nothing, so places of equal value are put in an order, that of smooth noise: scattered single
    pixels would be filled too well.
    """
    ranks = np.empty(maps.shape, np.float32)
    for rank, each in zip(ranks, maps, strict=True):
        noise = gaussian_filter(rng.standard_normal(each.shape), TIE_WIDTH, mode="wrap")
        order = np.lexsort((noise.ravel(), each.ravel()))
        rank.ravel()[order] = np.arange(each.size, dtype=np.float32) / each.size
    return ranks


def _moved(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = maps.shape[1]
    moved = [np.roll(each, rng.integers(side // 4, side - side // 4, 2), axis=(0, 1)) for each in maps]
    return np.stack([each[:, ::-1] if rng.random() < 0.5 else each for each in moved])


def _correlations(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each pair that has one, (k,)."""
    pairs = zip(maps[:, ::THIN, ::THIN], others[:, ::THIN, ::THIN], strict=True)
    ranked = [(one, other) for one, other in pairs if np.ptp(one) > 0 and np.ptp(other) > 0]
    return np.array([spearmanr(one, other, axis=None).statistic for one, other in ranked])


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
