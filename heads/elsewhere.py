"""What a finished run says of images that are not its own, everything fixed: other data, and changed copies.

runs/other/<run>-on-<dataset>-<key>/   predictions.csv: path, digest, label, group, score
runs/perturbed/<run>-<key>/            predictions.csv: path, digest, label, group, `none` (the images as they are),
                                       and a column of scores for each perturbation
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cache import paths, runs
from cache.errors import UserError
from cache.key import key
from cache.progress import Progress
from data import perturb
from data.manifest import Manifest
from data.perturb import PERTURBATIONS
from heads.predictions import validation_digest, write_predictions
from heads.scorer import Scorer

OTHER, CHANGED = "other", "perturbed"  # stages, as their folders in runs/ are called
OTHER_VERSION = 2  # of result.json of runs/other
UNCHANGED = "none"  # the column of the images as they are
FILE = "predictions.csv"


@dataclass(frozen=True)
class OtherResult:
    """result.json of runs/other/*.

    scored: sha256 of the run's validation scores, which tells a run from one that was made anew under its name.
    known: images left out because the run's own data set holds them too. engine: what ran the networks.
    """

    run: str
    scored: str
    dataset: str
    manifest_key: str
    synthetic: bool
    images: int
    known: int
    version: int = OTHER_VERSION
    engine: str = "torch"


@dataclass(frozen=True)
class PerturbedResult:
    """result.json of runs/perturbed/*.

    split: whose images; images: scored, of so many. perturbations: names. views: the run's own scores are means over so
    many, while these are of one. scored, engine: as in OtherResult.
    """

    run: str
    scored: str
    dataset: str
    split: str
    images: int
    of: int
    perturbations: list[str]
    views: int = 1
    version: str = perturb.VERSION
    engine: str = "torch"


def other_data_folder(run: Path, manifest: Manifest) -> Path:
    """Where the scores that a run gives another data set are kept. Raises: UserError if it lost its own."""
    record = {
        "run": run.name, "scored": validation_digest(run), "manifest": manifest.key, "version": OTHER_VERSION,
    }  # fmt: skip
    return paths.run_dir(OTHER, f"{run.name}-on-{manifest.dataset}-{key(record)}")


def changed_folder(run: Path, chosen: Manifest) -> Path:
    """Where the scores that a run gives changed images are kept. Raises: UserError if it lost its own."""
    record = {
        "run": run.name, "scored": validation_digest(run), "images": chosen.key,
        "how": [each.policy for each in PERTURBATIONS],
    }  # fmt: skip
    return paths.run_dir(CHANGED, f"{run.name}-{key(record)}")


def other_images(scorer: Scorer, manifest: Manifest) -> Manifest:
    """The images of another data set that the run's own does not hold, so that what is called other data is that.

    Raises:
        UserError: there are none.
    """
    own = Manifest.load(scorer.manifest_file)
    known = manifest.rows.digest.isin(set(own.rows.digest)).to_numpy()
    if known.all():
        raise UserError(f"{manifest.dataset} holds no image that {own.dataset} does not hold: it is no other data")
    return replace(manifest, rows=manifest.rows[~known].reset_index(drop=True))


def score_other_data(scorer: Scorer, manifest: Manifest) -> Path:
    """Score every usable image of another data set once; the folder. Does nothing when it is complete.

    Raises:
        UserError: no image that is not the run's own, features missing, or the run has lost its validation scores.
    """
    folder = other_data_folder(scorer.folder, manifest)
    if runs.is_complete(folder):
        return folder
    runs.begin(folder, {"run": str(scorer.folder), "manifest": str(paths.manifest_file(manifest.dataset))})
    fresh = other_images(scorer, manifest)
    write_predictions(folder / FILE, fresh.rows, score=scorer.scores(fresh))
    left_out, run = len(manifest) - len(fresh), scorer.folder.name
    found = OtherResult(run, validation_digest(scorer.folder), manifest.dataset, manifest.key, manifest.synthetic,
                        len(fresh), left_out, engine=scorer.engine)  # fmt: skip
    runs.finish(folder, asdict(found))
    own = runs.result(scorer.folder)["dataset"]
    note = f", {left_out} left out because {own} holds them too" if left_out else ""
    runs.log(folder, f"other data {manifest.dataset}: {len(fresh)} images scored by {run}{note}")
    return folder


def score_changed_images(scorer: Scorer, manifest: Manifest, chosen: Manifest) -> Path:
    """Score some images as they are and in every perturbation; the folder. Does nothing when it is complete.

    All are seen once, in the evaluation view. The test split is scored once more, and the ledger counts it.

    Args:
        manifest: of the run's own data set. chosen: the images of it, as `chosen_images` has them.
    """
    folder = changed_folder(scorer.folder, chosen)
    if runs.is_complete(folder):
        return folder
    runs.begin(folder, {"run": str(scorer.folder), "images": len(chosen)})
    scores, run, split = _of_changes(scorer.once, chosen), scorer.folder.name, judged_split(manifest)
    if split == "test":
        runs.count_test_scoring(manifest.dataset, folder.name, np.stack(list(scores.values())))
    write_predictions(folder / FILE, chosen.rows, **scores)
    names, of = [each.name for each in PERTURBATIONS], len(manifest.where(split))
    scored = validation_digest(scorer.folder)
    found = PerturbedResult(run, scored, manifest.dataset, split, len(chosen), of, names, scorer.views,
                            engine=scorer.engine)  # fmt: skip
    runs.finish(folder, asdict(found))
    runs.log(folder, f"perturbed: {len(chosen)} images in {len(names)} ways scored by {run}")
    return folder


def chosen_images(manifest: Manifest, limit: int) -> Manifest:
    """At most `limit` images of the test split, or of val where there is none, as many of each class as there can be.

    Those of lowest digest, so that a data set that grows keeps most of them.
    """
    rows = manifest.rows[manifest.rows.split == judged_split(manifest)]
    by_class = [part.sort_values("digest") for _, part in rows.groupby("label")]
    least = min(map(len, by_class), default=0)
    share = max(1, limit // max(1, len(by_class)), limit - least if least < limit // 2 else 0)
    chosen = pd.concat([rows.head(0), *(part.head(share) for part in by_class)])
    return replace(manifest, rows=chosen.sort_index().reset_index(drop=True))


def judged_split(manifest: Manifest) -> str:
    """test, or val where there is no test split."""
    return "test" if len(manifest.where("test")) else "val"


def _of_changes(scorer: Scorer, chosen: Manifest) -> dict[str, np.ndarray]:
    """By the name of the perturbation: (N,)."""
    changes = {UNCHANGED: None} | {each.name: each for each in PERTURBATIONS}
    scores = {}
    with Progress(f"perturbed {scorer.folder.name}", len(chosen) * len(changes)) as progress:
        for name, change in changes.items():
            progress.note = name
            scores[name] = scorer.scores(chosen, change)
            progress.advance(len(chosen))
    return scores
