"""Tail heads: the rest of the backbone, from a cached map on, trained with a linear layer behind it.

fitted = fit_tails(members, task)       several at once: every batch of maps is read once for all of them

For Wide ResNet-50-2 cut at layer3 that is layer4, pooling, dropout and a linear layer on 1024x14x14 maps.
This file imports `extract`; the sweep imports it only when a grid asks for tails.
"""

import copy
import math
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cache.checkpoint import load_strictly
from cache.errors import UserError
from cache.features import FeatureSpec
from extract.computing.compute import Computing, training_compute
from extract.networks.backbones import Backbone, build, empty
from extract.options import number_type
from heads.families import Fitted, Member, Point, Report, Tail
from heads.fitting.seeds import seeded
from heads.fitting.stack import Committee
from heads.fitting.stacked import class_weights, generator_weights
from heads.fitting.task import MapTask, judge
from heads.fitting.unfinished import Unfinished, part_of, with_prefix

EVALUATION_BATCH = 64  # images
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class TailNetwork(Computing):
    """Maps (N, ...) of a tap -> logit of fake (N,).

    Two outputs, as cross-entropy has them, are a real and a fake one: their difference is the logit of fake, and
    its binary cross-entropy is their cross-entropy.

    Args:
        width: of the body's pooled vectors. compute: number type of evaluation. trained_in: that of training.
    """

    def __init__(self, body: nn.Module, *, width: int, dropout: float, outputs: int, compute: str,
                 trained_in: str) -> None:  # fmt: skip
        super().__init__()
        self.body, self.compute, self.trained_in = body, compute, trained_in
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, outputs)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.judged(self.pooled(maps))

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, ...) -> (N, width) float32."""
        maps = maps.float()
        if maps.ndim == 4:
            maps = maps.contiguous(memory_format=torch.channels_last)  # the faster layout for convolutions
        with self.computing(maps.device):
            return self.body(maps).float()

    def judged(self, pooled: torch.Tensor) -> torch.Tensor:
        """(N, width) -> (N,)."""
        logits = self.linear(self.dropout(pooled))
        return logits[:, -1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]


class TailHead(Committee):
    """Tails on maps (N, ...)."""

    reads_maps = True

    def __init__(self, networks: list[TailNetwork]) -> None:
        super().__init__(len(networks))
        self.networks = nn.ModuleList(networks)

    def fill(self, members: list[dict[str, torch.Tensor]]) -> None:
        """Take over the state of trained members."""
        for network, state in zip(self.networks, members, strict=True):
            load_strictly(network, state, where="trained tail")

    def member(self, inputs: torch.Tensor, number: int) -> torch.Tensor:
        return self.networks[number](inputs)[:, None]


def outline(spec: FeatureSpec, config: Tail, row_shape: tuple[int, ...], members: int) -> TailHead:
    """A head of the right shape, to be filled from a file: no weights are looked for."""
    body = empty(spec.backbone, size=spec.preprocess.crop).split(spec.tap)[1]
    return TailHead(
        [tail_network(copy.deepcopy(body), spec, config, row_shape, torch.device("cpu")) for _ in range(members)]
    )


def tail_network(body: nn.Module, spec: FeatureSpec, config: Tail, row_shape: tuple[int, ...],
                 device: torch.device) -> TailNetwork:  # fmt: skip
    """A tail on maps of row_shape, still on the CPU; device: where it will be trained."""
    width, compute = width_of(body, torch.zeros(1, *row_shape)), number_type(spec.compute)
    return TailNetwork(
        body, width=width, dropout=config.dropout, outputs=2 if config.loss == "ce" else 1,
        compute=compute, trained_in=training_compute(body, compute, device),
    )  # fmt: skip


def fit_tails(members: list[Member], task: MapTask, *, report: Report | None = None,
              unfinished: Unfinished | None = None) -> list[Fitted]:  # fmt: skip
    """Train tails side by side; each ends as it would alone, and keeps its epoch of best validation AUC.

    Batches depend on the epoch only; of each a member trains on the rows that its fold does not hold out.

    Raises:
        UserError: other weights than those that the maps came from; no way to split the backbone at the tap.
    """
    backbone = _backbone(task)
    if backbone.weights.identity != task.spec.weights:
        raise UserError(
            f"the maps of {task.spec.folder} come from weights {task.spec.weights}, and {task.spec.backbone} is found "
            f"with {backbone.weights.identity}: give the right file with WEIGHTS=..."
        )
    trainings = [_Training(member, backbone, task) for member in members]
    epoch, left = 0, unfinished.load() if unfinished else None
    if left:
        epoch = _restore(trainings, *left)
    while any(training.running for training in trainings):
        running = [training for training in trainings if training.running]
        batch = members[0].config.batch
        for step, read in enumerate(task.stream.epoch(task.folds.rows, epoch, batch=batch)):
            for training in running:
                training.step(read.rows, read.values, epoch=epoch, step=step)
        for training in running:
            training.end_epoch(epoch)
        epoch += 1
        if report:
            report(epoch, [training.best for training in trainings])
        if unfinished and unfinished.due:
            unfinished.save(*_state(trainings, epoch))
    return [training.best for training in trainings]


def seconds_an_epoch(member: Member, task: MapTask) -> float:
    """What an epoch of a tail takes without its validation, from the second of two steps."""
    training = _Training(member, _backbone(task), task)
    batch = task.stream.some(task.folds.rows, batch=member.config.batch)  # not all maps, to time two steps
    training.step(batch.rows, batch.values, epoch=0, step=0)
    started = time.perf_counter()
    training.step(batch.rows, batch.values, epoch=0, step=0)
    return (time.perf_counter() - started) * training.steps_an_epoch


def _state(trainings: "list[_Training]", epoch: int) -> tuple[dict[str, torch.Tensor], dict]:
    """All that another epoch begins from, after `epoch` of them: tensors and a record."""
    tensors = {}
    for number, training in enumerate(trainings):
        tensors |= with_prefix(str(number), training.tensors())
    return tensors, {"epoch": epoch, "members": [training.record() for training in trainings]}


def _restore(trainings: "list[_Training]", tensors: dict[str, torch.Tensor], record: dict) -> int:
    """Go on from a state: how many epochs it had."""
    for number, (training, each) in enumerate(zip(trainings, record["members"], strict=True)):
        training.restore(part_of(tensors, str(number)), each)
    return record["epoch"]


def _backbone(task: MapTask) -> Backbone:
    return build(task.spec.backbone, weights=task.weights, size=task.spec.preprocess.crop)


class _Training:
    """One tail on its way."""

    def __init__(self, member: Member, backbone: Backbone, task: MapTask) -> None:
        self.member, self.config, self.task = member, member.config, task
        self.best = Fitted(member, {}, math.nan, math.inf)
        self.running = True
        self.trained = torch.from_numpy(task.folds.trained[member.fold])
        self.fake = torch.tensor(task.fake)
        self.weights = class_weights(self.trained, self.fake, self.config.class_balance) * generator_weights(
            self.trained, self.fake, torch.from_numpy(task.folds.made_by), self.config.generator_balance
        )
        self.held_out = np.flatnonzero(task.folds.held_out[member.fold])
        self.steps_an_epoch = math.ceil(len(task.folds.rows) / self.config.batch)
        with seeded(task.device, member.seed):
            self.network = self._network(backbone).to(task.device, memory_format=torch.channels_last)
        self.optimiser = self._optimiser()
        # float16 gradients underflow unless the loss is scaled; bfloat16 and float32 have the range.
        self.scaler = torch.amp.GradScaler(torch.device(task.device).type, enabled=task.spec.compute == "fp16")
        self.losses: list[float] = []  # since the last point of the curve

    def _network(self, backbone: Backbone) -> TailNetwork:
        body = copy.deepcopy(backbone.split(self.task.spec.tap)[1])
        device = torch.device(self.task.device)
        return tail_network(body, self.task.spec, self.config, self.task.row_shape, device).requires_grad_(True)

    def _optimiser(self) -> torch.optim.Optimizer:
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.config.optimiser]
        groups = [
            {"params": list(self.network.body.parameters()), "share": self.config.body_lr},
            {"params": list(self.network.linear.parameters()), "share": 1.0},
        ]
        return kind(
            [group for group in groups if group["params"]], lr=self.config.lr, weight_decay=self.config.weight_decay
        )

    def step(self, rows: np.ndarray, maps: torch.Tensor, *, epoch: int, step: int) -> None:
        """One update on those rows that this member trains on."""
        mine = self.trained[rows]
        if int(mine.sum()) < 2 or not self.running:  # BatchNorm needs two
            return
        done = epoch + step / self.steps_an_epoch
        self._set_rates(done)
        self._mode(training=True)
        rows = torch.from_numpy(rows)[mine]
        with seeded(self.task.device, self.member.seed, epoch, step):
            logits = self.network(maps[mine].to(self.task.device))
        loss = self._loss(logits, rows)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.losses.append(loss.item())
        if not math.isfinite(self.losses[-1]):
            self.running, self.best = False, replace(self.best, diverged=epoch)
        elif self.config.curve_every and (step + 1) % self.config.curve_every == 0:
            self._point(epoch + (step + 1) / self.steps_an_epoch)

    def _loss(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        smoothing, weights = self.config.label_smoothing, self.weights[rows].to(logits.device)
        targets = self.fake[rows].to(logits.device).float() * (1 - smoothing) + smoothing / 2
        losses = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        if self.config.l1:
            loss = loss + self.config.l1 * sum(p.abs().sum() for p in self.network.parameters())
        return loss

    def _set_rates(self, done: float) -> None:
        share = min(done / self.config.epochs, 1.0)
        factor = {"cosine": 0.5 * (1 + math.cos(math.pi * share)), "linear": 1 - share, "constant": 1.0}
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * group["share"] * factor[self.config.schedule]

    def _mode(self, *, training: bool) -> None:
        self.network.train(training)
        if self.config.frozen_norm:
            for module in self.network.modules():
                if isinstance(module, NORMS):
                    module.eval()

    def end_epoch(self, epoch: int) -> None:
        if not self.running:
            return
        drawn = self.best.curve[-1] if self.best.curve else None
        point = drawn if drawn and drawn.epoch == epoch + 1 else self._point(epoch + 1)
        self.best = self.best.after_epoch(epoch, point, self._state)
        self.running = self.best.goes_on(epoch + 1)

    def _state(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Of the network as it is, of its best epoch, and of the optimiser."""
        found = with_prefix("now", self._state()) | with_prefix("best", self.best.parameters)
        for number, moments in self.optimiser.state_dict()["state"].items():
            found |= with_prefix(f"optimiser{number}", moments)
        return found

    def record(self) -> dict:
        """What is known beside the tensors."""
        return {"running": self.running, "scaler": self.scaler.state_dict(), **self.best.to_json()}

    def restore(self, tensors: dict[str, torch.Tensor], record: dict) -> None:
        """Go on from what both of these gave."""
        load_strictly(self.network, part_of(tensors, "now"), where="unfinished tail")
        self.best = Fitted.of_json(record, self.member, part_of(tensors, "best"))
        self.running = record["running"]
        optimiser = self.optimiser.state_dict()
        numbers = [number for group in optimiser["param_groups"] for number in group["params"]]
        optimiser["state"] = {number: part_of(tensors, f"optimiser{number}") for number in numbers}
        self.optimiser.load_state_dict(optimiser)
        self.scaler.load_state_dict(record["scaler"])

    def _point(self, done: float) -> Point:
        """A point of the curve after `done` epochs, kept."""
        self._mode(training=False)
        logits = _scores(self.network, self.task, self.held_out)
        auc, loss = judge(logits[:, None], self.task.fake[self.held_out])
        train_loss = float(np.mean(self.losses)) if self.losses else math.nan
        point = Point(done, train_loss, float(loss[0]), float(auc[0]))
        self.losses = []
        self.best = self.best.with_point(point)
        return point


@torch.no_grad()
def _scores(network: nn.Module, task: MapTask, rows: np.ndarray) -> np.ndarray:
    """(n,) float64."""
    views = range(task.stream.views if task.mean_views else 1)
    each = [
        torch.cat([network(read.values.to(task.device)).cpu().double()
                   for read in task.stream.ordered(rows, view=view, batch=EVALUATION_BATCH)])
        for view in views
    ]  # fmt: skip
    return torch.stack(each).mean(dim=0).numpy()


@torch.no_grad()
def width_of(body: nn.Module, example: torch.Tensor) -> int:
    """Length of the pooled vector that it makes of one example (1, ...)."""
    return body.eval()(example).shape[1]
