"""A verdict that one can sign: its rule, how often it is a false alarm, and whether copies of the image change it."""

import re
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest

from analysis.found.changed_images import CHANGED, read_perturbed
from analysis.found.commands import commands
from analysis.found.sentences import edges
from analysis.judge.calibrate import BAND, calibrate
from analysis.judge.false_alarms import error_free_needed, false_alarms, upper_bound
from analysis.judge.intervals import Interval
from analysis.judge.rules import DEFAULT_RULE, GIVEN, RULES, Rule, given_probability, register
from analysis.page.tables import Table, command
from analysis.page.template_values import where_band
from analysis.predict.options import PredictConfig
from cache import paths, runs
from cache.errors import UserError
from data.perturb import COPIES, PERTURBATIONS
from extract.networks.weights import Weights
from heads.elsewhere import UNCHANGED, PerturbedResult
from heads.predictions import Predictions, validation_digest
from tests.test_analysis import linear, ridge, sweep
from tests.test_evaluate import faces_table, fixed, scores_of
from tests.test_evaluate import model as scored


@pytest.fixture
def rules(monkeypatch):
    """The registry, put back behind the test."""
    before = dict(RULES)
    yield RULES
    RULES.clear()
    RULES.update(before)


def test_a_rule_is_one_function_from_outside(rules):
    register(
        Rule("careful", "a false alarm as bad as ten misses", lambda cuts: cuts.lowest(cuts.missed + 10 * cuts.alarms))
    )
    scores, fake = scores_of(200, gap=2)
    found = calibrate(scores, fake)
    costs = {
        name: (scores[fake] < at).mean() + 10 * (scores[~fake] >= at).mean() for name, at in found.thresholds.items()
    }
    assert min(costs, key=costs.get) == "careful"
    assert found.named("careful").meaning == "a false alarm as bad as ten misses"
    for name in ("careful", GIVEN, "two words"):
        with pytest.raises(UserError, match="a threshold rule cannot be called"):
            register(Rule(name, "", lambda cuts: 0.0))
    register(Rule("nowhere", "", lambda cuts: np.nan))
    with pytest.raises(UserError, match="the threshold rule nowhere gives nan"):
        calibrate(scores, fake)


def test_every_threshold_has_its_band_and_decides_few_of_each_class_wrongly():
    scores, fake = scores_of(300, 3, gap=1.5)
    found = calibrate(scores, fake)
    assert found.named() == found.named(DEFAULT_RULE)
    for word in (*RULES, "0.2", ".9"):
        at = found.named(word)
        assert at.band[0] <= at.score <= at.band[1]
        wrong = ((scores >= at.score) != fake) & ~at.uncertain(scores)
        assert max(wrong[fake].mean(), wrong[~fake].mean()) <= BAND


def test_a_number_is_a_calibrated_probability():
    found = replace(fixed(1.0), temperature=2.0)
    assert (found.named(".9").rule, found.named("0.9").meaning) == (GIVEN, "probability 0.9")
    assert found.named(0.9).score == pytest.approx(2 * np.log(9))
    assert found.named(".5").score == found.named("half").score - 1 == 0  # fixed puts every rule at 1
    assert given_probability("eer") is None
    for word, said in {
        "0": "more than 0",
        "1": "less than 1",
        "90": "a number is a probability of fake",
        "nan": "a number is a probability",
        "your": "did you mean youden",
    }.items():
        with pytest.raises(UserError, match=said):
            PredictConfig.of(images="x", threshold=word)


def test_the_band_is_said_to_lie_where_it_does(tmp_path):
    fake = np.array([False, True])
    found = scored(tmp_path, 0.0, val=faces_table([-1.0, 1.0], fake))
    for band, words in {(-1.0, 0.0): "below", (0.0, 1.0): "above", (-1.0, 1.0): "below and above"}.items():
        assert where_band(replace(found, calibration=fixed(0.0, band=band))) == words


@pytest.mark.parametrize(("alarms", "reals"), [(0, 300), (0, 5), (1, 40), (7, 165), (164, 165)])
def test_the_bound_is_the_exact_one(alarms, reals):
    theirs = binomtest(alarms, reals, alternative="less").proportion_ci(0.95, method="exact").high
    assert upper_bound(alarms, reals, groups=reals) == pytest.approx(theirs)


