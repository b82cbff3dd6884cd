"""Fine-tuning: parity at the start, resume without a trace, equality over processes, recipes, runs, the registry."""

import json
import pickle
import re
import signal
import sys
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer
from torch import nn

from cache import paths, runs
from cache.checkpoint import load_state, save_state
from cache.errors import UserError
from data.augment import Augmentation
from data.manifest import Manifest
from finetune import start
from finetune import train as finetune_train
from finetune.detectors import logits as image_logits
from finetune.detectors import parity
from finetune.detectors.detector import HEAD, NORMS, FeatureDetector
from finetune.detectors.detector_file import load_detector
from finetune.detectors.logits import logits_of
from finetune.detectors.networks import NETWORKS
from finetune.options import DEFAULT_RECIPE, FinetuneConfig
from finetune.recipes import RECIPES, Recipe, changed, read_recipe
from finetune.run import comes_next, reached, run
from finetune.training import epochs, optimise, state, step
from finetune.training import loop as fit
from finetune.training.epochs import steps_of
from finetune.training.job import BEST, EPOCHS_FILE
from finetune.training.state import ENTRIES, FILE
from finetune.training_result import FinetuneResult, finished
from heads import scoring
from heads.sweep.sweep_result import HEAD_FILE
from tests import forked

GRID = '[{"family": "linear", "lr": 0.01, "epochs": 3}]'
# Everything that has a state: average, momentum, parts, clipping, augmentation, gradual unfreezing, both phases.
BUSY = {
    "recipe": "two-phase", "epochs": 3, "head_epochs": 1, "batch": 12, "accumulate": 3, "lr": 1e-3, "body_lr": 0.3,
    "unfreeze_every": 1, "ema": 0.9, "clip": 1.0, "best_after": 0.0, "label_smoothing": 0.1, "layer_decay": 0.8,
    "augmentation": {"flip": 0.5, "rotation": 10, "zoom": 0.8, "colour": 0.2, "jpeg": 0.5, "blur": 0.5, "window": 0.6},
}  # fmt: skip
SMALL = {
    "backbone": "resnet18", "weights": "random", "size": 32, "device": "cpu", "workers": 0, "compute": "fp32",
    "features": "layer1:avgstd layer2:avgstd", "seeds": 1, "grid": GRID,
}  # fmt: skip
CLOCK = ["images_per_second", "seconds"]


def options(data: Path, recipe: dict | str = BUSY, **more) -> FinetuneConfig:
    text = recipe if isinstance(recipe, str) else json.dumps(recipe)
    return FinetuneConfig.of(data=str(data), recipe=text, **{**SMALL, **more})


def plain(**settings) -> dict:
    """A recipe without anything but steps."""
    return {
        "recipe": "two-phase",
        "best_after": 0,
        "unfreeze_every": 0,
        "clip": 0,
        "epochs": 1,
        "batch": 12,
        "ema": 0,
        "augmentation": {"window": 0, "flip": 0, "jpeg": 0, "blur": 0},
        **settings,
    }


