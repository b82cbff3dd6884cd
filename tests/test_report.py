"""The page of a data set: it needs nothing but itself, and says what the runs found and where they fail."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs

from analysis.found.models import Model, find_models
from analysis.found.other_data import Other, scored_elsewhere
from analysis.found.run_option import find_run
from analysis.found.sentences import drifts
from analysis.judge.calibrate import calibration_of
from analysis.options import ReportCommand
from analysis.page import report_page as report
from analysis.page.pictures import model_pictures
from analysis.page.report_page import ReportConfig
from analysis.page.template_values import decided_wrongly
from analysis.report import run as run_report
from cache import paths, runs
from cache.atomic import write_text
from cache.errors import UserError
from cache.runs import read_table
from data.build import run as build
from data.manifest import Manifest
from data.options import DataConfig
from heads import predictions
from heads.elsewhere import OTHER_VERSION, OtherResult, score_other_data
from heads.options import HeadsConfig
from heads.run import run
from tests.browser import CHROMIUM, opened
from tests.conftest import jpeg, picture, without_pictures, write_faces
from tests.small import RESULTS, RIDGE, SMALL, Saying

TABLES = {"splits", "shortcuts", "left_out", "ranking", "metrics", "thresholds", "cost", "provenance",
          "sweep_leaders"}  # fmt: skip
PICTURES = RESULTS | {"leaders", "landscape", "penalties", "settings", "training", "inputs"}


@pytest.fixture
def reported(faces) -> Path:
    (faces / "real" / "<b>bold & co.jpg").write_bytes(b"no image")
    run(HeadsConfig.of(data=str(faces), **SMALL))
    return report.run(ReportConfig("faces"))


def test_the_page_is_whole_and_alone(reported):
    page = (reported / "index.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert page.count("data:image/png;base64,") == page.count("<img") == len(PICTURES)
    assert all(re.search(r"\d", alt) for alt in re.findall(r'alt="([^"]*)"', page))
    assert "Random weights" in page
    assert "1 unreadable" in page
    assert "&lt;b&gt;bold &amp; co.jpg" in page
    assert "<b>bold" not in page
    for kind in ("png", "svg"):
        assert {path.stem for path in reported.glob(f"*.{kind}")} == PICTURES
    assert_says_what_the_sweep_found(reported)
    assert_summary_has_the_figures_of_the_page(reported)
    assert_no_section_for_other_data(reported)


def assert_says_what_the_sweep_found(reported: Path) -> None:
    page = (reported / "index.html").read_text()
    (folder,) = runs.complete_runs("heads")
    assert (reported / "sweep.csv").read_bytes() == (folder / "leaderboard.csv").read_bytes()
    board = pd.read_csv(folder / "leaderboard.csv")
    trained = board[board.family == "mlp"].iloc[0]
    assert f'{trained.val_auc:.4f}</td><td class="n">{trained.val_auc_std:.4f}</td>' in page
    assert f"of {len(board)} settings" in page


def assert_summary_has_the_figures_of_the_page(reported: Path) -> None:
    summary = json.loads((reported / "summary.json").read_text())
    assert (summary["dataset"], summary["synthetic"]) == ("faces", False)
    (model,) = summary["models"]
    assert {"run", "stage", "backbone", "features", "head", "val", "test"} <= model.keys()
    low, high = model["test"]["auc_ci"]
    assert low <= model["test"]["auc"] <= high
    page = (reported / "index.html").read_text()
    assert f"{model['test']['auc']:.3f}" in page
    careful = model["thresholds"]["fpr_1"]
    assert careful["band"][0] <= careful["score"] <= careful["band"][1]
    alarms = model["thresholds"][model["rule"]]["test"]["false_alarms"]
    assert alarms["alarms"] / alarms["reals"] <= alarms["at_most"] <= 1
    assert f"{alarms['alarms']} of {alarms['reals']} real test images called fake, so at most" in page
    assert model["flips"] is None
    sentences = re.sub(r"<[^>]+>", "", page.partition("<body>")[2].replace(model["head"], ""))
    assert re.findall(r"[a-z ]{3}[a-z][.;][A-Z][a-z]+ .{9}", sentences) == []  # none runs into the next


def assert_no_section_for_other_data(reported: Path) -> None:
    page = (reported / "index.html").read_text()
    assert '<h2 id="elsewhere">' not in page
    assert "Not tried: <code>make report DATA=... EVAL=" in page
    assert not (reported / "other_data.csv").exists()
    assert json.loads((reported / "summary.json").read_text())["models"][0]["other"] == {}


@pytest.mark.usefixtures("undrawn")
def test_folds_without_convex_heads_and_without_curves(faces):
    """No convex heads: no floor, no scores of inputs, no penalties. One epoch: no curves to draw."""
    grid = '[{"family": "linear", "lr": 0.01}]'
    run(HeadsConfig.of(data=str(faces), **{**SMALL, "grid": grid, "head_epochs": 1}, folds=3, inputs="all"))
    folder = report.run(ReportConfig("faces"))
    page = (folder / "index.html").read_text()
    assert {path.stem for path in folder.glob("*.png")} == RESULTS | {"leaders"}
    assert "in 3-fold cross-validation over train and validation together" in page
    assert "the mean of 6 such heads (3 folds times 2 seeds)" in page
    (model,) = json.loads((folder / "summary.json").read_text())["models"]
    assert model["val"]["images"] > model["test"]["images"] * 3  # train and val


@pytest.mark.usefixtures("undrawn")
def test_models_are_sorted_by_validation_and_stale_runs_stay_out(faces):
    run(HeadsConfig.of(data=str(faces), **SMALL))
    run(HeadsConfig.of(data=str(faces), **{**SMALL, "features": "layer1:avg"}))
    models = json.loads((report.run(ReportConfig("faces")) / "summary.json").read_text())["models"]
    assert len(models) == 2
    assert models[0]["val"]["auc"] >= models[1]["val"]["auc"]
    next((faces / "real").iterdir()).unlink()
    build(DataConfig.of(data=str(faces)))
    with pytest.raises(UserError, match="no finished run on faces as it is now"):
        report.run(ReportConfig("faces"))


@pytest.fixture
def fakes(faces, tmp_path) -> Path:
    """10 other fakes beside real images of `faces`: once those are left out, one class remains."""
    folder = write_faces(tmp_path / "fakes", 20, start=200)
    for path, known in zip((folder / "real").iterdir(), (faces / "real").iterdir(), strict=False):
        path.write_bytes(known.read_bytes())
    return folder


@pytest.mark.usefixtures("undrawn")
def test_other_data_is_judged_at_the_threshold_of_validation(faces, elsewhere, fakes, capsys, monkeypatch):
    options = {**RIDGE, "perturb": 0, "num_samples": 0}
    folder = run_report(ReportCommand.of(data=str(faces), eval=f"{elsewhere} {fakes}", **options))
    (model,) = json.loads((folder / "summary.json").read_text())["models"]
    assert model["other"].keys() == {"elsewhere", "fakes"}
    table = pd.read_csv(folder / "models.csv").set_index("split")
    for name, found in model["other"].items():
        scored = pd.read_csv(next(paths.runs_dir().glob(f"other/*-on-{name}-*/predictions.csv")))
        fake = scored.label == "fake"
        assert found["threshold"] == model["test"]["threshold"]
        assert found["accuracy"] == pytest.approx(((scored.score >= found["threshold"]) == fake).mean())
        assert table.accuracy[f"other:{name}"] == pytest.approx(found["accuracy"])
        if name == "elsewhere":
            assert found["auc"] == pytest.approx(theirs.roc_auc_score(fake, scored.score))
    two, one = model["other"]["elsewhere"], model["other"]["fakes"]
    assert (two["images"], two["known"], one["images"], one["known"]) == (40, 1, 10, 10)
    assert [one[name] for name in ("auc", "auc_ci", "eer", "balanced_accuracy", "accuracy_real")] == [None] * 5
    assert one["accuracy"] == one["accuracy_fake"]
    page = (folder / "index.html").read_text()
    head = page[: page.index("</header>")]
    assert f"<strong>elsewhere</strong> AUC {two['auc']:.3f}" in head
    assert f"<strong>fakes</strong> one class only, so AUC is undefined; accuracy {one['accuracy']:.3f}" in head
    assert "40 images (20 real, 20 fake); 1 more was left out because faces holds them too" in page
    assert "10 images (0 real, 10 fake); 10 more were" in page
    monkeypatch.setattr(Other, "is_off", property(lambda other: other.auc is not None))
    page = (report.run(ReportConfig("faces")) / "index.html").read_text()
    assert f"of the chosen model does not carry over: balanced accuracy is {two['balanced_accuracy']:.3f}" in page
    assert f"{1 - two['eer']:.3f} would be within reach" in page
    _stale_other_data_and_old_pictures_go(folder, elsewhere, capsys)


def _stale_other_data_and_old_pictures_go(folder: Path, elsewhere: Path, capsys) -> None:
    next((elsewhere / "fake").iterdir()).unlink()
    build(DataConfig.of(data=str(elsewhere)))
    pictures = set(folder.glob("*.png"))
    (folder / "landscape.png").write_bytes(b"of an earlier page")
    (folder / ".roc.part.png").write_bytes(b"being written")
    capsys.readouterr()
    report.run(ReportConfig("faces"))
    assert capsys.readouterr().out.count("elsewhere has changed since one model scored it") == 1
    (model,) = json.loads((folder / "summary.json").read_text())["models"]
    assert model["other"].keys() == {"fakes"}
    assert "<strong>elsewhere" not in (folder / "index.html").read_text()
    assert "elsewhere" not in (folder / "other_data.csv").read_text()
    assert set(folder.glob("*.png")) == pictures | {folder / ".roc.part.png"}


def test_only_other_data_as_it_is_now_is_taken_of_runs_as_they_are_now(faces, capsys):
    now = Manifest.load(build(DataConfig.of(data=str(faces)))).key
    folders = [paths.run_dir("heads", name) for name in ("a", "b", "c", "d")]
    for folder in folders:
        write_text(folder / "predictions-val.csv", folder.name)

    def finished(
        name: str, run: str, dataset: str, key: str, *, version: int = OTHER_VERSION, scored: str = ""
    ) -> Path:
        folder = paths.run_dir("other", name)
        scored = scored or hashlib.sha256(run.encode()).hexdigest()
        runs.finish(folder, OtherResult(run, scored, dataset, key, False, 9, 0, version))
        return folder

    good = finished("a1", "a", "faces", now)
    finished("a2", "a", "faces", "before")  # scored anew since: nothing is lost
    finished("a3", "a", "faces", now, scored="of an earlier run")
    finished("b", "b", "faces", "before")
    finished("c", "b", "gone", now)
    finished("d", "a", "other", now, version=OTHER_VERSION - 1)
    finished("e", "not on the page", "faces", "before")
    finished("f", "c", "faces", now, scored="of an earlier run")
    finished("g", "d", "faces", now, scored="of an earlier run")
    capsys.readouterr()
    assert scored_elsewhere(folders) == {"a": [good], "b": [], "c": [], "d": []}
    assert [line.removeprefix("report: ").split(";")[0] for line in capsys.readouterr().out.splitlines()] == [
        "d was made by another version of the program and is left out",
        "faces has changed since one model scored it",
        "2 models changed after scoring faces",
        "gone has changed since one model scored it",
    ]


@pytest.mark.parametrize("stage", ["heads", "finetune"])
def test_a_run_made_anew_under_its_name_scores_other_data_anew(stage, faces, elsewhere):
    """Of a sweep and of a training, which both leave predictions-val.csv."""
    own = build(DataConfig.of(data=str(faces)))
    other = Manifest.load(build(DataConfig.of(data=str(elsewhere)))).usable
    folder = paths.run_dir(stage, "run")
    runs.begin(folder, {"manifest": str(own)})
    runs.finish(folder, {"dataset": "faces"})
    said = []
    for scores, score in (("first", 1.0), ("first", 2.0), ("second", 3.0)):
        write_text(folder / "predictions-val.csv", scores)
        found = score_other_data(Saying(folder, score), other)
        said.append((found, pd.read_csv(found / "predictions.csv").score[0]))
    assert said[0] == said[1]
    assert said[2][1] == 3.0
    assert scored_elsewhere([folder]) == {"run": [said[2][0]]}
    (folder / "predictions-val.csv").unlink()
    with pytest.raises(UserError, match=r"has no predictions-val\.csv: delete the folder and make the run again"):
        score_other_data(Saying(folder), other)


def test_no_data_no_report():
    with pytest.raises(UserError, match="no manifest"):
        report.run(ReportConfig("nothing"))


def test_the_whole_page_in_a_browser(faces, elsewhere, tmp_path):
    """Everything that a page can have: no error, no missing picture, nothing fetched, no wider than a phone."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    (faces / "real" / "no image.jpg").write_bytes(b"no image")
    command = ReportCommand.of(data=str(faces), eval=str(elsewhere), perturb=8, num_samples=3, **SMALL)
    folder = run_report(command)
    pictures = PICTURES | {"heat_maps", "perturbed_auc", "perturbed_accuracy"}
    for width in (1100, 500):
        seen = opened(folder / "index.html", tmp_path, width=width)
        assert (seen.console, seen.broken, seen.requests, seen.overflow) == ([], [], [], 0)
        assert seen.images == len(pictures)
    page = (folder / "index.html").read_text()
    tables = {path.stem for path in folder.glob("*.csv")} - {"models", "sweep"}
    assert tables == TABLES | {"perturbations", "other_data"}
    assert page.count("<table>") == len(tables)
    assert_pages_can_be_bad(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        assert_faces_can_be_left_out(command, page)


def assert_pages_can_be_bad(tmp_path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><body><img src='http://127.0.0.1:9/x.png' alt=gone><p style='width: 3000px'>wide"
        "<script>oops()</script>"
    )
    seen = opened(bad, tmp_path)
    assert seen.console == ["Uncaught ReferenceError: oops is not defined"]
    assert (seen.broken, seen.requests) == (["gone"], ["http://127.0.0.1:9/x.png"])
    assert seen.overflow > 1000


def assert_faces_can_be_left_out(command: ReportCommand, page: str) -> None:
    folder = run_report(command.but(faces=False))
    assert {path.stem for path in folder.glob("*.png")}.isdisjoint({"sample", "errors", "heat_maps"})
    assert "Not shown: FACES=0." in (folder / "index.html").read_text()
    assert (folder / "index.html").read_text().count("<img") == page.count("<img") - 3


def test_a_test_split_of_one_class_has_no_auc_and_says_so(faces):
    rows = [(path.relative_to(faces), path.parent.name) for path in sorted(faces.glob("*/*.jpg"))]
    split = ["test" if label == "fake" and number % 3 == 0 else ["train", "val"][number % 2]
             for number, (_, label) in enumerate(rows)]  # fmt: skip
    table = pd.DataFrame(
        {"path": [str(path) for path, _ in rows], "label": [label for _, label in rows], "split": split}
    )
    table.to_csv(faces / "faces.csv", index=False)
    command = ReportCommand.of(data=str(faces / "faces.csv"), name="one", perturb=8, num_samples=3, **RIDGE)
    folder = run_report(command)
    (model,) = json.loads((folder / "summary.json").read_text())["models"]
    assert model["test"]["auc"] is None
    assert model["test"]["accuracy"] == model["test"]["accuracy_fake"]
    page = (folder / "index.html").read_text()
    assert "The test split holds fake images only" in page
    assert f"test accuracy {model['test']['accuracy']:.3f}" in page
    assert not (folder / "roc.png").exists()
    assert model["perturbed"]["jpeg-50"]["auc"] is None


@pytest.mark.usefixtures("undrawn")
def test_a_data_set_of_one_class_is_scored_but_not_trained_on(faces, tmp_path):
    (tmp_path / "only" / "fake").mkdir(parents=True)
    for number, path in enumerate(sorted((faces / "fake").iterdir())[:6]):
        (tmp_path / "only" / "fake" / path.name).write_bytes(jpeg(picture(500 + number, fake=True)))
    only = str(tmp_path / "only")
    folder = run_report(ReportCommand.of(data=str(faces), eval=only, perturb=0, num_samples=0, **RIDGE))
    (model,) = json.loads((folder / "summary.json").read_text())["models"]
    assert (model["other"]["only"]["images"], model["other"]["only"]["auc"]) == (6, None)
    with pytest.raises(UserError, match="only holds 6 images but none is real: heads need both classes"):
        run_report(ReportCommand.of(data=only, **RIDGE))


@pytest.mark.usefixtures("undrawn")
def test_several_data_sets_stand_side_by_side(faces, elsewhere):
    """Each one's best model is scored on the other's images; the matrix has both directions."""
    folder = run_report(ReportCommand.of(data=f"{faces} {elsewhere}", perturb=2, num_samples=0, **RIDGE))
    assert folder == paths.report_dir("faces+elsewhere")
    summary = json.loads((folder / "summary.json").read_text())
    for name, other in (("faces", "elsewhere"), ("elsewhere", "faces")):
        single = json.loads((paths.report_dir(name) / "summary.json").read_text())["models"][0]
        assert summary[name]["auc_on"][name][0] == single["test"]["auc"]
        assert summary[name]["auc_on"][other][0] == single["other"][other]["auc"]
    transfer = pd.read_csv(folder / "transfer.csv").set_index("trained on")
    assert transfer.loc["elsewhere", "tested on faces"] == summary["elsewhere"]["auc_on"]["faces"][0]
    page = (folder / "index.html").read_text()
    assert 'href="../faces/index.html"' in page
    assert (folder / "matrix.svg").exists()
    with pytest.raises(UserError, match="NAME, GROUP cannot be meant for 2 data sets"):
        ReportCommand.of(data="a b", name="x", group="g")


def test_a_run_that_lost_its_predictions_is_left_out_in_words(faces, capsys):
    run(HeadsConfig.of(data=str(faces), **RIDGE))
    (folder,) = runs.complete_runs("heads")
    (folder / "predictions-val.csv").unlink()
    with pytest.raises(UserError, match="no finished run on faces"):
        report.run(ReportConfig("faces"))
    assert f"{folder} has no predictions-val.csv and is left out" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"predictions-val\.csv: it is gone.*make heads"):
        calibration_of(folder)


