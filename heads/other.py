"""A finished sweep's head on another data set: everything fixed, every image scored once.

runs/other/<run>-on-<dataset>-<key>/ gets predictions.csv: path, digest, label, group, score. Images that the head's
own data set holds are left out and counted, so that what is called other data is other data.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cache import paths, runs
from cache.atomic import replacing
from cache.errors import UserError
from cache.key import key
from data.manifest import Manifest
from heads.outcome import HEAD_FILE
from heads.saved import load_head
from heads.scoring import member_scores

VERSION = 1  # of result.json


@dataclass(frozen=True)
class OtherConfig:
    """run: folder of a finished sweep. manifest: the other data set's CSV, whose features are in the cache."""

    run: Path
    manifest: Path
    device: str = "cpu"


@dataclass(frozen=True)
class OtherResult:
    """result.json of runs/other/*. known: images left out because the head's own data set holds them too."""

    run: str
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
    manifest = Manifest.load(config.manifest).usable
    identity = key({"run": config.run.name, "manifest": manifest.key, "version": VERSION})
    folder = paths.run_dir("other", f"{config.run.name}-on-{manifest.dataset}-{identity}")
    if runs.is_complete(folder):
        return folder
    runs.begin(folder, {"run": str(config.run), "manifest": str(config.manifest)})
    own = Manifest.load(Path(runs.read_json(config.run / "config.json")["manifest"]))
    known = manifest.rows.digest.isin(set(own.rows.digest)).to_numpy()
    rows = np.flatnonzero(~known)
    if not len(rows):
        raise UserError(f"{manifest.dataset} holds no image that {own.dataset} does not hold: it is no other data")
    head, record = load_head(config.run / HEAD_FILE)
    scores = member_scores(head, record, manifest, device=config.device).mean(axis=1)
    with replacing(folder / "predictions.csv") as temporary:
        table = manifest.rows.iloc[rows][["path", "digest", "label", "group"]]
        table.assign(score=scores[rows]).to_csv(temporary, index=False)
    left_out = int(known.sum())
    found = OtherResult(config.run.name, manifest.dataset, manifest.key, manifest.synthetic, len(rows), left_out)
    runs.finish(folder, asdict(found))
    note = f", {left_out} left out because {own.dataset} holds them too" if left_out else ""
    runs.log(folder, f"other data {manifest.dataset}: {len(rows)} images scored by {config.run.name}{note}")
    return folder
