"""The report: every metric against scikit-learn, intervals that cover, a page that needs nothing but itself."""

import json
import re
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs

from analysis import report
from analysis.__main__ import ReportCommand
from analysis.__main__ import run as run_report
from analysis.calibrate import calibrate
from analysis.compared import auc_gain, comparable_aucs, compared_inputs
from analysis.evaluate import _Ranking, auc_intervals, evaluate, roc
from analysis.other import Other, scored_elsewhere
from analysis.report import ReportConfig
from analysis.sweep_pictures import sweep_pictures
from analysis.sweeps import SHOWN, Sweep, how_chosen, leaders
from analysis.trainings import Training, how_trained, read_training, training_picture
from cache import paths, runs
from cache.errors import UserError
from data.build import DataConfig
from data.build import run as build
from data.manifest import Manifest
from finetune.epochs import Epoch
from finetune.outcome import VERSION as TRAINING_VERSION
from finetune.outcome import FinetuneResult
from finetune.recipes import RECIPES, Recipe
from finetune.run import FinetuneConfig
from finetune.run import run as run_finetune
from heads.other import VERSION, OtherResult
from heads.outcome import SweepResult, write_table
from heads.run import HeadsConfig, run
from tests.conftest import write_faces

GRID = json.dumps([
    {"family": "linear", "lr": [1e-3, 1e-2], "weight_decay": [0.1, 1.0]},
    {"family": "mlp", "lr": [1e-2], "hidden": [4, 16, [16, 4]]},
    {"family": "ridge", "penalty": [1.0, 100.0]},
    {"family": "sklearn.linear_model.SGDClassifier", "loss": "log_loss", "penalty": "l1"},
])  # fmt: skip
SMALL = {
    "backbone": "resnet18", "weights": "random", "size": 64, "device": "cpu", "workers": 0, "compute": "fp32",
    "features": "layer1:avgstd layer2:avgstd", "epochs": 3, "seeds": 2, "head_batch": 16, "grid": GRID,
}  # fmt: skip
RIDGE = {**SMALL, "grid": '[{"family": "ridge", "penalty": 1.0}]'}
PICTURES = {"confusion", "roc", "scores", "leaders", "landscape", "penalties", "slices", "training", "inputs"}


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
    threshold = calibrate(scores, fake).threshold
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


