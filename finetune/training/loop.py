"""The loop: steps of any number of processes and parts, epochs with their validation, exact resume.

A run that is killed anywhere and started again ends with the same bits on a CPU as one that never stopped. N
processes with the same global batch reach what one reaches, to float tolerance, as long as no layer draws random
numbers (dropout) and BatchNorm is frozen or, on GPUs, synchronised as it is here; a CPU cannot synchronise it.
"""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cache import runs
from cache.atomic import copy
from cache.errors import UserError
from cache.progress import Progress
from data.manifest import Manifest
from extract.loading import default_workers, loaded
from finetune.detectors.detector import Detector
from finetune.detectors.detector_file import save_detector
from finetune.detectors.logits import logits_of
from finetune.trackers import Tracker
from finetune.training import state
from finetune.training.epochs import Epoch, drawn, is_best, steps_of
from finetune.training.job import BEST, EPOCHS_FILE, Job
from finetune.training.optimise import averaged, freeze_others, optimiser_of, set_rates, unfrozen
from finetune.training.state import Learner, Standing, refuse_other_best
from finetune.training.step import Stepper, TrainingFailed, loss_of
from finetune.training.team import Team
from heads.fitting.stacked import class_weights
from heads.fitting.task import judge

SAVE_SECONDS = 120.0  # of training that a kill can lose at most, where save_every does not say otherwise
POINT_STEPS = 20  # between two points of the curve of the loss within an epoch


class DivergedError(TrainingFailed):
    """The loss is not a finite number any more."""


