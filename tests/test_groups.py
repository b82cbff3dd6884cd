"""Groups of images, such as the frames of a video, judged as one: by their mean, at a threshold of their own."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from analysis.judge.calibrate import calibrate
from analysis.judge.per_group import ByGroup, by_group, grouped, has_groups, judge_groups
from analysis.page import report_page
from analysis.page.contents import ReportConfig
from analysis.predict import run as predict
from analysis.predict.group_verdicts import GROUPS
from analysis.predict.options import PredictConfig
from data.unpack.options import UnpackConfig
from data.unpack.run import run as unpack
from heads.options import HeadsConfig
from heads.predictions import Predictions
from heads.run import run as run_heads
from tests.small import RIDGE
from tests.test_unpack import write_video

FRAMES = 3


def scored(groups: list[str], scores: list[float], labels: str, digests: list[str] | None = None) -> Predictions:
    """labels: a letter an image, f or r."""
    own = [f"{number}" for number in range(len(groups))] if digests is None else digests
    return Predictions(
        np.array([f"{number}.png" for number in range(len(groups))], object), np.array(scores, float),
        np.array([each == "f" for each in labels]), np.array(groups, object), np.array(own, object),
    )  # fmt: skip


def of_videos(videos: int, seed: int, *, shift: float = 0.0) -> Predictions:
    """Four frames each, every other video fake; what a video has in common is half of what frames differ by."""
    rng = np.random.default_rng(seed)
    fake = np.arange(videos) % 2 == 1
    means = 2.0 * fake + rng.normal(0, 0.7, videos) + shift
    scores = means.repeat(4) + rng.normal(0, 1.4, 4 * videos)
    names = [f"v{number}" for number in range(videos) for _ in range(4)]
    return scored(names, scores.tolist(), "".join("rf"[each] * 4 for each in fake.astype(int)))


def test_a_group_is_its_mean_and_has_one_label():
    found = grouped(scored(["a", "b", "a", "c", "c", "b"], [1, 5, 3, 0, 9, 7], "rfrrff"))
    assert found.names.tolist() == ["a", "b"]
    assert found.scores.tolist() == [2, 6]
    assert found.fake.tolist() == [False, True]
    assert found.images.tolist() == [2, 2]
    assert found.mixed == 1  # c has an image of each class


def test_copies_of_a_file_are_no_groups():
    copies = scored(["x", "y", "x"], [0, 1, 0], "rfr", digests=["x", "y", "x"])
    assert not has_groups(copies)
    assert by_group(copies, copies) is None
    assert not has_groups(scored(["a", "b"], [0, 1], "rf"))
    assert has_groups(scored(["a", "a"], [0, 1], "rr"))


def test_what_groups_are_judged_by_is_fixed_on_validation_groups():
    val, test = of_videos(40, 0), of_videos(40, 1, shift=3.0)
    found = by_group(val, test)
    means, other = grouped(val), grouped(test)
    assert found.calibration == calibrate(means.scores, means.fake)
    assert found.calibration != calibrate(val.scores, val.fake)
    figures = found.test.evaluation.metrics
    assert figures["auc"].value == pytest.approx(roc_auc_score(other.fake, other.scores))
    called = other.scores >= found.calibration.threshold
    assert figures["accuracy"].value == pytest.approx((called == other.fake).mean())
    assert figures["accuracy"].value < 0.7 < figures["auc"].value  # one placed on the test split would do better
    assert figures["auc"].value > roc_auc_score(test.fake, test.scores)  # the noise of frames is averaged out
    assert (found.test.groups, found.test.images, found.test.mixed) == (40, 160, 0)


def test_without_groups_of_both_classes_there_are_no_figures():
    val = scored(["a", "a", "b", "b"], [0, 1, 2, 3], "rrrf")
    assert by_group(val, None) is None  # b is mixed, so that validation groups are of one class
    other = scored(["p", "p"], [1, 2], "rf")
    fixed = by_group(of_videos(20, 0), other)
    assert isinstance(fixed, ByGroup)
    assert fixed.test is None  # mixed all of them
    assert fixed.shown is fixed.val
    alone = judge_groups(scored(["p", "p", "q"], [1, 2, 9], "fff"), fixed.calibration)
    assert "auc" not in alone.evaluation.metrics
    assert alone.groups == 2


@pytest.fixture
def videos(tmp_path) -> Path:
    """40 videos, unpacked: half of them fake, of one generator."""
    for number in range(40):
        folder = tmp_path / "clips" / ("real" if number % 2 else "fake/gan")
        write_video(folder / f"{number}.mp4", 6, seed=number, fake=not number % 2)
    return unpack(UnpackConfig.of(source=str(tmp_path / "clips"), out=str(tmp_path / "faces"), frames=FRAMES))


def test_videos_through_all_stages_to_figures_per_video(videos, monkeypatch):
    run = run_heads(HeadsConfig.of(data=str(videos), **RIDGE))
    for pictures in ("_pictures", "_sweep_pictures"):  # which take most of the time and show no groups
        monkeypatch.setattr(report_page, pictures, lambda *_: [])
    page = report_page.run(ReportConfig("faces", faces=False, heat_maps=False))
    (model,) = json.loads((page / "summary.json").read_text())["models"]
    saved = {split: pd.read_csv(run / f"predictions-{split}.csv") for split in ("val", "test")}
    means = {split: each.groupby("group").agg({"score": "mean", "label": "first"}) for split, each in saved.items()}
    of_test = model["groups"]["test"]
    assert of_test["groups"] == len(means["test"]) == len(saved["test"]) / FRAMES
    assert of_test["auc"] == pytest.approx(roc_auc_score(means["test"].label == "fake", means["test"].score))
    fixed = calibrate(means["val"].score.to_numpy(), (means["val"].label == "fake").to_numpy())
    assert model["groups"]["calibration"]["thresholds"] == fixed.thresholds
    text = (page / "index.html").read_text()
    assert f"{of_test['groups']} groups of {len(saved['test'])} images on test" in text
    assert "test AUC by group" in text
    assert set(pd.read_csv(page / "models.csv").split) == {"val", "test", "val, by group", "test, by group"}
    assert_predict_says_the_same(videos, run, means["test"], fixed.threshold)


def assert_predict_says_the_same(videos: Path, run: Path, means: pd.DataFrame, threshold: float) -> None:
    """Of the same frames as new images."""
    folder = predict.run(PredictConfig.of(images=str(videos), run=str(run), device="cpu"))
    table = pd.read_csv(folder / GROUPS).set_index("group").loc[means.index]
    assert (table.images == FRAMES).all()
    assert table.score.to_numpy() == pytest.approx(means.score.to_numpy(), abs=1e-4)
    assert (table.decision == np.where(table.score >= threshold, "fake", "real")).all()
    about = json.loads((folder / "predictions-about.json").read_text())
    assert sum(about["groups"].values()) == 40
    assert "40 groups by the mean of their scores" in about["closing"]
