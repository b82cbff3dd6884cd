"""A few hundred inputs of tests/soak/fuzz.py, the same ones each time: readers refuse in words, or say the same."""

import pytest

from tests.soak.fuzz import fuzz, targets

EXAMPLES = 6  # of a kind, times its share
NAMES = [
    *("shard", "head of the sweep", "head, linear", "head, mlp", "head, ridge", "head, logistic", "head, sklearn"),
    *("head, tail", "bucket of heads", "detector", "last.pt", "manifest.csv", "manifest.json", "probes.csv"),
    *("result.json of extract", "result.json of heads", "result.json of finetune", "config.json"),
    *("predictions-val.csv", "leaderboard.csv", "ledger.jsonl", "weights .pth", "weights .safetensors"),
    *("record of a head", "images", "grid", "recipe"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def made(home):
    return {target.name: target for target in targets(home)}


def test_every_kind_is_tried(made):
    assert list(made) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_changed_or_nonsense_is_refused_in_words_or_says_the_same(made, home, name):
    line = fuzz(made[name], home, max(2, round(EXAMPLES * made[name].share)))
    assert line.violations == []
    assert line.counts
