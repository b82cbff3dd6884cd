"""Grids: what a person writes becomes heads, each once, or one message."""

import json

import pytest

from cache.errors import UserError
from heads.families import Linear, Mlp, Tail
from heads.grid import GRIDS, read_grid


def test_a_grid_is_all_combinations_without_repeats(tmp_path):
    blocks = [{"family": "linear", "lr": [0.1, 0.2, 0.1], "weight_decay": [0, 1]}, {"family": "ridge", "penalty": 3}]
    (tmp_path / "grid.json").write_text(json.dumps(blocks))
    configs = read_grid(str(tmp_path / "grid.json"))
    assert configs == read_grid(json.dumps(blocks))  # a file, or the JSON itself
    assert len(configs) == 2 * 2 + 1
    assert configs[0] == Linear(lr=0.1)


def test_two_heads_never_share_a_name():
    blocks = [
        {"family": "linear", "lr": [1e-05, 1.00000001e-05, 0.1], "dropout": [0, 0.1], "schedule": ["cosine", "linear"]},
        {"family": "mlp", "lr": 0.1, "hidden": [12, [1, 2], [12, 2]], "layer_norm": [True, False]},
        {"family": "tail", "lr": 0.1, "loss": ["bce", "ce"]},
        {"family": "ridge", "penalty": [0.1, 1]},
        {"family": "logistic", "penalty": [0.1, 1]},
        {"family": "svm-rbf", "C": [1, 10], "gamma": ["scale", "auto"]},
        {"family": "svm-linear", "C": [1, 10]},
    ]
    configs = read_grid(json.dumps(blocks))
    assert len({config.name for config in configs}) == len(configs) == 12 + 6 + 2 + 2 + 2 + 4 + 2


def test_random_search_is_seeded_and_stays_in_its_ranges():
    block = {
        "family": "mlp", "samples": 30, "hidden": [64, [32, 16]], "dropout": {"low": 0.1, "high": 0.5},
        "lr": {"low": 1e-4, "high": 1e-2, "log": True}, "epochs": {"low": 3, "high": 9},
    }  # fmt: skip
    drawn = read_grid(json.dumps([block]))
    assert drawn == read_grid(json.dumps([block]))
    assert drawn != read_grid(json.dumps([{**block, "seed": 1}]))
    assert len(drawn) == 30
    assert all(1e-4 <= each.lr <= 1e-2 and 0.1 <= each.dropout <= 0.5 and 3 <= each.epochs <= 9 for each in drawn)
    assert {each.hidden for each in drawn} == {(64,), (32, 16)}
    assert sum(each.lr < 1e-3 for each in drawn) > 8  # even in the logarithm


def test_epochs_and_batch_are_for_pooled_heads_that_do_not_say():
    text = '[{"family": "linear", "lr": 1}, {"family": "mlp", "lr": 1, "epochs": 2}, {"family": "tail", "lr": 1}]'
    linear, mlp, tail = read_grid(text, epochs=7, batch=9)
    assert (linear.epochs, linear.batch) == (7, 9)
    assert (mlp.epochs, mlp.batch) == (2, 9)
    assert (tail.epochs, tail.batch) == (Tail(lr=1).epochs, Tail(lr=1).batch)
    assert isinstance(mlp, Mlp)


def test_named_grids_can_be_read():
    assert all(read_grid(name) for name in GRIDS)
    (notebook,) = read_grid("wrn50-2-layer4")
    assert (notebook.batch, notebook.epochs, notebook.l1, notebook.dropout, notebook.loss) == (
        120,
        10,
        0.001,
        0.5,
        "ce",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere.json", "no such file, and no grid of that name"),
        ("[{", "is not JSON"),
        ("[3]", "expected a list of objects"),
        ("[]", "holds no heads"),
        ('[{"family": "linear", "lr": []}]', "block 1: linear needs lr"),
        ('[{"family": "linera", "lr": 1}]', "unknown family .*did you mean linear"),
        ('[{"family": "linear", "lr": 0.1, "wd": 1}]', "unknown setting of linear 'wd'"),
        ('[{"family": "linear"}]', "linear needs lr"),
        ('[{"family": "linear", "lr": "high"}]', "lr = 'high': expected a number above 0, at most 1e\\+37"),
        ('[{"family": "linear", "lr": true}]', "lr = True: expected a number above 0, at most 1e\\+37"),
        (
            '[{"family": "linear", "lr": 1, "dropout": 1.5}]',
            "dropout = 1.5: expected a number at least 0, at most 0.99",
        ),
        ('[{"family": "mlp", "hidden": 2.5, "lr": 0.1}]', "hidden = 2.5: expected a whole number"),
        ('[{"family": "mlp", "hidden": [[1, 2, 3, 4]], "lr": 0.1}]', "expected one to three widths"),
        ('[{"family": "mlp", "lr": 0.1, "activation": "gleu"}]', "unknown activation 'gleu'; did you mean gelu"),
        ('[{"family": "mlp", "lr": 0.1, "layer_norm": 1}]', "layer_norm = 1: expected true or false"),
        (
            '[{"family": "linear", "lr": {"low": 1, "high": 2}}]',
            "lr: a range is drawn from, so the block needs samples",
        ),
        ('[{"family": "linear", "samples": 2, "lr": {"low": 2, "high": 1}}]', "expected a range like"),
        ('[{"family": "linear", "lr": NaN}]', "lr = nan: expected a number"),
        ('[{"family": "linear", "lr": 1, "samples": 2, "seed": "x"}]', "seed = 'x': expected a whole number"),
        ('[{"family": "linear", "samples": -2, "lr": 1}]', "samples = -2"),
    ],
)
def test_grids_that_cannot_be(text, words):
    with pytest.raises(UserError, match=words):
        read_grid(text)
