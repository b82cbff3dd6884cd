"""Grids: what a person writes becomes heads, each once, or one message."""

import json
import os

import pytest

from cache.errors import UserError
from heads.families import Linear, Mlp, Tail
from heads.sweep.grid import GRIDS, read_grid


def test_a_grid_is_all_combinations_without_repeats(tmp_path):
    blocks = [{"family": "linear", "lr": [0.1, 0.2, 0.1], "weight_decay": [0, 1]}, {"family": "ridge", "penalty": 3}]
    (tmp_path / "grid.json").write_text(json.dumps(blocks))
    configs = read_grid(str(tmp_path / "grid.json"))
    assert configs == read_grid(json.dumps(blocks))  # a file, or the JSON itself
    assert len(configs) == 2 * 2 + 1
    assert configs[0] == Linear(lr=0.1)


def test_an_object_alone_is_a_grid_of_one_family():
    assert read_grid('{"family": "ridge", "penalty": [1, 2]}') == read_grid('[{"family": "ridge", "penalty": [1, 2]}]')


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
        ('[{"family": "linear", "lr": 0.1, "wd": 1}]', "unknown setting of linear 'wd'; did you mean weight_decay"),
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
        ('[{"family": "linear", "lr": NaN}]', "GRID: NaN: expected a finite number"),
        ('[{"family": "linear", "lr": 1, "samples": 2, "seed": "x"}]', "seed = 'x': expected a whole number"),
        ('[{"family": "linear", "samples": -2, "lr": 1}]', "samples = -2"),
        ('[{"family": "linear", "samples": true, "lr": 1}]', "samples = True: expected a whole number"),
        ('[{"family": "linear", "samples": 2.5, "lr": 1}]', r"samples = 2\.5: expected a whole number"),
        ("[" * 100_000, "brackets in brackets, more than 8 deep"),
        ('[{"family": "linear", "lr": ' + "[" * 9 + "1" + "]" * 9 + "}]", "brackets in brackets"),
        ('[{"family": "linear", "lr": [[[1]]]}]', "and no more brackets"),
        ('[{"family": "svm-rbf", "C": [[[1]]]}]', "and no more brackets"),
        ('[{"family": "svm-rbf", "class_weight": [{"0": 1}]}]', "and no more brackets"),
        ('[{"family": "svm-rbf", "samples": 3, "C": []}]', "C = \\[\\]: nothing to choose from"),
        ('[{"family": "svm-rbf", "C": NaN}]', "NaN: expected a finite number"),
        ('[{"family": "svm-rbf", "C": 1e999}]', "1e999: expected a finite number"),
        ('[{"family": "linear", "lr": ' + "9" * 400 + "}]", "9+.*9: a whole number has at most 18 digits"),
        ('[{"family": "linear", "lr": ' + "9" * 5000 + "}]", "a whole number has at most 18 digits"),
        ('[{"family": "linear", "lr": 1, "epochs": 1e300}]', r"epochs = 1e\+300: .* at least 1, at most 100000"),
        ('[{"family": "linear", "lr": 1, "batch": 1e300}]', r"batch = 1e\+300: .* at most 1e\+06"),
        ('[{"family": "mlp", "lr": 1, "hidden": 1000000}]', "hidden = 1000000: .* at most 8192"),
        ('[{"family": "ridge", "penalty": 1e300}]', r"penalty = 1e\+300: .* at most 1e\+37"),
        ('[{"family": "linear", "samples": 2, "lr": {"low": 1, "high": Infinity}}]', "Infinity: expected a finite"),
        ('[{"family": "linear", "samples": 2, "lr": {"low": 1, "high": 1e999}}]', "1e999: expected a finite number"),
        ('[{"family": "linear", "samples": 2, "lr": {"low": -1e308, "high": 1e308}}]', "expected a range like"),
        ('[{"family": "linear", "samples": 2, "lr": {"low": false, "high": true}}]', "expected a range like"),
        ('[{"family": "linear", "samples": 2, "lr": {"low": 1, "high": 2, "log": "no"}}]', "expected a range like"),
        ('[{"family": "linear", "samples": 1000000000, "lr": 1}]', "GRID describes 1000000000 heads, .* takes 10000"),
        (
            json.dumps([{"family": "linear"} | dict.fromkeys(("lr", "l1", "dropout", "batch", "epochs"), [1] * 60)]),
            "GRID describes 777600000 heads",
        ),
        (json.dumps([{"family": "ridge", "penalty": [1] * 9000}] * 2), "describes 18000 heads"),
        ('[{"family": "linear", "lr": 1, "lr": 2}]', "GRID: 'lr' is given twice"),
        ('[{"family": "linear\\u0000", "lr": 1}]', "printable letters"),
        ('[{"family": "linear", "lr": "\\ud800"}]', "printable letters"),
        (json.dumps([{"family": "x" * 201, "lr": 1}]), "expected at most 200 printable letters"),
        (json.dumps([{"family": "linear", "x" * 201: 1}]), "expected at most 200 printable letters"),
        ("[" + " " * 1_000_001, "GRID holds more than 1,000,000 bytes"),
        ('{"family": "' + "x" * 100_000 + '", "lr": 1}', "expected at most 200 printable letters"),
        ("a/" * 60_000, "File name too long"),
        ("nul\0.json", "cannot be read .*null byte"),
        ("~nobody-of-that-name/grid.json", "cannot be read"),
        ("/dev/zero", "GRID=/dev/zero is no file"),
        ("/", "GRID=/ is no file"),
    ],
)
def test_grids_that_cannot_be(text, words):
    with pytest.raises(UserError, match=words) as told:
        read_grid(text)
    assert len(str(told.value)) < 600


def test_a_pipe_or_a_huge_file_is_no_grid(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")  # opening it would wait for a writer
    with pytest.raises(UserError, match=r"pipe\.json is no file, and no grid of that name"):
        read_grid(str(tmp_path / "pipe.json"))
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(2**40)  # a hole: no disk behind it
    with pytest.raises(UserError, match=r"huge\.json holds more than 1,000,000 bytes"):
        read_grid(str(tmp_path / "huge.json"))


def test_what_a_sweep_takes_is_read():
    widest = [{"family": "ridge", "penalty": [n + 0.5 for n in range(9_999)]}, {"family": "linear", "lr": 1e37}]
    assert len(read_grid(json.dumps(widest))) == 10_000
    (head,) = read_grid('[{"family": "sklearn.neural_network.MLPClassifier", "hidden_layer_sizes": [[8, 4]]}]')
    assert dict(head.params) == {"hidden_layer_sizes": (8, 4)}
    (brackets,) = read_grid('[{"family": "svm-rbf", "kernel": "[[[[[[[[[{{{\\"[["}]')  # in a text they are letters
    assert dict(brackets.params)["kernel"].startswith("[[")
