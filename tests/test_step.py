"""A training in small, by hand: what one update does to weights, what an epoch says, which settings reach what."""

import itertools
import json
import math
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

from cache import runs
from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from data.augment import Augmentation
from extract.networks.backbones import Backbone
from extract.networks.weights import Weights
from finetune.detectors.detector import NetworkDetector, Trunk
from finetune.detectors.detector_file import load_detector
from finetune.detectors.networks import NETWORKS
from finetune.options import FinetuneConfig
from finetune.recipes import Recipe, read_recipe
from finetune.run import run, stages_before
from finetune.training import epochs, hypersphere, optimise, step
from finetune.training import loop as fit
from finetune.training.epochs import Epoch, is_best
from finetune.training.job import BEST, EPOCHS_FILE
from finetune.training.state import FILE, Learner, Standing
from finetune.training.step import Stepper
from finetune.training.team import Team
from heads.fitting.stacked import class_weights
from tests.test_finetune import Killed, kill_at

ALONE = Team("cpu")
RATE = 0.5
ROWS = np.array([4, 0, 7, 5, 2, 6])  # of eight images, in the order of the step
IMAGES = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
FAKE = torch.tensor([True, False, False, False, True, False, False, True])
BEFORE = np.array([0.8, -0.3, 0.5])


class Plane(nn.Module):
    """Pixels (n, 3) -> logits (n,): few enough weights to follow each of them."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(BEFORE).float())
        self.dropout = nn.Dropout(dropout)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.dropout(pixels) @ self.weight


def stepper(recipe: Recipe, network: nn.Module | None = None, *, scale: float = 0.0) -> Stepper:
    """On plain gradient descent; scale: of float16's gradients, 0 = none."""
    network = network or Plane()
    scaler = torch.amp.GradScaler("cpu", enabled=scale > 0, init_scale=scale or 1.0)
    average = optimise.averaged(network, recipe.ema) if recipe.ema else None
    learner = Learner(network, torch.optim.SGD(network.parameters(), lr=RATE), scaler, average)
    weights = class_weights(torch.ones(8, dtype=torch.bool), FAKE, recipe.class_balance)
    standing = Standing(recipe.accumulate)
    return Stepper(recipe, learner, ALONE, network, FAKE, weights, 0, standing, may_accumulate=True)


def update(of: Stepper, *, epoch: int = 0, step: int = 0) -> torch.Tensor:
    return of.update(ROWS, IMAGES[ROWS], epoch=epoch, step=step)


def by_formula(recipe: Recipe) -> tuple[np.ndarray, list[float]]:
    """The weights after one step on ROWS, and its sums: of the images' losses, of those called rightly, of images."""
    x, fake = IMAGES[ROWS].double().numpy(), FAKE[ROWS].numpy()
    targets = fake * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
    balance = np.where(fake, 8 / (2 * 3), 8 / (2 * 5)) ** recipe.class_balance  # three of all eight are fake
    logits = x @ BEFORE
    losses = np.log1p(np.exp(logits)) - targets * logits
    gradient = ((1 / (1 + np.exp(-logits)) - targets) * balance) @ x / balance.sum() + recipe.l1 * np.sign(BEFORE)
    length = np.linalg.norm(gradient)
    if recipe.clip and length > recipe.clip:
        gradient = gradient * recipe.clip / length
    return BEFORE - RATE * gradient, [losses.sum(), ((logits > 0) == fake).sum(), 6]


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"l1": 0.3}, {"label_smoothing": 0.2}, {"clip": 0.05}, {"clip": 99.0}, {"class_balance": 1.0},
        {"class_balance": 0.5, "accumulate": 4, "l1": 0.1, "label_smoothing": 0.1, "clip": 0.1},
    ],
    ids=str,
)  # fmt: skip
def test_an_update_is_the_one_of_the_formula(settings):
    recipe = Recipe(**settings)
    one = stepper(recipe)
    sums = update(one)
    weights, expected = by_formula(recipe)
    np.testing.assert_allclose(one.network.weight.detach(), weights, rtol=1e-4)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    changes = not np.allclose(weights, by_formula(Recipe())[0])
    assert changes == (settings not in ({}, {"clip": 99.0}))


def test_gradients_are_clipped_at_their_own_length_whatever_they_were_scaled_by():
    recipe = Recipe(clip=0.05)
    one = stepper(recipe, scale=1024.0)
    update(one)
    np.testing.assert_allclose(one.network.weight.detach(), by_formula(recipe)[0], rtol=1e-4)


