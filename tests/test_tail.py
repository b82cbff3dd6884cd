"""Tail heads, and the heart of the suite: logits from cache and head equal logits from image through the Detector."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from cache import paths, runs
from cache.errors import UserError
from cache.table import FeatureTable
from data.images import decode
from data.manifest import Manifest
from data.preprocess import to_input
from extract.computing.machine import CPU_BATCH
from extract.networks.backbones import build
from extract.options import ExtractConfig
from extract.run import run as extract
from extract.run import specs_of
from finetune.detectors.detector import FeatureDetector
from heads import folds, memory, stream
from heads.families import Member, Tail
from heads.fitting.tails import MapTask, _Training, fit_tails
from heads.fitting.unfinished import Unfinished
from heads.head_file import HeadRecord, assemble
from heads.options import HeadsConfig
from heads.run import run
from heads.stream import RowStream
from heads.sweep.grid import GRIDS
from heads.sweep.sweep_result import HEAD_FILE
from tests.conftest import kept_faces
from tests.test_fit import exactly_the_same, killed_after, same

FAMILIES = {
    "linear": '[{"family": "linear", "lr": 0.01, "epochs": 2}]',
    "mlp": '[{"family": "mlp", "lr": 0.01, "epochs": 2, "hidden": [[5, 4]], "layer_norm": true}]',
    "ridge": '[{"family": "ridge", "penalty": 10}]',
    "logistic": '[{"family": "logistic", "penalty": 0.1}]',
    "blend": '[{"family": "blend", "penalty": 10}]',
    "sklearn": '[{"family": "svm-rbf", "C": 3}]',
    "tail": '[{"family": "tail", "lr": 0.001, "epochs": 1, "batch": 8, "dropout": 0.5, "loss": "ce"}]',
}
FEATURES = {
    "tf_efficientnet_lite0": "blocks.2:avgstd blocks.5:map",
    "resnet18": "layer2:avg layer4:map",
    "wide_resnet50_2": "layer3:map",
    "cvt_13": "stages.1:avgstd stages.2:map",
}
ROW_BYTES = 192 * 2 * 2 * 2  # of blocks.5 of EfficientNet-Lite0 at 64 pixels, in float16
CHEAP = {"size": 64, "device": "cpu", "workers": 0, "compute": "fp32", "seeds": 1}


@pytest.fixture
def few(tmp_path_factory, monkeypatch) -> Path:
    return kept_faces(tmp_path_factory.getbasetemp() / "kept28", 28, monkeypatch)


def options(data: Path, backbone: str, **more) -> HeadsConfig:
    given = {"weights": "" if backbone == "tf_efficientnet_lite0" else "random", "features": FEATURES.get(backbone, "")}
    return HeadsConfig.of(data=str(data), backbone=backbone, **{**given, **CHEAP, **more})


def pixels_of(manifest: Manifest, how) -> torch.Tensor:
    images = [decode((manifest.root / path).read_bytes())[0] for path in manifest.rows.path]
    return torch.from_numpy(np.stack([to_input(image, how) for image in images]))


def from_images(folder: Path, config: HeadsConfig, manifest: Manifest) -> np.ndarray:
    """In a batch of the size that extraction uses: another one may change the last bit of a float32."""
    names = config.extract.backbone.split("+")
    given = config.extract
    backbones = [build(name, weights=given.weights, size=given.size) for name in names]
    detector = FeatureDetector.load(folder / HEAD_FILE, backbones)
    pixels = [pixels_of(manifest, how) for how in detector.preprocesses]
    filled = [torch.cat([each, each.new_zeros(CPU_BATCH - len(each), *each.shape[1:])]) for each in pixels]
    with torch.inference_mode():
        return detector(*filled)[: len(manifest)].numpy()


def refuse_difference(config: HeadsConfig) -> None:
    folder = run(config)
    manifest = Manifest.load(paths.manifest_file("few")).usable
    from_cache = pd.concat([pd.read_csv(folder / f"predictions-{split}.csv") for split in ("train", "test")])
    scores = pd.Series(from_images(folder, config, manifest), manifest.rows.path)[from_cache.path]
    assert from_cache.score.std() > 1e-3
    np.testing.assert_allclose(scores, from_cache.score, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backbone", FEATURES)
@pytest.mark.parametrize("family", FAMILIES)
def test_parity_of_cache_and_image(backbone, family, few):
    """For every backbone and head family; two folds, so that the head has members."""
    refuse_difference(options(few, backbone, grid=FAMILIES[family], folds=2))


@pytest.mark.parametrize(("family", "norm"), [("mlp", "l2"), ("ridge", "unit"), ("ridge", "layer")])
def test_parity_of_normalised_rows(family, norm, few):
    """And the head that is kept says what was judged in training, in which rows are normalised elsewhere."""
    grid = [{**json.loads(FAMILIES[family])[0], "norm": norm}]
    config = options(few, "resnet18", features="layer1:avgstd layer2:avg", grid=json.dumps(grid), inputs="all")
    refuse_difference(config)
    folder = run(config)
    val = pd.read_csv(folder / "predictions-val.csv")
    assert roc_auc_score(val.label == "fake", val.score) == pytest.approx(runs.result(folder)["val_auc"])
    plain = run(config.but(grid=FAMILIES[family]))
    assert not np.allclose(pd.read_csv(plain / "predictions-val.csv").score, val.score)


def test_parity_of_joined_backbones(few):
    config = options(few, "resnet18+resnet10t", features="layer1:avgstd", grid=FAMILIES["linear"], inputs="all")
    refuse_difference(config)


def test_a_detector_refuses_other_backbones_and_other_weights(few):
    folder = run(options(few, "resnet18", grid=FAMILIES["ridge"]))
    with pytest.raises(UserError, match="reads features of resnet18, not of cvt_13"):
        FeatureDetector.load(folder / HEAD_FILE, [build("cvt_13", weights="random")])
    network = build("resnet18", weights="random")
    other = replace(network, weights=replace(network.weights, identity="random:0"))
    with pytest.raises(UserError, match="give the weights it was trained on"):
        FeatureDetector.load(folder / HEAD_FILE, [other])


def map_task(few: Path, *, count: int = 2, memory: int | None = None, views: int = 1) -> MapTask:
    config = ExtractConfig.of(data=str(few), backbone="tf_efficientnet_lite0", features="blocks.5:map", views=views,
                           size=64, device="cpu", workers=0, compute="fp32")  # fmt: skip
    specs = specs_of(extract(config))
    manifest = Manifest.load(paths.manifest_file("few")).usable
    tables = [FeatureTable(spec, manifest) for spec in specs]
    return MapTask(RowStream(tables, memory=memory), specs[0], manifest.fake, folds.cut(manifest, count))


def test_a_tail_beside_others_equals_the_same_tail_alone(few):
    task = map_task(few)
    configs = [
        Tail(lr=1e-3, epochs=3, batch=8, dropout=0.5, class_balance=1, body_lr=0.5),
        Tail(lr=3e-3, epochs=4, batch=8, l1=1e-4, weight_decay=0.1, optimiser="adam", loss="ce", patience=1),
        Tail(lr=1e-3, epochs=2, batch=8, frozen_norm=True, label_smoothing=0.2, schedule="constant"),
    ]
    members = [Member(config, number % 2, number) for number, config in enumerate(configs)]
    for member, together in zip(members, fit_tails(members, task), strict=True):
        same(fit_tails([member], task)[0], together)


def test_tails_that_are_killed_between_epochs_go_on_from_there(few, tmp_path, monkeypatch):
    task, kept, found = map_task(few), Unfinished(tmp_path / "bucket.safetensors"), []
    configs = [Tail(lr=1e-3, epochs=3, batch=8, dropout=0.5), Tail(lr=3e-3, epochs=1, batch=8, optimiser="adam")]
    wanted = [Member(config, number, number) for number, config in enumerate(configs)]
    whole = fit_tails(wanted, task)
    fit_again = lambda report: found.append(fit_tails(wanted, task, report=report, unfinished=kept))  # noqa: E731
    assert killed_after(1, fit_again, monkeypatch) == [2, 3]
    for one, other in zip(whole, found[0], strict=True):
        exactly_the_same(one, other)


def test_a_tails_loss_and_rates_by_hand(few):
    """Its own weights of the classes, smoothing and L1; the backbone's part at a share of the rate, both falling."""
    task = map_task(few, count=1)
    config = Tail(lr=0.2, epochs=4, batch=8, body_lr=0.25, label_smoothing=0.2, class_balance=1.0, l1=1e-3,
                  schedule="linear", weight_decay=0.3)  # fmt: skip
    training = _Training(Member(config, 0, 0), build("tf_efficientnet_lite0"), task)
    rows = torch.from_numpy(np.flatnonzero(task.folds.trained[0]))[1:]
    fake, all_fake = task.fake[rows], task.fake[task.folds.trained[0]]
    logits = torch.linspace(-2, 3, len(rows))
    targets = fake * 0.8 + 0.1
    losses = np.log1p(np.exp(logits.numpy())) - targets * logits.numpy()
    balance = np.where(fake, 0.5 / all_fake.mean(), 0.5 / (~all_fake).mean())
    size = sum(p.abs().sum().item() for p in training.network.parameters())
    expected = (losses * balance).sum() / balance.sum() + 1e-3 * size
    assert training._loss(logits, rows).item() == pytest.approx(expected, rel=1e-5)
    training._set_rates(1.0)
    groups = training.optimiser.param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        pytest.approx((0.2 * 0.25 * 0.75, 0.3)), pytest.approx((0.2 * 0.75, 0.3)),
    ]  # fmt: skip
    before = training._state()
    one = rows[:1].numpy()
    training.step(one, torch.zeros(1, *task.row_shape), epoch=0, step=0)  # of one image BatchNorm knows no spread
    assert all(torch.equal(tensor, before[name]) for name, tensor in training._state().items())


