"""Stacked training: a head in a stack equals the same head alone, whatever rides with it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from heads import stream as streams
from heads.families import Fitted, Linear, Logistic, Member, Mlp, Point, Ridge
from heads.fitting import column_metrics, unfinished
from heads.fitting.stack import Dropout, Head, Shape, _dropped, _linear, initial, normed_rows
from heads.fitting.stacked import _Training, class_weights, fit, generator_weights, seconds_an_epoch
from heads.fitting.task import Task
from heads.fitting.unfinished import Unfinished
from heads.stream import RowStream
from tests.tables import Matrix, features, folds, in_memory, raw, source, streamed, task

VARIED = [
    {"lr": 1e-3, "epochs": 6},
    {"lr": 3e-2, "weight_decay": 5.0, "dropout": 0.3, "l1": 1e-3, "class_balance": 1, "schedule": "linear", "epochs": 8,
     "patience": 2},
    {"lr": 1e-2, "weight_decay": 1.0, "dropout": 0.3, "label_smoothing": 0.1, "class_balance": 0.5,
     "schedule": "constant", "epochs": 12, "patience": 3},
    {"lr": 1e-2, "dropout": 0.6, "label_smoothing": 0.2, "l1": 1e-2, "epochs": 10},
]  # fmt: skip
SHAPES = [
    {"hidden": (6,)},
    {"hidden": (8, 5), "activation": "relu"},
    {"hidden": (7, 6, 5), "layer_norm": True},
]


def members(configs, count: int, seeds: int = 2) -> list[Member]:
    return [Member(config, fold, seed) for config in configs for fold in range(count) for seed in range(seeds)]


def same(one: Fitted, other: Fitted) -> None:
    assert one.epoch == other.epoch
    assert len(one.curve) == len(other.curve)
    assert one.parameters.keys() == other.parameters.keys()
    for name, tensor in one.parameters.items():
        torch.testing.assert_close(other.parameters[name], tensor, rtol=1e-5, atol=1e-5)


def exactly_the_same(one: Fitted, other: Fitted) -> None:
    assert replace(one, parameters={}) == replace(other, parameters={})
    assert one.parameters.keys() == other.parameters.keys()
    for name, tensor in one.parameters.items():
        assert torch.equal(other.parameters[name], tensor)


def killed_after(epochs: int, train, monkeypatch) -> list[int]:
    """Train until a kill behind so many epochs, then again; the epochs that the second attempt did.

    train: of what reports an epoch.
    """
    monkeypatch.setattr(unfinished, "SECONDS", 0)
    done = []

    def dying(epoch, _):
        if epoch > epochs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dying)
    train(lambda epoch, _: done.append(epoch))
    return done


def test_an_epoch_is_priced_with_its_validation(monkeypatch):
    """A step is a tick of the clock, a validation ten."""
    on, clock = task(), [0.0]
    monkeypatch.setattr("heads.fitting.stacked.time.perf_counter", lambda: clock[0])
    for name, ticks in (("step", 1), ("judge", 10)):
        told = lambda *_, ticks=ticks, **more: clock.__setitem__(0, clock[0] + ticks)  # noqa: E731
        monkeypatch.setattr(_Training, name, told)
    steps = -(-len(on.folds.rows) // 7)
    assert seconds_an_epoch(members([Linear(lr=0.1, batch=7)], 1, 1), on) == steps + 10


def test_a_stack_that_is_killed_between_epochs_goes_on_from_there(tmp_path, monkeypatch):
    """Also where some heads have left the stack already, and to the last bit."""
    on, kept, found = task(count=3, views=2), Unfinished(tmp_path / "bucket.safetensors"), []
    wanted = members([Mlp(**each, **SHAPES[2], batch=16) for each in VARIED], 3, 1)
    whole = fit(wanted, on)
    done = killed_after(7, lambda report: found.append(fit(wanted, on, report=report, unfinished=kept)), monkeypatch)
    assert done == list(range(8, max(len(each.curve) for each in whole) + 1))
    for one, other in zip(whole, found[0], strict=True):
        exactly_the_same(one, other)
    kept.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("shape", [None, *SHAPES], ids=str)
def test_a_stacked_head_equals_the_same_head_alone(shape, count):
    """With folds, dropout, early stopping, class weights, L1, smoothing and views, all different within one stack."""
    on = task(count=count, views=2)
    configs = [Linear(**each, batch=16) if shape is None else Mlp(**each, **shape, batch=16) for each in VARIED]
    wanted = members(configs, count)
    together = fit(wanted, on)
    for member, stacked in zip(wanted, together, strict=True):
        same(fit([member], on)[0], stacked)
    assert len({each.val_auc for each in together}) > len(wanted) / 2  # the heads are not all the same one
    assert len({len(each.curve) for each in together}) > 2  # some stopped early, at different epochs


@pytest.mark.parametrize("stored", [np.float32, np.float16])
def test_heads_of_streamed_features_are_those_of_held_ones(stored, monkeypatch):
    """Through buffers smaller than the features, which are held as they are stored."""
    monkeypatch.setattr(streams, "BUFFER_BYTES", 1000)
    monkeypatch.setattr(streams, "BLOCK_BYTES", 200)
    X, fake = features(120, 6, views=2)
    configs = [Linear(lr=1e-2, epochs=2, batch=16, dropout=0.3), Ridge(penalty=3.0), Logistic(penalty=0.01)]
    tasks = [Task.of(kind(X.astype(stored)), fake, folds(120, 3), mean_views=True) for kind in (in_memory, streamed)]
    assert [on.stream.in_memory for on in tasks] == [True, False]
    for config in configs:
        for one, other in zip(*(config.fit([Member(config, f, 0) for f in range(3)], source(on)) for on in tasks),
                              strict=True):  # fmt: skip
            same(one, other)


def test_one_head_is_torchs_adamw():
    on = task(columns=5)
    ours = fit([Member(Linear(lr=1e-2, weight_decay=0.1, epochs=1, batch=200), 0, 3)], on)[0]
    layer = torch.nn.Linear(5, 1)
    first = initial(Shape(5), [3])
    layer.load_state_dict({"weight": first["weight"], "bias": first["bias"]})
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=0.1)
    rows = torch.from_numpy(on.folds.trained[0])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        layer(on.standard(raw(on)[rows]))[:, 0], on.fake[rows].float()
    )
    loss.backward()
    optimiser.step()
    torch.testing.assert_close(ours.parameters["weight"], layer.weight[0].detach())
    assert ours.curve[0].train_loss == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "cosine", "weight_decay": 2.0}, {"schedule": "linear", "l1": 0.02},
        {"schedule": "constant", "label_smoothing": 0.3, "class_balance": 1.0}, {"class_balance": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_every_epoch_of_a_head_is_torchs_adamw(settings):
    """One step an epoch, on all rows at once, with the rate of its schedule; the losses are those before each step."""
    on, config = task(columns=5), Linear(lr=0.05, epochs=5, batch=200, **settings)
    ours = fit([Member(config, 0, 3)], on)[0]
    layer = torch.nn.Linear(5, 1)
    layer.load_state_dict({name: tensor for name, tensor in initial(Shape(5), [3]).items()})
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1.0, weight_decay=config.weight_decay)
    rows = torch.from_numpy(on.folds.trained[0])
    fake = on.fake[rows]
    balance = torch.where(fake, 0.5 / fake.float().mean(), 0.5 / (~fake).float().mean()) ** config.class_balance
    targets = fake.float() * (1 - config.label_smoothing) + config.label_smoothing / 2
    for epoch, point in enumerate(ours.curve):
        factors = {"cosine": 0.5 * (1 + np.cos(np.pi * epoch / 5)), "linear": 1 - epoch / 5, "constant": 1.0}
        optimiser.param_groups[0]["lr"] = 0.05 * factors[config.schedule]
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            layer(on.standard(raw(on)[rows]))[:, 0], targets, reduction="none"
        )
        loss = (losses * balance).sum() / balance.sum()
        assert point.train_loss == pytest.approx(loss.item(), rel=1e-5)
        optimiser.zero_grad()
        (loss + config.l1 * layer.weight.abs().sum()).backward()
        optimiser.step()
        if epoch == ours.epoch:
            torch.testing.assert_close(ours.parameters["weight"], layer.weight[0].detach())
    assert len(ours.curve) == 5


def test_batches_come_in_another_order_in_each_epoch(monkeypatch):
    seen, original = [], _Training.step
    monkeypatch.setattr(
        _Training, "step", lambda self, batch, **how: seen.append(batch) or original(self, batch, **how)
    )
    on = task(views=2)
    fit([Member(Linear(lr=1e-2, epochs=2, batch=200), 0, 0)], on)
    of_views = on.stream.held.unflatten(0, (2, -1))  # (2, N, D)
    orders = [batch.rows.tolist() for batch in seen]
    views = [(batch.values == of_views[1, batch.rows]).all(dim=1).int().tolist() for batch in seen]
    assert sorted(orders[0]) == sorted(orders[1]) == on.folds.rows.tolist()
    assert orders[0] != orders[1]
    assert {*views[0]} == {*views[1]} == {0, 1}


def test_patience_and_ties_by_hand():
    """Three epochs judged: the second is the best, the third as good; it waits two epochs and no longer."""
    member = Member(Linear(lr=0.1, epochs=10, patience=2), 0, 0)
    fitted = Fitted(member, {}, np.nan, np.inf)
    for epoch, (auc, loss) in enumerate([(0.7, 0.5), (0.8, 0.5), (0.8, 0.5)]):
        fitted = fitted.after_epoch(epoch, Point(epoch + 1, 0.5, loss, auc), lambda epoch=epoch: {"weight": epoch})
    assert (fitted.epoch, fitted.parameters) == (1, {"weight": 1})
    assert [fitted.goes_on(done) for done in (2, 3, 4, 5)] == [True, True, False, False]
    patient = replace(fitted, member=Member(Linear(lr=0.1, epochs=10), 0, 0))
    assert [patient.goes_on(done) for done in (4, 9, 10)] == [True, True, False]
    better = fitted.after_epoch(3, Point(4, 0.5, 0.4, 0.8), lambda: {"weight": 3})
    assert (better.epoch, better.val_loss) == (3, 0.4)


def test_a_column_that_never_changes_stays_out():
    X, fake = features(30, 4)
    X[:, :, 2] = 7.0
    on = Task.of(in_memory(X), fake, folds(30, 3))
    assert torch.isfinite(on.standard(raw(on))).all()
    assert (on.standard(raw(on))[:, 2] == 0).all()
    assert on.standardisation(1)["std"][2] == 1


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("normed", [False, True])
def test_a_head_is_the_network_that_its_setting_names(activation, normed):
    config = Mlp(lr=1.0, hidden=(7, 5), activation=activation, layer_norm=normed)
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(size, generator=generator) for name, size in config.shape(6).tensors().items()}
    mean, std = torch.randn(6, generator=generator), torch.rand(6, generator=generator) + 0.5
    x = torch.randn(20, 6, generator=generator)
    a = (x - mean) / std
    for layer, width in ((1, 7), (2, 5)):
        a = a @ tensors[f"weight{layer}"].T + tensors[f"bias{layer}"]
        if normed:
            a = torch.nn.functional.layer_norm(a, (width,), tensors[f"scale{layer}"], tensors[f"shift{layer}"])
        a = torch.nn.functional.relu(a) if activation == "relu" else torch.nn.functional.gelu(a)
    head = Head(config.shape(6), 1)
    head.fill([tensors | {"mean": mean, "std": std}])
    torch.testing.assert_close(head(x).detach(), a @ tensors["weight"] + tensors["bias"], rtol=1e-4, atol=1e-5)


def test_weights_begin_within_the_bounds_of_pytorchs_layers():
    """Uniform up to 1 / sqrt(columns read), biases of the same layer too; another head for another seed."""
    found = initial(Shape(400, (100,), layer_norm=True), [0, 1])
    for names, bound in ((("weight1", "bias1"), 0.05), (("weight", "bias"), 0.1)):
        assert all(found[name].abs().max() <= bound for name in names)
    assert found["weight1"].std().item() == pytest.approx(0.05 / 3**0.5, rel=0.02)
    assert (found["scale1"] == 1).all()
    assert (found["shift1"] == 0).all()
    assert not torch.equal(*found["weight1"])


def test_dropout_keeps_the_mean_and_what_a_head_sees_does_not_hang_on_the_others():
    many = Dropout(torch.tensor([0.5, 0.2, 0.5]), seeds=(0, 0, 1), step=4)
    dropped = _dropped(torch.ones(3, 100, 50), many, 1)
    assert [set(each.unique().tolist()) for each in dropped] == [{0.0, 2.0}, {0.0, 1.25}, {0.0, 2.0}]
    torch.testing.assert_close(dropped.mean(dim=(1, 2)), torch.ones(3), rtol=0.05, atol=0)
    logits = _linear(torch.ones(300, 50), torch.full((3, 50), 1 / 50), torch.zeros(3), many)
    torch.testing.assert_close(logits.mean(dim=0), torch.ones(3), rtol=0.05, atol=0)
    alone = _dropped(torch.ones(1, 100, 50), Dropout(torch.tensor([0.5]), seeds=(1,), step=4), 1)
    assert torch.equal(alone[0], dropped[2])
    assert not torch.equal(dropped[0], dropped[2])
    assert not torch.equal(alone, _dropped(torch.ones(1, 100, 50), Dropout(torch.tensor([0.5]), (1,), step=5), 1))


def test_rows_are_weighted_by_the_rarity_of_their_class_among_those_trained_on():
    fake = torch.tensor([True, False, False, False, True, True])
    trained = torch.tensor([True, True, True, True, False, False])  # one fake in four
    torch.testing.assert_close(class_weights(trained, fake, 1.0), torch.tensor([2.0, 2 / 3, 2 / 3, 2 / 3, 0, 0]))
    torch.testing.assert_close(class_weights(trained, fake, 0.5)[:2], torch.tensor([2.0, 2 / 3]).sqrt())
    assert class_weights(trained, fake, 0.0).tolist() == [1, 1, 1, 1, 0, 0]


def test_unit_vectors_keep_the_proportions_of_their_columns():
    X, fake = features(90, 6)
    on = Task.of(in_memory(X), fake, folds(90, 3), alike=True)
    rows, _ = on.training_rows(1)
    mean, std = (each.numpy() for each in on.standardisation(1).values())
    assert len(set(std.tolist())) == 1
    np.testing.assert_allclose(rows, (X[0, on.folds.trained[1]] - mean) / std, rtol=1e-4, atol=1e-4)
    assert (rows**2).mean() == pytest.approx(1, rel=1e-3)
    raw = X[0, on.folds.trained[1]]
    np.testing.assert_allclose(
        rows.std(axis=0) / rows.std(), raw.std(axis=0) / (raw - raw.mean(axis=0)).std(), rtol=1e-3
    )


def test_generators_are_weighted_by_their_rarity_among_the_fakes_trained_on():
    fake = torch.tensor([False, False, True, True, True, True, True])
    made_by = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    trained = torch.tensor([True, True, True, True, True, True, False])  # three of one, one of the other
    weights = generator_weights(trained, fake, made_by, 1.0)
    torch.testing.assert_close(weights[:6], torch.tensor([1, 1, 2 / 3, 2 / 3, 2 / 3, 2.0]))
    half = generator_weights(trained, fake, made_by, 0.5)
    assert half[trained & fake].sum() == pytest.approx(4)  # all fakes together weigh what they did
    assert half[5] / half[2] == pytest.approx(3**0.5)
    assert generator_weights(trained, fake, made_by, 0.0).tolist() == [1] * 7


def test_a_head_of_balanced_generators_heeds_the_rare_one():
    rng = np.random.default_rng(0)
    made_by = np.where(np.arange(400) % 2 == 0, 0, np.where(np.arange(400) % 20 == 1, 2, 1))
    X = rng.standard_normal((1, 400, 2)).astype(np.float32)
    X[0, made_by == 1, 0] += 2
    X[0, made_by == 2, 1] += 2
    cut = replace(folds(400, 1), made_by=made_by)
    on = Task.of(in_memory(X), made_by > 0, cut)
    configs = [Linear(lr=0.05, epochs=20, generator_balance=balance) for balance in (0, 1)]
    plain, balanced = (each.parameters["weight"] for each in fit([Member(each, 0, 0) for each in configs], on))
    assert balanced[1] / balanced[0] > 2 * plain[1] / plain[0] > 0


def test_what_a_fold_holds_out_does_not_reach_its_heads():
    """Other numbers and labels in the held-out rows: the same weights after every epoch."""
    X, fake = features(90, 6)
    cut = folds(90, 3)
    held = cut.held_out[1]
    other_X, other_fake = X.copy(), fake.copy()
    other_X[:, held] += 1 * np.random.default_rng(1).standard_normal((1, int(held.sum()), 6)).astype(np.float32)
    other_fake[held] = ~fake[held]
    config = Linear(lr=1e-2, epochs=1, batch=16, class_balance=1)
    for kind in (config, Mlp(lr=1e-2, hidden=(5,), epochs=1, batch=16)):
        before, after = (
            fit([Member(kind, 1, 0)], Task.of(in_memory(a), b, cut))[0] for a, b in ((X, fake), (other_X, other_fake))
        )
        rows = torch.from_numpy(X[0])
        torch.testing.assert_close(_head(before)(rows), _head(after)(rows), rtol=1e-4, atol=1e-4)
        assert before.val_auc != after.val_auc


def _head(fitted: Fitted) -> Head:
    columns = len(fitted.parameters["mean"])
    head = Head(fitted.member.config.shape(columns), 1)
    head.fill([fitted.parameters])
    return head.requires_grad_(False)


def test_the_epoch_kept_is_the_best_and_its_figures_are_those_of_its_parameters():
    on = task(count=3)
    for each in fit(members([Mlp(lr=3e-2, hidden=(8,), epochs=12, batch=16)], 3), on):
        best = max(each.curve, key=lambda point: (point.val_auc, -point.val_loss))
        assert (each.epoch + 1, each.val_auc, each.val_loss) == (best.epoch, best.val_auc, best.val_loss)
        held = on.folds.held_out[each.member.fold]
        scores = _head(each)(raw(on)[torch.from_numpy(held)]).numpy()
        assert roc_auc_score(on.fake[torch.from_numpy(held)], scores) == pytest.approx(each.val_auc, abs=1e-6)


def test_a_rows_view_is_drawn_anew_each_epoch_and_judged_by_view_0_or_by_the_mean():
    X, fake = features(90, 6, views=3)
    config = Linear(lr=1e-2, epochs=6, batch=90)
    plain, viewed, mean = (
        fit([Member(config, 0, 0)], Task.of(in_memory(x), fake, folds(90, 1), mean_views=m))[0]
        for x, m in ((X[:1], False), (X, False), (X, True))
    )
    assert not torch.equal(plain.parameters["weight"], viewed.parameters["weight"])
    assert [p.train_loss for p in viewed.curve] == [p.train_loss for p in mean.curve]
    assert [p.val_auc for p in viewed.curve] != [p.val_auc for p in mean.curve]
    held = folds(90, 1).held_out[0]
    scores = np.mean([_head(mean)(torch.from_numpy(view[held])).numpy() for view in X], axis=0)
    assert roc_auc_score(fake[held], scores) == pytest.approx(mean.val_auc, abs=1e-6)


def test_a_diverging_head_is_marked_and_the_others_go_on():
    on = task(columns=5)
    good = Member(Linear(lr=1e-2, epochs=3, batch=16), 0, 0)
    bad = Member(Linear(lr=1e37, weight_decay=100, epochs=3, batch=16), 0, 0)
    fitted = fit([good, bad], on)
    same(fit([good], on)[0], fitted[0])
    assert fitted[0].diverged == -1
    assert np.isnan(fitted[1].val_auc)
    assert fitted[1].diverged == 0


def test_class_weights_make_both_classes_count_the_same():
    rng = np.random.default_rng(0)
    fake = np.arange(400) % 10 == 0
    X = (rng.standard_normal((1, 400, 3)) + fake[None, :, None]).astype(np.float32)
    on = Task.of(in_memory(X), fake, folds(400, 1))
    plain, balanced = fit([Member(Linear(lr=0.05, epochs=30, class_balance=b), 0, 0) for b in (0, 1)], on)
    means = [_head(each)(torch.from_numpy(X[0])).mean().item() for each in (plain, balanced)]
    assert means[0] < -1.5  # most are real
    assert abs(means[1]) < 1


def test_l1_makes_weights_small_and_dropout_changes_the_training_only():
    on = task(columns=20)
    none, strong, dropped = (
        fit([Member(Linear(lr=1e-2, epochs=40, batch=32, **each), 0, 0)], on)[0]
        for each in ({}, {"l1": 0.1}, {"dropout": 0.5})
    )
    assert strong.parameters["weight"].abs().sum() < 0.7 * none.parameters["weight"].abs().sum()
    assert dropped.curve[0].train_loss != none.curve[0].train_loss
    head = _head(dropped)
    x = torch.from_numpy(features(10, 20)[0][0])
    assert torch.equal(head(x), head(x))


def test_block_metrics_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    fake = rng.random(200) < 0.3
    scores = np.round(rng.standard_normal((200, 4)) + fake[:, None], 1)  # rounding makes ties
    scores[:, 3] = 0.7  # a dead head
    found = column_metrics.auc(torch.from_numpy(scores), torch.from_numpy(fake))
    np.testing.assert_allclose(found, [roc_auc_score(fake, column) for column in scores.T], rtol=1e-12)
    losses = column_metrics.log_loss(torch.from_numpy(scores), torch.from_numpy(fake))
    expected = [log_loss(fake, 1 / (1 + np.exp(-column))) for column in scores.T]
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    scores[5, 1] = np.nan
    assert column_metrics.auc(torch.from_numpy(scores), torch.from_numpy(fake)).isnan().tolist() == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("norm", ["l2", "layer"])
def test_normed_rows_are_the_same_held_and_streamed(norm):
    X, fake = features(90, 6, views=2)
    change = partial(normed_rows, norm=norm)
    tables = [Matrix(view) for view in X]
    kinds = (
        RowStream(tables, held=torch.from_numpy(X).flatten(0, 1), change=change),
        RowStream(tables, memory=0, change=change),
    )
    held, read = (Task.of(each, fake, folds(90, 3)) for each in kinds)
    expected = normed_rows(torch.from_numpy(X), norm)
    for each in kinds:
        for batch in each.ordered(np.arange(90), view=1, batch=32):
            torch.testing.assert_close(batch.values, expected[1, batch.rows])
    torch.testing.assert_close(held.mean, read.mean)
    config = Linear(lr=1e-2, epochs=2, batch=16)
    same(*(fit([Member(config, 1, 0)], on)[0] for on in (held, read)))
