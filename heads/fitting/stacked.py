"""Many linear or mlp heads over one table in one pass: every hyperparameter is a vector along the heads.

fitted = fit(members, task)      members share a Shape and a batch size
"""

import math
import time
from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from heads.families import Fitted, Member, Point, Report
from heads.fitting import column_metrics
from heads.fitting.stack import Dropout, Stack, initial
from heads.fitting.task import Task
from heads.fitting.unfinished import Unfinished, part_of, with_prefix
from heads.stream import Batch

BETAS = (0.9, 0.999)
EPSILON = 1e-8
ACTIVATIONS = 64_000_000  # numbers of one layer of all heads at once, when heads are judged


def fit(members: list[Member], task: Task, *, report: Report | None = None,
        unfinished: Unfinished | None = None) -> list[Fitted]:  # fmt: skip
    """Train heads of one shape together; each ends as it would alone, and keeps its epoch of best validation AUC.

    Batches, and the view that each row is drawn in, depend on the epoch only, so that all heads share them: that is
    what makes one matrix product serve them all. A fold's held-out rows are in the batch with weight 0. Seeds
    differ in the initialisation and in dropout. A head that has run its epochs or its patience leaves the stack.
    """
    best = [Fitted(member, {}, math.nan, math.inf) for member in members]
    training = _Training(members, task)
    epoch, left = 0, unfinished.load() if unfinished else None
    if left:
        epoch, best = training.restore(*left)
    while len(training.active):
        losses = training.run_epoch(epoch)
        auc, val_loss = training.judge()
        for slot, number in enumerate(training.active):
            point = Point(epoch + 1, float(losses[slot]), float(val_loss[slot]), float(auc[slot]))
            held = best[number].with_point(point)
            best[number] = held.after_epoch(epoch, point, lambda slot=slot: training.parameters(slot))
        epoch += 1
        training.keep([slot for slot, number in enumerate(training.active) if best[number].goes_on(epoch)])
        if report:
            report(epoch, best)
        if unfinished and unfinished.due and len(training.active):
            unfinished.save(*training.state(epoch, best))
    return best


def seconds_an_epoch(members: list[Member], task: Task) -> float:
    """What an epoch of these heads takes: the second of two steps times their number, and a validation."""
    training = _Training(members, task)
    batch = task.stream.some(task.folds.rows, batch=training.batch)
    training.step(batch, progress=0.0, step=0)
    started = time.perf_counter()
    training.step(batch, progress=0.0, step=1)
    stepped = time.perf_counter()
    training.judge()
    judged = time.perf_counter() - stepped
    return (stepped - started) * math.ceil(len(task.folds.rows) / training.batch) + judged


