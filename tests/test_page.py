"""What stands on a page, by hand: cells, costs, curves over perturbations, data sets side by side."""

import io
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.found import changed_images as perturbed
from analysis.found.changed_images import Perturbed, Strength, read_perturbed
from analysis.found.commands import command
from analysis.found.models import Model
from analysis.found.other_data import Other
from analysis.found.sweep_seconds import sweep_seconds
from analysis.judge.evaluate import Evaluation
from analysis.judge.intervals import Interval
from analysis.page.datasets import DataSet, _pictures
from analysis.page.pictures.charts import Tile, tiles
from analysis.page.pictures.perturbed_pictures import _panel
from analysis.page.pictures.training_picture import training_picture
from analysis.page.run_tables import cost_table
from analysis.page.tables import Table
from analysis.page.template_values import decided_wrongly
from cache import paths, runs
from cache.features import FeatureSpec, Preprocess
from data.manifest import Manifest
from data.perturb import KINDS, Perturbation
from extract.extraction import ExtractResult
from finetune.recipes import Recipe
from heads.elsewhere import UNCHANGED, OtherResult, PerturbedResult
from heads.predictions import validation_digest
from tests.test_analysis import ridge, sweep, training
from tests.test_evaluate import faces_table, fixed
from tests.test_evaluate import model as scored


def certain(value: float) -> Interval:
    return Interval(value, value, value)


def model(folder: Path, made=None, **more) -> Model:
    known = {"calibration": None, "val": None, "test": None, "other": {}, "perturbed": None}
    return Model(folder, made, **known | more)


@pytest.mark.parametrize(
    ("started", "typed"),
    [
        ("analysis", "make report"),
        ("analysis --data=faces '--eval=a b' --perturb=0", "make report DATA=faces EVAL='a b' PERTURB=0"),
        ("finetune.tune --smoke", "make tune SMOKE=1"),
        ("analysis.gradcam --run=", "make gradcam RUN=''"),
        ("heads faces", ".venv/bin/python -m heads faces"),
        ("pytest -n 2", ".venv/bin/python -m pytest -n 2"),
    ],
)
def test_what_to_type_again(started, typed):
    assert command({"command": started}) == typed


def test_a_table_is_one_on_the_page_and_in_its_file(tmp_path):
    row = {"name": "a & b", "auc": Interval(0.5, 0.25, 0.75), "images": 1234, "share": 0.25, "none": None,
           "nothing": np.nan, "shared": np.bool_(True), "run": "hidden"}  # fmt: skip
    rows = [{**row, "none": "some", "nothing": 1.0}, {**row, "share": 0.5}, {**row, "share": 1.0}]
    table = Table("some", rows, hidden=("run",), digits={"share": 1}, limit=2)
    assert (len(table.rows_on_page), table.left_to_csv) == (2, 1)
    assert table.columns == list(row)[:-1]
    assert [str(table.cell(table.rows[1], column)) for column in table.columns] == [
        "a &amp; b", '0.500 <span class="soft">[0.250, 0.750]</span>', "1\u202f234", "0.5",
        '<span class="soft">–</span>', '<span class="soft">–</span>', "yes",
    ]  # fmt: skip
    assert [column for column in table.columns if column in table.numbers] == ["auc", "images", "share", "nothing"]
    assert replace(table, rows=table.rows[1:]).columns == [
        name for name in row if name not in ("none", "nothing", "run")
    ]
    table.save(tmp_path)
    saved = pd.read_csv(tmp_path / "some.csv")
    assert (saved["auc low"].tolist(), saved["auc high"].tolist()) == ([0.25] * 3, [0.75] * 3)
    assert (saved.run.tolist(), saved.share.tolist()) == (["hidden"] * 3, [0.25, 0.5, 1.0])
    assert Table("none", []).columns == []


HOW = Preprocess(64, 64, "bilinear", (0.5,) * 3, (0.5,) * 3)
SPEC = FeatureSpec("resnet18", "file:ab", "layer3", "avg", HOW, "fp32", "float16")
EXTRACTED = ExtractResult("faces", "resnet18", "ab", images=60, computed=60, seconds=8.0, rate=10.0, bytes=3_000_000,
                          specs=[SPEC])  # fmt: skip


def test_costs_by_hand(tmp_path):
    (tmp_path / "best.safetensors").write_bytes(bytes(2_000_000))
    changed = replace(EXTRACTED, specs=[replace(SPEC, augmentation="perturbed")])
    models = [model(tmp_path, sweep([ridge(1.0, 0.9)], heads=5, seconds=2.0)), model(tmp_path, training())]
    rows = cost_table(models, [EXTRACTED, replace(EXTRACTED, computed=0, rate=0.0), changed]).rows
    assert [(row["stage"], row["seconds"], *list(row.values())[3:]) for row in rows] == [
        ("extract", 8.0, "10.0 images/s", 3.0), ("extract", 8.0, "10.0 images/s", 3.0),
        ("heads", 2.0, "2.5 heads/s", None), ("finetune", 71.5, "12.5 images/s", 2.0),
    ]  # fmt: skip
    words = ("60 computed", "perturbed copies of 60 images")
    assert all(each in row["what"] for each, row in zip(words, rows[:2], strict=True))


