"""What a run trained on another data set: everything fixed, every image scored once.

runs/other/<run>-on-<dataset>-<key>/ gets predictions.csv: path, digest, label, group, score. Images that the run's
own data set holds are left out and counted, so that what is called other data is other data.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cache import paths, runs
from cache.errors import UserError
from cache.key import key
from data.manifest import Manifest
from heads.head_file import load_head
from heads.predictions import ABOUT
from heads.scoring import member_scores
from heads.sweep.conclusion import HEAD_FILE, validation_digest, write_table

VERSION = 2  # of result.json


@dataclass(frozen=True)
class OtherConfig:
    """run: folder of a finished sweep. manifest: the other data set's CSV, whose features are in the cache."""

    run: Path
    manifest: Path
    device: str = "cpu"


@dataclass(frozen=True)
class OtherResult:
    """result.json of runs/other/*.

    scored: sha256 of the run's validation scores, as in heads.perturbed. known: images left out because the run's own
    data set holds them too.
    """

    run: str
    scored: str
    dataset: str
    manifest_key: str
    synthetic: bool
    images: int
    known: int
    version: int = VERSION


def run(config: OtherConfig) -> Path:
    """Score; the folder. Does nothing when it is complete.

    Raises:
        UserError: features missing that the head reads, or nothing left to score.
    """

    def from_cache(manifest: Manifest) -> np.ndarray:
        head, record = load_head(config.run / HEAD_FILE)
        return member_scores(head, record, manifest, device=config.device).mean(axis=1)

    return score_elsewhere(config.run, config.manifest, from_cache)


def score_elsewhere(run: Path, manifest_file: Path, scored: Callable[[Manifest], np.ndarray]) -> Path:
    """Score what a run trained on the images of another manifest; the folder in runs/other.

    Args:
        run: a run folder whose config.json names its own `manifest`. scored: a manifest -> logits of fake (N,).

    Raises:
        UserError: nothing left to score, or the run has lost its validation scores.
    """
    scored_by = validation_digest(run)
    manifest = Manifest.load(manifest_file).usable
    identity = key({"run": run.name, "scored": scored_by, "manifest": manifest.key, "version": VERSION})
    folder = paths.run_dir("other", f"{run.name}-on-{manifest.dataset}-{identity}")
    if runs.is_complete(folder):
        return folder
    runs.begin(folder, {"run": str(run), "manifest": str(manifest_file)})
    own = Manifest.load(Path(runs.read_json(run / "config.json")["manifest"]))
    known = manifest.rows.digest.isin(set(own.rows.digest)).to_numpy()
    fresh = replace(manifest, rows=manifest.rows[~known].reset_index(drop=True))
    if not len(fresh):
        raise UserError(f"{manifest.dataset} holds no image that {own.dataset} does not hold: it is no other data")
    scores = scored(fresh)
    write_table(folder / "predictions.csv", fresh.rows[ABOUT].assign(score=scores))
    left_out = int(known.sum())
    found = OtherResult(run.name, scored_by, manifest.dataset, manifest.key, manifest.synthetic, len(fresh), left_out)
    runs.finish(folder, asdict(found))
    note = f", {left_out} left out because {own.dataset} holds them too" if left_out else ""
    runs.log(folder, f"other data {manifest.dataset}: {len(fresh)} images scored by {run.name}{note}")
    return folder
