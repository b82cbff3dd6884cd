"""What an earlier version of the program wrote: it still opens, still says the same, and is not computed again.

Keys are hashes of names and values. A field that is renamed, added or left out gives other ones, and everybody's
features, heads and detectors would be made anew without a word: `earlier/keys.json` holds what they are.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.found.models import find_models
from cache import paths, runs
from cache.features import FeatureSpec
from cache.key import key
from cache.table import open_shards
from data.manifest import Manifest
from extract.run import run as extract
from finetune.detectors.detector_file import load_detector
from finetune.detectors.logits import logits_of
from finetune.options import FinetuneConfig
from finetune.recipes import RECIPES
from finetune.run import run as finetune
from finetune.training.job import BEST
from heads.elsewhere import changed_folder, chosen_images
from heads.families import Estimator, Linear, Logistic, Member, Mlp, Ridge, Tail, from_json
from heads.options import HeadsConfig
from heads.predictions import read_predictions
from heads.run import run as heads
from heads.scorer import HeadScorer
from heads.sweep.buckets import Bucket
from heads.sweep.sweep_result import HEAD_FILE
from tests.small import on_other_data

EARLIER = Path(__file__).parent / "earlier"
KEYS = json.loads((EARLIER / "keys.json").read_text())
EXTRACTED = {
    "size": 32, "device": "cpu", "workers": 0, "compute": "fp32", "features": "blocks.0:avg blocks.1:map", "views": 1,
}  # fmt: skip
GRID = json.dumps([
    {"family": "linear", "lr": 0.01}, {"family": "mlp", "lr": 0.01, "hidden": [4]},
    {"family": "ridge", "penalty": [1.0, 10.0]}, {"family": "knn", "n_neighbors": 3},
])  # fmt: skip
RECIPE = '{"recipe": "cnn-dropout-logsoftmax", "epochs": 1, "batch": 8}'
SETTINGS = [
    Linear(lr=1e-3, weight_decay=0.1), Mlp(lr=1e-2, hidden=(32, 8), dropout=0.5, layer_norm=True),
    Tail(lr=3e-3, loss="ce"),
    Ridge(penalty=10.0), Logistic(penalty=0.01), Estimator("sklearn.svm.SVC", (("C", 1.0), ("gamma", "scale"))),
]  # fmt: skip


@pytest.fixture
def earlier(world, monkeypatch) -> Path:
    """The folders that an earlier version left, at a place of their own."""
    home = shutil.copytree(EARLIER, world / "earlier")
    for name in ("cache", "data", "runs"):
        monkeypatch.setenv(f"{name.upper()}_DIR", str(home / name))
    for dataset in ("few", "more"):
        beside = home / "data" / dataset / "manifest.json"
        beside.write_text(beside.read_text().replace("/tmp/earlier", str(home)))
    return home


def options(home: Path, **more) -> HeadsConfig:
    return HeadsConfig.of(data=str(home / "data" / "few" / "manifest.csv"), seeds=2, head_epochs=2, **EXTRACTED, **more)


def finished(home: Path, stage: str) -> dict[Path, int]:
    """Run folder -> when it was finished."""
    return {each.parent: each.stat().st_mtime_ns for each in (home / "runs" / stage).glob(f"*/{runs.RESULT}")}


def test_what_was_computed_is_found_and_not_computed_again(earlier):
    before = {stage: finished(earlier, stage) for stage in ("extract", "heads", "finetune", "other")}
    one = options(earlier, grid=GRID)
    assert extract(one.extract).name == "few-tf_efficientnet_lite0-996782db5d2b"
    sweep = heads(one)
    assert sweep.name == "few-tf_efficientnet_lite0-5c8f962a580d"
    folds = heads(options(earlier, grid='[{"family": "lda"}]', folds=2))
    assert folds.name == "few-tf_efficientnet_lite0-efa5565acee3"
    assert on_other_data(one, sweep, earlier / "data" / "more" / "manifest.csv").name == (
        "few-tf_efficientnet_lite0-5c8f962a580d-on-more-ad5dcf65a26a"
    )
    few = Manifest.load(paths.manifest_file("few")).usable
    assert runs.is_complete(changed_folder(sweep, chosen_images(few, 4)))
    how = {"data": str(earlier / "data" / "few" / "manifest.csv"), "size": 8, "compute": "fp32", "device": "cpu"}
    assert finetune(FinetuneConfig.of(recipe=RECIPE, **how)).name == "few-cnn-dropout-logsoftmax-f95979943f66"
    assert {stage: finished(earlier, stage) for stage in before} == before


def test_what_was_saved_says_what_it_said(earlier):
    few = Manifest.load(paths.manifest_file("few")).usable
    for folder in finished(earlier, "heads"):
        test = HeadScorer.load(folder / HEAD_FILE).scores(few)[few.where("test")]
        np.testing.assert_allclose(test, read_predictions(folder / "predictions-test.csv").scores, rtol=1e-4, atol=1e-5)
    for folder in finished(earlier, "finetune"):
        detector, _ = load_detector(folder / BEST)
        test = logits_of(detector, few, few.where("test"), next(detector.parameters()).device, workers=0)
        np.testing.assert_allclose(test, read_predictions(folder / "predictions-test.csv").scores, rtol=1e-3, atol=1e-4)


def test_the_page_still_reads_the_earlier_runs(earlier):
    models = find_models(Manifest.load(paths.manifest_file("few")).usable)
    assert {model.run for model in models} == {
        folder.name for stage in ("heads", "finetune") for folder in finished(earlier, stage)
    }
    assert sum(bool(model.other) for model in models) == 1
    assert sum(bool(model.perturbed) for model in models) == 1


def test_keys_are_what_they_were(earlier):
    found = {
        "specs": sorted(shard.spec.key for spec in specs(earlier) for shard in open_shards(spec)),
        "manifests": {name: Manifest.load(paths.manifest_file(name)).key for name in ("few", "more")},
        "heads": {setting.name: key(setting.to_json()) for setting in SETTINGS},
        "bucket": Bucket("all", tuple(Member(setting, 1, 2) for setting in SETTINGS)).file,
        "recipes": {name: key(RECIPES[name].to_json()) for name in KEYS["recipes"]},
    }
    assert found == KEYS
    assert [from_json(json.loads(json.dumps(setting.to_json()))) for setting in SETTINGS] == SETTINGS


def specs(home: Path) -> list[FeatureSpec]:
    """Of the features of `few`."""
    record = runs.result(home / "runs" / "extract" / "few-tf_efficientnet_lite0-996782db5d2b")
    made = [FeatureSpec.from_json(each) for each in record["specs"]]
    assert all(each.key in each.folder.name and each.folder.exists() for each in made)
    return made


def test_a_table_of_the_earlier_version_has_the_columns_of_this_one(earlier):
    (folder,) = finished(earlier, "other")
    assert list(pd.read_csv(folder / "predictions.csv")) == ["path", "digest", "label", "group", "score"]
