"""The sweep: folds, the choice, resume, parts, joined backbones; it sees no test data."""

import json
import math
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from analysis.found.models import ranked_runs
from cache import atomic, paths, runs
from cache.errors import UserError
from cache.runs import DamagedRun
from data import build as data_build
from data.manifest import Manifest
from data.options import DataConfig
from extract.run import run as extract
from heads import folds
from heads.families import Fitted, Linear, Member, Mlp, Ridge
from heads.head_file import load_head, read_record
from heads.inputs import load_inputs
from heads.options import HeadsConfig
from heads.run import run
from heads.scorer import HeadScorer, views_of
from heads.scoring import member_scores
from heads.sweep import buckets as plan
from heads.sweep import run as sweep
from heads.sweep import sweep as course
from heads.sweep.leaderboard import Trial, choose, settings
from heads.sweep.sweep_result import HEAD_FILE
from tests import forked
from tests.conftest import write_faces
from tests.small import RIDGE, on_other_data

GRID = (
    '[{"family": "linear", "lr": [0.01, 0.001]}, {"family": "mlp", "lr": 0.01, "hidden": [4, [4, 3]], "dropout": 0.2},'
    ' {"family": "ridge", "penalty": [1, 100]}, {"family": "logistic", "penalty": 0.1}, {"family": "knn"}]'
)
SMALL = {
    "backbone": "resnet18", "weights": "random", "size": 64, "device": "cpu", "workers": 0, "compute": "fp32",
    "features": "layer1:avgstd layer2:avgstd", "head_epochs": 3, "seeds": 2, "head_batch": 16, "grid": GRID,
}  # fmt: skip
TWO_BUCKETS = '[{"family": "ridge", "penalty": [1, 9]}, {"family": "logistic", "penalty": 0.1}]'
VOLATILE = ["seconds"]


def board(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "leaderboard.csv").drop(columns=VOLATILE)


def predictions(folder, split: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"predictions-{split}.csv")


def test_a_sweep_ends_with_a_head_that_says_what_its_predictions_say(faces):
    folder = run(HeadsConfig.of(data=str(faces), **SMALL))
    result = runs.result(folder)
    head, record = load_head(folder / HEAD_FILE)
    manifest = Manifest.load(paths.manifest_file("faces")).usable
    rows = load_inputs(manifest, record.inputs).rows
    logits = head(rows.held).numpy()
    for name in ("train", "val", "test"):
        table, chosen = predictions(folder, name), manifest.where(name)
        assert table.path.tolist() == manifest.rows.path[chosen].tolist()
        np.testing.assert_allclose(table.score, logits[chosen], rtol=1e-4, atol=1e-5)
    found = board(folder)
    assert len(found) == result["settings"] == 3 * 3 + 5
    assert not found.duplicated(["inputs", "head"]).any()
    assert found.val_auc.is_monotonic_decreasing
    assert result["head"] == found["head"][0]
    assert result["random_weights"]
    assert len(pd.read_csv(folder / "members.csv")) == result["heads"] == 3 * 3 + 2 * 4 + 1
    assert len(pd.read_csv(folder / "curves.csv")) == 2 * 4 * 3  # seeds, trained settings, epochs
    assert runs.test_scorings("faces") == 1
    assert run(HeadsConfig.of(data=str(faces), **SMALL)) == folder
    assert runs.test_scorings("faces") == 1  # a complete run is not run again
    assert not (folder / sweep.BUCKETS).exists()


