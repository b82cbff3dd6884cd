"""A metric from outside: a module that registers it is all that a newcomer writes."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs

from analysis.judge.evaluate import METRIC, figures
from analysis.judge.metrics import METRICS, Metric, register
from analysis.judge.weighed import Judged
from analysis.options import ReportCommand
from analysis.report import run as run_report
from cache.errors import UserError
from cache.plugins import import_plugins
from heads.options import HeadsConfig
from heads.predictions import predictions_file, read_predictions
from heads.run import run
from tests.small import RIDGE
from tests.test_evaluate import FIXED, scores_of

NEWCOMER = """
import numpy as np

from analysis.judge.intervals import Interval
from analysis.judge.metrics import Metric, Weighed, register


def correlation(images: Weighed) -> np.ndarray:
    at = images.called
    return (at.true * at.spared - at.false * at.missed) / np.sqrt(at.fake * at.real * at.positives * at.negatives)


def balanced_error(images: Weighed) -> np.ndarray:
    return 1 - images.called.balanced_accuracy


register(Metric("mcc", "Matthews correlation", correlation, Interval.of_mean, digits=4, ranked=True))
register(Metric("balanced_error", "balanced error", balanced_error))
"""


@pytest.fixture
def newcomer(tmp_path, monkeypatch) -> Iterator[None]:
    """The module of somebody who has the program and edits none of its files."""
    known = dict(METRICS)
    (tmp_path / "metrics_of_a_newcomer.py").write_text(NEWCOMER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PLUGINS", "metrics_of_a_newcomer")
    import_plugins()
    yield
    METRICS.clear()
    METRICS.update(known)
    del sys.modules["metrics_of_a_newcomer"]


@pytest.mark.usefixtures("newcomer")
def test_a_metric_from_outside_agrees_with_scikit_learn_in_any_weighting():
    scores, fake = scores_of(90)
    weights = np.random.default_rng(1).integers(1, 4, (3, 90)).astype(float)
    found = figures(Judged(scores, fake, np.arange(90), FIXED), weights)
    called = scores >= FIXED.threshold
    for number, each in enumerate(weights):
        mcc = theirs.matthews_corrcoef(fake, called, sample_weight=each)
        error = 1 - theirs.balanced_accuracy_score(fake, called, sample_weight=each)
        assert found[METRIC, "mcc"][number] == pytest.approx(mcc)
        assert found[METRIC, "balanced_error"][number] == pytest.approx(error)


@pytest.mark.usefixtures("newcomer", "undrawn")
def test_a_metric_from_outside_is_on_the_page_with_its_interval(faces):
    """Of a run that was finished before: in the tables, for people and for programs."""
    finished = run(HeadsConfig.of(data=str(faces), **RIDGE))
    folder = run_report(ReportCommand.of(data=str(faces), perturb=0, num_samples=0, **RIDGE))
    (model,) = json.loads((folder / "summary.json").read_text())["models"]
    assert model["run"] == finished.name
    test, scored = model["test"], read_predictions(predictions_file(finished, "test"))
    low, high = test["mcc_ci"]
    assert test["mcc"] == pytest.approx(theirs.matthews_corrcoef(scored.fake, scored.scores >= test["threshold"]))
    assert test["balanced_error"] == pytest.approx(1 - test["balanced_accuracy"])
    assert low < test["mcc"] < high
    assert pd.read_csv(folder / "models.csv").set_index("split").mcc["test"] == test["mcc"]
    rows = pd.read_csv(folder / "metrics.csv").set_index("metric")
    assert tuple(rows.loc["Matthews correlation", ["test", "test low", "test high"]]) == (test["mcc"], low, high)
    assert _row_of(folder / "index.html", "Matthews correlation").endswith(f"{test['mcc']:.4f} [{low:.4f}, {high:.4f}]")
    error, (least, most) = test["balanced_error"], test["balanced_error_ci"]
    assert _row_of(folder / "index.html", "balanced error").endswith(f"{error:.3f} [{least:.3f}, {most:.3f}]")
    assert pd.read_csv(folder / "ranking.csv")["test Matthews correlation"].tolist() == [test["mcc"]]


def _row_of(page: Path, label: str) -> str:
    """The cells of a row of the table of all metrics, without tags."""
    table = page.read_text().partition("All metrics")[2]
    (row,) = [each for each in re.findall(r"<tr.*?</tr>", table, re.DOTALL) if f">{label}<" in each]
    return " ".join(re.sub(r"<[^>]*>", " ", row).split())


@pytest.mark.usefixtures("newcomer")
def test_one_class_has_no_metric_that_needs_two():
    scores, _ = scores_of(20)
    found = figures(Judged(scores, np.ones(20, bool), np.arange(20), FIXED), np.ones((1, 20)))
    assert (METRIC, "mcc") not in found
    assert (METRIC, "recall") in found


@pytest.mark.parametrize("name", ["auc", "confusion", "F 1", ""])
def test_a_name_that_is_taken_or_none_is_refused(name):
    with pytest.raises(UserError, match=f"a metric cannot be called '{name}': expected a name .* none of auc, ap"):
        register(Metric(name, "label", lambda images: images.auc))
    assert METRICS["auc"].label == "AUC"