def kept(config: FinetuneConfig, few: Path) -> Path:
    """The finished run, which is computed once for all tests of this file; none may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNS_DIR", str(few.parent / "runs_kept"))
        return run(config)


def metrics(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / EPOCHS_FILE).drop(columns=CLOCK)


def same_run(one: Path, other: Path) -> None:
    """Bit for bit: the best weights, the last state, the curves and the predictions."""
    pd.testing.assert_frame_equal(metrics(one), metrics(other), check_exact=True)
    ours, theirs = (torch.load(each / FILE, weights_only=True) for each in (one, other))
    for part in ("detector", "average"):
        assert ours[part].keys() == theirs[part].keys()
        assert all(torch.equal(ours[part][name], theirs[part][name]) for name in ours[part])
    assert (one / BEST).read_bytes() == (other / BEST).read_bytes()
    for split in ("val", "test"):
        assert (one / f"predictions-{split}.csv").read_bytes() == (other / f"predictions-{split}.csv").read_bytes()


class Killed(Exception):
    """Stands for SIGKILL: nothing between it and the next start is tidied up."""


def kill_at(monkeypatch, update: int) -> None:
    """Stop the training dead in its update number `update`, counted from its own start."""
    original, count = step.Stepper.update, iter(range(10**6))

    def dying(self, *args, **more):
        if next(count) == update:
            raise Killed
        return original(self, *args, **more)

    monkeypatch.setattr(step.Stepper, "update", dying)


def test_a_training_starts_as_the_cached_head_and_ends_as_a_run(few, capsys):
    folder = run(options(few))
    said = capsys.readouterr().out
    assert "validation images the detector's logits are the cached head's" in said
    result = FinetuneResult(**runs.result(folder))
    found = metrics(folder)
    assert found.epoch.tolist() == [1, 2, 3, 4]
    assert found.phase.tolist() == [1, 2, 2, 2]
    assert result.val_auc == found.val_auc.max()
    assert found.val_auc[result.best_epoch - 1] == result.val_auc
    few_images = "Only 4 real and 5 fake images chose among 4 epochs: which one is best is partly luck"
    assert result.doubt.startswith(few_images)
    assert f" -> {folder}\n  {few_images}" in said
    assert reached(folder) in said.replace("(resnet18): epoch", "(resnet18): complete: epoch")
    detector, record = load_detector(folder / BEST)
    assert isinstance(detector, FeatureDetector)
    assert (record.made["epoch"], record.made["recipe"]) == (result.best_epoch, "two-phase")
    manifest = Manifest.load(paths.manifest_file("few")).usable
    for split in ("val", "test"):
        table, rows = pd.read_csv(folder / f"predictions-{split}.csv"), manifest.where(split)
        assert table.path.tolist() == manifest.rows.path[rows].tolist()
        np.testing.assert_allclose(table.score, logits_of(detector, manifest, rows, torch.device("cpu")), atol=1e-5)
    log = (folder / "log.txt").read_text()
    for words in ("setting layer_decay = 0.8", "train: ", "images, first fake/", "epoch 4/4 phase 2"):
        assert words in log
    assert {"commit", "packages", "cores"} <= runs.read_json(folder / "environment.json").keys()
    assert runs.test_scorings("few") == 2  # the head's and the detector's
    assert run(options(few)) == folder
    assert runs.test_scorings("few") == 2


@pytest.fixture(autouse=True)
def ordered_event_files(monkeypatch):
    """TensorBoard reads files in the order of their names, which end in the number of the process's writer: where one
    process "dies" and goes on within a second, file 10 would be read before file 9 and be purged by it.
    """
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(100))


def curve(folder: Path, tag: str) -> dict[int, float]:
    """Step -> value, as TensorBoard shows it."""
    events = EventAccumulator(str(folder / "tb"))
    events.Reload()
    return {each.step: each.value for each in events.Scalars(tag)}


def test_the_event_files_hold_the_curves(few):
    folder = kept(options(few, plain(epochs=2)), few)
    for tag, column in (("val/auc", "val_auc"), ("train/loss", "train_loss"), ("val/loss", "val_loss")):
        np.testing.assert_allclose(list(curve(folder, tag).values()), metrics(folder)[column], rtol=1e-6)
    assert list(curve(folder, "val/auc")) == [3, 6]  # 28 images in steps of at most 12


class FakeWandb:
    """What is used of the package, and what it was told."""

    def __init__(self) -> None:
        self.logged, self.given, self.finished = [], {}, 0

    def init(self, **given):
        self.given = given
        return self

    def log(self, values: dict, step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_a_tracker_gets_the_curves_offline(few, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    folder = run(options(few, plain(epochs=2), tracker="wandb"))
    assert (fake.given["name"], fake.given["mode"], fake.finished) == (folder.name, "offline", 1)
    assert fake.given["config"]["epochs"] == 2
    logged = [values["val/auc"] for _, values in fake.logged if "val/auc" in values]
    np.testing.assert_allclose(logged, metrics(folder).val_auc)


def test_a_tracker_that_is_not_installed_is_told(few, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"TRACKER=mlflow: it is not installed; .* pip install mlflow"):
        options(few, tracker="mlflow")


@pytest.mark.parametrize("update", [1, 4, 8])
def test_a_killed_training_ends_with_the_same_bits(few, monkeypatch, update):
    """In the first epoch, in the middle of one, and in a later phase; last.pt is written at every second step."""
    whole = kept(options(few), few)
    with monkeypatch.context() as context:
        kill_at(context, update)
        with pytest.raises(Killed):
            run(options(few, save_every=2))
    killed = run(options(few, save_every=2))
    assert killed != whole
    same_run(whole, killed)
    assert curve(killed, "val/auc") == curve(whole, "val/auc")


def test_sigkill_in_the_middle_of_an_epoch_leaves_no_trace(few):
    """The real thing, in a process of its own."""
    whole = kept(options(few, plain(epochs=2)), few)
    given = {"data": str(few), "recipe": json.dumps(plain(epochs=2)), "save_every": 1, **SMALL}
    code = f"""
import os, signal
from finetune.training import state
from finetune.options import FinetuneConfig
from finetune.run import run
saved, save = iter(range(9)), state.save
def dying(*args):
    save(*args)
    if next(saved) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
