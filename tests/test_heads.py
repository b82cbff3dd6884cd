"""Stage two: stacked equals alone, metrics and convex heads agree with scikit-learn, the choice sees no test data."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score

from cache import paths, runs
from cache.errors import UserError
from data.manifest import Manifest
from heads import metrics, sweep
from heads.convex import logistic_path, ridge_path, to_logits
from heads.fit import Split, fit
from heads.grid import read_grid
from heads.inputs import load_inputs
from heads.models import HeadConfig, load_head
from heads.run import HeadsConfig, run
from heads.sweep import Candidate, choose

SMALL = {
    "backbone": "resnet18", "weights": "random", "size": 64, "device": "cpu", "workers": 1,
    "features": "layer1:avgstd layer2:avgstd", "epochs": 3, "seeds": 2, "head_batch": 16,
}  # fmt: skip


def table(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fake = rng.random(rows) < 0.4
    return rng.standard_normal((rows, columns)).astype(np.float32) + 0.3 * fake[:, None].astype(np.float32), fake


def split(rows: int, columns: int, seed: int) -> Split:
    X, fake = table(rows, columns, seed)
    return Split(torch.from_numpy(X), torch.from_numpy(fake))


@pytest.mark.parametrize("hidden", [0, 6])
def test_a_stacked_head_equals_the_same_head_alone(hidden):
    train, val = split(70, 12, 0), split(40, 12, 1)
    family = "mlp" if hidden else "linear"
    configs = [
        HeadConfig(family, hidden, lr=lr, weight_decay=decay, seed=seed)
        for lr in (1e-3, 3e-2)
        for decay in (0.0, 5.0)
        for seed in (0, 1)
    ]
    together = fit(configs, train, val, epochs=5, batch=16)
    for number, config in enumerate(configs):
        alone = fit([config], train, val, epochs=5, batch=16)
        assert alone.epoch[0] == together.epoch[number]
        for name, tensor in alone.head(0).items():
            torch.testing.assert_close(together.head(number)[name], tensor, rtol=1e-5, atol=1e-5)
    assert len(set(together.val_auc.tolist())) > 2  # the heads are not all the same one


def test_one_head_is_torchs_adamw():
    train, val = split(64, 5, 0), split(30, 5, 1)
    config = HeadConfig("linear", lr=1e-2, weight_decay=0.1, seed=3)
    ours = fit([config], train, val, epochs=1, batch=64)
    layer = torch.nn.Linear(5, 1)
    first = sweep.Head(5).stack.__class__(5, 0, [3])
    layer.load_state_dict({"weight": first.weight.detach(), "bias": first.bias.detach()})
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=0.1)
    logits = layer(train.X)[:, 0]
    torch.nn.functional.binary_cross_entropy_with_logits(logits, train.fake.float()).backward()
    optimiser.step()
    torch.testing.assert_close(ours.head(0)["weight"], layer.weight[0].detach())


def test_a_diverging_head_is_marked_and_the_others_go_on():
    train, val = split(64, 5, 0), split(30, 5, 1)
    good = HeadConfig("linear", lr=1e-2, seed=0)
    fitted = fit([good, HeadConfig("linear", lr=1e38, seed=0)], train, val, epochs=3, batch=16)
    alone = fit([good], train, val, epochs=3, batch=16)
    torch.testing.assert_close(fitted.head(0)["weight"], alone.head(0)["weight"])
    assert fitted.val_auc[1].isnan()


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


@pytest.mark.parametrize("columns", [7, 90])
def test_ridge_path_agrees_with_scikit_learn(columns):
    X, fake = table(60, columns)
    weights, intercepts = ridge_path(X, fake, [0.1, 10.0, 1e3])
    for number, penalty in enumerate((0.1, 10.0, 1e3)):
        theirs = Ridge(alpha=penalty).fit(X.astype(np.float64), np.where(fake, 1.0, -1.0))
        np.testing.assert_allclose(weights[number], theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(intercepts[number], theirs.intercept_, atol=1e-6)


def test_logistic_path_agrees_with_scikit_learn():
    X, fake = table(120, 6)
    weights, intercepts = logistic_path(X, fake, [1e-3, 0.1])
    for number, penalty in enumerate((1e-3, 0.1)):
        theirs = LogisticRegression(C=1 / (penalty * len(X)), tol=1e-8, max_iter=1000).fit(X, fake)
        np.testing.assert_allclose(weights[number], theirs.coef_[0], atol=2e-3)
        np.testing.assert_allclose(intercepts[number], theirs.intercept_[0], atol=2e-3)


def test_scores_become_logits_without_turning_round():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    fake = rng.random(4000) < 1 / (1 + np.exp(-logits))
    slope, offset = to_logits(logits / 50 + 3, fake)
    assert slope == pytest.approx(50, rel=0.1)
    assert offset == pytest.approx(-150, rel=0.1)
    assert to_logits(-logits, fake)[0] > 0


def test_the_choice_is_by_mean_validation_auc_then_loss():
    def candidate(lr, seed, auc, loss):
        return Candidate("all", HeadConfig("linear", lr=lr, seed=seed), 0, auc, loss, {})

    lucky = [candidate(0.1, 0, 0.99, 0.3), candidate(0.1, 1, 0.70, 0.3)]
    steady = [candidate(0.2, 0, 0.90, 0.3), candidate(0.2, 1, 0.91, 0.3)]
    assert choose(lucky + steady) is steady[1]
    tied = [candidate(0.3, 0, 0.9, 0.5), candidate(0.4, 0, 0.9, 0.4)]
    assert choose(tied) is tied[1]
    broken = candidate(0.5, 0, float("nan"), float("inf"))
    assert choose([broken, *tied]) is tied[1]
    with pytest.raises(UserError, match="not one head has a finite"):
        choose([broken])


def test_a_sweep_ends_with_a_head_that_says_what_its_predictions_say(faces):
    folder = run(HeadsConfig(data=str(faces), **SMALL))
    result = runs.result(folder)
    head, record = load_head(folder / sweep.HEAD_FILE)
    manifest = Manifest.load(paths.manifest_file("faces")).usable
    inputs = load_inputs(manifest, record.inputs)
    logits = head(torch.from_numpy(inputs.X)).numpy()
    for name in ("train", "val", "test"):
        table = pd.read_csv(folder / f"predictions-{name}.csv")
        rows = manifest.where(name)
        assert table.path.tolist() == manifest.rows.path[rows].tolist()
        np.testing.assert_allclose(table.score, logits[rows], rtol=1e-4, atol=1e-5)
    table = pd.read_csv(folder / "predictions-val.csv")
    assert roc_auc_score(table.label == "fake", table.score) == pytest.approx(result["val_auc"], abs=1e-6)
    assert result["random_weights"]
    board = pd.read_csv(folder / "leaderboard.csv")
    assert len(board) == result["heads"]
    assert not board.duplicated(["inputs", "family", "hidden", "lr", "weight_decay", "penalty", "seed"]).any()
    assert runs.test_scorings("faces") == 1
    assert run(HeadsConfig(data=str(faces), **SMALL)) == folder
    assert runs.test_scorings("faces") == 1  # a complete run is not run again


def test_the_choice_does_not_see_the_test_split(faces, monkeypatch):
    """Whatever is written on the test images: the same head is chosen."""
    first = run(HeadsConfig(data=str(faces), **SMALL))
    path = paths.manifest_file("faces")
    manifest = Manifest.load(path)
    at = manifest.rows.split == "test"
    manifest.rows.loc[at, "label"] = manifest.rows.label[at].map({"real": "fake", "fake": "real"})
    manifest.save(path)
    specs = load_head(first / sweep.HEAD_FILE)[1].inputs
    offered = [s for s in specs] if len(specs) > 1 else specs
    config = sweep.SweepConfig(path, offered, seeds=2, epochs=3, batch=16)
    turned = sweep.run(config)
    manifest.rows.loc[at, "label"] = manifest.rows.label[at].map({"real": "fake", "fake": "real"})
    manifest.save(path)
    straight = sweep.run(config)
    assert turned != straight
    assert (turned / "leaderboard.csv").read_text() == (straight / "leaderboard.csv").read_text()
    assert runs.result(turned)["head"] == runs.result(straight)["head"]


def test_a_split_without_both_classes_is_refused(tmp_path, faces):
    rows = [(p.relative_to(faces).as_posix(), p.parent.name) for p in sorted(faces.rglob("*.jpg"))]
    listed = pd.DataFrame(rows, columns=["path", "label"])
    listed["split"] = ["val" if label == "fake" and i % 2 else "train" for i, (_, label) in enumerate(rows)]
    listed.to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(UserError, match="the val split holds 0 real and 15 fake"):
        run(HeadsConfig(data=str(tmp_path / "mine.csv"), root=str(faces), **SMALL))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("{}", "expected a list of objects"),
        ("[]", "holds no heads"),
        ('[{"family": "linera", "lr": 1, "weight_decay": 0}]', "unknown family .*did you mean linear"),
        ('[{"family": "linear", "lr": 0.1, "wd": 1}]', "unknown setting of linear .* 'wd'"),
        ('[{"family": "linear", "lr": 0.1}]', "linear needs weight_decay"),
        ('[{"family": "linear", "lr": "high", "weight_decay": 0}]', "lr = 'high'; expected a number"),
        ('[{"family": "mlp", "hidden": 2.5, "lr": 0.1, "weight_decay": 0}]', "hidden = 2.5; expected a whole number"),
    ],
)
def test_grids_that_cannot_be(tmp_path, text, words):
    (tmp_path / "grid.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_grid(str(tmp_path / "grid.json"), seeds=1)


def test_a_grid_is_all_combinations_without_repeats(tmp_path):
    blocks = [{"family": "linear", "lr": [0.1, 0.2, 0.1], "weight_decay": [0, 1]}, {"family": "ridge", "penalty": 3}]
    (tmp_path / "grid.json").write_text(json.dumps(blocks))
    configs = read_grid(str(tmp_path / "grid.json"), seeds=2)
    assert len(configs) == len({c.name for c in configs}) == 2 * 2 * 2 + 1
