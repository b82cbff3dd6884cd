"""What a finished training leaves behind: the predictions of the epoch that is kept, and result.json last."""

from dataclasses import asdict

import numpy as np

from cache import runs
from cache.key import file_digest
from data.manifest import Manifest
from finetune.detectors.detector import Detector
from finetune.detectors.detector_file import load_detector
from finetune.detectors.logits import logits_of
from finetune.start import Start
from finetune.training.epochs import Epoch
from finetune.training.job import BEST, Job
from finetune.training.step import TrainingFailed
from finetune.training.team import Team
from finetune.training_result import FinetuneResult
from heads.predictions import predictions_file, write_predictions


def conclude(job: Job, start: Start, history: list[Epoch], team: Team, *, recipe_name: str, smoke: bool,
             test: bool) -> None:  # fmt: skip
    """Score the splits with the best epoch's weights and write them; result.json last.

    Args:
        test: whether the test split is scored, and counted, too.

    Raises:
        UserError: no epoch could be kept.
    """
    if not (job.folder / BEST).exists():
        raise TrainingFailed(f"no epoch of {job.folder} has a finite validation loss: lower `lr` in RECIPE")
    detector, record = load_detector(job.folder / BEST)
    detector = detector.to(team.device)
    for split in ("val", "test") if test else ("val",):
        _predict(detector, job, team, split)
    if not team.leads:
        return
    best = history[record.made["epoch"] - 1]
    parameters = sum(p.numel() for p in detector.parameters())
    result = _result(job, start, history, best, recipe_name=recipe_name, smoke=smoke, parameters=parameters)
    runs.finish(job.folder, asdict(result))
    runs.log(job.folder, f"finetune {recipe_name} ({start.network}): {result.chosen} -> {job.folder}")
    if result.doubt:
        runs.log(job.folder, f"  {result.doubt}")


def _predict(detector: Detector, job: Job, team: Team, split: str) -> None:
    """predictions-<split>.csv: path, digest, label, group, score (logit of fake). The test's is counted."""
    rows = job.manifest.where(split)
    mine = logits_of(detector, job.manifest, team.share(rows), team.device, batch=job.batch, workers=job.workers)
    found = team.gathered(rows, mine)
    if not team.leads or not len(rows):
        return
    if split == "test":
        runs.count_test_scoring(job.manifest.dataset, job.folder.name, found)
    write_predictions(predictions_file(job.folder, split), job.manifest.rows.iloc[rows], score=found)


def _result(job: Job, start: Start, history: list[Epoch], best: Epoch, *, recipe_name: str, smoke: bool,
            parameters: int) -> FinetuneResult:  # fmt: skip
    return FinetuneResult(
        dataset=job.manifest.dataset, manifest_key=job.manifest.key, synthetic=job.manifest.synthetic,
        recipe=recipe_name, network=start.network, started_from=job.recipe.start, random_weights=start.random_weights,
        smoke=smoke, seed=job.seed, head_run=start.head_file.parent.name if start.head_file else "",
        parameters=parameters, epochs=len(history), best_epoch=best.epoch,
        val_auc=best.val_auc, val_loss=best.val_loss, val_accuracy=best.val_accuracy, train_loss=best.train_loss,
        train_accuracy=best.train_accuracy, seconds=round(sum(each.seconds for each in history), 1),
        images_per_second=round(float(np.median([each.images_per_second for each in history])), 1),
        detector=file_digest(job.folder / BEST), chosen_on=_chosen_on(job.manifest),
    )  # fmt: skip


def _chosen_on(manifest: Manifest) -> dict[str, int]:
    """Label -> validation images."""
    fake = manifest.fake[manifest.where("val")]
    return {"real": int((~fake).sum()), "fake": int(fake.sum())}