def test_the_average_follows_every_update():
    one = stepper(Recipe(ema=0.9))
    seen = []
    for number in range(3):
        update(one, step=number)
        seen.append(one.network.weight.detach().double().numpy().copy())
    first, second, third = seen  # decay 2 / 11, then 3 / 12
    second = 2 / 11 * first + 9 / 11 * second
    np.testing.assert_allclose(one.learner.average.module.weight.detach(), 0.25 * second + 0.75 * third, rtol=1e-5)


def test_dropout_is_a_function_of_seed_epoch_and_step():
    def loss(seed: int, epoch: int, step: int) -> float:
        return float(update(replace(stepper(Recipe(), Plane(dropout=0.5)), seed=seed), epoch=epoch, step=step)[0])

    torch.manual_seed(1)
    outside = torch.random.get_rng_state()
    drawn = {which: loss(*which) for which in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
    assert len(set(drawn.values())) == 4
    assert loss(0, 0, 1) == drawn[0, 0, 1]
    assert torch.equal(torch.random.get_rng_state(), outside)


class Short(Plane):
    """Out of memory in some of its passes, counted from 0."""

    def __init__(self, fails) -> None:
        super().__init__()
        self.fails, self.passes = fails, 0

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        assert self.passes < 50, "it never gives up"
        if self.fails(self.passes - 1):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(pixels)


def test_a_step_that_ran_out_of_memory_half_way_begins_anew():
    one = stepper(Recipe(accumulate=2), Short(lambda number: number == 1))
    sums = update(one)
    weights, expected = by_formula(Recipe())
    assert (one.standing.accumulate, one.network.passes) == (4, 2 + 4)
    np.testing.assert_allclose(one.network.weight.detach(), weights, rtol=1e-4)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)


def test_less_than_one_image_at_once_is_not_tried():
    with pytest.raises(step.TrainingFailed, match="out of memory with 1 images at once"):
        update(stepper(Recipe(), Short(lambda number: True)))


def test_the_average_rises_to_its_cap_and_holds_statistics_too():
    """Decay (1 + n) / (10 + n) is 2/11 and 3/12, and .3 from then on; what is counted is taken over."""
    network = nn.BatchNorm1d(1)
    average = optimise.averaged(network, 0.3)
    expected = None
    for value, decay in zip([1.0, 3.0, 5.0, 2.0, 8.0], [0, 2 / 11, 3 / 12, 0.3, 0.3], strict=True):
        nn.init.constant_(network.weight, value)
        network.running_mean.fill_(-value)
        network.num_batches_tracked += 1
        average.update_parameters(network)
        expected = value if expected is None else decay * expected + (1 - decay) * value
    assert average.module.weight.item() == pytest.approx(expected)
    assert average.module.running_mean.item() == pytest.approx(-expected)
    assert average.module.num_batches_tracked.item() == 5


HOW = Preprocess(8, 8, "bilinear", (0.5,) * 3, (0.5,) * 3)


class Layers(nn.Sequential):
    """Two convolutions with norms, and what makes a vector of them."""

    def __init__(self) -> None:
        super().__init__(OrderedDict(
            below=nn.Conv2d(3, 2, 3), norm=nn.BatchNorm2d(2), above=nn.Conv2d(2, 4, 3), last=nn.BatchNorm2d(4),
            pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(),
        ))  # fmt: skip


def small_detector() -> NetworkDetector:
    return NetworkDetector(Layers(), HOW, outputs=1, dropout=0.0, compute="fp32").eval()


def test_matrices_decay_and_each_stage_has_its_rate():
    """A norm goes with the stage before it; the head's rate is the peak, the network's a half, halved below."""
    detector = small_detector()
    recipe = Recipe(optimiser="sgd", momentum=0.7, lr=0.2, body_lr=0.5, layer_decay=0.5, weight_decay=0.3,
                    head_epochs=0, epochs=4, warmup=0.0, schedule="linear")  # fmt: skip
    optimiser = optimise.optimiser_of(detector, recipe)
    assert optimise.set_rates(optimiser, recipe, 1.0) == pytest.approx(0.15)  # a quarter of the way
    names = {parameter: name for name, parameter in detector.named_parameters()}
    found = {names[each]: (group["lr"], group["weight_decay"], group["momentum"])
             for group in optimiser.param_groups for each in group["params"]}  # fmt: skip
    rates = {"below": 0.0375, "norm": 0.0375, "above": 0.075, "last": 0.075, "linear": 0.15}
    assert found.keys() == set(names.values())
    for name, values in found.items():
        kind, what = name.split(".")[-2:]
        matrix = what == "weight" and kind not in ("norm", "last")
        assert values == pytest.approx((rates[kind], 0.3 * matrix, 0.7)), name