def test_false_alarms_by_hand():
    assert error_free_needed(0.01) == 299  # three hundred, as the rule of three says
    assert upper_bound(0, 299, groups=299) <= 0.01 < upper_bound(0, 298, groups=298)
    assert upper_bound(3, 3, groups=3) == 1
    scores, fake = np.array([0.0, 1, 2, 3, 9]), np.array([False] * 4 + [True])
    names = np.array(list("abcde"), object)
    found = false_alarms(Predictions(names, scores, fake, names), 3.0, split="test")
    assert (found.alarms, found.reals, found.groups, found.chosen_by) == (1, 4, 4, False)
    assert found.words == "1 of 4 real test images called fake, so at most 75.2 % of others like them (95 % bound)"
    pairs = false_alarms(Predictions(names, scores, fake, np.array(list("aabbc"), object)), 3.0, split="val")
    assert pairs.at_most > found.at_most  # two groups say less than four images
    assert "real validation images" in pairs.words
    assert "flattered because they chose model and threshold; 2 groups, each counted once)" in pairs.words
    assert false_alarms(Predictions(names, scores, ~fake | fake, names), 3.0, split="test") is None
    assert false_alarms(None, 3.0, split="test") is None


def test_flips_by_hand(tmp_path):
    """Of four images one flips on one copy, another on all of them; what is no copy counts for itself alone."""
    (tmp_path / "predictions-val.csv").write_text("path\n")
    folder, names = paths.run_dir(CHANGED, "a"), [each.name for each in PERTURBATIONS]
    copies = [each.name for each in COPIES]
    assert set(copies) <= set(names)
    about = {name: list("abcd") for name in ("path", "digest", "group")} | {"label": ["real", "real", "fake", "fake"]}
    plain = np.array([-1.0, -1.0, 1.0, 1.0])
    table = pd.DataFrame(about | {UNCHANGED: plain} | dict.fromkeys(names, plain))
    table.loc[0, copies[0]] = 1.0
    table.loc[2, copies] = -1.0
    table.loc[3, "noise-20"] = -1.0
    runs.write_table(folder / "predictions.csv", table)
    runs.finish(
        folder, asdict(PerturbedResult(tmp_path.name, validation_digest(tmp_path), "faces", "test", 4, 4, names))
    )
    found = read_perturbed(tmp_path, fixed(0.0))
    assert found.flips.value == 0.5
    assert found.flips.low < 0.5 < found.flips.high
    flips = {name: each.flips.value for name, each in found.strengths.items() if name != UNCHANGED}
    assert (flips[copies[0]], flips[copies[1]], flips["noise-20"], flips["blur-3"]) == (0.5, 0.25, 0.25, 0)
    assert found.strengths[UNCHANGED].flips is None


def test_copies_are_scored_of_few_images_unless_it_is_said():
    asked = [PredictConfig.of(images="x", copies=word).scores_copies_of(count) for word in ("auto", "0", "1")
             for count in (4, 5)]  # fmt: skip
    assert asked == [True, False, False, False, True, True]


def test_a_setting_at_the_edge_of_its_grid_is_said():
    (said,) = edges(sweep([ridge(100.0, 0.9), ridge(1.0, 0.8), ridge(10.0, 0.7)]))
    assert said == "Its penalty, 100, is the largest of 3 that were tried; what lies beyond may be better."
    assert edges(sweep([ridge(10.0, 0.9), ridge(1.0, 0.8), ridge(100.0, 0.7)])) == []
    assert edges(sweep([ridge(10.0, 0.9), linear(0.1, 0.0, 0.8)])) == []  # another family's values are no edge of it
    decays = [linear(0.1, 0.0, 0.9), linear(0.1, 1.0, 0.8)]
    assert edges(sweep(decays)) == []  # nothing lies below a decay of 0


def test_every_command_is_named_once_and_the_pages_own_last(tmp_path, monkeypatch):
    folders = [tmp_path / name for name in "abc"]
    for folder, typed in zip(folders, ("heads --data=x", "finetune --data=x", "heads --data=x"), strict=True):
        monkeypatch.setattr(runs, "describe_environment", lambda typed=typed: {"command": typed})
        runs.begin(folder, {})
    own = "make report PERTURB=0"
    assert commands([], [*folders, tmp_path / "gone"], last=own) == ["make heads DATA=x", "make finetune DATA=x", own]


def test_what_a_file_holds_beside_tensors_is_told_without_torchs_advice_to_load_it(tmp_path):
    torch.save({"a": Interval(0.0, 0.0, 0.0), "b": torch.zeros(2)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="holds more than tensors and was not read") as told:
        Weights("", "", tmp_path / "weights.pth").read()
    assert "weights_only" not in str(told.value)


def test_commands_break_between_words_and_numbers_keep_their_side():
    html = command("python -m heads '--data=my <faces>' --seeds=1")
    assert re.findall(r'<span class="word">(.*?)</span>', html) == [
        "python", "-m", "heads", "&#39;--data=my &lt;faces&gt;&#39;", "--seeds=1"]  # fmt: skip
    table = Table("t", [{"a": 1.0, "b": "one", "c": None}, {"a": "not scored", "b": "two", "c": None}])
    assert table.numbers == {"a"}