def test_a_run_is_found_by_what_tells_it_from_others(faces):
    with pytest.raises(UserError, match="there is no finished run yet"):
        find_run("")
    first = run(HeadsConfig.of(data=str(faces), **RIDGE))
    second = run(HeadsConfig.of(data=str(faces), **{**RIDGE, "features": "layer1:avg"}))
    assert find_run(str(first)) == find_run(first.name) == find_run(first.name[-6:]) == first
    assert find_run("") in (first, second)
    with pytest.raises(UserError, match=f"(?s)RUN=resnet18 could be any of 2 runs.*{first.name}"):
        find_run("resnet18")
    with pytest.raises(UserError, match="unknown run 'nothing'"):
        find_run("nothing")
    with pytest.raises(UserError, match="is no finished run"):
        find_run(str(faces))
    run(HeadsConfig.of(data=str(faces), name="again", **RIDGE))
    with pytest.raises(UserError, match="there are runs on again, faces: say which data set"):
        find_run("")
    assert find_run("", dataset="faces") in (first, second)


def test_a_threshold_that_does_not_hold_on_test_is_said(faces):
    """Ten times the images of validation, all fakes right there and none here; in three groups nothing can be said."""
    run(HeadsConfig.of(data=str(faces), **RIDGE))
    (folder,) = runs.complete_runs("heads")
    manifest = Manifest.load(paths.manifest_file("faces"))

    def judged(shift: float, group: str) -> Model:
        for split in ("val", "test"):
            about = pd.read_csv(folder / f"predictions-{split}.csv")
            fake = np.arange(400) % 2 == 1
            scores = np.where(fake, 1.0, -1.0) - (2.0 * fake if split == "test" else 0) * shift
            groups = [str(n % 3) if group else str(n) for n in range(400)]
            labels, names = np.where(fake, "fake", "real"), [f"{n}.jpg" for n in range(400)]
            table = pd.DataFrame({"path": names, "digest": about.digest.iloc[0], "label": labels, "group": groups})
            table = table.assign(score=scores)
            table.to_csv(folder / f"predictions-{split}.csv", index=False)
        runs.finish(folder, runs.result(folder))
        return find_models(manifest)[0]

    (said,) = drifts(judged(1.0, ""))
    number = r"([\d.]+)"
    told = (
        rf"Of the fake images 0.0 % \[{number}, {number}\] are called rightly on test, 100.0 % \[{number}, {number}\] "
    )
    now_low, now_high, before_low, before_high = map(float, re.match(told, said).groups())
    assert 0 == now_low <= now_high < 10  # 200 images in groups of their own: a few percent at most
    assert 90 < before_low <= before_high == 100
    assert said.endswith("on validation: at this threshold the two splits differ by more than chance.")
    assert drifts(judged(0.0, "")) == []
    assert drifts(judged(1.0, "few")) == []
    assert decided_wrongly(judged(1.0, "")) == {"real": 0.0, "fake": 1.0}