def test_with_folds_every_validation_score_comes_from_heads_that_did_not_see_the_image(faces):
    grid = '[{"family": "mlp", "lr": 0.01, "hidden": 4}]'
    folder = run(HeadsConfig.of(data=str(faces), **{**SMALL, "grid": grid}, folds=3, inputs="all"))
    result = runs.result(folder)
    assert (result["members"], result["heads"]) == (6, 6)
    manifest = Manifest.load(paths.manifest_file("faces")).usable
    cut = folds.cut(manifest, 3)
    head, record = load_head(folder / HEAD_FILE)
    each = head.each(load_inputs(manifest, record.inputs).rows.held).numpy()  # (N, 6): fold 0 twice, ...
    table = predictions(folder, "val")
    assert sorted(table.path) == sorted(manifest.rows.path[manifest.rows.split != "test"])
    expected = [each[row, 2 * int(np.flatnonzero(cut.held_out[:, row])[0]) :][:2].mean() for row in cut.judged]
    np.testing.assert_allclose(table.score, expected, rtol=1e-4, atol=1e-5)
    members = pd.read_csv(folder / "members.csv")
    assert result["val_auc"] == pytest.approx(members.val_auc.mean())
    assert result["val_auc_std"] == pytest.approx(members.val_auc.std())
    for _, row in members.iterrows():
        held = cut.held_out[row.fold]
        scores = each[held][:, 2 * row.fold + row.seed]
        assert roc_auc_score(manifest.fake[held], scores) == pytest.approx(row.val_auc, abs=1e-6)
    test = manifest.where("test")
    np.testing.assert_allclose(predictions(folder, "test").score, each[test].mean(axis=1), rtol=1e-4, atol=1e-5)
    assert set(cut.held_out.sum(axis=0)) == {0, 1}
    assert not cut.held_out[:, test].any()
    assert not cut.trained[:, test].any()


def test_many_images_that_are_all_alone_are_cut_at_once_and_groups_never(monkeypatch):
    rng = np.random.default_rng(0)
    fake, alone = rng.random(300) < 0.3, np.array([f"{number:03}" for number in rng.permutation(300)], object)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    before = [np.isin(np.arange(300), held) for _, held in splitter.split(fake, fake, alone)]
    np.testing.assert_array_equal(folds.stratified(fake, alone, 5), before)  # as finished runs have them
    monkeypatch.setattr(folds, "MANY", 299)
    for_groups = "sklearn.model_selection.StratifiedGroupKFold.split"
    with monkeypatch.context() as patched:
        patched.setattr(for_groups, lambda *_: pytest.fail("one image after another"))
        cut = folds.stratified(fake, alone, 5)
    assert (cut.sum(axis=0) == 1).all()
    assert np.ptp(cut.sum(axis=1)) <= 1
    assert np.ptp(cut[:, fake].sum(axis=1)) <= 1
    pairs = np.array([name[:2] for name in alone], object)  # ten images a group
    assert all(len(set(cut[:, pairs == name].argmax(axis=0))) == 1
               for cut in [folds.stratified(fake, pairs, 5)] for name in pairs)  # fmt: skip
    monkeypatch.setattr(folds, "MANY", 300)
    np.testing.assert_array_equal(folds.stratified(fake, alone, 5), before)  # up to the limit nothing changes


def test_groups_stay_in_one_fold(faces):
    manifest = Manifest.load(data_build.run(DataConfig.of(data=str(faces)))).usable
    manifest.rows["group"] = [f"person {int(Path(path).stem) // 4}" for path in manifest.rows.path]
    cut = folds.cut(manifest, 3)
    for trained, held_out in zip(cut.trained, cut.held_out, strict=True):
        assert not set(manifest.rows.group[trained]) & set(manifest.rows.group[held_out])
    manifest.rows["group"] = manifest.rows.label
    with pytest.raises(UserError, match=r"FOLDS=3: faces has only 1 group of real images .* Use FOLDS=1 or fewer"):
        folds.cut(manifest, 3)


def trial(config, fold: int, seed: int, auc: float, loss: float, size: int = 1) -> Trial:
    return Trial("all", Fitted(Member(config, fold, seed), {"weight": torch.zeros(size)}, auc, loss), 0.0)


def test_the_choice_is_by_mean_validation_auc_then_loss():
    lucky = [trial(Linear(lr=0.1), 0, seed, auc, 0.3) for seed, auc in enumerate((0.99, 0.70))]
    steady = [trial(Linear(lr=0.2), 0, seed, auc, 0.3) for seed, auc in enumerate((0.90, 0.91))]
    found = choose(settings(lucky + steady))
    assert found.config == Linear(lr=0.2)
    assert found.val_auc == pytest.approx(0.905)
    tied = [trial(Linear(lr=0.3), 0, 0, 0.9, 0.5), trial(Linear(lr=0.4), 0, 0, 0.9, 0.4)]
    assert choose(settings(tied)).config == Linear(lr=0.4)
    broken = [trial(Linear(lr=0.5), 0, 0, 0.95, 0.1), trial(Linear(lr=0.5), 0, 1, math.nan, math.inf)]
    assert choose(settings(broken + tied)).config == Linear(lr=0.4)
    assert [each.usable for each in settings(broken + tied)] == [True, True, False]
    with pytest.raises(UserError, match="not one head has a finite"):
        choose(settings(broken))


