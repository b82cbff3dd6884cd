"""What sweeps and trainings found, in words and pictures; both on one page."""

import json
import re
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs

from analysis.found.models import Run, comparable_aucs
from analysis.found.sentences import caveats, how_chosen, how_trained
from analysis.found.sweeps import SHOWN, Sweep, leaders
from analysis.found.trainings import Training, read_training
from analysis.options import ReportCommand
from analysis.page import report_page as report
from analysis.page.pictures.inputs_picture import inputs_picture
from analysis.page.pictures.sweep_pictures import sweep_pictures
from analysis.page.pictures.training_picture import training_picture
from analysis.page.report_page import ReportConfig
from analysis.report import run as run_report
from cache import paths, runs
from cache.errors import UserError
from data.build import run as build
from data.manifest import Manifest
from data.options import DataConfig
from finetune.options import FinetuneConfig
from finetune.recipes import RECIPES, Recipe
from finetune.run import run as run_finetune
from finetune.training.epochs import Epoch
from finetune.training_result import VERSION as TRAINING_VERSION
from finetune.training_result import FinetuneResult
from heads.options import HeadsConfig
from heads.run import run
from heads.sweep.sweep_result import SweepResult
from tests.small import RESULTS, RIDGE

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
    assert pictures(sweep([linear(0.1, 0, 0.9), linear(0.2, 0, 0.8)])).keys() == {"leaders", "settings"}


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
    assert "lr" in drawn["settings"].alt


def test_slices_say_what_each_hyperparameter_costs_within_a_family():
    found = [linear(lr, decay, 0.9 - 10 * lr - decay / 100) for lr, decay in product((0.001, 0.01), (0, 1))]
    found += [{"head": "mlp", "family": "mlp", "lr": 0.5, "weight_decay": 0, "hidden": "(8,)", "val_auc": 0.1}]
    drawn = pictures(sweep(found))["settings"]
    assert drawn.alt.endswith("falls by: lr 0.090, weight decay 0.010")  # the one mlp says nothing about lr


def test_widths_are_sorted_as_numbers():
    found = [
        {"head": f"mlp {width}", "family": "mlp", "hidden": width, "lr": 0.1, "weight_decay": 0, "val_auc": 0.8}
        for width in ("(128,)", "(32,)", "(128, 32)")
    ]
    axes = pictures(sweep(found))["settings"].figure.axes[0]
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


def test_so_few_images_that_luck_chose_are_told():
    few = {"real": 6, "fake": 7}
    (text,) = caveats(sweep([ridge(1.0, 0.9)] * 3, folds=1, members=1, chosen_on=few))
    assert text == (
        "Only 6 real and 7 fake images chose among 3 settings: which one is best is partly luck, and its validation "
        "AUC is too high; with FOLDS=5 all images of train and val would."
    )
    assert caveats(sweep([ridge(1.0, 0.9)], folds=1, members=1, chosen_on=few)) == []
    for unsaid in ({"chosen_on": {"real": 50, "fake": 50}}, {}):
        assert caveats(sweep([ridge(1.0, 0.9)] * 3, **unsaid)) == []
    (text,) = caveats(sweep([ridge(1.0, 0.9)] * 3, folds=5, members=5, chosen_on=few))
    assert text.endswith("AUC is too high.")


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
    drawn = inputs_picture([one, two, three])
    names = [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]
    assert names == ["resnet18/a:avg", "all of resnet18", "cvt_13/a:avg", "all of resnet18+cvt_13"]
    common = scored({"a:avg": 1.0}, 100, 80)
    auc = theirs.roc_auc_score(common.label == "fake", common["a:avg"])
    assert f"{auc:.3f}" in [text.get_text() for text in drawn.figure.axes[0].texts]
    assert "on 80 held-out images" in drawn.caption
    assert "highest: all of resnet18+cvt_13" in drawn.alt


def test_inputs_of_one_backbone_keep_their_names_and_none_is_no_picture():
    drawn = inputs_picture([sweep([ridge(1.0, 0.9)], scores=scored({"all": 2.0, "b:avg": 1.0, "a:avg": 0.1}))])
    names = [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]
    assert names == ["b:avg", "a:avg", "all"]
    assert inputs_picture([sweep([linear(0.1, 0, 0.9)], scores=scored({}))]) is None


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
        table["digest"] = table["group"] = table.path
        (tmp_path / name).mkdir()
        table.to_csv(tmp_path / name / "predictions-val.csv", index=False)
        folders.append(tmp_path / name)

    def aucs(*folders: Path) -> list[float] | None:
        return comparable_aucs([Run(folder, None) for folder in folders])

    assert aucs(*folders) == [0.75, 0.5]
    assert aucs(folders[1]) == [pytest.approx(7 / 9)]
    table[table.label == "real"].to_csv(tmp_path / "folds" / "predictions-val.csv", index=False)
    assert aucs(*folders) is None


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
        runs.write_table(folder / f"predictions-{split}.csv", about.assign(score=scores))
    if runs.is_complete(folder):
        runs.finish(folder, runs.result(folder))


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
    runs.write_table(folder / "metrics.csv", epochs_of(record))
    runs.finish(folder, asdict(record))
    return folder