class Training:
    """One detector on its way.

    Args:
        detector: on the team's device, as it starts. checkpoint: to go on from, where the folder has none of its own.

    Raises:
        UserError: a split without both classes, a checkpoint that does not belong here.
    """

    def __init__(self, job: Job, detector: Detector, team: Team, *, checkpoint: Path | None = None) -> None:
        self.job, self.recipe, self.team, self.detector = job, job.recipe, team, detector
        self.rows = job.manifest.where("train")
        self.val = job.manifest.where("val")
        self.fake = torch.tensor(job.manifest.fake)
        _refuse_one_class(job.manifest, self.rows, self.val)
        if self.recipe.shapes_embeddings and not detector.embeds:
            raise UserError(
                "alignment and uniformity: this head reads maps and has no embedding; choose one of vectors"
            )
        trained = torch.zeros(len(job.manifest), dtype=torch.bool)
        trained[self.rows] = True
        weights = class_weights(trained, self.fake, self.recipe.class_balance).to(team.device)
        self.precision = detector.train_in(self.recipe.precision, team.device)
        self.learner = Learner(
            detector, optimiser_of(detector, self.recipe),
            torch.amp.GradScaler(team.device.type, enabled=self.precision == "fp16"),
            averaged(detector, self.recipe.ema) if self.recipe.ema else None,
        )  # fmt: skip
        self.standing = Standing(self.recipe.accumulate)
        self._resume(checkpoint)
        self.standing.sums = self.standing.sums.to(team.device)
        self.stepper = Stepper(
            self.recipe, self.learner, team, detector, self.fake, weights, job.seed, self.standing,
            job.auto_accumulate,
        )  # fmt: skip
        self.trackers: list[Tracker] = []
        self.saved = time.monotonic()

    @property
    def steps_an_epoch(self) -> int:
        return -(-len(self.rows) // self.recipe.batch)

    @property
    def steps_done(self) -> int:
        """Since the start of the training."""
        return self.standing.epoch * self.steps_an_epoch + self.standing.step

    def run(self, trackers: list[Tracker], *, replay: bool = False) -> list[Epoch]:
        """Train what is left; every epoch's row. The best epoch's weights are in BEST.

        Args:
            replay: tell the trackers of the epochs before, too, which they have not seen.

        Raises:
            DivergedError: the loss stopped being finite. UserError: out of memory.
        """
        self.trackers = trackers
        if replay:
            self._replay()
        total = self.recipe.total_epochs * len(self.rows)
        with Progress(f"finetune {self.job.folder.name}", total) as progress:
            progress.advance(self.standing.epoch * len(self.rows))
            while self.standing.epoch < self.recipe.total_epochs:
                self._epoch(progress)
        self._write_metrics()  # also where a checkpoint was all that there was of the last epoch
        return self.standing.history

    def _replay(self) -> None:
        for epoch in self.standing.history:
            for tracker in self.trackers:
                tracker.log(epoch.curves(), epoch.epoch * self.steps_an_epoch)

    def _write_metrics(self) -> None:
        if self.team.leads:
            table = pd.DataFrame([each.to_json() for each in self.standing.history])
            runs.write_table(self.job.folder / EPOCHS_FILE, table)

    def _epoch(self, progress: Progress) -> None:
        epoch, begun = self.standing.epoch, self.standing.step
        steps = steps_of(self.rows, batch=self.recipe.batch, seed=self.job.seed, epoch=epoch, processes=self.team.size)
        self._log_images(steps)
        steps = steps[begun:]
        self._unfreeze(epoch)
        draw = drawn(self.recipe.augmentation, seed=self.job.seed, epoch=epoch)
        workers = default_workers(self.team.device) if self.job.workers < 0 else self.job.workers
        shares = [self.team.share(rows) for rows in steps]
        loader = loaded(self.job.manifest, shares, self.detector.preprocess, draw=draw, workers=workers)
        started = time.perf_counter()
        for rows in steps:
            with progress.timing("read"):
                pixels = next(loader)
            with progress.timing("train"):
                rate = self._step(rows, pixels)
            progress.advance(len(rows))
            self._between_steps(rate)
        float(self.standing.sums[0])  # a GPU is done when its numbers can be read
        seconds = time.perf_counter() - started
        with progress.timing("validate"):
            self._end_epoch(rate, seconds, images=sum(map(len, steps)))
        last = self.standing.history[-1]
        progress.note = f"epoch {last.epoch}/{self.recipe.total_epochs} val AUC {last.val_auc:.4f}"

    def _log_images(self, steps: list[np.ndarray]) -> None:
        """Which image is in which step of this epoch, before the first: the order is known, however far it gets."""
        if not (self.job.log_images and self.team.leads):
            return
        chosen = self.job.manifest.rows.iloc[np.concatenate(steps)]
        step = np.repeat(np.arange(1, len(steps) + 1), [len(rows) for rows in steps])
        table = pd.DataFrame({"step": step, "path": chosen.path.to_numpy(), "digest": chosen.digest.to_numpy()})
        runs.write_table(self.job.folder / f"images-{self.standing.epoch + 1:03}.csv", table)

    def _unfreeze(self, epoch: int) -> None:
        """The stages that train in this epoch, in training mode; the network that steps go through."""
        names = unfrozen(list(self.detector.stages()), self.recipe, epoch)
        freeze_others(self.detector, names, self.recipe)
        self.detector.training_mode(frozen_norm=self.recipe.frozen_norm)
        network = torch.compile(self.detector) if self.recipe.compile else self.detector
        self.stepper.network = self.team.wrapped(network)

    def _step(self, rows: np.ndarray, pixels: torch.Tensor) -> float:
        """One update; the learning rate that it had."""
        standing, stepper = self.standing, self.stepper
        done = standing.epoch + (standing.step + 0.5) / self.steps_an_epoch
        rate = set_rates(self.learner.optimiser, self.recipe, done)
        parts = standing.accumulate
        standing.sums += stepper.update(rows, pixels, epoch=standing.epoch, step=standing.step)
        if standing.accumulate != parts:
            self._log(f"out of memory: going on in {standing.accumulate} parts a step")
        standing.step += 1
        return rate

    def _between_steps(self, rate: float) -> None:
        """A point of the curve now and then, and a checkpoint when it is time."""
        standing = self.standing
        if self.team.leads and self.trackers and standing.step % POINT_STEPS == 0:
            loss, _, images = standing.sums.tolist()
            for tracker in self.trackers:
                tracker.log({"step/loss_so_far": loss / images, "step/lr": rate}, self.steps_done)
        inside = standing.step < self.steps_an_epoch
        by_steps = self.job.save_every and standing.step % self.job.save_every == 0
        by_clock = not self.job.save_every and time.monotonic() - self.saved > SAVE_SECONDS
        if inside and (by_steps or (by_clock and self.team.size == 1)):  # processes share no clock
            self.team.sum(standing.sums)
            if not self.team.leads:
                standing.sums.zero_()  # the first process, which writes, has the sums of all from here on
            self._save()

    def _end_epoch(self, rate: float, seconds: float, *, images: int) -> None:
        standing = self.standing
        loss, right, count = self.team.sum(standing.sums).tolist()
        if not math.isfinite(loss):
            raise DivergedError(
                f"the training loss is {loss} in epoch {standing.epoch + 1}: lower `lr` or set `clip` in RECIPE. "
                f"Delete {self.job.folder} to begin anew."
            )
        logits = self._validation_logits()
        val_auc, val_accuracy, val_loss = self._judged(logits)
        epoch = Epoch(
            standing.epoch + 1, 1 if standing.epoch < self.recipe.head_epochs else 2, rate, loss / count,
            right / count, val_loss, val_auc, val_accuracy, round(images / seconds, 2), round(seconds, 2),
        )  # fmt: skip
        standing.history.append(epoch)
        standing.epoch, standing.step = standing.epoch + 1, 0
        standing.sums = torch.zeros_like(standing.sums)
        if is_best(standing.history, standing.best, self.recipe):
            standing.best = epoch.epoch
            self._keep(self.job.folder / BEST)
        self._report(epoch)

    def _validation_logits(self) -> np.ndarray:
        """(k,) float64 of all validation images, each scored by one process."""
        judged = self.judged.eval()
        for module in (self.detector, judged):
            self.team.share_statistics(module)  # what is judged must be what the first process saves
        mine = logits_of(
            judged, self.job.manifest, self.team.share(self.val), self.team.device, batch=self.job.batch,
            workers=self.job.workers,
        )  # fmt: skip
        return self.team.gathered(self.val, mine)

    @property
    def judged(self) -> Detector:
        """The detector with the weights that count: their average, if there is one."""
        return self.learner.average.module if self.learner.average else self.detector

    def _judged(self, logits: np.ndarray) -> tuple[float, float, float]:
        """AUC, accuracy at 0 and loss."""
        fake = self.fake.numpy()[self.val]
        targets = torch.from_numpy(fake).double()
        loss = float(loss_of(torch.from_numpy(logits), targets, self.recipe.loss).mean())
        if not np.isfinite(logits).all():
            return math.nan, math.nan, math.inf
        return float(judge(logits[:, None], fake)[0][0]), float(((logits > 0) == fake).mean()), loss

    def _keep(self, path: Path) -> None:
        """Write the weights that count as a detector that loads by itself."""
        if self.team.leads:
            last = self.standing.history[-1]
            made = {**self.job.record.made, "epoch": last.epoch, "val_auc": last.val_auc, "val_loss": last.val_loss}
            save_detector(path, self.judged.state_dict(), replace(self.job.record, made=made))

    def _report(self, epoch: Epoch) -> None:
        if not self.team.leads:
            return
        keep = self.job.keep_every
        if keep and epoch.epoch % keep == 0:
            self._keep(self.job.folder / f"epoch-{epoch.epoch:03}.safetensors")
        self._write_metrics()
        self._save()
        for tracker in self.trackers:
            tracker.log(epoch.curves(), self.steps_done)
        self._log(
            f"epoch {epoch.epoch}/{self.recipe.total_epochs} phase {epoch.phase}: train loss {epoch.train_loss:.4f} "
            f"accuracy {epoch.train_accuracy:.4f}, val loss {epoch.val_loss:.4f} AUC {epoch.val_auc:.4f} accuracy "
            f"{epoch.val_accuracy:.4f}{' (best)' if self.standing.best == epoch.epoch else ''}, "
            f"{epoch.images_per_second:.1f} img/s",
            quiet=True,
        )

    def _save(self) -> None:
        """A checkpoint; one with a loss that is not finite would be of no use."""
        if self.team.leads and bool(torch.isfinite(self.standing.sums).all()):
            state.save(self.job.folder / state.FILE, self.job.made_from, self.learner, self.standing)
        self.saved = time.monotonic()

    def _resume(self, checkpoint: Path | None) -> None:
        own = self.job.folder / state.FILE
        path = own if own.exists() else checkpoint
        if path is None:
            return
        self.standing, warning = state.load(path, self.job.made_from, self.learner)
        self.team.refuse_difference((self.standing.epoch, self.standing.step), what=f"epoch and step of {path}")
        if not self.team.leads:
            self.standing.sums.zero_()
        if warning:
            self._log(warning)
        if self.standing.best >= 0:
            best = path.parent / BEST
            refuse_other_best(best, self.job.record.made["run"], self.standing)
            if path != own and self.team.leads:
                copy(best, self.job.folder / BEST)
        self._log(f"going on behind epoch {self.standing.epoch}, step {self.standing.step} of {path.name}")

    def _log(self, text: str, *, quiet: bool = False) -> None:
        if self.team.leads:
            runs.log(self.job.folder, text, quiet=quiet)


def _refuse_one_class(manifest: Manifest, train: np.ndarray, val: np.ndarray) -> None:
    for name, rows in (("train", train), ("val", val)):
        fakes = int(manifest.fake[rows].sum())
        if not 0 < fakes < len(rows):
            raise UserError(
                f"{manifest.dataset}: the {name} split has {len(rows) - fakes} real and {fakes} fake images; training "
                "needs both in train and val"
            )