def test_a_tails_figures_are_those_of_the_head_that_is_kept(few):
    """Judged with the statistics that BatchNorm has kept, not with those of the images judged."""
    task = map_task(few, count=1)
    config = Tail(lr=1e-3, epochs=2, batch=8, dropout=0.5)
    (fitted,) = fit_tails([Member(config, 0, 0)], task)
    head = assemble([fitted], HeadRecord(config, [task.spec], task.row_shape))
    held = np.flatnonzero(task.folds.held_out[0])
    scores = head(torch.from_numpy(task.stream.tables[0].read(held))).double().numpy()
    assert log_loss(task.fake[held], 1 / (1 + np.exp(-scores))) == pytest.approx(fitted.val_loss, rel=1e-4)
    assert roc_auc_score(task.fake[held], scores) == pytest.approx(fitted.val_auc, abs=1e-6)


def test_no_label_that_a_tail_is_judged_by_reaches_its_parameters(few):
    task = map_task(few)
    turned = replace(task, fake=task.fake ^ task.folds.held_out[0])
    before, after = (fit_tails([Member(Tail(lr=1e-3, epochs=1, batch=8), 0, 0)], on)[0] for on in (task, turned))
    assert before.val_auc == pytest.approx(1 - after.val_auc)
    same(before, after)