def test_equal_probabilities_are_one_point_of_the_reliability_curve():
    found = model_pictures._bins("", np.full(80, 0.5), np.arange(80) >= 40, np.arange(80))
    assert (found.probability.tolist(), [each.value for each in found.shares]) == ([0.5], [0.5])
    rng = np.random.default_rng(0)
    probability = rng.random(8000)
    found = model_pictures._bins("", probability, rng.random(8000) < probability, np.arange(8000))
    assert len(found.shares) == model_pictures.QUANTILES
    for each, said in zip(found.shares, found.probability, strict=True):
        assert each.value == pytest.approx(said, abs=0.05)
        assert each.low < each.value < each.high


def test_frames_of_videos_are_not_as_many_points_of_evidence():
    """Ten videos of eight equal frames say no more of a share than ten images do."""
    video = np.repeat(np.arange(10), 8)
    (frames,) = model_pictures._bins("", np.full(80, 0.5), video < 5, video).shares
    (images,) = model_pictures._bins("", np.full(10, 0.5), np.arange(10) < 5, np.arange(10)).shares
    assert images.low - 0.1 < frames.low <= images.low
    assert images.high <= frames.high < images.high + 0.1


def test_images_that_are_gone_leave_a_grey_place(faces):
    run(HeadsConfig.of(data=str(faces), **RIDGE))
    for path in faces.glob("*/*.jpg"):
        path.unlink()
    folder = report.run(ReportConfig("faces"))
    assert (folder / "sample.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_one_page_reads_each_file_of_scores_once(faces, elsewhere, monkeypatch):
    """Two models with other data and perturbed images; a page of tables and pictures needs each of them often."""
    options = {"perturb": 4, "num_samples": 0}
    run(HeadsConfig.of(data=str(faces), **{**RIDGE, "features": "layer1:avg"}))
    run_report(ReportCommand.of(data=str(faces), eval=str(elsewhere), **options, **RIDGE))
    read = Counter()

    def counting(path, *args, **kwargs):
        read[path] += 1
        return read_table(path, *args, **kwargs)

    monkeypatch.setattr(predictions, "read_table", counting)
    report.run(ReportConfig("faces"))
    assert {path.name for path in read} == {
        "predictions-val.csv", "predictions-test.csv", "predictions.csv", "scores-inputs.csv"
    }  # fmt: skip
    assert len(read) == 2 * 3 + 1 + 1  # of each model three, and of one of them other data and perturbed images
    assert set(read.values()) == {1}
