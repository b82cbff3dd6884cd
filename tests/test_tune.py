"""The search of a recipe's settings: trials see no test data, a stopped study goes on, the best becomes a run."""

import json
import re

import optuna
import pandas as pd
import pytest

from cache import paths, runs
from cache.errors import UserError
from extract.run import run as extract
from finetune.training.job import BEST, EPOCHS_FILE
from finetune.tune.options import TuneConfig
from finetune.tune.run import run
from tests.test_finetune import SMALL, Killed, kill_at, plain

RANGES = {"lr": {"low": 1e-4, "high": 1e-2, "log": True}, "batch": [12, 16], "weight_decay": 0.01, "body_lr": 0.1,
          "layer_decay": 1.0, "label_smoothing": 0.0}  # fmt: skip


def options(data, trials: int, **more) -> TuneConfig:
    recipe = json.dumps(plain(epochs=2, **{**RANGES, **more.pop("settings", {})}))
    return TuneConfig.of(data=str(data), recipe=recipe, trials=trials, **SMALL, **more)


def study() -> optuna.Study:
    (folder,) = [path.parent for path in paths.runs_dir().glob("tune/*/study.db")]
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")


def test_the_best_trial_becomes_a_run_and_only_it_sees_the_test_split(few):
    folder = run(options(few, 2))
    found = study()
    assert [trial.state.name for trial in found.trials] == ["COMPLETE", "COMPLETE"]
    assert runs.result(folder)["val_auc"] == found.best_value
    settings = runs.read_json(folder / "config.json")["made_from"]["recipe"]
    assert {name: settings[name] for name in found.best_params} == found.best_params
    assert runs.test_scorings("few") == 2  # by the head and by the best detector
    (home,) = paths.runs_dir().glob("tune/*")
    assert not list(home.glob("*/predictions-test.csv"))
    assert [path.parent.name for path in home.glob(f"*/{BEST}")] == [found.best_trial.user_attrs["folder"]]
    assert len(pd.read_csv(folder / EPOCHS_FILE)) == 2
    assert run(options(few, 2)) == folder  # nothing is left to do
    run(options(few, 3))
    assert len(study().trials) == 3


def test_a_killed_search_goes_on(few, monkeypatch):
    with monkeypatch.context() as context:
        kill_at(context, 10)
        with pytest.raises(Killed):
            run(options(few, 3, settings={"batch": 12}))
    left = max(paths.runs_dir().glob("tune/*/*/last.pt"), key=lambda path: path.stat().st_mtime)
    run(options(few, 3, settings={"batch": 12}))
    trials = study().trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[2].params == trials[1].params
    assert "going on behind epoch 1" in (left.parent / "log.txt").read_text()


def test_a_trial_that_lags_behind_is_pruned_and_leaves_no_weights(few, monkeypatch):
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda trial: trial.number == 1)
    run(options(few, 2))
    assert [trial.state.name for trial in study().trials] == ["COMPLETE", "PRUNED"]
    assert len(list(paths.runs_dir().glob(f"tune/*/*/{BEST}"))) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": {"low": 1, "high": 0.1}}, "expected a range like"),
        ({"lr": {"low": 0, "high": 0.1}}, "lr = 0: expected a number above 0"),
        ({"batch": []}, "nothing to choose from"),
        ({"optimiser": ["adamw", "lion"]}, "unknown optimiser 'lion'"),
        ({"batch": {"low": 8.0, "high": 64.0}}, "expected a range of whole numbers"),
        ({"batch": list(range(1, 102))}, "more than 100 values to choose from"),
        ({"lr": {"low": 1e-4, "high": float("inf")}}, "RECIPE: Infinity: expected a finite number"),
        ({"lr": {"low": 1e-4, "high": True}}, "expected a range like"),
        ({"weight_decay": {"low": 0, "high": 1.7e308}}, r"weight_decay = 1.7e\+308: expected a number"),
        ({"accumulate": {"low": 1, "high": 10**15}}, "accumulate = 1000000000000000: expected a whole number"),
        ({"lr": [[1e-3], [1e-2]]}, r"lr = \[0.001\]: expected a number"),
    ],
)
def test_bad_ranges_are_told_before_any_work(few, settings, words):
    with pytest.raises(UserError, match=words):
        options(few, 2, settings=settings)


def test_a_storage_that_cannot_be_opened_is_told(few):
    shown = r"STORAGE=nosuch://me:\*\*\*@host/db\?ssl_token=\*\*\*&x=1 cannot be opened"
    with pytest.raises(UserError, match=shown) as told:
        run(options(few, 1, storage="nosuch://me:h%40nd/l3@s@host/db?ssl_token=tiger&x=1"))
    assert not re.search("h%40nd|l3|tiger", str(told.value))


def test_no_stage_that_a_search_sets_off_keeps_its_password(few):
    """Each stage is handed its own options, and notes them alone."""
    asked = options(few, 1, storage="postgresql://me:hush@host/studies").finetune
    assert "storage" not in asked.flat()
    extract(asked.heads.extract)
    kept = [path for folder in (paths.runs_dir(), paths.data_dir()) for path in folder.rglob("*.json")]
    assert any(path.name == "config.json" for path in kept)
    assert not any("hush" in path.read_text() for path in kept)