def test_seconds_of_a_sweep_and_its_extraction_are_said_only_where_all_was_computed_at_once(tmp_path):
    runs.begin(tmp_path, {"specs": [SPEC.to_json()]})
    models = [model(tmp_path, sweep([ridge(1.0, 0.9)], seconds=2.0))]
    assert sweep_seconds(models, [EXTRACTED], distinct=60) == 10.0
    assert sweep_seconds(models, [replace(EXTRACTED, computed=59)], distinct=60) is None
    assert sweep_seconds([], [EXTRACTED], distinct=60) is None


def strengths(**values: float) -> dict[str, Strength]:
    """Of every perturbation; accuracies by name, .9 for the others."""
    names = [UNCHANGED, *(Perturbation(kind, each).name for kind, how in KINDS.items() for each in how.strengths)]
    return {name: Strength(name, None, certain(values.get(name, 0.9)), None, None) for name in names}


def test_strengths_stand_in_order_with_the_image_as_it_is_where_nothing_changes():
    found = Perturbed(None, strengths(**{"brightness-0.5": 0.6, "brightness-1.5": 0.7, "jpeg-30": 0.5, "none": 0.95}))

    def drawn(kind: str) -> tuple[list[str], list[float]]:
        panel = _panel(kind, {"m": found}, lambda each: each.accuracy)
        return panel.strengths, [each.value for each in panel.lines["m"]]

    assert drawn("brightness") == (["0.5", "0.75", "as it is", "1.25", "1.5"], [0.6, 0.9, 0.95, 0.9, 0.7])
    assert drawn("jpeg") == (["as it is", "95", "85", "70", "50", "30"], [0.95, 0.9, 0.9, 0.9, 0.9, 0.5])
    assert drawn("noise")[0] == ["as it is", "2", "5", "10", "20"]
    assert found.worst.name == "jpeg-30"
    assert found.worst_ranked is None


def test_of_two_tries_the_one_of_more_images_is_shown(tmp_path):
    (tmp_path / "predictions-val.csv").write_text("path\n")
    fake = np.arange(8) % 2 == 0
    for name, count in (("a", 4), ("b", 8), ("c", 6)):
        folder = paths.run_dir(perturbed.CHANGED, name)
        names = [f"{number}.jpg" for number in range(8)]
        table = pd.DataFrame({"path": names, "digest": names, "label": np.where(fake, "fake", "real"),
                              "group": np.arange(8), "none": fake - 0.5, "jpeg-50": -1.0})  # fmt: skip
        runs.write_table(folder / "predictions.csv", table[:count])
        record = PerturbedResult(tmp_path.name, validation_digest(tmp_path), "faces", "test", count, 8, ["jpeg-50"])
        runs.finish(folder, asdict(record))
    found = read_perturbed(tmp_path, fixed(0.0))
    assert found.result.images == 8
    assert [each.accuracy.value for each in found.strengths.values()] == [1, 0.5]


def test_the_lowest_elsewhere_is_not_one_at_home(tmp_path):
    def judged(auc: float | None) -> Evaluation:
        return Evaluation(4, 0.0, {} if auc is None else {"auc": certain(auc)}, [[1, 1], [1, 1]], {})

    def data_set(name: str, home: float, elsewhere: dict[str, float | None]) -> DataSet:
        other = {
            each: Other(OtherResult("run", "", each, "0", False, 4, 0), judged(auc)) for each, auc in elsewhere.items()
        }
        return DataSet(
            Manifest(name, tmp_path, False, pd.DataFrame()), model(tmp_path, val=judged(home), other=other), []
        )

    (matrix,) = _pictures([data_set("a", 0.5, {"b": 0.6}), data_set("b", 0.9, {"a": 0.7})])
    assert matrix.alt.endswith("at home 0.500, 0.900; the lowest elsewhere is 0.600")
    assert [text.get_text() for text in matrix.figure.axes[0].texts] == ["0.500", "0.600", "0.700", "0.900"]
    (unknown,) = _pictures([data_set("a", 0.5, {"b": None}), data_set("b", 0.9, {})])
    assert unknown.alt.endswith("at home 0.500, 0.900")


def test_what_is_decided_wrongly_by_hand(tmp_path):
    """A score at the threshold is called fake; what lies in the band is not decided."""
    fake = np.array([False, False, False, False, True, True])
    found = scored(tmp_path, 0.0, test=faces_table([0.0, -1.0, -2.0, 2.0, -0.5, 3.0], fake))
    assert decided_wrongly(found) == {"real": 0.5, "fake": 0.5}
    banded = replace(found, calibration=fixed(0.0, band=(-0.75, 1.0)))
    assert decided_wrongly(banded) == {"real": 0.25, "fake": 0.0}


def test_curves_say_what_must_be_known_to_read_them():
    said = training_picture(training(Recipe(epochs=5, ema=0.9))).caption
    assert "validation is judged without them at its end with the running average of the weights" in said
    assert "only the head" not in said
    alone = training_picture(training(Recipe(epochs=5, head_epochs=2))).caption
    assert "average" not in alone
    assert "Up to epoch 2 only the head was trained." in alone


def test_a_name_with_dollars_is_no_formula():
    sheet = tiles([Tile(np.zeros((8, 8, 3), np.uint8), "a$\\frac$.jpg", wrong=False)], columns=1, title="")
    sheet.savefig(io.BytesIO(), format="svg")