def test_streamed_maps_train_the_same_tail_as_maps_in_memory(few, monkeypatch):
    monkeypatch.setattr(stream, "BUFFER_BYTES", 9 * ROW_BYTES)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 2 * ROW_BYTES)
    member = Member(Tail(lr=1e-3, epochs=2, batch=4), 0, 0)
    held, streamed = map_task(few), map_task(few, memory=0)
    assert held.stream.in_memory
    assert not streamed.stream.in_memory
    assert "streamed" in streamed.stream.mode
    same(fit_tails([member], held)[0], fit_tails([member], streamed)[0])


@pytest.mark.parametrize("memory", [None, 0])
def test_an_epoch_is_every_row_once_in_another_order_and_another_view(few, memory, monkeypatch):
    monkeypatch.setattr(stream, "BUFFER_BYTES", 9 * ROW_BYTES)
    task = map_task(few, memory=memory, views=2)
    rows = task.folds.rows
    orders, seen = [], []
    for epoch in (0, 1, 0):
        order = []
        for batch in task.stream.epoch(rows, epoch, batch=5):
            order += batch.rows.tolist()
            for row, content in zip(batch.rows, batch.values.numpy().copy(), strict=True):
                of_views = [table.read(np.array([row]))[0] for table in task.stream.tables]
                seen += [v for v, expected in enumerate(of_views) if np.array_equal(expected, content)]
        assert sorted(order) == rows.tolist()
        orders.append(order)
    assert orders[0] == orders[2] != orders[1]
    assert set(seen) == {0, 1, 2}


