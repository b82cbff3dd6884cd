"""What is updated by how much: groups of parameters with their rates, the schedule, which stages are frozen when."""

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from cache.errors import UserError
from finetune.detectors.detector import HEAD, Detector, stages_from
from finetune.recipes import NORMS, Recipe


def stages_of(detector: Detector, recipe: Recipe) -> dict[str, list[nn.Parameter]]:
    """The detector's stages with those of their parameters that the recipe ever trains; of the head all.

    Raises:
        UserError: norms alone are to be trained, and the network has none with weights.
    """
    stages = detector.stages()
    if recipe.trained != NORMS:
        return stages
    norms = detector.norms()
    if not norms:
        raise UserError("trained = norms: this network has no normalisation layer with weights; leave it at all")
    return {name: each if name == HEAD else [p for p in each if p in norms] for name, each in stages.items()}


def optimiser_of(detector: Detector, recipe: Recipe) -> torch.optim.Optimizer:
    """Over every stage that ever trains, two groups each: matrices and kernels, which decay, and vectors.

    A group's `share` is its rate as a share of recipe.lr. Frozen parameters have no gradient and stay as they are.

    Raises:
        UserError: the recipe trains from a stage that the network does not have; as stages_of.
    """
    groups = []
    stages, matrices = stages_of(detector, recipe), detector.matrices()
    shares = rate_shares(list(stages), recipe)
    for name, parameters in stages.items():
        for decays in (True, False):
            chosen = [p for p in parameters if (p in matrices) == decays]
            if chosen and name in shares:
                decay = recipe.weight_decay if decays else 0.0
                groups.append({"params": chosen, "share": shares[name], "weight_decay": decay, "stage": name})
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    return {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimiser](groups, lr=recipe.lr)


def rate_shares(stages: list[str], recipe: Recipe) -> dict[str, float]:
    """Stage -> its learning rate as a share of recipe.lr: 1 for the head, less with every stage below it."""
    trained = stages_from(stages, recipe.trained_from)
    below = {name: distance for distance, name in enumerate(reversed(trained[:-1]))}
    return {name: recipe.body_lr * recipe.layer_decay**distance for name, distance in below.items()} | {HEAD: 1.0}


def unfrozen(stages: list[str], recipe: Recipe, epoch: int) -> list[str]:
    """The stages that train in an epoch: the head in phase 1, then all at once or one more every few epochs."""
    trained = stages_from(stages, recipe.trained_from)
    if epoch < recipe.head_epochs:
        return trained[-1:]
    if not recipe.unfreeze_every:
        return trained
    steps = 2 + (epoch - recipe.head_epochs) // recipe.unfreeze_every
    return trained[-steps:]


def freeze_others(detector: Detector, names: list[str], recipe: Recipe) -> None:
    """Only what the recipe trains of the stages of these names requires gradients."""
    detector.requires_grad_(False)
    stages = stages_of(detector, recipe)
    for name in names:
        for parameter in stages[name]:
            parameter.requires_grad_(True)


def rate_factor(recipe: Recipe, done: float) -> float:
    """What all rates are multiplied by after `done` epochs: 1 in phase 1, then a warm-up and the schedule."""
    if done < recipe.head_epochs:
        return 1.0
    share = min((done - recipe.head_epochs) / recipe.epochs, 1.0)
    if share < recipe.warmup:
        return share / recipe.warmup
    rest = (share - recipe.warmup) / (1 - recipe.warmup) if recipe.warmup < 1 else 0.0
    return {"cosine": 0.5 * (1 + math.cos(math.pi * rest)), "linear": 1 - rest, "constant": 1.0}[recipe.schedule]


def set_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, done: float) -> float:
    """Set every group's learning rate for a step after `done` epochs; returns the head's."""
    rate = recipe.lr * rate_factor(recipe, done)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]
    return rate


def averaged(detector: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and statistics, whose decay rises to `decay` as (1 + n) / (10 + n).

    Without that rise the average would remember the start for as long as a short training lasts.
    """

    @torch.no_grad()
    def update(averages: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, weight)
            else:
                average.copy_(value)  # counters

    return AveragedModel(detector, multi_avg_fn=update, use_buffers=True)