@pytest.fixture
def manifest(faces) -> Manifest:
    return Manifest.load(build(DataConfig.of(data=str(faces)))).usable


def reported_models(folder: Path) -> dict[str, dict]:
    """Of summary.json, by run, in its order."""
    return {model["run"]: model for model in json.loads((folder / "summary.json").read_text())["models"]}


def text_of(page: Path) -> str:
    """Without tags and runs of blanks."""
    return " ".join(re.sub(r"<[^>]*>", " ", page.read_text()).split())


def test_heads_and_detectors_stand_on_one_page_in_one_order(faces, manifest, capsys):
    head = run(HeadsConfig.of(data=str(faces), **RIDGE))
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
    drawn = {path.stem for path in folder.glob("*.png")}
    assert drawn | {"errors"} == RESULTS | {"leaders", "inputs", "finetune"}  # it may have made none
    _page_tells_of_both(folder, best, head)


def _page_tells_of_both(folder: Path, best: Path, head: Path) -> None:
    text, models = text_of(folder / "index.html"), reported_models(folder)
    assert (
        "It started from the chosen head on cached features. What was kept is epoch 4 of 5, the one of highest "
        "validation AUC; its validation figures flatter it"
    ) in text
    assert f"run of the head that it started from {head.name}" in text
    assert "Random weights." not in text  # only the head has them, and it is not the model shown
    assert "epoch 4 of 5" in text
    assert "resnet18: two-phase with lr 0.0001, seed 3" in text
    before, after = (models[each.name]["test"]["auc"] for each in (head, best))
    assert f"started from the cached head ridge penalty=1.0, which reaches a test AUC of {before:.3f} [" in text
    assert f"Fine-tuned it reaches {after:.3f} [" in text
    assert f"The difference is {after - before:+.3f} [" in text
    assert "finetune resnet18: two-phase, 5 epochs, 11.2 million weights 71.5 12.5 images/s" in text
    assert re.search(r"The sweep resnet18 \(random weights\): \d settings", text)


@pytest.mark.usefixtures("undrawn")
def test_a_difference_that_may_be_chance_is_called_so(faces, manifest):
    head = run(HeadsConfig.of(data=str(faces), **RIDGE))
    rescored(head, manifest, 1.0)
    trained(manifest, "same", 1.0, head_run=head.name)
    folder = report.run(ReportConfig("faces"))
    assert list(reported_models(folder)) == [head.name, "same"]
    text = text_of(folder / "index.html")
    said = re.search(
        r"The difference is \+0.000 \[(-0.\d+), \+(0.\d+)\] on the same images, which may be chance.", text
    )
    assert float(said[1]) < 0 < float(said[2])  # equal on these images, which says little of others
    assert "with ridge penalty=1.0 , reading" in text


@pytest.mark.usefixtures("undrawn")
def test_a_page_of_detectors_alone_has_no_sweep(faces, manifest):
    trained(manifest, "a", 2.0, started_from="pretrained", random_weights=True)
    folder = paths.report_dir("faces")
    folder.mkdir(parents=True)
    (folder / "sweep.csv").write_text("of an earlier page")
    assert report.run(ReportConfig("faces")) == folder
    text = text_of(folder / "index.html")
    assert not (folder / "sweep.csv").exists()
    assert {path.stem for path in folder.glob("*.png")} | {"errors"} == RESULTS | {"finetune"}
    assert "Random weights. The backbone that the model shown was fine-tuned from was never pretrained" in text
    assert "It started from a network with random weights." in text
    for absent in ("The sweep", "With folds", "The difference is", "sweep.csv"):
        assert absent not in text


@pytest.mark.usefixtures("undrawn")
def test_a_detector_without_test_predictions_has_no_test_figures(faces, manifest):
    trained(manifest, "a", 2.0, test=False)
    trained(manifest, "b", -2.0)
    models = reported_models(report.run(ReportConfig("faces")))
    assert [(run, bool(model["test"])) for run, model in models.items()] == [("a", False), ("b", True)]
    folder = paths.report_dir("faces")
    assert pd.read_csv(folder / "models.csv").split.tolist() == ["val", "val", "test"]
    text = text_of(folder / "index.html")
    assert "The chosen model was not scored on the test split, so only validation figures can be given" in text
    assert f"validation AUC {models['a']['val']['auc']:.3f}" in text


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
def test_detectors_are_scored_on_other_data_too(faces, elsewhere):
    """All of it for real: heads, a detector from the chosen one, and the page with both on other data."""
    recipe = '{"epochs": 1, "batch": 16, "precision": "fp32", "augmentation": {"window": 0}}'
    tuned = run_finetune(FinetuneConfig.of(data=str(faces), recipe=recipe, **RIDGE))
    run_finetune(FinetuneConfig.of(data=str(faces), smoke=True, **RIDGE))
    folder = run_report(ReportCommand.of(data=str(faces), eval=str(elsewhere), perturb=2, num_samples=2, **RIDGE))
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
    assert "loss among epochs 16 to 30, where the recipe looks for it; its validation figures flatter it" in text
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
