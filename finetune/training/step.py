"""One update: the gradients of a step's images, from any number of processes and parts, and what they change."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cache.errors import UserError
from extract.computing.compute import moved
from finetune.recipes import Recipe
from finetune.training.hypersphere import alignment, uniformity
from finetune.training.state import SUMS, Learner, Standing
from finetune.training.team import Team
from heads.fitting.seeds import seeded


class TrainingFailed(UserError):
    """These settings do not train; others may."""


@dataclass
class Stepper:
    """Updates a learner.

    network: the detector as steps go through it, compiled or spread over processes. fake: (N,) bool, weights: (N,)
    float32 of all images, by row. standing: its `accumulate` is raised where memory does not suffice.
    """

    recipe: Recipe
    learner: Learner
    team: Team
    network: nn.Module
    fake: torch.Tensor
    weights: torch.Tensor
    seed: int
    standing: Standing
    may_accumulate: bool

    def update(self, rows: np.ndarray, pixels: torch.Tensor, *, epoch: int, step: int) -> torch.Tensor:
        """One update from all processes' rows; this process's SUMS.

        Args:
            pixels: of the team's share of rows. epoch, step: what randomness is a function of.
        """
        sums = self._gradients(rows, pixels, (self.seed, epoch, step, self.team.rank))
        try:
            self._apply()
        except torch.OutOfMemoryError as error:  # Adam's state and the average come with the first step
            raise TrainingFailed(
                f"out of memory while updating the weights: use a smaller network or `ema` 0 ({error})"
            ) from error
        return sums

    def _apply(self) -> None:
        """Weights, average and loss scale after the gradients of all parts are there; clipped if the recipe says so."""
        learner = self.learner
        if self.recipe.clip:
            learner.scaler.unscale_(learner.optimiser)
            nn.utils.clip_grad_norm_(learner.detector.parameters(), self.recipe.clip)
        learner.scaler.step(learner.optimiser)
        learner.scaler.update()
        learner.optimiser.zero_grad(set_to_none=True)
        if learner.average:
            learner.average.update_parameters(learner.detector)

    def _gradients(self, rows: np.ndarray, pixels: torch.Tensor, seeds: tuple[int, ...]) -> torch.Tensor:
        """Leave the gradients of the step's mean loss in the parameters, computed in as many parts as memory allows."""
        while True:
            try:
                with seeded(str(self.team.device), *seeds):
                    return self._in_parts(rows, pixels)
            except torch.OutOfMemoryError as error:
                self._refuse_more_parts(len(pixels), error)
            self._use_less_memory()  # behind the block, where the error no longer holds on to the activations

    def _in_parts(self, rows: np.ndarray, pixels: torch.Tensor) -> torch.Tensor:
        """The same in `standing.accumulate` parts; the sums (SUMS,) over this process's images."""
        mine = torch.from_numpy(self.team.share(rows))
        total = self.weights[rows].sum()
        # As many in every process: synchronised BatchNorm waits for all of them in each part.
        count = min(self.standing.accumulate, len(rows) // self.team.size)
        parts = np.array_split(np.arange(len(mine)), count)
        sums = torch.zeros(SUMS, dtype=torch.float64, device=self.team.device)
        for part in parts:
            last = part is parts[-1]
            # Gradients travel between processes once a step.
            alone = nullcontext() if last or self.team.size == 1 else self.network.no_sync()
            with alone:
                chosen = pixels if len(parts) == 1 else pixels[part]
                logits, shape = self._passed(moved(chosen, self.team.device), mine[part])
                losses, right = self._losses(logits, mine[part])
                loss = (losses * self.weights[mine[part]]).sum() / total * self.team.size  # DDP takes the mean
                loss = loss + shape * (len(part) * self.team.size / len(rows))
                loss = loss + self._penalty() if last else loss
                self.learner.scaler.scale(loss).backward()
            sums += torch.stack([losses.detach().double().sum(), right.double().sum(), sums.new_tensor(len(part))])
        return sums

    def _passed(self, pixels: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Logits (n,) of pixels (n, side, side, 3) uint8, and what their embeddings add to the mean loss."""
        if not self.recipe.shapes_embeddings:
            return self.network(pixels), 0.0
        logits, embeddings = self.network(pixels, with_embeddings=True)
        aligned = self.recipe.alignment * alignment(embeddings, self.fake[rows].to(embeddings.device))
        return logits, aligned + self.recipe.uniformity * uniformity(embeddings)

    def _losses(self, logits: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (n,) of each image, and whether its logit is on its class's side (n,)."""
        fake = self.fake[rows].to(logits.device)
        smoothing = self.recipe.label_smoothing
        targets = fake.float() * (1 - smoothing) + smoothing / 2
        return loss_of(logits, targets, self.recipe.loss), (logits.detach() > 0) == fake

    def _penalty(self) -> torch.Tensor | float:
        if not self.recipe.l1:
            return 0.0
        return self.recipe.l1 * sum(p.abs().sum() for p in self.learner.detector.parameters() if p.requires_grad)

    def _refuse_more_parts(self, images: int, error: Exception) -> None:
        """Raises: TrainingFailed if they were not asked for, or a part is a single image already."""
        at_once = -(-images // self.standing.accumulate)
        if not self.may_accumulate or at_once == 1 or self.team.size > 1:
            raise TrainingFailed(
                f"out of memory with {at_once} images at once: raise `accumulate` ({self.standing.accumulate}) in "
                "RECIPE, which keeps the batch, or lower `batch` or SIZE; with one process AUTO_ACCUMULATE=1 raises "
                "it by itself"
            ) from error

    def _use_less_memory(self) -> None:
        """More and smaller parts. What BatchNorm's statistics took from the parts before stays in them."""
        self.standing.accumulate *= 2
        self.learner.optimiser.zero_grad(set_to_none=True)
        if self.team.device.type == "cuda":
            torch.cuda.empty_cache()


def loss_of(logits: torch.Tensor, targets: torch.Tensor, kind: str) -> torch.Tensor:
    """Loss (n,) of logits of fake (n,) for targets (n,) in 0..1.

    Cross-entropy on a pair of logits is binary cross-entropy on their difference d. Where the pair went through a
    softmax before (`ce-softmax`), the difference that cross-entropy sees is that of the probabilities: tanh(d / 2).
    """
    if kind == "ce-softmax":
        logits = torch.tanh(logits / 2)
    return binary_cross_entropy_with_logits(logits, targets, reduction="none")