state.save = dying
run(FinetuneConfig.of(**{given!r}))
"""
    call = forked.python("-c", code)
    assert call.returncode == -signal.SIGKILL, call.stderr
    (path,) = paths.runs_dir().glob(f"finetune/*/{FILE}")
    assert torch.load(path, weights_only=True)["step"] > 0
    killed = run(options(few, plain(epochs=2), save_every=1))
    pd.testing.assert_frame_equal(metrics(whole), metrics(killed), check_exact=True)
    assert (whole / BEST).read_bytes() == (killed / BEST).read_bytes()


def test_a_training_goes_on_from_a_checkpoint_that_was_carried_elsewhere(few, world, monkeypatch):
    whole = kept(options(few), few)
    monkeypatch.setenv("RUNS_DIR", str(world / "first"))
    with monkeypatch.context() as context:
        kill_at(context, 8)
        with pytest.raises(Killed):
            run(options(few))
    (left,) = (world / "first" / "finetune").glob(f"*/{FILE}")
    monkeypatch.setenv("RUNS_DIR", str(world / "second"))
    carried = run(options(few, checkpoint=str(left)))
    same_run(whole, carried)
    assert len(curve(carried, "val/auc")) == 4  # with the epochs before, which this event file had not seen
    (left.parent / BEST).write_bytes((kept(options(few, plain()), few) / BEST).read_bytes())
    monkeypatch.setenv("RUNS_DIR", str(world / "third"))
    with pytest.raises(UserError, match="copy the two together"):
        run(options(few, checkpoint=str(left)))


def test_a_kill_between_the_best_weights_and_the_checkpoint_leaves_no_trace(few, monkeypatch):
    recipe = plain(epochs=3, lr=1e-3)
    whole = kept(options(few, recipe), few)
    saved = iter(range(9))

    def dying(*_):
        if next(saved) == 1:
            raise Killed
        return save(*_)

    save = state.save
    with monkeypatch.context() as context:
        context.setattr(state, "save", dying)
        with pytest.raises(Killed):
            run(options(few, recipe))
    killed = run(options(few, recipe))
    pd.testing.assert_frame_equal(metrics(whole), metrics(killed), check_exact=True)
    assert (whole / BEST).read_bytes() == (killed / BEST).read_bytes()


def test_an_optimiser_state_that_does_not_fit_is_left_out_with_a_warning(few, monkeypatch, capsys):
    with monkeypatch.context() as context:
        kill_at(context, 7)
        with pytest.raises(Killed):
            run(options(few))
    (path,) = paths.runs_dir().glob(f"finetune/*/{FILE}")
    content = load_state(path, ENTRIES)
    for of_one in content["optimiser"]["state"].values():
        of_one["exp_avg"] = of_one["exp_avg"].flatten()[:1]
    save_state(path, content)
    folder = run(options(few))
    assert "going on from its weights alone" in capsys.readouterr().out
    assert len(metrics(folder)) == 4


def without_chance(**more) -> dict:
    """A recipe in which processes see what one process sees: no dropout, BatchNorm frozen. Rates make it move."""
    return plain(epochs=2, frozen_norm=True, lr=1e-3, body_lr=1.0, optimiser="sgd", **more)


def same_training(one: Path, other: Path) -> None:
    """To float tolerance, and measured by how far the weights went: equal ones that never moved say nothing."""
    ours, theirs = (torch.load(each / FILE, weights_only=True)["detector"] for each in (one, other))
    before = load_detector(one / "epoch-001.safetensors")[0].state_dict()
    moved = max((ours[name] - before[name]).abs().max().item() for name in ours if ours[name].is_floating_point())
    apart = max((ours[name] - theirs[name]).abs().max().item() for name in ours if ours[name].is_floating_point())
    assert moved > 1e-3
    assert apart < 1e-2 * moved


def test_two_processes_reach_what_one_reaches(few, world, monkeypatch):
    recipe = without_chance(accumulate=2, class_balance=1.0)
    alone = run(options(few, recipe, keep_every=1))
    monkeypatch.setenv("RUNS_DIR", str(world / "two"))
    given = {**SMALL, "data": few, "recipe": json.dumps(recipe), "save_every": 2}
    call = forked.torchrun(2, "finetune", *(f"--{name}={value}" for name, value in given.items()))
    assert call.returncode == 0, call.stderr
    (together,) = (world / "two" / "finetune").glob("few-*")
    assert alone.name == together.name
    np.testing.assert_allclose(metrics(together), metrics(alone), rtol=1e-3, atol=1e-5)
    same_training(alone, together)
    for split in ("val", "test"):
        one, two = (pd.read_csv(each / f"predictions-{split}.csv") for each in (alone, together))
        assert one.path.tolist() == two.path.tolist()  # each image exactly once, in its place
        np.testing.assert_allclose(one.score, two.score, rtol=1e-3, atol=1e-3)
    assert (together / "log.txt").read_text().count("epoch 1/2") == 1  # one process writes


def test_parts_of_a_step_add_up_to_the_step(few):
    whole = kept(options(few, without_chance(), keep_every=1), few)
    same_training(whole, run(options(few, without_chance(accumulate=5))))


def starve(monkeypatch, images: int) -> None:
    """A device on which more than so many images at once do not fit."""
    original = FeatureDetector.forward

    def forward(self, pixels):
        if self.training and len(pixels) > images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, pixels)

    monkeypatch.setattr(FeatureDetector, "forward", forward)


def test_out_of_memory_says_what_to_lower_or_goes_on_in_parts(few, monkeypatch):
    recipe = without_chance()
    whole = kept(options(few, recipe, keep_every=1), few)
    starve(monkeypatch, 4)
    with pytest.raises(UserError, match="out of memory with 10 images at once: raise `accumulate`"):
        run(options(few, recipe, seed=1))
    starved = run(options(few, recipe, auto_accumulate=True))
    assert "going on in 4 parts a step" in (starved / "log.txt").read_text()
    assert torch.load(starved / FILE, weights_only=True)["accumulate"] == 4
    same_training(whole, starved)


def test_a_head_that_saw_what_is_held_out_now_is_refused(few):
    head = run_heads_of(few)
    table = pd.read_csv(head / "predictions-train.csv")
    held_out = pd.read_csv(head / "predictions-val.csv")
    pd.concat([table, held_out[:2]]).to_csv(head / "predictions-train.csv", index=False)
    runs.finish(head, runs.result(head))
    with pytest.raises(UserError, match="was trained on 2 images that few holds out"):
        run(options(few, plain(), head=str(head)))


def test_a_detector_that_does_not_say_what_the_head_says_is_not_trained(few, monkeypatch):
    original = scoring.member_scores
    monkeypatch.setattr(scoring, "member_scores", lambda *given, **more: original(*given, **more) + 0.5)
    with pytest.raises(UserError, match="does not say what the cached head"):
        run(options(few, plain()))
    assert not list(paths.runs_dir().glob(f"finetune/*/{FILE}"))


@pytest.mark.parametrize(("compute", "explained"), [("fp32", 0.005), ("fp16", 0.04), ("bf16", 0.25)])
def test_features_of_another_machine_may_differ_as_their_number_type_does(compute, explained):
    """explained: in standard deviations of the scores; on real faces bfloat16 differs from float32 by .18."""
    cached = np.random.default_rng(0).normal(size=200)
    said = parity.compared(cached + explained * cached.std(), cached, compute=compute, head_file=Path("head"))
    assert "are the cached head's" in said
    with pytest.raises(UserError, match=f"where {compute} explains") as refused:
        parity.compared(cached + 2.5 * explained * cached.std(), cached, compute=compute, head_file=Path("head"))
    assert ("COMPUTE=fp32" in str(refused.value)) == (compute != "fp32")


def test_the_first_comparison_takes_the_batch_and_processes_that_were_asked_for(few, monkeypatch):
    original, calls = image_logits.batches, []

    def recorded(*given, **more):
        calls.append((more["size"], more["workers"]))
        return original(*given, **more)

    def stop(*_, **__):
        raise Killed

    monkeypatch.setattr(image_logits, "batches", recorded)
    monkeypatch.setattr(finetune_train, "Training", stop)  # nothing behind the comparison is of interest
    with pytest.raises(Killed):
        run(options(few, plain(), batch=5, workers=1))
    assert calls == [(5, 1)]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_and_goes_on_with_its_scaler(few, world, monkeypatch, precision):
    """A small network from nothing: a CPU is many times slower in float16."""
    recipe = {"recipe": "cnn-dropout-logsoftmax", "epochs": 3, "batch": 12, "lr": 0.01, "precision": precision,
              "clip": 1.0, "channels_last": False}  # fmt: skip
    config = FinetuneConfig.of(data=str(few), recipe=json.dumps(recipe), size=32, device="cpu", workers=0,
                               compute="fp32", save_every=2)  # fmt: skip
    whole = run(config)
    found = metrics(whole)
    assert found.train_loss[2] < found.train_loss[0]
    scaler = torch.load(whole / FILE, weights_only=True)["scaler"]
    assert (scaler != {}) == (precision == "fp16")
    monkeypatch.setenv("RUNS_DIR", str(world / "other"))
    with monkeypatch.context() as context:
        kill_at(context, 4)
        with pytest.raises(Killed):
            run(config)
    killed = run(config)
    pd.testing.assert_frame_equal(metrics(whole), metrics(killed), check_exact=True)
    assert torch.load(killed / FILE, weights_only=True)["scaler"] == scaler


def training(few: Path, recipe: dict, **more) -> tuple[FeatureDetector, Recipe]:
    """A detector as it starts, and the recipe."""
    from finetune.run import stages_before
    from finetune.train import build_detector
    from finetune.training.team import Team

    config = options(few, recipe, **more)
    job, start = stages_before(config, read_recipe(config.recipe), Team("cpu"))
    return build_detector(start, seed=0), job.recipe


def test_stages_unfreeze_from_the_head_down_and_rates_fall_with_them(few):
    detector, recipe = training(few, plain(unfreeze_every=2, epochs=9, head_epochs=1, layer_decay=0.5, body_lr=0.1))
    stages = list(detector.stages())
    assert stages == ["conv1", "layer1.0", "layer1.1", "layer2.0", "layer2.1", HEAD]
    assert sum(map(len, detector.stages().values())) == len(list(detector.parameters()))
    expected = [[HEAD], *[["layer2.1", HEAD]] * 2, *[["layer2.0", "layer2.1", HEAD]] * 2]
    assert [optimise.unfrozen(stages, recipe, epoch) for epoch in range(5)] == expected
    shares = optimise.rate_shares(stages, recipe)
    assert (shares[HEAD], shares["layer2.1"], shares["layer2.0"]) == (1.0, 0.1, 0.05)
    upper = replace(recipe, trained_from="layer2", unfreeze_every=0)
    assert optimise.unfrozen(stages, upper, 1) == ["layer2.0", "layer2.1", HEAD]
    with pytest.raises(UserError, match="unknown stage 'layer9'"):
        optimise.unfrozen(stages, replace(recipe, trained_from="layer9"), 1)


def test_rates_are_constant_then_rise_then_fall():
    recipe = Recipe(head_epochs=2, epochs=10, warmup=0.2)
    factors = [optimise.rate_factor(recipe, done) for done in (0, 1.9, 2, 3, 4, 8, 12)]
    np.testing.assert_allclose(factors, [1, 1, 0, 0.5, 1, 0.5, 0], atol=1e-12)
    assert optimise.rate_factor(replace(recipe, schedule="constant"), 11) == 1
    assert optimise.rate_factor(replace(recipe, schedule="linear"), 8) == pytest.approx(0.5)


def test_what_is_frozen_does_not_move(few):
    folder = run(options(few, plain(trained_from="layer2.1", frozen_norm=False)))
    before = training(few, plain(trained_from="layer2.1"))[0].state_dict()
    after = load_detector(folder / BEST)[0].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("layer2.1" in name or name.startswith("head.") for name in moved)
    assert any(name.endswith("running_mean") for name in moved)
    still = run(options(few, plain(frozen_norm=True)))
    after = load_detector(still / BEST)[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.endswith("running_mean"))
    assert not torch.equal(before["trunks.0.tapped.conv1.weight"], after["trunks.0.tapped.conv1.weight"])


def test_frozen_norms_are_in_eval_mode(few):
    detector, _ = training(few, plain())
    optimise.freeze_others(detector, ["layer2.1", HEAD], Recipe())
    detector.training_mode(frozen_norm=False)
    of = {name: module.training for name, module in detector.named_modules() if isinstance(module, NORMS)}
    assert {"layer2.1" in name for name, training in of.items() if training} == {True}
    assert any(of.values())


@pytest.mark.parametrize("backbone", ["resnet18", "vit_tiny_patch16_224"])
def test_of_the_recipe_norms_the_weights_of_norms_alone_move(few, backbone):
    taps = {"resnet18": SMALL["features"], "vit_tiny_patch16_224": "blocks.1:avgstd"}[backbone]
    where = {"backbone": backbone, "features": taps, "size": 64}
    recipe = {"recipe": "norms", "epochs": 1, "batch": 16}
    before = training(few, recipe, **where)[0].state_dict()
    folder = run(options(few, recipe, **where))
    assert "the cached head's" in (folder / "log.txt").read_text()
    detector = load_detector(folder / BEST)[0]
    after = detector.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    norms = {
        f"{name}.{part}" for name, module in detector.trunks.named_modules(prefix="trunks")
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm) for part in ("weight", "bias")
    }  # fmt: skip
    assert moved == norms | {name for name, _ in detector.named_parameters() if name.startswith("head.")}
    assert len(norms) > 3


def test_a_network_without_norms_is_told_of(few):
    recipe = {"recipe": "cnn-dropout-logsoftmax", "trained": "norms", "epochs": 1}
    with pytest.raises(UserError, match="this network has no normalisation layer"):
        run(options(few, recipe, backbone="tf_efficientnet_lite0", weights="", features="", grid=""))


def test_norms_with_unit_embeddings_goes_on_as_if_it_had_never_stopped(few, world, monkeypatch):
    recipe = {"recipe": "norms", "start": "pretrained", "head_epochs": 1, "epochs": 1, "unit": True, "ema": 0.9,
              "alignment": 0.1, "uniformity": 0.5, "batch": 12, "best_after": 0}  # fmt: skip
    straight = run(options(few, recipe, backbone="resnet10t"))
    assert any(name.endswith("log_scale") for name in load_detector(straight / BEST)[0].state_dict())
    monkeypatch.setenv("RUNS_DIR", str(world / "again"))
    with monkeypatch.context() as patch:
        kill_at(patch, 3)
        with pytest.raises(Killed):
            run(options(few, recipe, backbone="resnet10t", save_every=1))
    same_run(straight, run(options(few, recipe, backbone="resnet10t", save_every=1)))


def test_maps_are_no_embeddings(few):
    tail = {"features": "layer2:map", "grid": '[{"family": "tail", "lr": 0.01, "epochs": 1}]', "head_epochs": 1}
    with pytest.raises(UserError, match="this head reads maps and has no embedding"):
        run(options(few, plain(alignment=0.1), **tail))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_from_what_its_run_says_of_it(name):
    recipe = RECIPES[name]
    said = json.loads(json.dumps(recipe.to_json()))
    assert changed(Recipe(), said) == recipe
    later = {"trained", "unit", "alignment", "uniformity"}
    assert (later & said.keys()) == ({"trained"} if name == "norms" else set())


def test_unit_embeddings_have_no_length(few):
    detector, _ = training(few, plain(start="pretrained", unit=True))
    vectors = torch.randn(3, 512, generator=torch.Generator().manual_seed(0))
    pixels = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(detector.judged(vectors), detector.judged(7 * vectors))
        logits, embeddings = detector(pixels, with_embeddings=True)
        torch.testing.assert_close(detector.judged(embeddings), logits)
        layer, before = detector.network.linear, detector.judged(vectors)
        layer.log_scale += torch.log(torch.tensor(2.0))
        torch.testing.assert_close(detector.judged(vectors) - layer.bias, 2 * (before - layer.bias))


def test_every_image_once_an_epoch_in_steps_of_one_size():
    rows = np.arange(100)
    first, second, again = (steps_of(rows, batch=32, seed=1, epoch=epoch) for epoch in (0, 1, 0))
    assert [len(each) for each in first] == [25, 25, 25, 25]
    assert sorted(np.concatenate(first)) == rows.tolist()
    assert np.array_equal(np.concatenate(first), np.concatenate(again))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    with pytest.raises(UserError, match="raise `batch`"):
        steps_of(rows, batch=1, seed=0, epoch=0, processes=2)


def test_losses_are_those_of_the_layers_that_the_originals_used():
    logits = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    fake = torch.tensor([0, 1, 1, 0, 1, 0])
    difference = logits[:, 1] - logits[:, 0]
    nll = torch.nn.functional.nll_loss(torch.log_softmax(logits, 1), fake, reduction="none")
    torch.testing.assert_close(step.loss_of(difference, fake.float(), "ce"), nll)
    twice = torch.nn.functional.cross_entropy(torch.softmax(logits, 1), fake, reduction="none")
    torch.testing.assert_close(step.loss_of(difference, fake.float(), "ce-softmax"), twice)


def test_the_best_epoch_by_loss_is_of_the_second_half(few):
    recipe = plain(epochs=4, best_by="loss", best_after=0.5, lr=1e-2, body_lr=1)
    result = FinetuneResult(**runs.result(run(options(few, recipe))))
    found = metrics(finished()[0][0])
    assert result.best_epoch == found.epoch[found.val_loss[2:].idxmin()]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs_as_smoke(few, name, monkeypatch):
    for vgg in ("vgg19", "vgg19_bn"):  # tests/test_step.py builds them; 140 million weights take seconds to be written
        monkeypatch.setitem(NETWORKS, vgg, partial(_narrow, norms=vgg.endswith("bn")))
    folder = run(FinetuneConfig.of(data=str(few), recipe=name, smoke=True, device="cpu", compute="fp32", grid=GRID))
    result = FinetuneResult(**runs.result(folder))
    assert (result.recipe, result.smoke, result.epochs) == (name, True, 1 + min(1, RECIPES[name].head_epochs))
    assert len(pd.read_csv(folder / "predictions-test.csv")) == 8
    detector, _ = load_detector(folder / BEST)
    assert sum(p.numel() for p in detector.parameters()) == result.parameters
    assert not list(paths.runs_dir().glob("best/*"))  # a smoke run is nobody's best
    assert reached(folder).endswith("says nothing of the detector.")
    following = comes_next(FinetuneConfig.of(data="few", recipe=name, smoke=True))
    assert following == "make finetune DATA=few" + f" RECIPE={name}" * (name != DEFAULT_RECIPE)


def _narrow(_: int, *, norms: bool) -> nn.Module:
    """In place of a VGG."""
    norm = nn.BatchNorm2d(8) if norms else nn.Identity()
    blocks = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(OrderedDict(features=blocks, flat=nn.Flatten(), classifier=nn.Linear(32, 16)))


def test_a_network_without_a_cached_head_trains_in_two_phases(few):
    recipe = plain(start="pretrained", head_epochs=1, epochs=1, network="")
    folder = run(options(few, recipe))
    assert metrics(folder).phase.tolist() == [1, 2]
    assert "there is nothing to compare" in (folder / "log.txt").read_text()
    assert FinetuneResult(**runs.result(folder)).random_weights


def test_kept_checkpoints_are_detectors(few):
    folder = run(options(few, plain(epochs=4), keep_every=2, log_images=True))
    kept = sorted(folder.glob("epoch-*.safetensors"))
    assert [each.name for each in kept] == ["epoch-002.safetensors", "epoch-004.safetensors"]
    assert load_detector(kept[0])[1].made["epoch"] == 2
    seen = [pd.read_csv(folder / f"images-00{epoch}.csv") for epoch in (1, 2, 3, 4)]
    manifest = Manifest.load(paths.manifest_file("few")).usable
    trained = sorted(manifest.rows.path[manifest.where("train")])
    assert all(sorted(each.path) == trained and each.step.is_monotonic_increasing for each in seen)
    assert len({tuple(each.path) for each in seen}) == 4


def test_registry_and_best_detector_follow_the_runs(few, capsys):
    first = run(options(few, plain(lr=1e-5)))
    second = run(options(few, plain(lr=1e-3, epochs=2)))
    registry = json.loads(paths.registry_file().read_text())
    assert registry.keys() == {first.name, second.name}
    better = max((first, second), key=lambda folder: runs.result(folder)["val_auc"])
    assert load_detector(paths.best_file("few"))[1].made["val_auc"] == runs.result(better)["val_auc"]
    paths.registry_file().write_text('{"nonsense": ')
    content = paths.best_file("few").read_bytes()
    paths.best_file("few").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of a tensor, not of the record
    run(options(few, plain(lr=1e-3, epochs=2)))
    said = capsys.readouterr().out
    assert said.count("is put aside as") == 2
    assert json.loads(paths.registry_file().read_text()).keys() == registry.keys()
    (aside,) = paths.runs_dir().glob("registry.json.broken-*")
    assert aside.read_text() == '{"nonsense": '
    assert load_detector(paths.best_file("few"))[1].made["val_auc"] == runs.result(better)["val_auc"]


def test_a_checkpoint_of_another_recipe_is_refused_and_kept(few):
    folder = kept(options(few, plain()), few)
    other = options(few, plain(lr=1e-5), checkpoint=str(folder / FILE))
    with pytest.raises(UserError, match=r"checkpoint of another training:\n  recipe.lr: expected 1e-05, found 0.0001"):
        run(other)


@pytest.mark.parametrize("kind", ["truncated", "code", "empty", "list", "other"])
def test_a_bad_checkpoint_is_one_message_and_runs_no_code(few, tmp_path, kind):
    path, whole = tmp_path / "bad.pt", (kept(options(few, plain()), few) / FILE).read_bytes()
    if kind == "list":
        torch.save([1], path)
    elif kind == "other":
        torch.save({"epoch": 3}, path)
    else:
        content = {"truncated": whole[: len(whole) // 2], "empty": b"", "code": pickle.dumps(_Code(tmp_path / "ran"))}
        path.write_bytes(content[kind])
    with pytest.raises(UserError, match=r"bad\.pt"):
        run(options(few, plain(), checkpoint=str(path)))
    assert not (tmp_path / "ran").exists()


class _Code:
    """A pickle that leaves a file behind when it is read carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_heads_that_cannot_be_started_from_are_refused(few, tmp_path):
    head = run_heads_of(few)
    with pytest.raises(UserError, match="reads features of resnet18, not of tf_efficientnet_lite0"):
        run(FinetuneConfig.of(data=str(few), head=str(head), device="cpu"))
    with pytest.raises(UserError, match="reads features of 32-pixel images, not SIZE=48"):
        run(options(few, plain(), head=str(head), size=48))
    with pytest.raises(UserError, match="have seen the validation images"):
        run(options(few, plain(), folds=2))
    with pytest.raises(UserError, match="have seen the validation images"):
        run(options(few, plain(), head=str(run_heads_of(few, folds=2))))
    with pytest.raises(UserError, match="through which no gradient passes"):
        run(options(few, plain(), grid='[{"family": "svm-rbf", "C": 1}]'))
    with pytest.raises(UserError, match="cannot read the weights"):
        run(options(few, plain(), head=str(tmp_path / "nowhere")))