def test_one_standard_error_takes_the_simplest_head_that_is_as_good():
    best = [trial(Mlp(lr=0.1), fold, 0, auc, 0.3, size=100) for fold, auc in enumerate((0.90, 0.94, 0.98))]
    near = [trial(Ridge(penalty=p), fold, 0, 0.93, 0.3, size=5) for fold in range(3) for p in (1, 10)]
    far = [trial(Linear(lr=0.1), fold, 0, 0.90, 0.3, size=2) for fold in range(3)]
    assert choose(settings(best + near + far)).config == Mlp(lr=0.1)
    assert choose(settings(best + near + far), one_se=True).config == Ridge(penalty=10)


def test_seeds_of_a_fold_are_no_further_evidence():
    """Their mean is the fold's; of equally small heads within one error the one penalised most is taken."""
    aucs = {0: (0.80, 0.90), 1: (0.90, 0.94), 2: (0.95, 0.97)}
    trials = [
        trial(Linear(lr=0.1), fold, seed, auc, 0.3) for fold, pair in aucs.items() for seed, auc in enumerate(pair)
    ]
    (found,) = settings(trials)
    assert found.standard_error == pytest.approx(np.std([0.85, 0.92, 0.96], ddof=1) / np.sqrt(3))
    mild, strong = Linear(lr=0.2, weight_decay=0.1), Linear(lr=0.2, weight_decay=3.0)
    near = [trial(each, fold, 0, auc, 0.3) for fold in range(3) for each, auc in ((mild, 0.905), (strong, 0.9))]
    assert choose(settings(trials + near), one_se=True).config == strong
    assert choose(settings(trials + near)).config == Linear(lr=0.1)


def test_heads_that_are_too_many_for_one_stack_are_parted(monkeypatch):
    monkeypatch.setattr("heads.families.trained.STACKED_NUMBERS", 4 * 11)  # four heads of ten weights and a bias
    configs = [Linear(lr=rate) for rate in (0.1, 0.2, 0.3)]
    made = plan.buckets([*configs, Ridge(penalty=1.0)], "all", columns=10, folds=2, seeds=2)
    assert [len(bucket.members) for bucket in made] == [4, 4, 4, 2]  # no seeds of a ridge head
    together = [member for bucket in made for member in bucket.members]
    assert len(set(together)) == 14
    assert len({bucket.file for bucket in made}) == 4


def test_the_choice_does_not_see_the_test_split(faces):
    """Whatever is written on the test images: the same leaderboard and the same head."""
    run(HeadsConfig.of(data=str(faces), **SMALL))
    straight = sweep_again(faces, lambda manifest: None)
    turned = sweep_again(faces, turn_test_labels)
    assert turned != straight
    pd.testing.assert_frame_equal(board(turned), board(straight))
    assert runs.result(turned)["head"] == runs.result(straight)["head"]


def turn_test_labels(manifest: Manifest) -> None:
    at = manifest.rows.split == "test"
    manifest.rows.loc[at, "label"] = manifest.rows.label[at].map({"real": "fake", "fake": "real"})


def sweep_again(faces, change):
    path = paths.manifest_file("faces")
    manifest = Manifest.load(path)
    change(manifest)
    manifest.save(path)
    specs = read_record(next((paths.runs_dir() / "heads").glob("*/head.safetensors"))).inputs
    return sweep.run(sweep.SweepConfig(path, specs, [Linear(lr=0.01, epochs=3), Ridge(penalty=1)], folds=3, seeds=1))


class Killed(BaseException):
    """Stands in for a kill: nothing in the program catches it."""