def test_maps_that_fit_into_memory_are_read_once(few, monkeypatch, capsys):
    """Timing two steps before the start reads a batch; the first epoch reads all, for both tails."""
    read, original = [], FeatureTable.read

    def counted(self, rows, out=None):
        read.extend([len(rows)] if self.spec.pooling == "map" else [])
        return original(self, rows, out)

    monkeypatch.setattr(FeatureTable, "read", counted)
    grid = '[{"family": "ridge", "penalty": 1.0}, {"family": "tail", "lr": [1e-3, 1e-2], "epochs": 1, "batch": 8}]'
    run(options(few, "tf_efficientnet_lite0", features="blocks.2:avg blocks.5:map blocks.5:avg", grid=grid))
    assert sorted(read) == [8, 28]
    assert capsys.readouterr().out.count("blocks.5:map: 0.0 GB in memory") == 1


GIB = 1 << 30
V2 = {"memory.max": f"{8 * GIB}\n", "memory.current": f"{7 * GIB}\n",
      "memory.stat": f"anon {GIB}\nfile {6 * GIB}\nactive_file {GIB}\ninactive_file {5 * GIB}\n"}  # fmt: skip
V1 = {"memory/memory.limit_in_bytes": f"{8 * GIB}\n", "memory/memory.usage_in_bytes": f"{7 * GIB}\n",
      "memory/memory.stat": f"cache {6 * GIB}\ninactive_file 0\ntotal_inactive_file {5 * GIB}\n"}  # fmt: skip


@pytest.mark.parametrize(
    ("files", "left"),
    [(V2, 6 * GIB), (V1, 6 * GIB), (V2 | {"memory.max": "max\n"}, np.inf), ({}, np.inf),
     (V1 | {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 9223372036854771712 - 2 * GIB)],
)  # fmt: skip
def test_files_that_were_read_do_not_use_up_a_containers_memory(tmp_path, monkeypatch, files, left):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    assert memory._free_of_container() == left


def test_frozen_norm_stays_frozen_and_otherwise_moves(few):
    task = map_task(few, count=1)
    for frozen in (True, False):
        (fitted,) = fit_tails([Member(Tail(lr=1e-3, epochs=1, batch=8, frozen_norm=frozen), 0, 0)], task)
        before = build("tf_efficientnet_lite0").module.state_dict()
        means = [name for name in fitted.parameters if name.endswith("running_mean")]
        still = [torch.equal(fitted.parameters[name], before[name.removeprefix("body.")]) for name in means]
        assert len(means) > 3
        assert all(still) == frozen


def test_a_curve_every_few_batches_as_the_notebook_drew_it(few):
    block = {**GRIDS["wrn50-2-layer4"][0], "batch": 4, "epochs": 2, "curve_every": 2}
    folder = run(options(few, "resnet18", grid=json.dumps([block])))
    curves = pd.read_csv(folder / "curves.csv")
    steps = -(-len(pd.read_csv(folder / "predictions-train.csv")) // 4)
    assert len(curves) == 2 * -(-steps // 2)
    assert curves.epoch.max() == 2
    assert curves.train_loss.notna().all()
    assert runs.result(folder)["family"] == "tail"


def test_a_diverging_tail_is_marked_and_the_others_go_on(few):
    task = map_task(few, count=1)
    good, bad = (Member(Tail(lr=lr, epochs=1, batch=8), 0, 0) for lr in (1e-3, 1e37))
    fitted = fit_tails([good, bad], task)
    same(fit_tails([good], task)[0], fitted[0])
    assert fitted[1].diverged == 0
    assert np.isnan(fitted[1].val_auc)


def test_tails_refuse_other_weights(few):
    task = map_task(few)
    other = replace(task, spec=replace(task.spec, weights="random:0"))
    with pytest.raises(UserError, match="give the right file with WEIGHTS="):
        fit_tails([Member(Tail(lr=1), 0, 0)], other)