def test_a_training_computes_in_its_number_type_and_evaluation_in_its_own():
    detector = small_detector()
    assert detector.train_in("bf16", torch.device("cpu")) == "bf16"
    seen = []
    detector.network.body.above.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    pixels = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    for mode in (True, False):
        detector.train(mode)(pixels)
    assert seen == [torch.bfloat16, torch.float32]


def test_features_are_rounded_as_in_the_cache_but_for_training():
    """What float16 takes for zero still has a gradient in training."""
    network = nn.Sequential(OrderedDict(look=nn.Conv2d(3, 1, 1, bias=False), end=nn.Flatten()))
    nn.init.constant_(network.look.weight, 1e-9)
    backbone = Backbone("tiny", network, Weights("none", "drawn", None))
    spec = FeatureSpec("tiny", backbone.weights.identity, "look", "avg", HOW, "fp32", "float16")
    trunk = Trunk(backbone, [spec])
    white = torch.full((1, 8, 8, 3), 255, dtype=torch.uint8)
    (kept,), (cached,) = trunk.train()(white), trunk.eval()(white)
    assert (kept.dtype, cached.dtype) == (torch.float32, torch.float16)
    assert kept.item() == pytest.approx(3e-9)
    assert cached.item() == 0


def test_networks_of_the_originals_layer_by_layer():
    fc6, dropped = NETWORKS["cnn-fc6"](64), NETWORKS["cnn-dropout"](64)
    assert [type(each).__name__ for each in fc6.blocks[0]] == ["Conv2d", "ReLU", "MaxPool2d"]
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert (fc6.blocks(noise) >= 0).all()
    assert [each.out_features for each in fc6.linear] == [512, 256, 128, 64, 32]  # nothing between them
    assert fc6.linear[0].in_features == 32 * 2 * 2  # 64 -> 30 -> 13 -> 4 -> 2
    names = ["Dropout", "Linear", "ReLU"] * 2
    assert [type(each).__name__ for each in dropped.linear] == names
    assert [each.p for each in dropped.linear if isinstance(each, nn.Dropout)] == [0.25, 0.25]
    assert dropped.linear[1].in_features == 64 * 8 * 8


def test_vggs_end_before_their_last_layer_and_differ_in_their_norms():
    """Sixteen convolutions and two linear layers; nothing is allocated."""
    with torch.device("meta"):
        plain, normed = NETWORKS["vgg19"](0), NETWORKS["vgg19_bn"](0)
        seen = torch.zeros(1, 3, 64, 64)
    for network, norms in ((plain, 0), (normed, 16)):
        kinds = [type(each).__name__ for each in network.modules()]
        assert [kinds.count(kind) for kind in ("Conv2d", "BatchNorm2d", "Linear")] == [16, norms, 2]
        assert network(seen).shape == (1, 4096)


def row(number: int, auc: float, loss: float) -> Epoch:
    return Epoch(number, 2, 1e-3, 0.5, 0.8, loss, auc, 0.8, 10.0, 1.0)


def test_the_epoch_that_is_kept_by_hand():
    """By AUC, ties by loss, and of equals the first; never one whose loss is no number."""
    by_auc = Recipe(epochs=9, best_after=0.0)
    first, better, tied, same, lost = (
        row(1, 0.8, 0.5), row(2, 0.9, 0.6), row(2, 0.8, 0.4), row(2, 0.8, 0.5), row(1, 0.99, math.nan)
    )  # fmt: skip
    assert is_best([first], -1, by_auc)
    assert is_best([first, better], 1, by_auc)
    assert is_best([first, tied], 1, by_auc)
    assert not is_best([first, same], 1, by_auc)
    assert not is_best([lost], -1, by_auc)
    assert not is_best([first, better], 1, replace(by_auc, best_by="loss"))
    assert is_best([first, tied], 1, replace(by_auc, best_by="loss"))