def test_temporaries_of_a_killed_sweep_go_when_it_is_taken_up_again(faces, monkeypatch):
    def dying(path, trials):
        for place in (path, path.parent.parent / "leaderboard.csv"):
            left = place.with_name(f".{place.stem}.123-abcd.part{place.suffix}")
            left.parent.mkdir(exist_ok=True)
            left.write_bytes(b"half")
            os.utime(left, (0, 0))  # of an hour ago: a younger one may be being written by another part
        raise Killed

    options = HeadsConfig.of(data=str(faces), **SMALL | {"grid": '[{"family": "ridge", "penalty": 1}]'})
    with monkeypatch.context() as context:
        context.setattr(course, "save_trials", dying)
        with pytest.raises(Killed):
            run(options)
    assert len(list(paths.runs_dir().glob("heads/**/.*.part*"))) == 2
    with monkeypatch.context() as context:
        context.setattr(course, "save_trials", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(options)
    assert not list(paths.runs_dir().glob("heads/**/.*.part*"))


def test_a_sweep_killed_anywhere_and_started_again_gives_the_same_leaderboard(faces, monkeypatch):
    whole = run(HeadsConfig.of(data=str(faces), **SMALL))
    expected = {name: (whole / name).read_text() for name in ("members.csv", "predictions-test.csv", "curves.csv")}
    result = {k: v for k, v in runs.result(whole).items() if k not in VOLATILE}
    boards = board(whole)
    save, finish, trained, stop_at = course.save_trials, runs.finish, [], [0]

    def dying(path, trials):
        if len(trained) == stop_at[0]:
            raise Killed
        save(path, trials)
        trained.append(path.name)

    def unfinished(folder, found):
        raise Killed

    (whole / "result.json").unlink()
    for name in ("leaderboard.csv", "head.safetensors"):
        (whole / name).unlink()
    monkeypatch.setattr(course, "save_trials", dying)
    for stop_at[0] in (0, 2, 5):  # before the first bucket, between them, later
        with pytest.raises(Killed):
            run(HeadsConfig.of(data=str(faces), **SMALL))
    assert len(set(trained)) == len(trained) == 5  # what was finished was not trained again
    monkeypatch.setattr(course, "save_trials", save)
    monkeypatch.setattr(runs, "finish", unfinished)
    with pytest.raises(Killed):
        run(HeadsConfig.of(data=str(faces), **SMALL))
    monkeypatch.setattr(runs, "finish", finish)
    assert run(HeadsConfig.of(data=str(faces), **SMALL)) == whole
    pd.testing.assert_frame_equal(board(whole), boards)
    assert {name: (whole / name).read_text() for name in expected} == expected
    assert {k: v for k, v in runs.result(whole).items() if k not in VOLATILE} == result


def test_parts_share_the_heads_and_the_last_one_chooses(faces, capsys):
    whole = run(HeadsConfig.of(data=str(faces), **SMALL))
    boards, name = board(whole), runs.result(whole)["head"]
    (whole / "result.json").unlink()
    extracted = HeadsConfig.of(data=str(faces), **SMALL)
    assert run(extracted.but(part="1/2")) == whole
    assert not runs.is_complete(whole)
    assert "part 1/2 is done, " in capsys.readouterr().out
    run(extracted.but(part="0/2"))
    pd.testing.assert_frame_equal(board(whole), boards)
    assert runs.result(whole)["head"] == name


def test_a_fast_process_waits_for_a_slow_one_and_computes_no_image_of_it(faces, tmp_path, monkeypatch):
    data_build.run(DataConfig.of(data=str(faces)))
    os.mkfifo(tmp_path / "waiting")
    monkeypatch.setenv("SLOWED", str(tmp_path))
    given = {**SMALL, "data": faces, "grid": '[{"family": "ridge", "penalty": 1.0}]', "seeds": 1}
    call = forked.torchrun(2, "tests.slowed", *(f"--{name}={value}" for name, value in given.items()))
    assert call.returncode == 0, call.stderr
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["30", "30"]
    (folder,) = paths.runs_dir().glob("heads/faces-*")
    assert runs.is_complete(folder)


def test_a_part_by_hand_computes_its_share_and_says_what_is_left(faces):
    config = HeadsConfig.of(data=str(faces), **{**SMALL, "grid": '[{"family": "ridge", "penalty": 1.0}]'})
    with pytest.raises(UserError, match=r"other parts have images left\. Run the same command again"):
        run(config.but(part="0/2"))
    with pytest.raises(UserError, match="other parts have images left"):
        run(config.but(part="0/2"))
    assert runs.is_complete(run(config.but(part="1/2")))


def test_a_part_that_comes_late_finds_the_sweep_done(faces, monkeypatch):
    """The other part finishes, and tidies up, while this one is between two buckets."""
    config = HeadsConfig.of(data=str(faces), **{**SMALL, "grid": TWO_BUCKETS}, part="1/2")
    extract(config.extract.but(part=""))
    save = course.save_trials

    def overtaken(path, trials):
        monkeypatch.setattr(course, "save_trials", save)
        run(config.but(part="0/2"))
        save(path, trials)

    monkeypatch.setattr(course, "save_trials", overtaken)
    folder = run(config)
    assert runs.is_complete(folder)
    assert runs.test_scorings("faces") == 1
    assert run(config) == folder
    assert not (folder / sweep.BUCKETS).exists()


def test_a_sweep_that_lags_behind_leaves_the_finished_leaderboard_as_it_is(faces, monkeypatch):
    """A part, and all of it; the latter finishes all buckets while the part trains its first."""
    config = HeadsConfig.of(data=str(faces), **{**SMALL, "grid": TWO_BUCKETS})
    extract(config.extract)
    save, finished = course.save_trials, []

    def overtaken(path, trials):
        monkeypatch.setattr(course, "save_trials", save)
        finished.append((run(config) / "leaderboard.csv").read_bytes())
        save(path, trials)

    monkeypatch.setattr(course, "save_trials", overtaken)
    folder = run(config.but(part="0/2"))
    assert (folder / "leaderboard.csv").read_bytes() == finished[0]
    assert len(board(folder)) == runs.result(folder)["settings"]
    assert not (folder / sweep.BUCKETS).exists()


def test_kills_before_a_rename_do_not_count_a_scoring_twice(faces, monkeypatch):
    config, move = (
        HeadsConfig.of(data=str(faces), **{**SMALL, "grid": '[{"family": "ridge", "penalty": 1}]'}),
        os.replace,
    )

    def killed_before(name: str) -> Callable[[Path, Path], None]:
        def dying(source: Path, target: Path) -> None:
            if Path(target).name == name and "heads" in Path(target).parts:
                raise Killed
            move(source, target)

        return dying

    for name in ("predictions-test.csv", "result.json") * 2:
        monkeypatch.setattr(os, "replace", killed_before(name))
        with pytest.raises(Killed):
            run(config)
    monkeypatch.setattr(os, "replace", move)
    assert runs.test_scorings("faces") == 1
    folder = run(config)
    assert len(paths.ledger_file().read_text().splitlines()) == 5
    assert runs.test_scorings("faces") == 1
    shutil.rmtree(folder)
    run(config.but(grid='[{"family": "ridge", "penalty": 9}]'))
    assert runs.test_scorings("faces") == 2


def test_a_damaged_table_or_head_stops_the_page_with_the_cure(faces):
    folder = run(HeadsConfig.of(data=str(faces), **{**SMALL, "grid": '[{"family": "ridge", "penalty": [1, 9]}]'}))
    manifest = Manifest.load(paths.manifest_file("faces")).usable
    assert [each.folder for each in ranked_runs(manifest)] == [folder]
    for name in ("leaderboard.csv", "curves.csv", "scores-inputs.csv", "predictions-val.csv", "config.json"):
        content = (folder / name).read_bytes()
        for changed in (content[:-9], content.replace(b"a", b"b", 1), b""):
            (folder / name).write_bytes(changed)
            with pytest.raises(DamagedRun, match=rf"{name}.*delete it and .*result\.json.*make heads"):
                ranked_runs(manifest)
        (folder / name).write_bytes(content)
    (folder / "result.json").write_text("{")
    assert ranked_runs(manifest) == []


def test_backbones_are_joined_and_views_are_trained_on_where_features_are_streamed(faces):
    config = {**SMALL, "backbone": "resnet18+resnet10t", "features": "layer1:avgstd", "views": 1, "mean_views": True,
              "memory": "0MB",
              "grid": '[{"family": "linear", "lr": 0.01}, {"family": "ridge", "penalty": 1}]'}  # fmt: skip
    folder = run(HeadsConfig.of(data=str(faces), **config))
    result = runs.result(folder)
    assert (result["backbone"], result["views"]) == ("resnet18+resnet10t", 2)
    assert result["offered"] == ["all", "resnet18/layer1:avgstd", "resnet10t/layer1:avgstd"]
    _, record = load_head(folder / HEAD_FILE)
    assert record.views == 2
    manifest = Manifest.load(paths.manifest_file("faces")).usable
    scores = pd.read_csv(folder / "scores-inputs.csv")
    for name in result["offered"]:
        best = next(row for row in board(folder).itertuples() if row.inputs == name and row.family == "ridge")
        assert roc_auc_score(scores.label == "fake", scores[name]) == pytest.approx(best.val_auc, abs=1e-6)
    views = [replace(s, view=v, augmentation=record.augmentation if v else "") for v in (0, 1) for s in record.inputs]
    held = load_inputs(manifest, views).rows.held.unflatten(0, (2, -1))
    head, _ = load_head(folder / HEAD_FILE)
    mean = np.mean([head(view).numpy() for view in held], axis=0)
    np.testing.assert_allclose(predictions(folder, "test").score, mean[manifest.where("test")], rtol=1e-4, atol=1e-5)


def test_another_data_set_is_scored_with_everything_fixed(faces, tmp_path):
    """In views and with joined backbones too; images of the head's own data set are left out."""
    config = HeadsConfig.of(data=str(faces), **{**SMALL, "backbone": "resnet18+resnet10t", "features": "layer1:avgstd",
                                             "views": 1, "mean_views": True})  # fmt: skip
    folder = run(config)
    others = write_faces(tmp_path / "others", 10, start=100)
    shutil.copy(next(faces.glob("real/*.jpg")), others / "real" / "shared.jpg")
    scored = on_other_data(config, folder, others)
    assert (runs.result(scored)["images"], runs.result(scored)["known"]) == (10, 1)
    table = pd.read_csv(scored / "predictions.csv")
    assert len(table) == 10
    assert not table.path.str.contains("shared").any()
    head, record = load_head(folder / HEAD_FILE)
    manifest = Manifest.load(paths.manifest_file("others")).usable
    scores = pd.Series(member_scores(head, views_of(record), manifest).mean(axis=1), manifest.rows.path)[table.path]
    np.testing.assert_allclose(table.score, scores, rtol=1e-5)
    assert on_other_data(config, folder, others) == scored
    with pytest.raises(UserError, match="it is no other data"):
        on_other_data(config, folder, faces)


def test_weights_that_moved_since_the_sweep_are_where_the_user_says(faces, tmp_path):
    first, then = tmp_path / "first.pth", tmp_path / "then.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), first)
    options = {**SMALL, "backbone": "resnet10t", "features": "layer1:avgstd", "grid": '[{"family": "knn"}]'}
    folder = run(HeadsConfig.of(data=str(faces), **{**options, "weights": str(first)}))
    first.rename(then)
    config = HeadsConfig.of(data=str(faces), **{**options, "weights": str(then)})
    assert run(config) == folder
    others = write_faces(tmp_path / "others", 10, start=100)
    with pytest.raises(UserError, match=r"first\.pth: no such file"):
        on_other_data(config.but(weights=""), folder, others)
    assert runs.result(on_other_data(config, folder, others))["images"] == 10


def test_a_head_knows_its_weights_by_its_run_folder_and_needs_none_elsewhere(faces, tmp_path):
    folder = run(HeadsConfig.of(data=str(faces), **{**SMALL, "grid": '[{"family": "knn"}]'}))
    assert HeadScorer.load(folder / HEAD_FILE).weights == {"resnet18": "random"}
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(folder / HEAD_FILE, alone)
    assert HeadScorer.load(alone / HEAD_FILE).weights == {}
    (alone / "config.json").write_text('{"folds": 1}')
    assert HeadScorer.load(alone / HEAD_FILE).weights == {}
    (folder / "config.json").unlink()
    with pytest.raises(DamagedRun, match="it is gone"):
        HeadScorer.load(folder / HEAD_FILE)


def test_a_grid_of_tails_without_maps_is_refused_before_the_images_are_read(faces):
    with pytest.raises(UserError, match="the grid holds tail heads, which read maps"):
        run(HeadsConfig.of(data=str(faces), **{**SMALL, "grid": "tail"}))
    assert not paths.manifest_file("faces").exists()


def test_a_split_without_both_classes_is_refused(tmp_path, faces):
    rows = [(p.relative_to(faces).as_posix(), p.parent.name) for p in sorted(faces.rglob("*.jpg"))]
    listed = pd.DataFrame(rows, columns=["path", "label"])
    listed["split"] = ["val" if label == "fake" and i % 2 else "train" for i, (_, label) in enumerate(rows)]
    listed.to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(UserError, match="the val split holds 0 real and 15 fake"):
        run(HeadsConfig.of(data=str(tmp_path / "mine.csv"), root=str(faces), **SMALL))


@pytest.mark.parametrize(
    ("how", "words"), [(40, r"FOLDS=40: faces has only \d+ groups"), ("generator", "faces has 0 known generators")]
)
def test_folds_that_cannot_be_cut_are_refused_before_features_are_made(faces, how, words):
    with pytest.raises(UserError, match=words):
        run(HeadsConfig.of(data=str(faces), **SMALL, folds=how))
    assert not paths.features_dir().exists()


@pytest.mark.parametrize("stage", ["extract", "heads"])
def test_of_two_at_once_the_second_waits_and_does_nothing_again(few, monkeypatch, capsys, stage):
    """The first is as far as `stage` when the second begins, and through when it goes on."""
    side = 62 if stage == "extract" else 64  # of which no other test has cached features
    config, taken = HeadsConfig.of(data=str(few), **{**RIDGE, "size": side}), atomic._taken

    def held(file) -> bool:
        if stage not in Path(file.name).parts or Path(file.name).name != runs.part_lock(0, 1):
            return taken(file)
        monkeypatch.setattr(atomic, "_taken", taken)
        run(config)
        return False

    monkeypatch.setattr(atomic, "_taken", held)
    folder = run(config)
    said = capsys.readouterr()
    assert re.findall(r"^(\w+).*: another process is at it; waiting for ", said.err, re.MULTILINE) == [stage]
    assert said.err.count("extract resnet18 part 0/1  48/48") <= 1
    assert said.out.count("1 setting, 1 fold, 2 seeds: 3 convex heads on 3 inputs") == 1
    assert said.out.count(f" -> {folder}") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folds": 0}, "SEEDS and FOLDS must be at least 1"),
        ({"one_se": True}, "ONE_SE needs the spread over folds"),
        ({"mean_views": True}, "MEAN_VIEWS needs cached views"),
        ({"memory": "8"}, "MEMORY='8': expected a size in MB, GB, TB, such as 8GB"),
        ({"memory": "0MB"}, "sklearn heads need all rows in memory, and the pooled features are 0.0 GB streamed"),
        ({"inputs": "al"}, "unknown INPUTS 'al'; did you mean all"),
        (
            {"grid": '[{"family": "linear", "lr": 1e37, "weight_decay": 100}]'},
            "not one head has a finite validation loss",
        ),
        ({"grid": '[{"family": "tail", "lr": 1}]'}, "tail heads, which read maps: add one to FEATURES"),
        ({"backbone": "resnet18 resnet10t", "weights": "x.pth"}, "WEIGHTS=x.pth for 2 backbones"),
    ],
)
def test_what_cannot_be_swept(faces, options, words):
    with pytest.raises(UserError, match=words):
        config = HeadsConfig.of(data=str(faces), **{**SMALL, **options})
        [run(each) for each in config.each_backbone()]