class _Training:
    """The stack, its optimiser and its view of the rows. `active`: numbers of the members that are still trained."""

    def __init__(self, members: list[Member], task: Task) -> None:
        self.task, self.members = task, members
        device = task.device
        fold = torch.tensor([member.fold for member in members])
        shape = members[0].config.shape(task.columns)
        self.stack = Stack(
            shape,
            initial(shape, [member.seed for member in members]),
            mean=task.mean[fold] if len(task.folds) > 1 else None,
            std=task.std[fold] if len(task.folds) > 1 else None,
        ).to(device)
        self.optimiser = _StackedAdamW(self.stack, members)
        self.active = list(range(len(members)))
        self.batch = members[0].config.batch
        self.weightings = list(dict.fromkeys(map(_weighting, members)))
        self.row_weights = torch.stack([self._row_weights(*each) for each in self.weightings])  # (K, N)
        self.even = bool((self.row_weights[:, torch.from_numpy(task.folds.rows).to(device)] == 1).all())
        self._read_members()

    def _read_members(self) -> None:
        """The vectors along the heads that are active now."""
        members, device = [self.members[number] for number in self.active], self.task.device
        configs = [member.config for member in members]
        self.smoothing = torch.tensor([config.label_smoothing for config in configs], device=device)
        self.weighting = torch.tensor([self.weightings.index(_weighting(m)) for m in members], device=device)
        self.drops = any(config.dropout for config in configs)
        self.dropout = Dropout(
            torch.tensor([config.dropout for config in configs], device=device), tuple(m.seed for m in members), 0
        )
        self.held_out = {
            fold: torch.tensor([slot for slot, member in enumerate(members) if member.fold == fold], device=device)
            for fold in dict.fromkeys(member.fold for member in members)
        }

    def _row_weights(self, fold: int, balance: float, of_generators: float) -> torch.Tensor:
        trained = torch.from_numpy(self.task.folds.trained[fold]).to(self.task.fake.device)
        made_by = torch.from_numpy(self.task.folds.made_by).to(trained.device)
        weights = class_weights(trained, self.task.fake, balance)
        return weights * generator_weights(trained, self.task.fake, made_by, of_generators)

    def run_epoch(self, epoch: int) -> torch.Tensor:
        """Mean training loss of each active head: (H,)."""
        steps = math.ceil(len(self.task.folds.rows) / self.batch)
        total = torch.zeros(len(self.active), device=self.task.device)
        for number, batch in enumerate(self.task.stream.epoch(self.task.folds.rows, epoch, batch=self.batch)):
            step = epoch * steps + number
            total += self.step(batch, progress=step / steps, step=step)
        return (total / steps).cpu()

    def step(self, batch: Batch, *, progress: float, step: int) -> torch.Tensor:
        """One update; the losses (H,). progress in epochs."""
        rows = torch.from_numpy(batch.rows).to(self.task.device)
        dropout = replace(self.dropout, step=step) if self.drops else None
        logits = self.stack(self.task.standard(batch.values), dropout)
        targets = self.task.fake[rows].float()[:, None] * (1 - self.smoothing) + self.smoothing / 2
        losses = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        # A head's loss is its own mean; the sum over heads gives each one its own gradient.
        losses = losses.mean(dim=0) if self.even else self._weighted(losses, rows)
        gradients = torch.autograd.grad(losses.sum(), list(self.stack.parameters()))
        self.optimiser.step(gradients, progress=progress)
        return losses.detach()

    def _weighted(self, losses: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Each head's mean of losses (n, H) under its weights of the rows: (H,)."""
        weights = self.row_weights[:, rows].T[:, self.weighting]
        return (losses * weights).sum(dim=0) / weights.sum(dim=0).clamp_min(EPSILON)

    @torch.no_grad()
    def judge(self) -> tuple[torch.Tensor, torch.Tensor]:
        """AUC (H,) float64 and log loss (H,) of every active head on the rows that its fold holds out."""
        auc = torch.empty(len(self.active), dtype=torch.float64)
        loss = torch.empty(len(self.active))
        for fold, slots in self.held_out.items():
            stack = self.stack if len(slots) == len(self.active) else self.stack.selected(slots)
            scores = self._scores(stack, fold)
            fake = self.task.fake[torch.from_numpy(self.task.folds.held_out[fold]).to(self.task.device)]
            auc[slots.cpu()] = column_metrics.auc(scores, fake)
            loss[slots.cpu()] = column_metrics.log_loss(scores, fake).cpu()
        return auc, loss

    def _scores(self, stack: Stack, fold: int) -> torch.Tensor:
        """What some heads say of a fold's held-out rows, (m, H), the mean over the views."""
        rows, views = np.flatnonzero(self.task.folds.held_out[fold]), self.task.judging_views
        scores = sum(
            torch.cat([stack(self.task.standard(batch.values))
                       for batch in self.task.stream.ordered(rows, view=view, batch=self._judged_at_once())])
            for view in range(views)
        )  # fmt: skip
        return scores / views

    def _judged_at_once(self) -> int:
        """Rows whose activations, heads x rows x width, and standardised features stay bounded."""
        width = max(self.stack.shape.hidden, default=1)
        return max(1, ACTIVATIONS // max(len(self.active) * width, self.task.columns))

    def parameters(self, slot: int) -> dict[str, torch.Tensor]:
        tensors = {name: p[slot].detach().cpu().clone() for name, p in self.stack.named_parameters()}
        return tensors | self.task.standardisation(self.members[self.active[slot]].fold)

    def keep(self, slots: list[int]) -> None:
        """Go on with these of the active heads only."""
        if len(slots) == len(self.active):
            return
        self.active = [self.active[slot] for slot in slots]
        if self.active:
            chosen = torch.tensor(slots, device=self.task.device)
            self.stack = self.stack.selected(chosen)
            self.optimiser.keep(self.stack, chosen)
            self._read_members()

    def state(self, epoch: int, best: list[Fitted]) -> tuple[dict[str, torch.Tensor], dict]:
        """All that another epoch begins from, after `epoch` of them: tensors and a record."""
        tensors = with_prefix("stack", dict(self.stack.named_parameters()))
        for name, moments in self.optimiser.moments.items():
            tensors |= with_prefix(name, dict(enumerate(moments)))
        for number, each in enumerate(best):
            tensors |= with_prefix(f"best{number}", each.parameters)
        record = {"epoch": epoch, "active": self.active, "steps": self.optimiser.steps}
        return tensors, {**record, "best": [each.to_json() for each in best]}

    @torch.no_grad()
    def restore(self, tensors: dict[str, torch.Tensor], record: dict) -> tuple[int, list[Fitted]]:
        """Go on from a state: how many epochs it had, and the best of each member so far."""
        self.keep(record["active"])
        self.optimiser.steps = record["steps"]
        for name, parameter in self.stack.named_parameters():
            parameter.copy_(tensors[f"stack {name}"])
        for name, moments in self.optimiser.moments.items():
            for number, moment in enumerate(moments):
                moment.copy_(tensors[f"{name} {number}"])
        best = [
            Fitted.of_json(each, member, part_of(tensors, f"best{number}"))
            for number, (each, member) in enumerate(zip(record["best"], self.members, strict=True))
        ]
        return record["epoch"], best


def _weighting(member: Member) -> tuple[int, float, float]:
    """What the weights of the rows depend on."""
    return member.fold, member.config.class_balance, member.config.generator_balance


def class_weights(trained: torch.Tensor, fake: torch.Tensor, balance: float) -> torch.Tensor:
    """Weight of every row (N,) float32: 0 where not trained on, else (rows / (2 * rows of its class)) ** balance."""
    shares = torch.where(fake, (fake & trained).sum(), (~fake & trained).sum()) / trained.sum()
    return trained * (0.5 / shares) ** balance


def generator_weights(trained: torch.Tensor, fake: torch.Tensor, made_by: torch.Tensor,
                      balance: float) -> torch.Tensor:  # fmt: skip
    """Factor of every row's weight (N,) float32: 1 of real images, of fake ones their generator's inverse count to the
    power of balance, scaled so that all fakes together weigh what they did.

    Args:
        made_by: (N,) int64, as Folds has it.
    """
    factors = torch.ones(len(fake), device=fake.device)
    rows = trained & fake
    if balance and rows.any():
        counts = torch.bincount(made_by[rows], minlength=int(made_by.max()) + 1)
        factors[fake] = counts[made_by[fake]].clamp_min(1).float() ** -balance
        factors[fake] *= rows.sum() / factors[rows].sum()
    return factors


class _StackedAdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with a rate, decay, L1 and schedule for each head."""

    def __init__(self, stack: Stack, members: list[Member]) -> None:
        self.stack = stack
        configs = [member.config for member in members]
        device = stack.bias.device
        vectors = {"lr": "lr", "decay": "weight_decay", "l1": "l1", "epochs": "epochs"}
        self.vectors = {
            name: torch.tensor([float(getattr(config, of)) for config in configs], device=device)
            for name, of in vectors.items()
        }
        self.l1 = any(config.l1 for config in configs)
        for schedule in ("cosine", "linear"):
            self.vectors[schedule] = torch.tensor([config.schedule == schedule for config in configs], device=device)
        self.means = [torch.zeros_like(p) for p in stack.parameters()]
        self.squares = [torch.zeros_like(p) for p in stack.parameters()]
        self.steps = 0

    def keep(self, stack: Stack, slots: torch.Tensor) -> None:
        self.stack = stack
        self.vectors = {name: vector[slots] for name, vector in self.vectors.items()}
        self.means, self.squares = [m[slots] for m in self.means], [s[slots] for s in self.squares]

    @property
    def moments(self) -> dict[str, list[torch.Tensor]]:
        return {"mean": self.means, "square": self.squares}

    def rate(self, progress: float) -> torch.Tensor:
        """Learning rates (H,) after `progress` epochs."""
        done = (progress / self.vectors["epochs"]).clamp(max=1)
        factor = torch.where(self.vectors["cosine"], 0.5 * (1 + torch.cos(math.pi * done)), torch.ones_like(done))
        return self.vectors["lr"] * torch.where(self.vectors["linear"], 1 - done, factor)

    @torch.no_grad()
    def step(self, gradients: tuple[torch.Tensor, ...], *, progress: float) -> None:
        self.steps += 1
        rate = self.rate(progress)
        shrink, l1 = 1 - rate * self.vectors["decay"], self.vectors["l1"]
        correction1, correction2 = (1 - beta**self.steps for beta in BETAS)
        parameters = self.stack.named_parameters()
        for (name, p), gradient, mean, square in zip(parameters, gradients, self.means, self.squares, strict=True):
            per_head = (-1, *[1] * (p.ndim - 1))
            if self.l1 and name.startswith("weight"):
                gradient = gradient + l1.view(per_head) * p.sign()
            mean.lerp_(gradient, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            p.mul_(shrink.view(per_head))
            denominator = (square / correction2).sqrt_().add_(EPSILON)
            p.sub_(mean.div(denominator).mul_((rate / correction1).view(per_head)))
