"""One training from its start, or from where it was stopped, to result.json."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from cache import paths, runs
from cache.atomic import remove_leftovers
from cache.errors import UserError
from data.manifest import SPLITS, Manifest
from extract.networks.backbones import build
from finetune.detectors.detector import Detector, FeatureDetector
from finetune.detectors.detector_file import network_detector
from finetune.detectors.detector_record import NetworkRecord
from finetune.detectors.parity import parity
from finetune.options import FinetuneConfig
from finetune.start import Start
from finetune.trackers import FOLDER as TRACKED
from finetune.trackers import Tracker, trackers
from finetune.training.finish import conclude
from finetune.training.job import Job
from finetune.training.loop import Training
from finetune.training.team import Team
from heads.fitting.seeds import seeded

NAMED_IMAGES = 5  # of each split, in log.txt


def train(config: FinetuneConfig, job: Job, start: Start, here: Team, *, watchers: Sequence[Tracker] = (),
          test: bool = True) -> None:  # fmt: skip
    """Train, choose the epoch, score the splits.

    Args:
        watchers: follow the curves beside the trackers. test: whether the test split is scored.
    """
    name = job.record.made["recipe"]
    remove_leftovers(job.folder)
    if here.leads and not (job.folder / "config.json").exists():
        manifest = str(paths.manifest_file(job.manifest.dataset))
        runs.begin(job.folder, {**config.flat(), "manifest": manifest, "made_from": job.made_from})
    detector = build_detector(start, seed=config.seed)
    detector = detector.to(here.device, memory_format=torch.channels_last if job.recipe.channels_last else None)
    detector = detector if job.recipe.frozen_norm else here.synchronised(detector)
    compared = parity(start, detector, here.device, batch=job.batch, workers=job.workers)
    checkpoint = Path(config.checkpoint).expanduser() if config.checkpoint else None
    training = Training(job, detector, here, checkpoint=checkpoint)
    if here.leads:
        _log_beginning(job, training, compared)
    replay = not (job.folder / TRACKED).exists()
    here.wait()
    opened = trackers(config.tracker, job.folder, settings=job.recipe.to_json(), step=training.steps_done)
    with opened if here.leads else nullcontext([]) as following:
        history = training.run([*following, *watchers], replay=replay)
    here.wait()
    conclude(job, start, history, here, recipe_name=name, smoke=config.smoke, test=test)
    here.wait()


def _log_beginning(job: Job, training: Training, compared: str) -> None:
    """What the original project's session logs held: settings, images, stages."""
    recipe, manifest, folder = job.recipe, job.manifest, job.folder
    runs.log(folder, f"finetune {folder.name}: {compared}")
    runs.log(
        folder, f"trains in {training.precision} on {training.team.device}, {training.team.size} processes", quiet=True
    )
    for name, value in recipe.to_json().items():
        runs.log(folder, f"setting {name} = {value}", quiet=True)
    for split in SPLITS:
        rows = manifest.rows.iloc[manifest.where(split)]
        runs.log(folder, f"{split}: {len(rows)} images, first {', '.join(rows.path[:NAMED_IMAGES])}", quiet=True)
    for row in Manifest.load(paths.manifest_file(manifest.dataset)).unusable.itertuples():
        runs.log(folder, f"left out {row.path}: {row.status} {row.note}", quiet=True)


def build_detector(start: Start, *, seed: int) -> Detector:
    """With the weights that training starts from, in eval mode on the CPU; seed: of layers that have none yet.

    Raises:
        UserError: other weights than those that the head was trained on.
    """
    record = start.record.built_from
    if isinstance(record, NetworkRecord):
        network = (
            None if record.own else build(record.network, weights=start.weights, size=record.preprocess.crop).module
        )
        with seeded("cpu", seed):
            return network_detector(record, network).eval()
    spec = record.inputs[0]
    backbone = build(spec.backbone, weights=start.weights, size=spec.preprocess.crop)
    detector = FeatureDetector.load(start.head_file, [backbone])
    if not detector.trainable:
        raise UserError(
            f"the chosen head is {record.config.name}, through which no gradient passes: choose among others "
            'with GRID=..., or begin without a head with RECIPE=\'{"start": "pretrained", "head_epochs": 3}\''
        )
    return detector
