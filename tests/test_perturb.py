"""Perturbed images: what is done to them, cached path = image path, one pass for all heads, the same at every call."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from analysis.found.changed_images import read_perturbed
from analysis.judge.calibrate import calibration_of
from analysis.options import ReportCommand
from analysis.report import _score_changed_images
from analysis.report import run as run_report
from cache import paths, runs
from cache.features import Preprocess
from data.manifest import Manifest
from data.perturb import KINDS, PERTURBATIONS, Perturbation
from data.preprocess import of_view, to_input
from extract.extraction import ExtractResult
from finetune.detectors.image_scorer import open_detector
from finetune.detectors.logits import logits_of
from heads.elsewhere import CHANGED as STAGE
from heads.elsewhere import UNCHANGED, chosen_images
from heads.run import run_each
from tests.conftest import picture
from tests.small import RIDGE

DIGEST = "ab" * 32
HOW = Preprocess(64, 64, "bicubic", (0.5,) * 3, (0.5,) * 3)


def pixels(name: str, image: Image.Image, digest: str = DIGEST) -> np.ndarray:
    return np.asarray(Perturbation.named(name).of(image, digest), float)


def test_each_is_what_its_name_says():
    image = picture(3, fake=False)
    plain = np.asarray(image, float)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    np.testing.assert_array_equal(pixels("jpeg-50", image), np.asarray(Image.open(buffer), float))
    assert pixels("noise-10", image).std() > plain.std()
    assert (pixels("noise-10", image) - plain).std() == pytest.approx(10, rel=0.1)
    assert pixels("brightness-0.5", image).mean() == pytest.approx(plain.mean() / 2, abs=1)
    assert pixels("crop-0.75", image).shape == (48, 48, 3)
    np.testing.assert_array_equal(pixels("crop-0.75", image), plain[8:56, 8:56])
    assert pixels("rescale-0.25", image).shape == plain.shape
    assert pixels("messenger-2", image).shape[:2] == (41, 41)  # 64 x .8, twice, rounded each time
    for kind in ("blur", "rescale"):
        assert (
            np.diff(pixels(f"{kind}-{KINDS[kind].strengths[-1]}", image), axis=0).std() < np.diff(plain, axis=0).std()
        )


@pytest.mark.parametrize("kind", KINDS)
def test_more_strength_is_more_change(kind):
    image, how = picture(4, fake=True), KINDS[kind]
    plain = to_input(image, HOW).astype(float)

    def change(strength: float) -> float:
        return np.abs(to_input(image, HOW, digest=DIGEST, draw=Perturbation(kind, strength)) - plain).mean()

    for side in (1, -1):  # brightness goes both ways
        away = sorted(side * (each - how.mild) for each in how.strengths if side * each > side * how.mild)
        changes = [change(how.mild + side * each) for each in away]
        assert changes == sorted(changes)
        assert all(each > 0 for each in changes)


def test_the_spec_brings_the_same_image_back():
    for each in PERTURBATIONS:
        assert of_view(0, each.policy) == each == Perturbation.named(each.name)
    image = picture(5, fake=False)
    np.testing.assert_array_equal(pixels("noise-5", image), pixels("noise-5", image))
    assert (pixels("noise-5", image) != pixels("noise-5", image, "cd" * 32)).any()


def test_images_are_taken_from_both_classes_and_stay_when_others_come():
    rows = pd.DataFrame({
        "digest": [f"{number:064x}" for number in range(100)], "split": ["test"] * 90 + ["train"] * 10,
        "label": ["real"] * 20 + ["fake"] * 80,
    })  # fmt: skip
    manifest = Manifest("x", paths.ROOT, False, rows)
    few = chosen_images(manifest, 30).rows
    assert few.label.value_counts().to_dict() == {"real": 15, "fake": 15}
    assert (few.split == "test").all()
    assert chosen_images(manifest, 60).rows.label.value_counts().to_dict() == {"real": 20, "fake": 40}
    assert len(chosen_images(manifest, 1000).rows) == 90
    assert sorted(chosen_images(manifest, 1).rows.label) == ["fake", "real"]
    assert len(chosen_images(Manifest("x", paths.ROOT, False, rows[rows.split == "train"]), 9)) == 0
    fewer = Manifest("x", paths.ROOT, False, rows.iloc[1::2].reset_index(drop=True))
    assert set(chosen_images(fewer, 10).rows.digest) <= set(chosen_images(manifest, 20).rows.digest)


@pytest.mark.usefixtures("undrawn")
def test_cached_scores_are_those_of_the_images_and_one_pass_serves_all_heads(faces):
    command = ReportCommand.of(data=str(faces), perturb=6, num_samples=0, **RIDGE)
    run_report(command)
    (sweep,) = runs.complete_runs("heads")
    (folder,) = runs.complete_runs(STAGE)
    table = pd.read_csv(folder / "predictions.csv").set_index("path")
    whole = pd.read_csv(sweep / "predictions-test.csv").set_index("path").score
    np.testing.assert_allclose(table[UNCHANGED], whole[table.index], atol=1e-5 * whole.std())
    manifest = Manifest.load(paths.manifest_file("faces")).usable
    chosen, detector = chosen_images(manifest, 6), open_detector(sweep).detector
    assert list(table.index) == list(chosen.rows.path)
    for name in ("jpeg-50", "noise-10", "messenger-2"):
        draw = Perturbation.named(name)
        from_images = logits_of(detector, chosen, np.arange(6), torch.device("cpu"), workers=0, draw=draw)
        np.testing.assert_allclose(table[name], from_images, atol=1e-4 * table[name].std())
        assert (table[name] != table[UNCHANGED]).all()
    assert runs.test_scorings("faces") == 2  # the sweep, and the perturbed copies
    _another_head_costs_no_pass(command, sweep)
    assert_accuracy_is_that_at_the_fixed_threshold(sweep, folder)


def _another_head_costs_no_pass(command: ReportCommand, sweep) -> None:
    before = {path: path.stat().st_mtime_ns for path in paths.features_dir().glob("*/*.h5")}
    other = '[{"family": "logistic", "penalty": 1.0}]'
    inputs = runs.result(sweep)["inputs"]
    perturb(command.but(grid=other, inputs=inputs))
    assert {path: path.stat().st_mtime_ns for path in paths.features_dir().glob("*/*.h5")} == before
    assert len(runs.complete_runs(STAGE)) == 2
    extracted = [each.into(ExtractResult) for _, each in runs.find("extract")]
    assert [each.computed for each in extracted if each.perturbed] == [6 * len(PERTURBATIONS)]


def assert_accuracy_is_that_at_the_fixed_threshold(sweep: Path, folder: Path) -> None:
    calibration, table = calibration_of(sweep), pd.read_csv(folder / "predictions.csv")
    found = read_perturbed(sweep, calibration)
    fake = table.label == "fake"
    for name in (UNCHANGED, *found.result.perturbations):
        expected = ((table[name] >= calibration.threshold) == fake).mean()
        assert found.strengths[name].accuracy.value == pytest.approx(expected)
    changed = [each for name, each in found.strengths.items() if name != UNCHANGED]
    assert found.worst.accuracy.value == min(each.accuracy.value for each in changed)
    assert found.worst_ranked.auc.value == min(each.auc.value for each in changed)
    (sweep / "predictions-val.csv").write_text((sweep / "predictions-val.csv").read_text() + "\n")
    assert read_perturbed(sweep, calibration) is None  # the run was made anew under its name


def test_without_a_test_split_heads_of_folds_are_not_perturbed(faces, capsys):
    """Every member but one has trained on each validation image."""
    rows = [(path.relative_to(faces), path.parent.name) for path in sorted(faces.glob("*/*.jpg"))]
    table = pd.DataFrame({"path": [str(path) for path, _ in rows], "label": [label for _, label in rows]})
    table["split"] = np.where(np.arange(60) % 3, "train", "val")
    table.to_csv(faces / "faces.csv", index=False)
    options = {"data": str(faces / "faces.csv"), "name": "no-test", "perturb": 8, **RIDGE}
    perturb(ReportCommand.of(folds=3, **options))
    assert "without a test split, heads of FOLDS saw all of them in training" in capsys.readouterr().out
    assert runs.complete_runs(STAGE) == []
    perturb(ReportCommand.of(**options))
    (found,) = runs.complete_runs(STAGE)
    result = runs.result(found)
    assert (result["split"], result["images"], result["of"]) == ("val", 8, 20)
    assert runs.test_scorings("no-test") == 0


def perturb(command: ReportCommand) -> None:
    """What `make report` does of it, without the page."""
    sweeps, data = run_each(command.heads), command.heads.extract.data
    _score_changed_images(command, sweeps, [], Manifest.load(paths.manifest_file(data.dataset)).usable)
