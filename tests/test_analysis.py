"""The report: every metric against scikit-learn, intervals that cover, a page that needs nothing but itself."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as theirs

from analysis import report
from analysis.evaluate import _Ranking, choose_threshold, evaluate, roc
from analysis.report import ReportConfig
from cache.errors import UserError
from heads.run import HeadsConfig, run
from tests.test_heads import SMALL


def scores_of(count: int, seed: int = 0, gap: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fake = rng.random(count) < 0.45
    return np.round(rng.standard_normal(count) + gap * fake, 1), fake  # rounding makes ties


def expected(scores, fake, threshold, weights=None) -> dict[str, float]:
    called = scores >= threshold
    options = {"sample_weight": weights}
    return {
        "auc": theirs.roc_auc_score(fake, scores, **options),
        "ap": theirs.average_precision_score(fake, scores, **options),
        "accuracy": theirs.accuracy_score(fake, called, **options),
        "balanced_accuracy": theirs.balanced_accuracy_score(fake, called, **options),
        "precision": theirs.precision_score(fake, called, **options),
        "recall": theirs.recall_score(fake, called, **options),
        "f1": theirs.f1_score(fake, called, **options),
        "accuracy_real": theirs.recall_score(~fake, ~called, **options),
        "accuracy_fake": theirs.recall_score(fake, called, **options),
    }


@pytest.mark.parametrize("seed", range(3))
def test_metrics_agree_with_scikit_learn(seed):
    scores, fake = scores_of(150, seed)
    found = evaluate(scores, fake, np.arange(150).astype(str), threshold=0.6)
    for name, value in expected(scores, fake, 0.6).items():
        assert found.metrics[name].value == pytest.approx(value, abs=1e-12), name
        assert found.metrics[name].low <= value <= found.metrics[name].high
    np.testing.assert_array_equal(found.confusion, theirs.confusion_matrix(fake, scores >= 0.6))


def test_weighted_metrics_agree_with_scikit_learn():
    """What the bootstrap computes for each resample."""
    scores, fake = scores_of(80)
    weights = np.random.default_rng(1).integers(0, 4, (5, 80)).astype(float)
    found = _Ranking(scores, fake, 0.6).metrics(weights)
    for number, each in enumerate(weights):
        for name, value in expected(scores, fake, 0.6, each).items():
            assert found[name][number] == pytest.approx(value, abs=1e-12), name


def test_equal_error_rate_by_hand():
    fake = np.array([False, False, False, False, True, True, True, True])
    scores = np.array([0.0, 1, 2, 5, 3, 4, 6, 7])
    assert evaluate(scores, fake, np.arange(8), threshold=0).metrics["eer"].value == pytest.approx(0.25)
    perfect = evaluate(np.where(fake, 2.0, 1.0), fake, np.arange(8), threshold=1.5).metrics
    assert (perfect["eer"].value, perfect["auc"].value, perfect["ap"].value) == (0.0, 1.0, 1.0)
    false, true = roc(scores, fake)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


def test_the_threshold_is_the_best_balanced_accuracy_and_parts_no_equals():
    scores, fake = scores_of(120, 4)
    threshold = choose_threshold(scores, fake)
    best = max(theirs.balanced_accuracy_score(fake, scores >= t) for t in [*np.unique(scores), 99])
    assert theirs.balanced_accuracy_score(fake, scores >= threshold) == pytest.approx(best)
    assert threshold not in scores


def test_intervals_cover_the_truth_as_often_as_they_say():
    """AUC of two normals one unit apart is Phi(1 / sqrt 2) = .7602; 95 % intervals over 200 data sets of 120 images."""
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        fake = np.arange(120) % 2 == 0
        scores = rng.standard_normal(120) + fake
        interval = evaluate(scores, fake, np.arange(120), threshold=0.5, seed=seed).metrics["auc"]
        hits += interval.low <= 0.76025 <= interval.high
    assert 0.90 <= hits / 200 <= 0.99


def test_groups_widen_the_interval():
    scores, fake = scores_of(40, 2)
    copies = np.repeat(np.arange(40), 10)
    by_image = evaluate(scores[copies], fake[copies], np.arange(400), threshold=0.5).metrics["auc"]
    by_group = evaluate(scores[copies], fake[copies], copies.astype(str), threshold=0.5).metrics["auc"]
    assert by_group.high - by_group.low > 2 * (by_image.high - by_image.low)


@pytest.fixture
def reported(faces) -> Path:
    (faces / "real" / "<b>bold & co.jpg").write_bytes(b"no image")
    run(HeadsConfig(data=str(faces), **SMALL))
    return report.run(ReportConfig("faces"))


def test_the_page_is_whole_and_alone(reported):
    page = (reported / "index.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("data:image/png;base64,") == page.count("<img") == 4
    assert all(alt for alt in re.findall(r'alt="([^"]*)"', page))
    assert "Random weights" in page
    assert "1 unreadable" in page
    assert "&lt;b&gt;bold &amp; co.jpg" in page
    assert "<b>bold" not in page
    assert {path.name for path in reported.glob("*.png")} == {"confusion.png", "roc.png", "scores.png", "features.png"}


def test_the_summary_has_the_figures_of_the_page(reported):
    summary = json.loads((reported / "summary.json").read_text())
    assert (summary["dataset"], summary["synthetic"]) == ("faces", False)
    (model,) = summary["models"]
    assert {"run", "stage", "backbone", "features", "head", "val", "test"} <= model.keys()
    low, high = model["test"]["auc_ci"]
    assert low <= model["test"]["auc"] <= high
    assert f"{model['test']['auc']:.3f}" in (reported / "index.html").read_text()


def test_models_are_sorted_by_validation_and_stale_runs_stay_out(faces):
    run(HeadsConfig(data=str(faces), **SMALL))
    run(HeadsConfig(data=str(faces), **{**SMALL, "features": "layer1:avg"}))
    models = json.loads((report.run(ReportConfig("faces")) / "summary.json").read_text())["models"]
    assert len(models) == 2
    assert models[0]["val"]["auc"] >= models[1]["val"]["auc"]
    next((faces / "real").iterdir()).unlink()
    from data.build import DataConfig
    from data.build import run as build

    build(DataConfig(data=str(faces)))
    with pytest.raises(UserError, match="no finished run on faces as it is now"):
        report.run(ReportConfig("faces"))


def test_no_data_no_report():
    with pytest.raises(UserError, match="no manifest"):
        report.run(ReportConfig("nothing"))
