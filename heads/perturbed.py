"""What a run says of perturbed copies of the images that it is judged by: everything fixed, nothing chosen.

runs/perturbed/<run>-<key>/ gets predictions.csv: path, digest, label, group, `none` (the images as they are), and a
column of scores for each perturbation. A head that is judged by several views is scored by the evaluation view here.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cache import paths, runs
from cache.key import key
from data.manifest import Manifest
from data.perturb import PERTURBATIONS, VERSION, Perturbation
from heads.head_file import load_head
from heads.predictions import ABOUT
from heads.scoring import member_scores
from heads.sweep.conclusion import HEAD_FILE, validation_digest, write_table

STAGE = "perturbed"
UNCHANGED = "none"  # the column of the images as they are


@dataclass(frozen=True)
class PerturbedResult:
    """result.json of runs/perturbed/*.

    split: whose images; images: scored, of so many. perturbations: names. views: the run's own scores are means over so
    many, while these are of one. scored: sha256 of the run's validation scores, which tells a run from one that was
    made anew under its name.
    """

    run: str
    scored: str
    dataset: str
    split: str
    images: int
    of: int
    perturbations: list[str]
    views: int = 1
    version: str = VERSION


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


def perturbed_folder(run: Path, chosen: Manifest) -> Path:
    """Where the scores of a run on some images are kept, if they are there."""
    identity = key(
        {
            "run": run.name,
            "scored": validation_digest(run),
            "images": chosen.key,
            "how": [each.policy for each in PERTURBATIONS],
        }
    )
    return paths.run_dir(STAGE, f"{run.name}-{identity}")


def score_perturbed(run: Path, manifest: Manifest, chosen: Manifest,
                    scored: Callable[[Perturbation | None], np.ndarray], *, views: int = 1) -> Path:  # fmt: skip
    """Score `chosen` images as they are and in every perturbation; their folder in runs/perturbed.

    The test split is scored once more, and the ledger counts it.

    Args:
        run: a finished run on `manifest`. scored: a perturbation -> logits of fake (N,) of the chosen images.
    """
    folder = perturbed_folder(run, chosen)
    runs.begin(folder, {"run": str(run), "images": len(chosen)})
    scores = {UNCHANGED: scored(None)} | {each.name: scored(each) for each in PERTURBATIONS}
    split = judged_split(manifest)
    if split == "test":
        runs.count_test_scoring(manifest.dataset, folder.name, np.stack(list(scores.values())))
    about = chosen.rows[ABOUT]
    write_table(folder / "predictions.csv", about.assign(**scores))
    names = [each.name for each in PERTURBATIONS]
    of = len(manifest.where(split))
    found = PerturbedResult(run.name, validation_digest(run), manifest.dataset, split, len(chosen), of, names, views)
    runs.finish(folder, asdict(found))
    runs.log(folder, f"perturbed: {len(chosen)} images in {len(names)} ways scored by {run.name}")
    return folder


def score_head(run: Path, manifest: Manifest, chosen: Manifest, *, device: str) -> Path:
    """The same of the head of a finished sweep, from cached features, which must be there."""
    head, record = load_head(run / HEAD_FILE)

    def scored(perturbation: Perturbation | None) -> np.ndarray:
        policy = perturbation.policy if perturbation else ""
        inputs = [replace(spec, augmentation=policy) for spec in record.inputs]
        once = replace(record, inputs=inputs, views=1)
        return member_scores(head, once, chosen, device=device).mean(axis=1)

    return score_perturbed(run, manifest, chosen, scored, views=record.views)