def test_a_given_head_brings_its_weights_and_a_wrong_size_is_told_before_images_are_read(few, tmp_path):
    head = run_heads_of(few)
    config = options(few, plain(), head=str(head), weights="").heads
    begun = start.from_head(config, head / HEAD_FILE, given=True)
    assert begun.weights == "random"
    unread = tmp_path / "unread"
    with pytest.raises(UserError, match="leave SIZE out"):
        start.from_head(config.but(data=str(unread), size=48), head / HEAD_FILE, given=True)


def run_heads_of(few: Path, **more) -> Path:
    from heads.options import HeadsConfig
    from heads.run import run as run_heads

    return run_heads(HeadsConfig.of(data=str(few), **{**SMALL, **more}))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"recipe": "two-fase"}, "unknown recipe 'two-fase'; did you mean two-phase"),
        ({"recipe": '{"lr": -1}'}, "lr = -1: expected a number above 0"),
        ({"recipe": '{"learning_rate": 1}'}, "two-phase 'learning_rate'; did you mean lr"),
        ({"recipe": '{"augmentation": {"flop": 1}}'}, "unknown setting of augmentation 'flop'"),
        ({"recipe": "nowhere.json"}, "RECIPE=nowhere.json: no such file"),
        ({"recipe": "{"}, "RECIPE is not JSON"),
        ({"recipe": '{"epochs": 1e300}'}, "epochs = 1e+300: expected a whole number at least 1, at most 100000"),
        ({"recipe": '{"epochs": Infinity}'}, "RECIPE: Infinity: expected a finite number"),
        ({"recipe": '{"lr": ' + "9" * 400 + "}"}, "a whole number has at most 18 digits"),
        ({"recipe": '{"augmentation": {"largest_blur": 1e9}}'}, "largest_blur = 1000000000.0: .* at most 100"),
        ({"recipe": '{"augmentation": {"flip": [[0, 1]]}}'}, "flip = [[0, 1]]: expected a number"),
        ({"recipe": '{"augmentation": [1]}'}, "expected an object like"),
        ({"recipe": '{"network": ' + "[" * 5000}, "RECIPE: brackets in brackets, more than 8 deep"),
        ({"recipe": '{"network": "a\\u0000b"}'}, "printable letters"),
        ({"recipe": '{"lr": 1, "lr": 2}'}, "RECIPE: 'lr' is given twice"),
        ({"recipe": "x" * 100_000}, "unknown recipe 'xxx.*xxx'. Known: "),
        ({"recipe": "x" * 100_000 + ".json"}, "cannot be read (File name too long)"),
        ({"recipe": "/dev/zero.json"}, "no such file"),
        ({"recipe": '{"lr": [0.1, 0.2]}'}, "RECIPE gives several values of lr: `make tune` searches"),
        ({"recipe": '{"trained_from": 3}'}, "trained_from = 3: expected text"),
        ({"recipe": '{"dropout": 0.5}'}, "dropout belongs to a new last layer"),
        ({"tracker": "tensorbored"}, "unknown TRACKER 'tensorbored'"),
        ({"seed": -1}, "must not be negative"),
        ({"recipe": "resnet18-scratch", "backbone": "cvt_13"}, "this recipe trains resnet18, not BACKBONE=cvt_13"),
        ({"backbone": "resnet18+resnet10t"}, "name one"),
        ({"recipe": "cnn-fc6", "head": "x"}, "takes no head"),
    ],
)
def test_mistakes_are_told_before_any_work(few, more, words):
    escaped = re.sub(r"([+{}()\[\]])", r"\\\1", words)
    with pytest.raises(UserError, match=escaped):
        run(FinetuneConfig.of(data=str(few), **more))
    assert not (paths.runs_dir() / "heads").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test says is missing")
