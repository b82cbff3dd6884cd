"""Generators: who made a fake image, several sets as one, folds that leave a generator out, the choice by them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from analysis.found.models import find_models
from analysis.found.unseen import on_generators
from analysis.page import report_page
from analysis.page.model_tables import generators_table
from cache import paths, runs
from cache.errors import UserError
from data.build import run as build
from data.manifest import Manifest
from data.options import DataConfig
from finetune.start import starting_head
from heads import folds
from heads.head_file import load_head
from heads.inputs import Inputs, load_inputs
from heads.options import HeadsConfig
from heads.run import _heads, run
from heads.sweep.grid import read_grid
from heads.sweep.sweep_result import HEAD_FILE, UNSEEN_FILE
from tests.conftest import jpeg, picture, write_faces
from tests.small import SMALL
from tests.test_cache import SPEC

GENERATORS = ("alpha", "beta", "gamma")


def write_generators(folder: Path, *, each: int = 14, start: int = 500) -> Path:
    """Real faces, and as many fake ones of three generators in folders of their names."""
    for number in range(6 * each):
        fake = number % 2 == 1
        path = folder / (f"fake/{GENERATORS[number // 2 % 3]}" if fake else "real") / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(picture(start + number, fake=fake)))
    return folder


def manifest_of(data: Path | str, **options) -> Manifest:
    return Manifest.load(build(DataConfig.of(data=str(data), **options))).usable


def test_a_folder_in_fake_names_a_generator(tmp_path):
    manifest = manifest_of(write_generators(tmp_path / "three", each=2))
    assert sorted(manifest.generator) == ["", "", "", "", "", "", *sorted(GENERATORS * 2)]
    assert all(
        f"fake/{name}/" in path for name, path in zip(manifest.generator, manifest.rows.path, strict=True) if name
    )
    for path in (tmp_path / "three" / "fake" / "alpha").iterdir():
        (tmp_path / "three" / "fake" / path.name).write_bytes(path.read_bytes())
        path.unlink()
    assert set(manifest_of(tmp_path / "three").generator) == {"", "beta", "gamma"}  # those of alpha lie in none
    key = manifest_of(tmp_path / "three").key
    assert set(manifest_of(write_faces(tmp_path / "plain", 4)).generator) == {""}
    assert "generator" not in manifest_of(tmp_path / "plain").rows
    assert key == manifest_of(tmp_path / "three").key


def test_a_folder_called_as_a_split_is_no_generator(tmp_path):
    faces = write_faces(tmp_path / "faces", 8)
    (faces / "fake" / "train").mkdir()
    for path in (faces / "fake").glob("*.jpg"):
        path.rename(faces / "fake" / "train" / path.name)
    assert set(manifest_of(faces).generator) == {""}


def test_a_column_names_generators_of_fakes_alone(tmp_path):
    faces = write_faces(tmp_path / "faces", 8)
    table = pd.DataFrame({"path": sorted(str(path.relative_to(faces)) for path in faces.rglob("*.jpg"))})
    table["label"] = table.path.str.split("/").str[0]
    table["generator"] = ["x", "x", "y", "", "camera", "camera", "", ""]
    table.to_csv(faces / "list.csv", index=False)
    assert manifest_of(faces / "list.csv").generator.tolist() == ["x", "x", "y", "", "", "", "", ""]


def test_joined_sets_are_one_with_their_splits_and_generators(tmp_path):
    one, other = write_generators(tmp_path / "deep" / "one", each=4), write_faces(tmp_path / "other", 24)
    joined = manifest_of(f"{one}+{other}")
    apart = [manifest_of(one), manifest_of(other)]
    assert joined.dataset == "one+other"
    assert joined.rows.digest.tolist() == [digest for each in apart for digest in each.rows.digest]
    assert joined.split.tolist() == [split for each in apart for split in each.split]
    assert all((joined.root / path).exists() for path in joined.rows.path)
    assert set(joined.generator[joined.fake]) == {*GENERATORS, "other"}
    assert set(joined.generator[~joined.fake]) == {""}
    before = paths.manifest_file("one+other").stat().st_mtime_ns
    assert manifest_of(f"{one}+{other}").key == joined.key
    assert paths.manifest_file("one+other").stat().st_mtime_ns == before


def test_an_image_in_both_joined_sets_is_treated_as_one_in_two_splits(tmp_path):
    one = write_faces(tmp_path / "train" / "one", 12)
    other = write_faces(tmp_path / "other", 12, start=40)
    for folder, split in ((one, "train"), (other, "test")):
        found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg"))
        labels = [path.split("/")[0] for path in found]
        pd.DataFrame({"path": found, "label": labels, "split": split}).to_csv(folder / "list.csv", index=False)
    copied = other / "real" / "0040.jpg"
    copied.write_bytes((one / "real" / "0000.jpg").read_bytes())
    data = f"{one / 'list.csv'}+{other / 'list.csv'}"
    with pytest.raises(UserError, match="stands for the images in"):
        manifest_of(data)  # both are called list
    for folder in (one, other):
        (folder / "list.csv").rename(folder / f"{folder.name}.csv")
    data = f"{one / 'one.csv'}+{other / 'other.csv'}"
    with pytest.raises(UserError, match=r"one\+other: 2 rows share an image"):
        manifest_of(data)
    kept = manifest_of(data, leaks="drop")
    assert len(kept) == 23
    assert kept.split[kept.rows.digest == kept.rows.digest[kept.rows.path.str.endswith("0040.jpg")].iloc[0]] == "test"


def test_groups_of_joined_sets_are_their_own(tmp_path):
    one, other = write_faces(tmp_path / "one", 12), write_faces(tmp_path / "other", 12, start=40)
    joined = manifest_of(f"{one}+{other}", group="(real|fake)/0")
    assert set(joined.group) == {"one/real", "one/fake", "other/real", "other/fake"}
    with pytest.raises(UserError, match="ROOT cannot be meant for all sets"):
        DataConfig.of(data=f"{one}+{other}", root="x")


def table(split: list[str], generator: list[str], group: list | None = None) -> Manifest:
    rows = pd.DataFrame({"split": split, "generator": generator})
    rows["label"] = np.where(rows.generator == "", "real", "fake")
    rows["group"] = [f"image {number}" for number in range(len(rows))] if group is None else group
    return Manifest("made", Path(), False, rows)


def dated(of: dict[str, str]) -> Manifest:
    """Four rows of each generator, three of them in train and val, twelve real ones; dates: by generator."""
    manifest = table(
        ["train", "train", "val", "test"] * (len(of) + 3), [name for name in (*of, "", "", "") for _ in range(4)]
    )
    manifest.rows["date"] = manifest.rows.generator.map(of).fillna("")
    return manifest


def test_by_date_a_fold_trains_on_older_generators_and_their_share_of_the_reals():
    manifest = dated({"new": "2022-03", "old": "2017", "mid": "2019-12-30", "also old": "2017", "unknown": "2016"})
    manifest.rows.loc[manifest.rows.generator == "unknown", "generator"] = ""  # fakes that nobody knows the maker of
    manifest.rows.loc[manifest.rows.index[16:20], "label"] = "fake"
    cut = folds.cut(manifest, "date")
    assert cut.generators == ("mid", "new")
    known = [{*manifest.generator[trained & manifest.fake]} for trained in cut.trained]
    assert known[:2] == [{"old", "also old"}, {"old", "also old", "mid"}]
    assert [{*manifest.generator[held_out & manifest.fake]} for held_out in cut.held_out[:2]] == [{"mid"}, {"new"}]
    reals = cut.trained & ~manifest.fake, cut.held_out & ~manifest.fake
    assert not (reals[0][:2] & reals[1][:2]).any()
    assert (reals[0][1] == reals[0][0] | reals[1][0]).all()  # what judged one generator trains for the next
    assert not reals[0][:2][:, manifest.split == "test"].any()
    assert (cut.trained[2] == (manifest.split == "train")).all()


def test_what_says_no_order_of_generators_is_refused():
    of = {"a": "2017", "b": "2019"}
    with pytest.raises(UserError, match=r"made says no dates\. Give a CSV with"):
        folds.cut(replace(dated(of), rows=dated(of).rows.drop(columns="date")), "date")
    with pytest.raises(UserError, match="all generators of made are of 2017: use FOLDS=generator"):
        folds.cut(dated(dict.fromkeys(of, "2017")), "date")
    for wrong in ("", "spring 2019", "19"):
        with pytest.raises(UserError, match=f"the generator b in made is '{wrong}': expected one, such as 2019"):
            folds.cut(dated(of | {"b": wrong}), "date")
    several = dated(of)
    several.rows.loc[0, "date"] = "2018"
    with pytest.raises(UserError, match="of the generator a in made is '2017' and '2018'"):
        folds.cut(several, "date")


def test_a_fold_without_a_generator_never_trains_on_it_nor_on_the_reals_that_judge_it():
    split = ["train", "train", "val", "test"] * 12
    manifest = table(split, ["", "", "", "", "a", "a", "a", "a", "b", "b", "b", "b", *("" for _ in range(36))])
    cut = folds.cut(manifest, "generator")
    assert cut.generators == ("a", "b")
    assert list(cut.kept) == [2]
    for number, name in enumerate(cut.generators):
        trained, held_out = cut.trained[number], cut.held_out[number]
        assert not (trained & held_out).any()
        assert name not in manifest.generator[trained]
        assert set(manifest.generator[held_out]) == {"", name}
        assert held_out[manifest.generator == name].sum() == 3  # all but that of the test split
    reals = (cut.held_out[:2] & ~manifest.fake).sum(axis=0)
    assert set(reals[~manifest.fake & (manifest.split != "test")]) == {1}
    assert (cut.trained[2] == (manifest.split == "train")).all()
    assert (cut.held_out[2] == (manifest.split == "val")).all()
    assert not cut.trained[:, manifest.split == "test"].any()
    assert (cut.judged == manifest.where("val")).all()


def test_of_a_group_with_real_and_fake_images_a_fold_trains_on_none_that_it_holds_something_out_of():
    videos = [f"video {number // 3}" for number in range(36)]  # each real, and faked by two generators
    manifest = table(["train"] * 30 + ["val"] * 6, ["", "a", "b"] * 12, videos)
    cut = folds.cut(manifest, "generator")
    for number, name in enumerate("ab"):
        trained, held_out = cut.trained[number], cut.held_out[number]
        assert not set(manifest.group[trained]) & set(manifest.group[held_out])
        assert set(manifest.generator[trained]) == {"", "b" if name == "a" else "a"}
        assert set(manifest.generator[held_out]) == {"", name}


def test_fakes_of_nobody_known_are_trained_on_by_every_fold_of_a_generator():
    manifest = table(["train", "val"] * 12, ["", "", "a", "a", "b", "b"] * 4)
    manifest.rows.loc[[6, 7], "label"] = "fake"
    cut = folds.cut(manifest, "generator")
    assert cut.trained[:2, [6, 7]].all()
    assert not cut.held_out[:2, [6, 7]].any()


def test_folds_of_generators_need_two():
    with pytest.raises(UserError, match=r"made has 1 known generator in .* CSV column `generator`"):
        folds.cut(table(["train", "val"] * 4, ["", "", "a", "a"] * 2), "generator")
    with pytest.raises(UserError, match="CHOOSE=mean needs generators that are left out: give FOLDS=generator"):
        HeadsConfig.of(choose="mean")
    with pytest.raises(UserError, match="FOLDS"):
        HeadsConfig.of(folds="generators")
    assert HeadsConfig.of(folds="3").folds == 3


def test_where_generators_choose_the_grid_is_another_unless_it_is_given():
    by_generators = {"folds": "generator", "choose": "worst"}
    assert _heads(HeadsConfig.of(**by_generators)) == read_grid("unseen")
    assert _heads(HeadsConfig.of(folds="generator")) == read_grid("default")
    assert _heads(HeadsConfig.of(**by_generators, grid="convex")) == read_grid("convex")


GRID = json.dumps([{"family": "ridge", "penalty": [1.0, 1e3], "norm": ["none", "l2"]},
                   {"family": "linear", "lr": 0.01, "norm": "layer", "generator_balance": [0, 1]}])  # fmt: skip
OPTIONS = {**SMALL, "grid": GRID, "folds": "generator", "choose": "mean"}


def test_a_sweep_chooses_by_generators_left_out_and_keeps_a_head_of_all(tmp_path):
    faces = write_generators(tmp_path / "three")
    folder = run(HeadsConfig.of(data=str(faces), **OPTIONS))
    result, manifest = runs.result(folder), Manifest.load(paths.manifest_file("three")).usable
    board = pd.read_csv(folder / "leaderboard.csv")
    names = [f"unseen {name}" for name in GENERATORS]
    np.testing.assert_allclose(board.mean_unseen_auc, board[names].mean(axis=1))
    np.testing.assert_allclose(board.worst_unseen_auc, board[names].min(axis=1))
    assert board.mean_unseen_auc.is_monotonic_decreasing
    assert (result["head"], result["choose"], result["folds"]) == (board["head"][0], "mean", 1)
    assert result["unseen_auc"] == pytest.approx({name: board[f"unseen {name}"][0] for name in GENERATORS})
    members = pd.read_csv(folder / "members.csv")
    assert len(members) == result["heads"] == 4 * (3 * 4 + 2 * 2)  # folds; settings on three inputs, and of two seeds
    head, record = load_head(folder / HEAD_FILE)
    logits = head(load_inputs(manifest, record.inputs).rows.held).numpy()
    for split in ("train", "val", "test"):
        scores = pd.read_csv(folder / f"predictions-{split}.csv").score
        np.testing.assert_allclose(scores, logits[manifest.where(split)], rtol=1e-4, atol=1e-5)
    val = manifest.where("val")
    assert roc_auc_score(manifest.fake[val], logits[val]) == pytest.approx(result["val_auc"], abs=0.02)
    unseen = pd.read_csv(folder / UNSEEN_FILE, keep_default_na=False)
    test = manifest.where("test")
    for name, part in unseen.groupby("generator"):
        expected = test[~manifest.fake[test] | (manifest.generator[test] == name)]
        assert part.path.tolist() == manifest.rows.path[expected].tolist()
        np.testing.assert_allclose(part.mean_seen, logits[expected], rtol=1e-4, atol=1e-5)
        assert not np.allclose(part.mean_seen, part.mean_unseen)
    assert set(result["candidates"]) == {"validation", "mean"}
    options = HeadsConfig.of(data=str(faces), **OPTIONS)
    assert starting_head(options, str(folder), lambda: None) == folder / HEAD_FILE  # it has not seen validation images
    assert runs.test_scorings("three") > 1  # the heads that stand beside it are counted


def test_the_page_has_each_generator_seen_and_unseen_and_the_choice_of_validation_beside_it(tmp_path, monkeypatch):
    for name in ("model_pictures", "sweep_pictures"):
        monkeypatch.setattr(report_page, name, lambda _: [])  # they have tests of their own, and take most of the time
    faces = write_generators(tmp_path / "three", each=20)
    grid = json.dumps([{"family": "ridge", "penalty": [0.1, 1e3], "norm": ["none", "l2", "layer"]}])
    folder = run(HeadsConfig.of(data=str(faces), **{**OPTIONS, "grid": grid}))
    page = report_page.run(report_page.ReportConfig("three", faces=False))
    found = pd.read_csv(page / "generators.csv").set_index("generator")
    assert found.index.tolist() == [*GENERATORS, "mean"]
    saved = pd.read_csv(folder / UNSEEN_FILE)
    threshold = find_models(Manifest.load(paths.manifest_file("three")).usable)[0].calibration.threshold
    for name, rows in saved.groupby("generator"):
        fake = rows.label == "fake"
        assert found.loc[name, "AUC, seen"] == pytest.approx(roc_auc_score(fake, rows.mean_seen))
        assert found.loc[name, "AUC, unseen"] == pytest.approx(roc_auc_score(fake, rows.mean_unseen))
        other = roc_auc_score(fake, rows.validation_unseen)
        assert found.loc[name, "AUC, unseen, chosen by validation"] == pytest.approx(other)
        assert found.loc[name, "difference"] == pytest.approx(found.loc[name, "AUC, unseen"] - other)
        assert found.loc[name, "found at the threshold, unseen"] == pytest.approx(
            (rows.mean_unseen[fake] >= threshold).mean()
        )
    means = found.loc[list(GENERATORS), ["AUC, seen", "AUC, unseen", "difference"]].mean()
    np.testing.assert_allclose(found.loc["mean", means.index].to_numpy(float), means)
    assert (
        found.loc["mean", "AUC, unseen low"]
        <= found.loc["mean", "AUC, unseen"]
        <= found.loc["mean", "AUC, unseen high"]
    )
    assert_the_first_screen_says_it((page / "index.html").read_text(), found)
    text = (page / "index.html").read_text()
    assert "the highest AUC of heads on generators that were left out" in text
    assert (page / "atlas.png").exists()


def assert_the_first_screen_says_it(text: str, found: pd.DataFrame) -> None:
    screen = text[: text.index("</header>")]
    assert f"unseen generators: mean AUC {found.loc['mean', 'AUC, unseen']:.3f}" in screen
    hardest = found.drop("mean")["AUC, unseen"].idxmin()
    assert f"the lowest is {hardest} with {found.loc[hardest, 'AUC, unseen']:.3f}" in screen
    assert "found at 1 % FPR" not in text  # in the CSV alone
    assert "found at 1 % FPR, unseen" in found


def test_a_sweep_by_date_judges_each_generator_by_heads_that_knew_older_ones(tmp_path):
    faces = write_generators(tmp_path / "three")
    rows = pd.DataFrame({"path": sorted(str(path.relative_to(faces)) for path in faces.rglob("*.jpg"))})
    rows["label"] = rows.path.str.split("/").str[0]
    rows["generator"] = [path.split("/")[1] if path.startswith("fake") else "" for path in rows.path]
    rows["date"] = rows.generator.map({"alpha": "2014", "beta": "2021", "gamma": "2019-06"})
    rows.to_csv(faces / "dated.csv", index=False)
    grid = '[{"family": "ridge", "penalty": [1, 100]}]'
    options = HeadsConfig.of(data=str(faces / "dated.csv"), **{**OPTIONS, "grid": grid, "folds": "date"})
    folder = run(options)
    result = runs.result(folder)
    assert set(result["unseen_auc"]) == {"gamma", "beta"}  # the oldest is judged by none
    assert result["dates"] == {"alpha": "2014", "gamma": "2019-06", "beta": "2021"}
    (model,) = find_models(Manifest.load(paths.manifest_file("dated")).usable)
    shown = [row["generator"] for row in generators_table(on_generators(model)).rows]
    assert shown == ["gamma (2019-06)", "beta (2021)", "mean"]
    assert starting_head(options, str(folder), lambda: None) == folder / HEAD_FILE
    rows["date"] = rows.date.replace("2014", "2020")
    rows.to_csv(faces / "dated.csv", index=False)
    assert run(options) != folder  # another order is another sweep


def test_neighbours_are_offered_where_generators_choose():
    specs = [replace(SPEC, tap=tap) for tap in "abcd"]
    inputs = Inputs(None, specs, [slice(k, k + 1) for k in range(4)], {})
    offered = {choice.name: (choice.columns.start, choice.columns.stop) for choice in inputs.choices(windows=True)}
    plain = [choice.name for choice in inputs.choices()]
    assert set(offered) - set(plain) == {"b:map to c:map", "c:map to d:map", "b:map to d:map"}
    assert offered["b:map to d:map"] == (1, 4)
    assert len(set(offered.values())) == len(offered)  # what is offered already has one name