def test_auc_intervals_of_many_columns_are_those_of_each_alone():
    scores, fake = scores_of(90)
    columns = np.stack([scores, -scores, np.round(scores)], axis=1)
    groups = (np.arange(90) // 2).astype(str)
    for column, found in zip(columns.T, auc_intervals(columns, fake, groups), strict=True):
        assert found == evaluate(column, fake, groups, threshold=0).metrics["auc"]


@pytest.fixture
def reported(faces) -> Path:
    (faces / "real" / "<b>bold & co.jpg").write_bytes(b"no image")
    run(HeadsConfig(data=str(faces), **SMALL))
    return report.run(ReportConfig("faces"))


def test_the_page_is_whole_and_alone(reported):
    page = (reported / "index.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("data:image/png;base64,") == page.count("<img") == len(PICTURES)
    assert all(re.search(r"\d", alt) for alt in re.findall(r'alt="([^"]*)"', page))
    assert "Random weights" in page
    assert "1 unreadable" in page
    assert "&lt;b&gt;bold &amp; co.jpg" in page
    assert "<b>bold" not in page
    assert {path.stem for path in reported.glob("*.png")} == PICTURES


def test_the_page_says_what_the_sweep_found(reported):
    page = (reported / "index.html").read_text()
    (folder,) = runs.complete_runs("heads")
    assert (reported / "sweep.csv").read_bytes() == (folder / "leaderboard.csv").read_bytes()
    board = pd.read_csv(folder / "leaderboard.csv")
    trained = board[board.family == "mlp"].iloc[0]
    assert f'{trained.val_auc:.4f} <span class="soft">± {trained.val_auc_std:.4f}</span>' in page
    assert "None diverged." in page
    assert f"of {len(board)} settings" in page


def test_folds_without_convex_heads_and_without_curves(faces):
    """No convex heads: no floor, no scores of inputs, no penalties. One epoch: no curves to draw."""
    grid = '[{"family": "linear", "lr": 0.01}]'
    run(HeadsConfig(data=str(faces), **{**SMALL, "grid": grid, "epochs": 1}, folds=3, inputs="all"))
    folder = report.run(ReportConfig("faces"))
    page = (folder / "index.html").read_text()
    assert {path.stem for path in folder.glob("*.png")} == {"confusion", "roc", "scores", "leaders"}
    assert "in 3-fold cross-validation over train and validation together" in page
    assert "the mean of 6 such heads (3 folds times 2 seeds)" in page
    (model,) = json.loads((folder / "summary.json").read_text())["models"]
    assert model["val"]["images"] > model["test"]["images"] * 3  # train and val


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
    build(DataConfig(data=str(faces)))
    with pytest.raises(UserError, match="no finished run on faces as it is now"):
        report.run(ReportConfig("faces"))


@pytest.fixture
def elsewhere(faces, tmp_path) -> Path:
    """40 other faces, and one that `faces` holds too."""
    folder = write_faces(tmp_path / "elsewhere", 40, start=100)
    (folder / "real" / "known.jpg").write_bytes((faces / "real" / "0000.jpg").read_bytes())
    return folder


@pytest.fixture
def fakes(faces, tmp_path) -> Path:
    """10 other fakes beside real images of `faces`: once those are left out, one class remains."""
    folder = write_faces(tmp_path / "fakes", 20, start=200)
    for path, known in zip((folder / "real").iterdir(), (faces / "real").iterdir(), strict=False):
        path.write_bytes(known.read_bytes())
    return folder


def test_other_data_is_judged_at_the_threshold_of_validation(faces, elsewhere, fakes, capsys, monkeypatch):
    grid = '[{"family": "ridge", "penalty": 1.0}]'
    folder = run_report(ReportCommand(data=str(faces), eval=f"{elsewhere} {fakes}", **{**SMALL, "grid": grid}))
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
    assert f"<strong>fakes</strong> one class only, accuracy {one['accuracy']:.3f}" in head
    assert "40 images (20 real, 20 fake); 1 more was left out because faces holds them too" in page
    assert "10 images (0 real, 10 fake); 10 more were" in page
    assert "undefined" in page
    monkeypatch.setattr(Other, "is_off", property(lambda other: other.auc is not None))
    page = (report.run(ReportConfig("faces")) / "index.html").read_text()
    assert f"does not carry over: balanced accuracy is {two['balanced_accuracy']:.3f}" in page
    assert f"{1 - two['eer']:.3f} would be within reach" in page
    _stale_other_data_and_old_pictures_go(folder, elsewhere, capsys)


def _stale_other_data_and_old_pictures_go(folder: Path, elsewhere: Path, capsys) -> None:
    next((elsewhere / "fake").iterdir()).unlink()
    build(DataConfig(data=str(elsewhere)))
    pictures = set(folder.glob("*.png"))
    (folder / "landscape.png").write_bytes(b"of an earlier page")
    (folder / ".roc.part.png").write_bytes(b"being written")
    capsys.readouterr()
    report.run(ReportConfig("faces"))
    assert capsys.readouterr().out.count("elsewhere has changed since one model scored it") == 1
    (model,) = json.loads((folder / "summary.json").read_text())["models"]
    assert model["other"].keys() == {"fakes"}
    assert "elsewhere" not in (folder / "index.html").read_text()
    assert set(folder.glob("*.png")) == pictures | {folder / ".roc.part.png"}


def test_a_page_without_other_data_has_no_section_for_it(reported):
    assert not re.search("other data", (reported / "index.html").read_text(), re.IGNORECASE)
    assert json.loads((reported / "summary.json").read_text())["models"][0]["other"] == {}


def test_only_other_data_as_it_is_now_is_taken(faces, capsys):
    now = Manifest.load(build(DataConfig(data=str(faces)))).key

    def finished(name: str, run: str, dataset: str, key: str, version: int = VERSION) -> Path:
        folder = paths.run_dir("other", name)
        runs.finish(folder, OtherResult(run, dataset, key, False, 9, 0, version))
        return folder

    good = finished("a1", "a", "faces", now)
    finished("a2", "a", "faces", "before")  # scored anew since: nothing is lost
    finished("b", "b", "faces", "before")
    finished("c", "b", "gone", now)
    finished("d", "a", "other", now, VERSION - 1)
    finished("e", "not on the page", "faces", "before")
    capsys.readouterr()
    assert scored_elsewhere(["a", "b"]) == {"a": [good], "b": []}
    assert [line.removeprefix("report: ").split(";")[0] for line in capsys.readouterr().out.splitlines()] == [
        "d was made by another version of the program and is left out",
        "faces has changed since one model scored it",
        "gone has changed since one model scored it",
    ]


def test_a_threshold_is_off_where_the_scores_allow_plainly_more():
    scores, fake = scores_of(400, gap=3.0)
    result = OtherResult("run", "faces", "0", False, 400, 0)

    def at(threshold: float, count: int = 400) -> Other:
        rows = slice(count)
        groups = np.arange(400).astype(str)[rows]
        return Other(result, evaluate(scores[rows], fake[rows], groups, threshold=threshold))

    assert not at(1.5).is_off
    assert at(4.0).is_off
    assert at(4.0).within_reach == pytest.approx(at(1.5).evaluation.metrics["balanced_accuracy"].value, abs=0.02)
    assert not at(2.2, 10).is_off  # too few to tell
    alone = Other(result, evaluate(scores[fake], fake[fake], np.arange(fake.sum()), threshold=4.0))
    assert alone.auc is None
    assert not alone.is_off
    assert alone.evaluation.metrics.keys() == {"accuracy", "recall", "accuracy_fake"}


def test_no_data_no_report():
    with pytest.raises(UserError, match="no manifest"):
        report.run(ReportConfig("nothing"))


RESULT = SweepResult(
    dataset="faces", manifest_key="0", synthetic=False, backbone="resnet18", random_weights=False,
    offered=["all", "a:avg", "b:avg"], features=["a:avg"], inputs="a:avg", head="linear lr=0.01", family="linear",
    settings=3, heads=5, folds=1, members=2, views=1, seconds=1.0, val_auc=0.9, val_auc_std=0.01, floor_auc=None,
)  # fmt: skip


def sweep(settings: list[dict], *, curves: list[dict] = (), scores: pd.DataFrame | None = None, **result) -> Sweep:
    """A sweep by hand: `settings` best first, the first one chosen unless `result` names another."""
    common = {"inputs": "all", "val_auc_std": np.nan, "val_loss": 0.5, "members": 1, "diverged": 0, "epoch": 1.0}
    table = pd.DataFrame([{**common, "kind": each["family"], **each} for each in settings])
    names = ["inputs", "head", "fold", "seed", "epoch", "train_loss", "val_loss", "val_auc"]
    about = pd.DataFrame({"label": [], "group": []}) if scores is None else scores
    chosen = {"head": table["head"][0], "inputs": table.inputs[0], "settings": len(table)}
    record = SweepResult(**{**RESULT.__dict__, **chosen, **result})
    return Sweep(record, table, pd.DataFrame(curves, columns=names), about, one_se=False)


def pictures(found: Sweep) -> dict:
    return {picture.name: picture for picture in sweep_pictures(found)}


def linear(lr: float, decay: float, auc: float, **more) -> dict:
    head = f"linear lr={lr} weight_decay={decay}"
    return {"head": head, "family": "linear", "lr": lr, "weight_decay": decay, "val_auc": auc} | more


def ridge(penalty: float, auc: float, **more) -> dict:
    return {"head": f"ridge penalty={penalty}", "family": "ridge", "penalty": penalty, "val_auc": auc, **more}


def test_only_pictures_with_something_in_them_are_drawn():
    assert pictures(sweep([ridge(1.0, 0.9)])).keys() == {"leaders"}
    assert pictures(sweep([ridge(1.0, 0.9), ridge(2.0, 0.8)])).keys() == {"leaders", "penalties"}
    assert pictures(sweep([linear(0.1, 0, 0.9), linear(0.2, 0, 0.8)])).keys() == {"leaders", "slices"}


def test_penalties_are_those_on_the_chosen_inputs_if_there_are_any():
    found = [linear(0.1, 0, 0.99), ridge(1.0, 0.9, inputs="a"), ridge(2.0, 0.8), ridge(1.0, 0.7)]
    assert pictures(sweep(found))["penalties"].alt.endswith("ridge 0.800 at 2")
    drawn = pictures(sweep([linear(0.1, 0, 0.99, inputs="map", family="tail"), *found[1:]]))
    assert drawn["penalties"].alt.endswith("ridge 0.900 at 1")


def test_the_heat_map_has_the_best_of_each_pair_and_says_where_heads_diverged():
    aucs = {(0.1, 0.0): 0.7, (0.1, 1.0): 0.91, (1.0, 0.0): 0.8}
    found = [linear(*pair, auc, dropout=0.5) for pair, auc in aucs.items()]
    found += [linear(*pair, auc - 0.2, dropout=0.0) for pair, auc in aucs.items()]
    found.append(linear(1.0, 1.0, np.nan, diverged=2))
    found.sort(key=lambda each: -np.nan_to_num(each["val_auc"]))
    made = sweep(found)
    assert made.diverged == 1
    drawn = pictures(made)["landscape"]
    axes = drawn.figure.axes[0]
    assert [text.get_text() for text in axes.texts] == [
        "0.700",
        "0.800",
        "0.910",
        "diverged",
    ]  # row by row, decay 0 first
    assert axes.patches[0].get_xy() == (-0.5, 0.5)
    assert "marked: 0.910 at learning rate 0.1, weight decay 1" in drawn.alt


def test_settings_drawn_at_random_are_points_not_a_heat_map():
    rng = np.random.default_rng(0)
    found = [linear(*map(float, rng.random(2)), 0.9 - at / 100) for at in range(20)]
    drawn = pictures(sweep(found))
    assert drawn["landscape"].figure.axes[0].collections[0].get_offsets().shape == (20, 2)
    assert (
        drawn["landscape"].figure.axes[0].collections[1].get_offsets()[0] == [found[0]["lr"], found[0]["weight_decay"]]
    ).all()
    assert "lr" in drawn["slices"].alt


def test_slices_say_what_each_hyperparameter_costs_within_a_family():
    found = [linear(lr, decay, 0.9 - 10 * lr - decay / 100) for lr, decay in product((0.001, 0.01), (0, 1))]
    found += [{"head": "mlp", "family": "mlp", "lr": 0.5, "weight_decay": 0, "hidden": "(8,)", "val_auc": 0.1}]
    drawn = pictures(sweep(found))["slices"]
    assert drawn.alt.endswith("falls by: lr 0.090, weight decay 0.010")  # the one mlp says nothing about lr


def test_widths_are_sorted_as_numbers():
    found = [
        {"head": f"mlp {width}", "family": "mlp", "hidden": width, "lr": 0.1, "weight_decay": 0, "val_auc": 0.8}
        for width in ("(128,)", "(32,)", "(128, 32)")
    ]
    axes = pictures(sweep(found))["slices"].figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["32", "128", "128, 32"]


def test_curves_of_the_best_trained_setting_are_bold_where_a_convex_head_was_chosen():
    found = [ridge(1.0, 0.95), linear(0.1, 0, 0.9), linear(0.2, 0, 0.8)]
    curves = [
        {"inputs": "all", "head": each["head"], "fold": 0, "seed": seed, "epoch": epoch, "train_loss": 0.3,
         "val_loss": 0.4, "val_auc": each["val_auc"] - 0.1 * (epoch != 1)}
        for each in found[1:] for seed in (0, 1) for epoch in range(3)
    ]  # fmt: skip
    drawn = pictures(sweep(found, curves=curves))["training"]
    assert "of 4 heads" in drawn.alt
    assert "the best trained setting reaches 0.900 at epoch 1.0 on average" in drawn.alt
    above = drawn.figure.axes[0]
    assert len(above.collections[0].get_paths()) == 4
    assert len(above.lines) == 4  # two members, each with its epoch kept
    drawn = pictures(sweep(found, curves=curves, head=found[2]["head"]))["training"]
    assert "the chosen setting reaches 0.800" in drawn.alt


def test_leaders_are_the_best_of_each_family_and_inputs_and_always_the_chosen_one():
    found = [ridge(p, 0.9 - p / 1000, inputs=f"i{p % 5}") for p in range(1, 40)]
    shown = leaders(sweep(found, head="ridge penalty=37", inputs="i2"))
    assert len(shown) == SHOWN
    assert shown.val_auc.is_monotonic_decreasing
    assert shown[shown.chosen]["head"].tolist() == ["ridge penalty=37"]
    assert set(shown.inputs) == {f"i{number}" for number in range(5)}


def test_how_a_head_was_chosen_in_words():
    text = how_chosen(sweep([linear(0.1, 0, 0.9)] * 3, folds=5, members=15))
    assert "5-fold cross-validation" in text
    assert "the highest validation AUC of 3 settings (5 heads)" in text
    assert "one of 3 choices" in text
    assert "the mean of 15 such heads (5 folds times 3 seeds)" in text
    text = how_chosen(sweep([ridge(1.0, 0.9)], members=1, offered=["all"]))
    assert "judged on the validation split" in text
    assert "choices" not in text
    assert text.endswith("The detector is a single head.")
    simple = replace(sweep([ridge(1.0, 0.9)], views=3), one_se=True)
    assert "the simplest head within one standard error of the highest validation AUC" in how_chosen(simple)
    assert how_chosen(simple).endswith("trained on 3 views of each image.")


def scored(columns: dict[str, float], first: int = 0, count: int = 200) -> pd.DataFrame:
    """scores-inputs.csv: rows first.. of one world of images; columns: name -> how far fakes score above reals."""
    rng = np.random.default_rng(3)
    fake = np.arange(200) % 2 == 0
    noise = rng.standard_normal(200)
    names = [f"{number}.jpg" for number in range(200)]
    table = {"digest": names, "label": np.where(fake, "fake", "real"), "group": names}
    table |= {name: noise + gap * fake for name, gap in columns.items()}
    return pd.DataFrame(table, index=pd.Index(names, name="path")).iloc[first : first + count]


def test_inputs_of_all_backbones_are_compared_on_the_same_images():
    one = sweep([ridge(1.0, 0.9)], scores=scored({"a:avg": 1.0, "all": 2.0}))
    two = sweep([ridge(1.0, 0.9)], scores=scored({"a:avg": 0.5}, 100, 80), backbone="cvt_13")
    joined = {"resnet18/a:avg": 9.0, "cvt_13/a:avg": 9.0, "all": 3.0}
    three = sweep([ridge(1.0, 0.9)], scores=scored(joined), backbone="resnet18+cvt_13")
    drawn = compared_inputs([one, two, three])
    names = [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]
    assert names == ["resnet18/a:avg", "all of resnet18", "cvt_13/a:avg", "all of resnet18+cvt_13"]
    common = scored({"a:avg": 1.0}, 100, 80)
    auc = theirs.roc_auc_score(common.label == "fake", common["a:avg"])
    assert f"{auc:.3f}" in [text.get_text() for text in drawn.figure.axes[0].texts]
    assert "on 80 held-out images" in drawn.caption
    assert "highest: all of resnet18+cvt_13" in drawn.alt


def test_inputs_of_one_backbone_keep_their_names_and_none_is_no_picture():
    drawn = compared_inputs([sweep([ridge(1.0, 0.9)], scores=scored({"all": 2.0, "b:avg": 1.0, "a:avg": 0.1}))])
    names = [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]
    assert names == ["b:avg", "a:avg", "all"]
    assert compared_inputs([sweep([linear(0.1, 0, 0.9)], scores=scored({}))]) is None


def test_models_are_ranked_on_the_images_that_all_judged(tmp_path):
    """A run with folds has judged others beside them; being good at those must not count."""
    folders = []
    for name, rows in {
        "split": {"a": ("real", -1), "b": ("fake", 2), "c": ("real", 0.5), "d": ("fake", 0.2)},
        "folds": {
            "e": ("real", -9),
            "d": ("fake", 1),
            "a": ("real", 0),
            "b": ("fake", 2),
            "c": ("real", 3),
            "f": ("fake", 9),
        },
    }.items():
        table = pd.DataFrame([(path, *each) for path, each in rows.items()], columns=["path", "label", "score"])
        (tmp_path / name).mkdir()
        table.to_csv(tmp_path / name / "predictions-val.csv", index=False)
        folders.append(tmp_path / name)
    assert comparable_aucs(folders) == [0.75, 0.5]
    assert comparable_aucs(folders[1:]) == [pytest.approx(7 / 9)]
    table[table.label == "real"].to_csv(tmp_path / "folds" / "predictions-val.csv", index=False)
    assert comparable_aucs(folders) is None


NAMED = Recipe(epochs=5)  # what is called two-phase here, so that these tests do not depend on its settings


@pytest.fixture(autouse=True)
def two_phase(monkeypatch) -> None:
    monkeypatch.setitem(RECIPES, "two-phase", NAMED)


TRAINED = FinetuneResult(
    dataset="faces", manifest_key="0", synthetic=False, recipe="two-phase", network="resnet18", started_from="head",
    random_weights=False, smoke=False, seed=0, head_run="", parameters=11_200_000, epochs=5, best_epoch=4,
    val_auc=0.94, val_loss=0.3, val_accuracy=0.875, train_loss=0.25, train_accuracy=0.8125, images_per_second=12.5,
    seconds=71.5, detector="0",
)  # fmt: skip


def rescored(folder: Path, manifest: Manifest, gap: float, splits: tuple[str, ...] = ("val", "test")) -> None:
    """Give a run other predictions; gap: by how much fakes score above reals."""
    rng = np.random.default_rng(5)
    for split in splits:
        about = manifest.rows.iloc[manifest.where(split)][["path", "digest", "label", "group"]]
        scores = rng.standard_normal(len(about)) + gap * (about.label == "fake")
        write_table(folder / f"predictions-{split}.csv", about.assign(score=scores))


def epochs_of(result: FinetuneResult) -> pd.DataFrame:
    """A metrics.csv in which AUC is highest, at .94, in the epoch that the result keeps."""
    return pd.DataFrame([
        asdict(Epoch(epoch, 2, 1e-3, 0.5 / epoch, 0.8, 0.3 + 0.01 * abs(epoch - result.best_epoch),
                     result.val_auc - 0.02 * abs(epoch - result.best_epoch), 0.8, 12.5, 14.3))
        for epoch in range(1, result.epochs + 1)
    ])  # fmt: skip


def trained(manifest: Manifest, name: str, gap: float, *, recipe: Recipe = NAMED, test: bool = True,
            **result) -> Path:  # fmt: skip
    """The folder of a training as `make finetune` leaves it."""
    folder = paths.run_dir("finetune", name)
    own = paths.manifest_file(manifest.dataset)
    runs.begin(folder, {"manifest": str(own), "made_from": {"recipe": recipe.to_json()}})
    rescored(folder, manifest, gap, ("val", "test") if test else ("val",))
    record = replace(TRAINED, **{"manifest_key": manifest.key, **result})
    write_table(folder / "metrics.csv", epochs_of(record))
    runs.finish(folder, asdict(record))
    return folder


@pytest.fixture
def manifest(faces) -> Manifest:
    return Manifest.load(build(DataConfig(data=str(faces)))).usable


def reported_models(folder: Path) -> dict[str, dict]:
    """Of summary.json, by run, in its order."""
    return {model["run"]: model for model in json.loads((folder / "summary.json").read_text())["models"]}


def text_of(page: Path) -> str:
    """Without tags and runs of blanks."""
    return " ".join(re.sub(r"<[^>]*>", " ", page.read_text()).split())


def test_heads_and_detectors_stand_on_one_page_in_one_order(faces, manifest, capsys):
    head = run(HeadsConfig(data=str(faces), **RIDGE))
    rescored(head, manifest, 0.8)
    best = trained(manifest, "best", 2.0, head_run=head.name)
    trained(manifest, "worst", -9.0, recipe=replace(NAMED, lr=1e-4), seed=3)
    folder = report.run(ReportConfig("faces"))
    assert "report faces: resnet18 two-phase, test AUC" in capsys.readouterr().out
    models = reported_models(folder)
    assert list(models) == ["best", head.name, "worst"]
    assert [model["stage"] for model in models.values()] == ["finetune", "heads", "finetune"]
    facts = {"recipe": "two-phase", "network": "resnet18", "started_from": "head", "best_epoch": 4, "epochs": 5,
             "train_accuracy": 0.8125, "val_accuracy": 0.875, "images_per_second": 12.5, "changes": ""}  # fmt: skip
    assert facts.items() <= models["best"].items()
    assert models["worst"]["changes"] == "lr 0.0001, seed 3"
    assert models[head.name]["head"] == "ridge penalty=1.0"
    table = pd.read_csv(folder / "models.csv").set_index(["run", "split"])
    assert table.auc["best", "test"] == models["best"]["test"]["auc"]
    assert table.best_epoch.dropna().unique() == [4]
    assert table["head"].dropna().unique() == ["ridge penalty=1.0"]
    assert (folder / "sweep.csv").read_bytes() == (head / "leaderboard.csv").read_bytes()
    assert {path.stem for path in folder.glob("*.png")} == {
        "confusion",
        "roc",
        "scores",
        "leaders",
        "inputs",
        "finetune",
    }
    _page_tells_of_both(folder, best, head)


def _page_tells_of_both(folder: Path, best: Path, head: Path) -> None:
    text, models = text_of(folder / "index.html"), reported_models(folder)
    assert (
        f"resnet18 fine-tuned by the recipe two-phase . It started from the chosen cached head of {head.name}. What "
        "was kept is epoch 4 of 5, the one of highest validation AUC; its validation figures flatter it"
    ) in text
    assert "Random weights." not in text  # only the head has them, and it is not the model shown
    assert "epoch 4 of 5" in text
    assert "resnet18 two-phase with lr 0.0001, seed 3" in text
    before, after = (models[each.name]["test"]["auc"] for each in (head, best))
    assert f"started from the cached head ridge penalty=1.0, which reaches a test AUC of {before:.3f} [" in text
    assert f"Fine-tuned it reaches {after:.3f} [" in text
    assert f"The difference is {after - before:+.3f} [" in text
    assert "finetune resnet18 two-phase, 5 epochs, 11.2 million weights 71.5 12.5 images/s" in text
    assert re.search(r"The sweep resnet18 \(random weights\): \d settings", text)


def test_a_difference_that_may_be_chance_is_called_so(faces, manifest):
    head = run(HeadsConfig(data=str(faces), **RIDGE))
    rescored(head, manifest, 1.0)
    trained(manifest, "same", 1.0, head_run=head.name)
    folder = report.run(ReportConfig("faces"))
    assert list(reported_models(folder)) == [head.name, "same"]
    text = text_of(folder / "index.html")
    assert "The difference is +0.000 [+0.000, +0.000] on the same images, which may be chance." in text
    assert "with ridge penalty=1.0 , reading" in text


def test_a_page_of_detectors_alone_has_no_sweep(faces, manifest):
    trained(manifest, "a", 2.0, started_from="pretrained", random_weights=True)
    folder = paths.report_dir("faces")
    folder.mkdir(parents=True)
    (folder / "sweep.csv").write_text("of an earlier page")
    assert report.run(ReportConfig("faces")) == folder
    text = text_of(folder / "index.html")
    assert not (folder / "sweep.csv").exists()
    assert {path.stem for path in folder.glob("*.png")} == {"confusion", "roc", "scores", "finetune"}
    assert "Random weights. The backbone that the model shown was fine-tuned from was never pretrained" in text
    assert "It started from a network with random weights." in text
    for absent in ("The sweep", "convex", "With folds", "The difference is", "sweep.csv"):
        assert absent not in text


def test_a_detector_without_test_predictions_has_no_test_figures(faces, manifest):
    trained(manifest, "a", 2.0, test=False)
    trained(manifest, "b", -2.0)
    models = reported_models(report.run(ReportConfig("faces")))
    assert [(run, bool(model["test"])) for run, model in models.items()] == [("a", False), ("b", True)]
    folder = paths.report_dir("faces")
    assert pd.read_csv(folder / "models.csv").split.tolist() == ["val", "val", "test"]
    text = text_of(folder / "index.html")
    assert "This model was not scored on the test split, so only validation figures can be given" in text
    assert f"validation AUC {models['a']['val']['auc']:.3f}" in text


def test_only_detectors_of_the_data_as_it_is_count(faces, manifest, capsys):
    trained(manifest, "good", 1.0)
    trained(manifest, "smoke", 9.0, smoke=True)
    trained(manifest, "stale", 9.0, manifest_key="before")
    trained(manifest, "elsewhere", 9.0, dataset="other")
    trained(manifest, "old", 9.0, version=TRAINING_VERSION - 1)
    assert list(reported_models(report.run(ReportConfig("faces")))) == ["good"]
    assert "old was made by another version of the program and is left out" in capsys.readouterr().out
    (paths.run_dir("finetune", "good") / "result.json").unlink()
    with pytest.raises(UserError, match="no finished run on faces as it is now"):
        report.run(ReportConfig("faces"))


def test_detectors_are_scored_on_other_data_too(faces, elsewhere):
    """All of it for real: heads, a detector from the chosen one, and the page with both on other data."""
    recipe = '{"epochs": 1, "batch": 16, "precision": "fp32", "augmentation": {"window": 0}}'
    tuned = run_finetune(FinetuneConfig(data=str(faces), recipe=recipe, **RIDGE))
    run_finetune(FinetuneConfig(data=str(faces), smoke=True, **RIDGE))
    folder = run_report(ReportCommand(data=str(faces), eval=str(elsewhere), **RIDGE))
    models = reported_models(folder)
    assert {model["stage"] for model in models.values()} == {"heads", "finetune"}
    (scored,) = paths.runs_dir().glob(f"other/{tuned.name}-on-elsewhere-*/predictions.csv")
    table, found = pd.read_csv(scored), models[tuned.name]["other"]["elsewhere"]
    assert found["auc"] == pytest.approx(theirs.roc_auc_score(table.label == "fake", table.score))
    assert (found["images"], found["known"]) == (40, 1)
    assert found["threshold"] == models[tuned.name]["test"]["threshold"]
    assert "not scored" not in text_of(folder / "index.html")
    assert "Fine-tuning" in text_of(folder / "index.html")


def training(recipe: Recipe = NAMED, **result) -> Training:
    record = replace(TRAINED, **result)
    return Training(record, recipe, epochs_of(record))


def test_how_a_detector_was_trained_in_words():
    by_loss = Recipe(epochs=30, best_by="loss", best_after=0.5)
    text = how_trained(training(by_loss, epochs=30, best_epoch=20, started_from="scratch"))
    assert text.startswith("It started from scratch. What was kept is epoch 20 of 30, the one of lowest validation")
    assert "loss among epochs 16 to 30; its validation figures flatter it" in text
    text = how_trained(training(Recipe(epochs=1), epochs=1, best_epoch=1, started_from="pretrained"))
    assert text.startswith("It started from a pretrained network with a new last layer.")
    assert text.endswith("There was no choice of an epoch: epoch 1 of 1 was kept.")


def test_a_detector_is_named_by_what_its_recipe_changes(manifest):
    named = NAMED
    changed = replace(named, lr=1e-4, augmentation=replace(named.augmentation, rotation=10))
    folder = trained(manifest, "a", 1.0, recipe=changed)
    read = read_training(folder, replace(TRAINED, manifest_key=manifest.key))
    assert read.recipe == changed
    assert read.name == "two-phase with lr 0.0001, rotation 10.0"
    assert training().name == "two-phase"


def test_the_curves_of_a_training_mark_the_epoch_that_was_kept():
    by_loss = training(best_epoch=2)  # which is not that of the highest AUC here
    by_loss.epochs.loc[4, "val_auc"] = 0.99
    drawn = training_picture(by_loss)
    above, below = drawn.figure.axes
    curve, kept = (line.get_xydata() for line in above.lines)
    np.testing.assert_allclose(curve, by_loss.epochs[["epoch", "val_auc"]])
    np.testing.assert_allclose(kept, [[2, 0.94]])
    validation, mark, train = (line.get_ydata() for line in below.lines)
    np.testing.assert_allclose(train, by_loss.epochs.train_loss)
    np.testing.assert_allclose(validation, by_loss.epochs.val_loss)
    assert mark == [0.3]
    assert above.get_ylim()[0] < curve[:, 1].min()
    assert "epoch 2, which is kept, has AUC 0.940 and loss 0.300" in drawn.alt
    assert training_picture(training(epochs=1, best_epoch=1)) is None


def test_what_fine_tuning_brought_is_judged_on_the_same_images(tmp_path):
    """Both share their noise, so that the difference is known far better than either AUC."""
    rng = np.random.default_rng(0)
    fake = np.arange(300) % 2 == 0
    noise = rng.standard_normal(300)
    about = pd.DataFrame({"path": [f"{n}.jpg" for n in range(300)], "label": np.where(fake, "fake", "real")})
    about["group"] = about.path
    tables = {"before": about.assign(score=noise + fake), "after": about.assign(score=noise + 1.3 * fake)[::-1]}
    for name, table in tables.items():
        write_table(tmp_path / name / "predictions-test.csv", table)
    gain = auc_gain(tmp_path / "before", tmp_path / "after")
    before, after = (theirs.roc_auc_score(table.label == "fake", table.score) for table in tables.values())
    assert gain.value == pytest.approx(after - before)
    assert 0 < gain.low < gain.value < gain.high
    alone = evaluate(noise + fake, fake, np.arange(300), threshold=0).metrics["auc"]
    assert gain.high - gain.low < (alone.high - alone.low) / 2
