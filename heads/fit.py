"""Many heads over one table in one pass: minibatch AdamW where every hyperparameter is a vector along the heads."""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from heads import metrics
from heads.models import HeadConfig, Stack

BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass(frozen=True)
class Split:
    """Standardised features (N, D) float32 and the positive class (N,) bool."""

    X: torch.Tensor
    fake: torch.Tensor


@dataclass(frozen=True)
class Fitted:
    """parameters: name -> (H, ...) of each head's best epoch. epoch, val_auc, val_loss: (H,) of that epoch.

    A head whose loss stopped being finite keeps its best epoch before; with none, its val_auc is nan.
    """

    parameters: dict[str, torch.Tensor]
    epoch: torch.Tensor
    val_auc: torch.Tensor
    val_loss: torch.Tensor

    def head(self, index: int) -> dict[str, torch.Tensor]:
        return {name: tensor[index] for name, tensor in self.parameters.items()}


def fit(configs: list[HeadConfig], train: Split, val: Split, *, epochs: int, batch: int) -> Fitted:
    """Train heads of one shape together; each ends as it would alone, and keeps its epoch of best validation AUC.

    Batches depend on the epoch only, so that all heads share them: that is what makes one matrix product
    serve them all. Seeds differ in the initialisation.

    Args:
        batch: rows a step.
    """
    stack = Stack(train.X.shape[1], configs[0].hidden, [config.seed for config in configs]).to(train.X.device)
    optimiser = _StackedAdamW(stack, configs)
    best = _Best(stack)
    steps = math.ceil(len(train.X) / batch)
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(epoch)
        order = torch.randperm(len(train.X), generator=generator).to(train.X.device)
        for step, rows in enumerate(order.split(batch)):
            logits = stack(train.X[rows])
            targets = train.fake[rows].float()[:, None].expand_as(logits)
            # The sum over heads: each head's gradient is that of its own mean loss.
            loss = binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=0).sum()
            gradients = torch.autograd.grad(loss, list(stack.parameters()))
            optimiser.step(gradients, progress=(epoch * steps + step) / (epochs * steps))
        best.update(stack, val, epoch)
    return best.fitted()


class _StackedAdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), cosine schedule, a rate and a decay for each head."""

    def __init__(self, stack: Stack, configs: list[HeadConfig]) -> None:
        self.parameters = list(stack.parameters())
        device = self.parameters[0].device
        self.lr = torch.tensor([config.lr for config in configs], device=device)
        self.decay = torch.tensor([config.weight_decay for config in configs], device=device)
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self, gradients: tuple[torch.Tensor, ...], *, progress: float) -> None:
        self.steps += 1
        rate = self.lr * (0.5 * (1 + math.cos(math.pi * progress)))
        correction1, correction2 = (1 - beta**self.steps for beta in BETAS)
        for p, gradient, mean, square in zip(self.parameters, gradients, self.means, self.squares, strict=True):
            per_head = (-1, *[1] * (p.ndim - 1))
            mean.lerp_(gradient, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            p.mul_((1 - rate * self.decay).view(per_head))
            denominator = (square / correction2).sqrt_().add_(EPSILON)
            p.sub_(mean.div(denominator).mul_((rate / correction1).view(per_head)))


class _Best:
    """Each head's parameters at its epoch of best validation AUC, ties by validation loss."""

    def __init__(self, stack: Stack) -> None:
        self.parameters = {name: p.detach().clone() for name, p in stack.named_parameters()}
        heads = len(stack.bias)
        self.auc = torch.full((heads,), torch.nan, dtype=torch.float64)
        self.loss = torch.full((heads,), torch.inf)
        self.epoch = torch.zeros(heads, dtype=torch.int64)

    @torch.no_grad()
    def update(self, stack: Stack, val: Split, epoch: int) -> None:
        scores = stack(val.X)
        auc, loss = metrics.auc(scores, val.fake).cpu(), metrics.log_loss(scores, val.fake).cpu()
        better = loss.isfinite() & (self.auc.isnan() | (auc > self.auc) | ((auc == self.auc) & (loss < self.loss)))
        self.auc, self.loss = torch.where(better, auc, self.auc), torch.where(better, loss, self.loss)
        self.epoch[better] = epoch
        for name, p in stack.named_parameters():
            chosen = better.to(p.device).view(-1, *[1] * (p.ndim - 1))
            self.parameters[name] = torch.where(chosen, p, self.parameters[name])

    def fitted(self) -> Fitted:
        return Fitted(self.parameters, self.epoch, self.auc, self.loss)