def test_augmentations_are_drawn_anew_in_every_epoch():
    how, digest = Augmentation(flip=0.5), "ab" * 32

    def numbers(seed: int, epoch: int) -> list[float]:
        return epochs.drawn(how, seed=seed, epoch=epoch).generator(digest).random(3).tolist()

    assert numbers(0, 1) == numbers(0, 1)
    assert numbers(0, 0) != numbers(0, 1)
    assert numbers(0, 1) != numbers(1, 1)


def scratch(data: Path, *, network: str = "cnn-dropout-logsoftmax", **settings) -> FinetuneConfig:
    """A small network from nothing: no features, no head, a second a training. Options of the command in capitals."""
    given = {"recipe": network, "epochs": 2, "batch": 12, "lr": 1e-3, "size": 64, **settings}
    options = {name.lower(): given.pop(name) for name in list(given) if name.isupper()}
    return FinetuneConfig.of(
        data=str(data), recipe=json.dumps(given), device="cpu", workers=0, compute="fp32", **options
    )


def in_a_checkpoint(folder: Path) -> dict:
    return torch.load(folder / FILE, weights_only=True)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_an_epoch_says_what_was_done_and_what_is_kept(few, ema, monkeypatch):
    """Its row against the sums of its steps, the schedule, and the scores of the file that is kept."""
    sums, original = [], step.Stepper.update
    monkeypatch.setattr(step.Stepper, "update", lambda *a, **k: sums.append(original(*a, **k)) or sums[-1])
    folder = run(scratch(few, ema=ema, schedule="linear", best_by="auc", best_after=0.9, label_smoothing=0.1))
    found = pd.read_csv(folder / EPOCHS_FILE)
    count = len(sums) // 2
    for number in range(2):
        loss, right, images = torch.stack(sums[number * count : (number + 1) * count]).sum(dim=0).tolist()
        assert found.train_loss[number] == pytest.approx(loss / images)
        assert found.train_accuracy[number] == pytest.approx(right / images)
        done = number + (count - 0.5) / count  # the last step's middle
        assert found.lr[number] == pytest.approx(1e-3 * (1 - done / 2))
    assert runs.result(folder)["best_epoch"] == 2
    saved = pd.read_csv(folder / "predictions-val.csv")
    fake = saved.label == "fake"
    assert found.val_auc[1] == pytest.approx(roc_auc_score(fake, saved.score), abs=1e-6)
    assert found.val_accuracy[1] == pytest.approx(((saved.score > 0) == fake).mean())
    assert found.val_loss[1] == pytest.approx(log_loss(fake, 1 / (1 + np.exp(-saved.score))), rel=1e-4)
    kept, last = load_detector(folder / BEST)[0].state_dict(), in_a_checkpoint(folder)
    same = {part: last[part] and all(torch.equal(each, last[part][prefix + name]) for name, each in kept.items())
            for part, prefix in (("detector", ""), ("average", "module."))}  # fmt: skip
    assert same == {"detector": not ema, "average": True if ema else None}


@pytest.mark.parametrize("lacking", ["train", "val"])
def test_a_split_of_one_class_is_not_trained_on(few, lacking, tmp_path):
    """Without a cached head nothing before the training looks at it."""
    rows = [(path.relative_to(few).as_posix(), path.parent.name) for path in sorted(few.glob("*/*.jpg"))]
    table = pd.DataFrame(rows, columns=["path", "label"])
    table["split"] = np.where(np.arange(48) % 3 == 0, "val", "train")
    table = table[(table.split != lacking) | (table.label == "real")]
    table.to_csv(tmp_path / f"no-{lacking}.csv", index=False)
    with pytest.raises(UserError, match=f"the {lacking} split has .* real and 0 fake images"):
        run(scratch(tmp_path / f"no-{lacking}.csv", ROOT=str(few)))


def test_a_kill_during_validation_costs_the_validation_alone(few, monkeypatch):
    def dying(*_):
        raise Killed

    with monkeypatch.context() as context:
        context.setattr(fit.Training, "_validation_logits", dying)
        with pytest.raises(Killed):
            run(scratch(few, SAVE_EVERY=1))
    folder = run(scratch(few, SAVE_EVERY=1))
    assert pd.read_csv(folder / EPOCHS_FILE).epoch.tolist() == [1, 2]