def test_a_fold_of_one_class_is_named(faces, monkeypatch):
    """Groups can force it; here the splitter does."""
    manifest = Manifest.load(data_build.run(DataConfig.of(data=str(faces)))).usable
    by_label = lambda self, rows, fake, groups: [(None, np.flatnonzero(fake)), (None, np.flatnonzero(~fake))]  # noqa: E731
    monkeypatch.setattr(StratifiedGroupKFold, "split", by_label)
    with pytest.raises(UserError, match=r"fold 0 \(train side\) holds \d+ real and 0 fake images; both are needed"):
        folds.cut(manifest, 2)


def test_expected_time_and_numbers_are_told_before_the_start(faces, capsys, monkeypatch):
    monkeypatch.setattr(Ridge, "seconds", lambda members, source: 1000.0)
    run(HeadsConfig.of(data=str(faces), **SMALL, folds=2))
    said = capsys.readouterr().out
    assert "8 settings, 2 folds, 2 seeds: 18 convex heads on 3 inputs (about 0:50:00), then 18 others" in said
    lines = r"resnet18: 18 others on .* \(how long the sklearn heads take is not known\)$"
    assert re.search(lines, said, re.MULTILINE)
    assert json.loads((next((paths.runs_dir() / "heads").glob("*")) / "config.json").read_text())["folds"] == 2
