"""With folds, what fixes a threshold is scored as new images are: by committees that saw nothing of an image's fold."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import report
from analysis.calibrate import calibrate, calibration_of
from analysis.models import find_models
from analysis.predictions import read_predictions
from analysis.report import ReportConfig
from analysis.results import metrics_table, thresholds_table
from cache import paths, runs
from cache.errors import UserError
from cache.features import write_shard
from data.manifest import Manifest
from heads import folds, sweep
from heads.families import Linear, Ridge, Tail
from heads.fit import fit
from heads.folds import Folds, without_one
from heads.outcome import how_fixed, is_scored_as_new
from heads.run import HeadsConfig, run
from heads.saved import HeadRecord, assemble
from heads.sweep import SweepConfig
from heads.task import Member, Task
from tests import chance, tables
from tests.small import RIDGE
from tests.test_sweep import Killed

LINEAR = Linear(lr=0.02, epochs=4, batch=16)


def config(count: int, *heads, seeds: int = 2) -> SweepConfig:
    """60 images that are not there, with features that tell a little."""
    manifest = chance.random_images(60, seed=0)
    path = paths.manifest_file(manifest.dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest.save(path)
    X = np.random.default_rng(0).standard_normal((60, 8)) + 0.4 * manifest.fake[:, None]
    write_shard(chance.SPEC, manifest.digests, X.astype(np.float32))
    return SweepConfig(path, [chance.SPEC], list(heads or [LINEAR]), folds=count, seeds=seeds)


def predictions(folder, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"predictions-{name}.csv").set_index("path")


def test_each_committee_leaves_out_one_fold_and_each_of_its_members_one_more():
    cut = tables.folds(40, 4)
    pairs, aside = without_one(cut)
    assert len(pairs) == len(aside) == 4 * 3
    assert not (pairs.trained & pairs.held_out).any()
    assert not (pairs.trained & aside).any()
    assert not (pairs.held_out & aside).any()
    assert (pairs.trained | pairs.held_out | aside).all()
    for fold in cut.held_out:
        of_fold = (aside == fold).all(axis=1)
        assert (pairs.held_out[of_fold].sum(axis=0) == ~fold).all()  # each other fold judges one member


def test_no_label_of_the_fold_that_is_set_aside_reaches_a_member_nor_its_epoch():
    X, fake = tables.features(90, 6)
    pairs, aside = without_one(tables.folds(90, 3))
    turned = fake ^ aside[0]
    before, after = (fit([Member(LINEAR, 0, 0)], Task.of(X, labels, pairs))[0] for labels in (fake, turned))
    assert before.epoch == after.epoch
    assert before.val_auc == after.val_auc
    assert all(torch.equal(tensor, after.parameters[name]) for name, tensor in before.parameters.items())


def test_the_scores_are_those_of_heads_trained_without_the_image_and_one_more_fold():
    given = config(3)
    folder = sweep.run(given)
    assert runs.result(folder)["scored_as_new"]
    manifest, found = Manifest.load(given.manifest).usable, predictions(folder, "calibration")
    held = folds.cut(manifest, 3).held_out
    X = np.random.default_rng(0).standard_normal((60, 8)) + 0.4 * manifest.fake[:, None]
    X = X.astype(np.float32)
    for k, j in ((0, 1), (1, 0), (2, 0)):
        other = 3 - k - j
        scores = [trained(X, manifest.fake, held[last], held[judged]) for judged, last in ((j, other), (other, j))]
        expected = np.mean(scores, axis=0)[held[k]]
        np.testing.assert_allclose(found.score[manifest.rows.path[held[k]]], expected, rtol=1e-3, atol=1e-4)
    assert found.index.tolist() == predictions(folder, "val").index.tolist()
    assert np.abs(found.score - predictions(folder, "val").score).max() > 0.01


def trained(X: np.ndarray, fake: np.ndarray, trains: np.ndarray, judges: np.ndarray) -> np.ndarray:
    """Mean score (N,) of two seeds trained on one fold and judged by another."""
    cut = without_one(folds.cut(Manifest.load(paths.manifest_file("noise0")).usable, 3))[0]
    number = next(n for n in range(6) if (cut.trained[n] == trains).all() and (cut.held_out[n] == judges).all())
    task = Task.of(X[None], fake, cut)
    each = [fit([Member(LINEAR, number, seed)], task)[0] for seed in (0, 1)]
    return assemble(each, HeadRecord(LINEAR, [], (8,), 2))(torch.from_numpy(X)).numpy()


@pytest.mark.parametrize("part", [(0, 1), (1, 2)])
def test_killed_between_the_committees_and_run_again_the_scores_are_the_same(monkeypatch, part):
    given = config(3, replace(LINEAR, batch=8), LINEAR, Ridge(penalty=1))
    monkeypatch.setattr(sweep, "buckets", one_by_one)
    folder = sweep.run(given)
    expected = {path.name: path.read_bytes() for path in folder.glob("predictions-*.csv")}
    assert "predictions-calibration.csv" in expected
    (folder / runs.RESULT).unlink()
    for path in folder.glob("predictions-*.csv"):
        path.unlink()
    save, trained = sweep.save_trials, []

    def dying(path, trials):
        if path.parent.name == sweep.ASIDE and len(trained) == 3:
            raise Killed
        save(path, trials)
        if path.parent.name == sweep.ASIDE:
            trained.append(path.name)

    monkeypatch.setattr(sweep, "save_trials", dying)
    if part != (0, 1):
        sweep.run(replace(given, part=(0, 2)))
        assert not (folder / runs.RESULT).exists()
    with pytest.raises(Killed):
        sweep.run(replace(given, part=part))
    monkeypatch.setattr(sweep, "save_trials", lambda path, trials: save(path, refuse_again(path, trials, trained)))
    assert sweep.run(replace(given, part=part)) == folder
    assert {path.name: path.read_bytes() for path in folder.glob("predictions-*.csv")} == expected
    assert not (folder / sweep.BUCKETS).exists()


def one_by_one(configs, inputs, **how):
    """Buckets of one member each, which those of both kinds of members could share names in."""
    from heads.plan import Bucket, buckets

    return [Bucket(inputs, (member,)) for each in buckets(configs, inputs, **how) for member in each.members]


def refuse_again(path, trials, trained):
    assert path.name not in trained
    return trials


def test_two_folds_and_tails_have_no_such_scores_and_say_so(capsys):
    folder = sweep.run(config(2, Ridge(penalty=1)))
    assert not (folder / "predictions-calibration.csv").exists()
    record = runs.result(folder)
    assert not record["scored_as_new"]
    assert "because two folds leave no third to train on; the mean over all folds is surer" in capsys.readouterr().out
    assert not is_scored_as_new(Tail(lr=1), 5)
    (model,) = find_models(Manifest.load(paths.manifest_file("noise0")))
    assert model.fixed is model.val
    tail = replace(model.made.result, folds=5, family="tail")
    assert "because tails that leave out one more fold take 4 times as long" in how_fixed(tail)


def test_the_given_split_needs_none(capsys):
    folder = sweep.run(config(1, Ridge(penalty=1)))
    assert not (folder / "predictions-calibration.csv").exists()
    assert "are fixed on" not in capsys.readouterr().out
    scores = read_predictions(folder / "predictions-val.csv")
    assert calibration_of(folder) == calibrate(scores.scores, scores.fake)


def test_threshold_and_temperature_are_fixed_on_them_and_the_page_says_so(faces):
    folder = run(HeadsConfig(data=str(faces), **RIDGE, folds=3))
    found = read_predictions(folder / "predictions-calibration.csv")
    assert calibration_of(folder) == calibrate(found.scores, found.fake)
    manifest = Manifest.load(paths.manifest_file("faces"))
    (model,) = find_models(manifest)
    called = found.scores >= model.calibration.threshold
    row = next(row for row in thresholds_table(model).rows if row["rule"] == "youden")
    assert row["fake found, validation"] == called[found.fake].mean()
    assert row["real called fake, validation"] == called[~found.fake].mean()
    assert list(metrics_table(model).rows[0]) == ["metric", "validation", "validation, as new images", "test"]
    page = (report.run(ReportConfig("faces")) / "index.html").read_text()
    assert "each by a committee of 2 folds, trained for this, that saw nothing of the image" in page
    summary = json.loads((paths.report_dir("faces") / "summary.json").read_text())
    assert summary["models"][0]["calibration"]["temperature"] == model.calibration.temperature


def test_a_run_that_lost_them_is_not_judged_by_others(capsys):
    folder = sweep.run(config(3, Ridge(penalty=1)))
    (folder / "predictions-calibration.csv").unlink()
    with pytest.raises(UserError, match=r"has no predictions-calibration\.csv, so no threshold is known"):
        calibration_of(folder)
    with pytest.raises(UserError, match="no finished run on noise0"):
        find_models(Manifest.load(paths.manifest_file("noise0")))
    assert "has no predictions-calibration.csv and is left out" in capsys.readouterr().out


def test_a_head_that_diverges_without_one_more_fold_leaves_the_scores_of_members(monkeypatch, capsys):
    monkeypatch.setattr(sweep, "save_trials", diverging(sweep.save_trials))
    folder = sweep.run(config(3, Ridge(penalty=1)))
    assert not runs.result(folder)["scored_as_new"]
    assert "because one of the heads that leave out one more fold diverged" in capsys.readouterr().out


def diverging(save):
    def saved(path, trials):
        if path.parent.name == sweep.ASIDE:
            fitted = replace(trials[0].fitted, parameters={}, val_auc=np.nan, diverged=0)
            trials = [replace(trials[0], fitted=fitted), *trials[1:]]
        save(path, trials)

    return saved


def test_folds_know_which_rows_belong_together():
    manifest = chance.random_images(60, seed=0, group=3)
    cut = folds.cut(manifest, 3)
    assert isinstance(cut, Folds)
    assert (cut.groups[:, None] == cut.groups).sum(axis=1).tolist() == [3] * 60