def test_the_clock_writes_a_checkpoint_within_an_epoch(few, world, monkeypatch):
    monkeypatch.setattr(fit, "SAVE_SECONDS", -1.0)
    with monkeypatch.context() as context:
        kill_at(context, 2)
        with pytest.raises(Killed):
            run(scratch(few))
    (path,) = (world / "runs_dir" / "finetune").glob(f"*/{FILE}")
    assert (in_a_checkpoint(path.parent)["epoch"], in_a_checkpoint(path.parent)["step"]) == (0, 2)


def test_the_table_of_epochs_comes_back_from_the_checkpoint(few):
    folder = run(scratch(few))
    before = (folder / EPOCHS_FILE).read_bytes()
    for name in (EPOCHS_FILE, runs.RESULT):
        (folder / name).unlink()
    assert run(scratch(few)) == folder
    assert (folder / EPOCHS_FILE).read_bytes() == before


def test_no_checkpoint_is_written_of_a_loss_that_is_no_number(few, monkeypatch, world):
    original = step.Stepper.update

    def diverging(self, *args, epoch: int, step: int):
        return original(self, *args, epoch=epoch, step=step) * (math.nan if epoch else 1)

    monkeypatch.setattr(step.Stepper, "update", diverging)
    with pytest.raises(fit.DivergedError, match="in epoch 2"):
        run(scratch(few, SAVE_EVERY=1))
    (path,) = (world / "runs_dir" / "finetune").glob(f"*/{FILE}")
    state = in_a_checkpoint(path.parent)
    assert (state["epoch"], state["step"]) == (1, 0)
    assert torch.isfinite(state["sums"]).all()


@pytest.mark.parametrize(("network", "window"), [("cnn-dropout-logsoftmax", 1.0), ("resnet18-scratch", 0.5)])
def test_windows_keep_the_size_that_a_network_needs(few, network, window):
    config = scratch(few, network=network, augmentation={"window": 0.5})
    job, start = stages_before(config, read_recipe(config.recipe), ALONE)
    assert (job.recipe.augmentation.window, start.one_size) == (window, window == 1)


@pytest.mark.parametrize("length", [1.0, 40.0])
def test_alignment_and_uniformity_are_those_of_the_paper(length):
    embeddings = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    fake = FAKE[:6]
    unit = (embeddings / embeddings.norm(dim=1, keepdim=True)).double().numpy()
    pairs = list(itertools.combinations(range(6), 2))
    squared = {(i, j): ((unit[i] - unit[j]) ** 2).sum() for i, j in pairs}
    alike = [squared[i, j] for i, j in pairs if fake[i] == fake[j]]
    assert 0 < len(alike) < len(pairs)
    assert float(hypersphere.alignment(length * embeddings, fake)) == pytest.approx(np.mean(alike), rel=1e-5)
    even = np.log(np.mean(np.exp([-2 * each for each in squared.values()])))
    assert float(hypersphere.uniformity(length * embeddings)) == pytest.approx(even, rel=1e-5)


def test_without_a_pair_embeddings_add_nothing():
    one = torch.randn(1, 4, requires_grad=True)
    total = hypersphere.alignment(one, FAKE[:1]) + hypersphere.uniformity(one)
    total.backward()
    assert total.item() == 0
    assert not one.grad.any()


class Embedding(Plane):
    """Its pixels are its embeddings."""

    def forward(self, pixels: torch.Tensor, *, with_embeddings: bool = False) -> object:
        embeddings = pixels * self.weight
        return (embeddings.sum(dim=1), embeddings) if with_embeddings else embeddings.sum(dim=1)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_terms_of_embeddings_come_with_their_factors(accumulate):
    """In parts of a step as the mean over the parts' own pairs."""
    recipe = Recipe(alignment=0.3, uniformity=0.7, accumulate=accumulate)
    one, plain = (stepper(each, Embedding()) for each in (recipe, Recipe()))
    sums = update(one)
    torch.testing.assert_close(sums, update(plain))
    weight = torch.tensor(BEFORE).float().requires_grad_()
    for part in np.array_split(ROWS, accumulate):
        embeddings = IMAGES[part] * weight
        terms = 0.3 * hypersphere.alignment(embeddings, FAKE[part]) + 0.7 * hypersphere.uniformity(embeddings)
        (terms / accumulate).backward()
    expected = plain.network.weight.detach() - RATE * weight.grad
    torch.testing.assert_close(one.network.weight.detach(), expected, rtol=1e-4, atol=1e-6)
    assert (RATE * weight.grad).abs().max() > 0.01
