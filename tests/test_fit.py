"""Stacked training: a head in a stack equals the same head alone, whatever rides with it."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from heads import metrics
from heads.families import Linear, Mlp
from heads.fit import fit
from heads.models import Head, Shape, initial
from heads.task import Fitted, Member, Task
from tests.tables import features, folds, task

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


def test_one_head_is_torchs_adamw():
    on = task(columns=5)
    ours = fit([Member(Linear(lr=1e-2, weight_decay=0.1, epochs=1, batch=200), 0, 3)], on)[0]
    layer = torch.nn.Linear(5, 1)
    first = initial(Shape(5), [3])
    layer.load_state_dict({"weight": first["weight"], "bias": first["bias"]})
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=0.1)
    rows = torch.from_numpy(on.folds.trained[0])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(layer(on.X[0, rows])[:, 0], on.fake[rows].float())
    loss.backward()
    optimiser.step()
    torch.testing.assert_close(ours.parameters["weight"], layer.weight[0].detach())
    assert ours.curve[0].train_loss == pytest.approx(loss.item(), rel=1e-6)


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
            fit([Member(kind, 1, 0)], Task.of(a, b, cut))[0] for a, b in ((X, fake), (other_X, other_fake))
        )
        rows = torch.from_numpy(X[0])
        torch.testing.assert_close(_head(before)(rows), _head(after)(rows), rtol=1e-4, atol=1e-4)
        assert before.val_auc != after.val_auc


def _head(fitted: Fitted) -> Head:
    columns = len(fitted.parameters["mean"])
    head = Head(Shape.of(fitted.member.config, columns), 1)
    head.fill([fitted.parameters])
    return head.requires_grad_(False)


def test_the_epoch_kept_is_the_best_and_its_figures_are_those_of_its_parameters():
    on = task(count=3)
    for each in fit(members([Mlp(lr=3e-2, hidden=(8,), epochs=12, batch=16)], 3), on):
        best = max(each.curve, key=lambda point: (point.val_auc, -point.val_loss))
        assert (each.epoch + 1, each.val_auc, each.val_loss) == (best.epoch, best.val_auc, best.val_loss)
        held = on.folds.held_out[each.member.fold]
        scores = _head(each)(on.X[0, torch.from_numpy(held)] * on.scale + on.centre).numpy()
        assert roc_auc_score(on.fake[torch.from_numpy(held)], scores) == pytest.approx(each.val_auc, abs=1e-6)


def test_a_rows_view_is_drawn_anew_each_epoch_and_judged_by_view_0_or_by_the_mean():
    X, fake = features(90, 6, views=3)
    config = Linear(lr=1e-2, epochs=6, batch=90)
    plain, viewed, mean = (
        fit([Member(config, 0, 0)], Task.of(x, fake, folds(90, 1), mean_views=m))[0]
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
    on = Task.of(X, fake, folds(400, 1))
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
    found = metrics.auc(torch.from_numpy(scores), torch.from_numpy(fake))
    np.testing.assert_allclose(found, [roc_auc_score(fake, column) for column in scores.T], rtol=1e-12)
    losses = metrics.log_loss(torch.from_numpy(scores), torch.from_numpy(fake))
    expected = [log_loss(fake, 1 / (1 + np.exp(-column))) for column in scores.T]
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    scores[5, 1] = np.nan
    assert metrics.auc(torch.from_numpy(scores), torch.from_numpy(fake)).isnan().tolist() == [False, True, False, False]