def test_a_missing_gpu_is_told(few):
    with pytest.raises(UserError, match=r"DEVICE=cuda: no GPU is here \([^()]*\); leave DEVICE out"):
        run(options(few, plain(), device="cuda"))


def test_a_diverging_training_keeps_what_it_had(few, monkeypatch):
    original = step.Stepper.update

    def diverging(self, *args, epoch: int, step: int):
        sums = original(self, *args, epoch=epoch, step=step)
        return sums * float("nan") if epoch == 2 else sums

    monkeypatch.setattr(step.Stepper, "update", diverging)
    with pytest.raises(fit.DivergedError, match="in epoch 3: lower `lr`"):
        run(options(few, plain(epochs=4)))
    (folder,) = paths.runs_dir().glob("finetune/few-*")
    assert len(metrics(folder)) == 2
    assert torch.load(folder / FILE, weights_only=True)["epoch"] == 2
    assert load_detector(folder / BEST)[1].made["epoch"] <= 2


def test_too_high_a_rate_diverges(few):
    with pytest.raises(fit.DivergedError):
        run(options(few, plain(lr=1e3, body_lr=1e3, optimiser="sgd", epochs=4)))


def test_of_few_epochs_the_last_is_kept_whatever_best_after_says(few):
    result = runs.result(run(options(few, plain(epochs=1, best_after=0.9))))
    assert result["best_epoch"] == 1


def test_augmentations_that_change_nothing_are_none():
    assert epochs.drawn(read_recipe(json.dumps(plain())).recipe.augmentation, seed=0, epoch=0) is None
    assert epochs.drawn(Augmentation(blur=0.1), seed=0, epoch=0)
