"""Predictions: a row for every file whatever it is, and of good ones exactly the score that the run itself saved."""

import functools
import hashlib
import io
import json
import os
import shlex
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.judge.calibrate import calibration_of
from analysis.judge.rules import GIVEN
from analysis.predict import predictor
from analysis.predict import run as predict
from analysis.predict.image_files import files_of
from analysis.predict.options import PredictConfig
from analysis.predict.prediction import Prediction
from analysis.predict.predictor import Predictor
from cache import paths
from cache.errors import UserError
from data import disk, preprocess
from data.perturb import COPIES
from finetune.detectors.image_scorer import open_detector
from finetune.options import FinetuneConfig
from finetune.run import run as run_finetune
from heads.options import HeadsConfig
from heads.run import run as run_heads
from tests import forked
from tests.conftest import jpeg, picture, write_faces

SMALL = {
    "backbone": "resnet18", "weights": "random", "size": 64, "device": "cpu", "workers": 0, "compute": "fp32",
    "features": "layer1:avgstd layer2:avgstd", "seeds": 1, "batch": 8, "grid": '[{"family": "ridge", "penalty": 10.0}]',
}  # fmt: skip
NETWORK = {"backbone": "tf_efficientnet_lite0", "weights": "", "recipe": '{"recipe": "cnn-fc6", "epochs": 1}'}
WIDE = picture(7, fake=True, side=48).resize((80, 48))


@dataclass(frozen=True)
class World:
    """Finished runs on 60 small faces: a sweep, one judged by views, one of joined backbones, a trained network."""

    root: Path
    faces: Path
    sweep: Path
    views: Path
    joined: Path
    trained: Path


@functools.cache
def finished_runs(root: Path) -> World:
    """Made once for both test files."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
            patch.setenv(name, str(root / name.lower()))
        faces = write_faces(root / "faces", 60)
        both = {"backbone": "resnet18+tf_efficientnet_lite0", "features": "", "inputs": "all"}
        return World(
            root, faces,
            run_heads(HeadsConfig.of(data=str(faces), **SMALL)),
            run_heads(HeadsConfig.of(data=str(faces), **SMALL, views=2, mean_views=True, augment="harsh")),
            run_heads(HeadsConfig.of(data=str(faces), **SMALL | both)),
            run_finetune(FinetuneConfig.of(data=str(faces), **SMALL | NETWORK)),
        )  # fmt: skip


@pytest.fixture
def made(tmp_path_factory, monkeypatch) -> World:
    found = finished_runs(tmp_path_factory.getbasetemp() / "finished")
    for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
        monkeypatch.setenv(name, str(found.root / name.lower()))
    return found


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv", keep_default_na=False)


def said(folder: Path) -> tuple[dict, list[dict]]:
    """What judged the images, and of each what it was called."""
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    return json.loads((folder / "predictions-about.json").read_text()), [json.loads(line) for line in lines]


def saved(image: Image.Image, kind: str, **how) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def enormous() -> bytes:
    """A PNG that says it is 20 000 x 20 000 pixels, in a hundred bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def odd_files(folder: Path) -> Path:
    """Everything that people keep in folders of photographs."""
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [picture(seed, fake=False) for seed in (1, 2)]
    deep = Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16))
    files = {
        "a good one.jpg": jpeg(picture(1, fake=False)),
        "animated.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "cmyk.jpg": saved(picture(2, fake=False).convert("CMYK"), "JPEG"),
        "deep.png": saved(deep, "PNG"),
        "<b>é & 'ü'</b>.png".replace("/", "_"): saved(picture(3, fake=True), "PNG"),
        "rotated.jpg": saved(WIDE, "JPEG", exif=turned),
        "sub/glass.png": saved(picture(4, fake=True).convert("RGBA"), "PNG"),
        "empty.jpg": b"",
        "enormous.png": enormous(),
        "strip.png": saved(Image.new("L", (30_000, 1)), "PNG"),
        "text.jpg": b"no image at all",
        "truncated.jpg": jpeg(picture(5, fake=False, side=128))[:1500],
        "notes.txt": b"skipped",
        ".hidden.jpg": b"",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    return folder


def test_every_file_has_its_row_and_good_ones_their_score(made, tmp_path, capsys):
    folder = odd_files(tmp_path / "my photos")
    out = predict.run(PredictConfig.of(images=str(folder), run=made.sweep.name, batch=8))
    assert out.parent == paths.runs_dir() / "predict"
    found = table(out).assign(path=lambda rows: rows.path.str.removeprefix(f"{folder}/")).set_index("path")
    assert found.index.tolist() == [
        "<b>é & 'ü'<_b>.png", "a good one.jpg", "animated.gif", "cmyk.jpg", "deep.png", "empty.jpg", "enormous.png",
        "folder.jpg", "gone.jpg", "notes.txt", "rotated.jpg", "strip.png", "sub/glass.png", "text.jpg", "truncated.jpg",
    ]  # fmt: skip
    good = found[found.status == "ok"]
    assert good.note.to_dict() == {
        "<b>é & 'ü'<_b>.png": "", "a good one.jpg": "", "animated.gif": "animated: first of 2 frames; palette",
        "cmyk.jpg": "CMYK", "deep.png": "16-bit", "rotated.jpg": "EXIF rotation 6", "sub/glass.png": "alpha over white",
    }  # fmt: skip
    assert good.score.astype(float).between(-100, 100).all()
    bad = found[found.status != "ok"]
    assert bad.status.to_dict() == {
        "empty.jpg": "empty", "enormous.png": "enormous", "folder.jpg": "unreadable", "gone.jpg": "missing",
        "notes.txt": "skipped", "strip.png": "enormous", "text.jpg": "unreadable", "truncated.jpg": "truncated",
    }  # fmt: skip
    assert (bad.reason != "").all()
    assert (bad[["score", "probability", "decision", "uncertain"]] == "").all(axis=None)
    content = (folder / "truncated.jpg").read_bytes()
    assert found.digest["truncated.jpg"] == hashlib.sha256(content).hexdigest()
    closing = capsys.readouterr().out
    assert f"7 images judged by {made.sweep.name} (random weights)" in closing
    assert (
        "7 bad (1 empty, 2 enormous, 1 missing, 1 truncated, 2 unreadable); 1 skipped, no images by their names"
        in closing
    )


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"key": ', b'{"mine": 1}'])
def test_what_this_program_did_not_write_is_no_reason_to_remove_heat_maps(made, tmp_path, content):
    """A file of the name that is none of this program's, beside a picture and a table that names it."""
    face, out = tmp_path / "face.jpg", tmp_path / "out"
    face.write_bytes(jpeg(picture(1, fake=True)))
    out.mkdir()
    (out / "predictions-about.json").write_bytes(content)
    (out / "heat-0001-mine.png").write_text("precious")
    (out / "predictions.csv").write_text("heat_map\nheat-0001-mine.png\n")
    predict.run(PredictConfig.of(images=str(face), run=made.sweep.name, out=str(out)))
    assert (out / "heat-0001-mine.png").read_text() == "precious"
    assert said(out)[0]["run"] == made.sweep.name


def test_predictions_of_an_earlier_version_are_made_anew(made, tmp_path, monkeypatch):
    face = tmp_path / "face.jpg"
    face.write_bytes(jpeg(picture(1, fake=True)))
    config = PredictConfig.of(images=str(face), run=made.sweep.name, out=str(tmp_path / "out"))
    with monkeypatch.context() as patch:
        patch.setattr(predict, "VERSION", predict.VERSION - 1)
        before = said(predict.run(config))
    after = said(predict.run(config))
    assert before[0]["key"] != after[0]["key"]
    assert before[1] == after[1]


def test_the_json_says_the_same_and_who_judged(made):
    out = predict.run(PredictConfig.of(images=str(made.faces / "fake"), run=made.sweep.name, threshold="eer", batch=8))
    record, images = said(out)
    rows, calibration = table(out), calibration_of(made.sweep)
    assert (record["run"], record["dataset"], record["random_weights"]) == (made.sweep.name, "faces", True)
    assert (record["rule"], record["threshold"]) == ("eer", calibration.named("eer").probability)
    assert record["threshold_score"] == calibration.thresholds["eer"]
    assert (
        record["false_alarms"]["test"]["reals"]
        == (pd.read_csv(made.sweep / "predictions-test.csv").label == "real").sum()
    )
    assert (record["temperature"], tuple(record["uncertain_band"])) == (
        calibration.temperature,
        calibration.named("eer").band,
    )
    assert record["preprocess"][0]["crop"] == 64
    assert record["environment"]["packages"]["torch"]
    assert record["counts"] == {"uncertain": rows.uncertain.sum(), **rows.decision.value_counts(), "trained_on": (
        rows.seen == "train").sum()}  # fmt: skip
    assert [Prediction(**each).path for each in images] == rows.path.tolist()
    np.testing.assert_array_equal([each["score"] for each in images], rows.score)
    scores = rows.score.to_numpy()
    np.testing.assert_array_equal(rows.decision == "fake", scores >= calibration.thresholds["eer"])
    np.testing.assert_array_equal(
        rows.uncertain.astype(str).str.lower() == "true", calibration.named("eer").uncertain(scores)
    )
    np.testing.assert_allclose(rows.probability, 1 / (1 + np.exp(-scores / calibration.temperature)))


@pytest.mark.parametrize("name", ["sweep", "views", "joined", "trained"])
def test_scores_are_those_that_the_run_saved(made, name):
    folder = getattr(made, name)
    judge = Predictor.of(folder, batch=8)
    assert judge.scorer.views == (3 if name == "views" else 1)
    assert len(judge.detector.preprocesses) == (2 if name == "joined" else 1)
    expected = pd.read_csv(folder / "predictions-test.csv")
    found = judge.score([made.faces / path for path in expected.path])
    assert [each.digest for each in found] == expected.digest.tolist()
    # Pooled features pass the head in one product of all rows or of a batch: the last bits of float32.
    np.testing.assert_allclose([each.score for each in found], expected.score, rtol=0, atol=1e-5 * expected.score.std())
    assert {each.seen for each in found} == {"test"}


def test_a_score_does_not_depend_on_what_came_with_it(made):
    judge = Predictor.of(made.sweep, batch=8)
    images = sorted(made.faces.rglob("*.jpg"))
    together = judge.score(images)
    assert [judge.score(each)[0] for each in images[:9:4]] == together[:9:4]
    mixed = judge.score([made.faces / "none.jpg", images[3], __file__, images[30]])
    assert [each.status for each in mixed] == ["missing", "ok", "unreadable", "ok"]
    assert [mixed[1], mixed[3]] == [together[3], together[30]]


def test_a_score_at_the_threshold_is_called_fake_and_the_band_holds_its_lower_end(made):
    judge, image = Predictor.of(made.sweep, batch=8), made.faces / "real" / "0000.jpg"
    score = judge.score(image)[0].score

    def called(threshold: float, band: tuple[float, float]) -> tuple[str, bool]:
        known = replace(judge.calibration, thresholds={judge.rule: threshold}, limits=band)
        (found,) = replace(judge, calibration=known).score(image)
        return found.decision, found.uncertain

    assert called(score, (score, score + 1)) == ("fake", True)
    assert called(score, (score + 2, score - 2)) == ("fake", False)  # few errors, no band
    assert called(score - 1, (score - 2, score)) == ("fake", False)
    assert called(np.nextafter(score, np.inf), (score, score)) == ("real", True)  # the band holds the threshold


def test_copies_of_an_image_are_scored_as_the_images_they_are(made):
    path = made.faces / "real" / "0000.jpg"
    plain = Predictor.of(made.sweep, batch=8)
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scores = [each.score for each in plain.score([image, *(copy.of(image, "00" * 32) for copy in COPIES)])]
    at = float(plain.calibration.probability(np.sort(scores)[3]))
    judge = Predictor.of(made.sweep, batch=8, threshold=at, copies=True)
    one, missing, other = judge.score([path, made.faces / "none.jpg", made.faces / "fake" / "0001.jpg"])
    called = np.array(scores) >= judge.threshold
    assert (one.score, one.threshold, one.rule) == (pytest.approx(scores[0]), pytest.approx(at), GIVEN)
    assert one.flipped_by == "; ".join(
        each.words for each, it in zip(COPIES, called[1:], strict=True) if it != called[0]
    )
    assert (missing.status, missing.copies, other.copies) == ("missing", None, len(COPIES))
    assert replace(other, copies=None, flips=None, flipped_by="") == Predictor.of(
        made.sweep, batch=8, threshold=at).score(made.faces / "fake" / "0001.jpg")[0]  # fmt: skip


def test_a_score_that_is_no_number_is_a_failure_of_that_image(made, monkeypatch):
    judge = Predictor.of(made.sweep, batch=8)
    monkeypatch.setattr(Predictor, "_scores", lambda self, images: np.array([np.nan, 1.0, np.inf]))
    found = judge.score(sorted((made.faces / "real").iterdir())[:3])
    assert [each.status for each in found] == ["failed", "ok", "failed"]
    assert (found[0].score, found[0].decision, found[0].reason) == (
        None,
        "",
        "the network's output for it is not finite",
    )


def test_views_that_are_drawn_otherwise_now_are_refused(made, monkeypatch):
    monkeypatch.setattr(preprocess, "DRAWN", {"another": None})
    with pytest.raises(UserError, match=r"views of 'flip-.*' are not drawn by this version of the program, but of an"):
        Predictor.of(made.views)
    assert open_detector(made.sweep).views == open_detector(made.trained).views == 1


def test_paths_images_and_arrays_from_python(made, tmp_path):
    judge = Predictor.load(made.sweep.name, batch=8)
    path = tmp_path / "one.png"
    image = picture(3, fake=True)
    image.save(path)
    found = judge.score([str(path), path, Image.open(path), np.asarray(image)])
    assert len({each.score for each in found}) == 1
    assert [each.path for each in found] == [str(path), str(path), "", ""]
    assert found[2].digest == found[3].digest != found[0].digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found[0].seen == ""
    assert judge.score(image)[0].score == judge.score(np.asarray(image)[None])[0].score == found[0].score
    assert judge.score([]) == []
    with pytest.raises(UserError, match=r"\(H, W, 3\) uint8, not \(64, 64\) uint8"):
        judge.score(np.asarray(image.convert("L")))
    broken = Image.open(io.BytesIO(jpeg(image)[:900]))
    assert judge.score([broken, image])[0].status == "truncated"


def test_images_that_the_run_was_made_with_are_marked(made, capsys):
    out = predict.run(PredictConfig.of(images=str(made.faces), run=made.trained.name))
    manifest = pd.read_csv(paths.manifest_file("faces")).set_index("digest")
    rows = table(out)
    assert rows.seen.tolist() == manifest.split[rows.digest].tolist()
    assert f"{(rows.seen == 'train').sum()} of them it was trained on" in capsys.readouterr().out


def test_where_the_data_set_changed_since_saved_scores_say_what_was_seen(made, tmp_path, monkeypatch):
    other = tmp_path / "data"
    monkeypatch.setattr(predictor.Manifest, "load", lambda path: pytest.fail("read") if path == other else None)
    judge = open_detector(made.sweep)
    monkeypatch.setattr(predictor.runs, "read_json", lambda path: {"manifest": str(other)})
    seen = predictor._seen(judge, predictor._own(judge.manifest_file))
    expected = {split: len(pd.read_csv(made.sweep / f"predictions-{split}.csv")) for split in ("train", "val", "test")}
    assert pd.Series(seen.values()).value_counts().to_dict() == expected


def test_the_same_images_are_not_scored_again(made, tmp_path, monkeypatch, capsys):
    one = tmp_path / "one.jpg"
    one.write_bytes(jpeg(picture(1, fake=True)))
    config = PredictConfig.of(images=str(one), run=made.sweep.name, out=str(tmp_path / "out"))
    first, words = table(predict.run(config)), capsys.readouterr().out
    assert "one.jpg is called" in words
    assert "probability of fake 0." in words
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "of", lambda *_, **__: pytest.fail("scored again"))
        predict.run(config)
    assert capsys.readouterr().out == words
    one.write_bytes(jpeg(picture(2, fake=False)))
    assert table(predict.run(config)).digest[0] != first.digest[0]


def test_ctrl_c_leaves_nothing(made, tmp_path, monkeypatch):
    def stopped(self, images):
        yield Prediction("one")
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "stream", stopped)
    with pytest.raises(KeyboardInterrupt):
        predict.run(PredictConfig.of(images=str(made.faces), run=made.sweep.name, out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_heat_maps_of_the_first_good_images(made, tmp_path):
    folder = tmp_path / "few"
    for number in range(3):
        (folder / f"{number}.jpg").parent.mkdir(exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(jpeg(picture(number, fake=True)) if number else b"")
    rows = table(predict.run(PredictConfig.of(images=str(folder), run=made.sweep.name, heat_maps=1, out=str(tmp_path))))
    assert rows.heat_map.tolist() == ["", "heat-0001-1.png", ""]
    assert Image.open(tmp_path / "heat-0001-1.png").size == (128, 64)


def test_a_table_that_names_other_files_as_heat_maps_removes_none(made, tmp_path):
    """Whoever hands over a folder of predictions does not choose what is deleted."""
    out, face = tmp_path / "out", tmp_path / "face.jpg"
    face.write_bytes(jpeg(picture(1, fake=True)))
    config = PredictConfig.of(images=str(face), run=made.sweep.name, heat_maps=1, out=str(out))
    predict.run(config)
    others = [tmp_path / "victim.txt", tmp_path / "heat-0001-face.png", out / "mine.png", out / "heat-holiday.png"]
    for path in others:
        path.write_text("precious")
    row = table(out)
    names = ["../victim.txt", str(tmp_path / "victim.txt"), "../heat-0001-face.png", "mine.png", "heat-holiday.png", "",
             ".", "..", "heat-0001-../../victim.png", "heat-0001-face.png\n", "heat-0001-face.png"]  # fmt: skip
    pd.concat([row.assign(heat_map=name) for name in names]).to_csv(out / "predictions.csv", index=False)
    face.write_bytes(jpeg(picture(2, fake=True)))
    predict.run(config.but(heat_maps=0))
    assert [path.read_text() for path in others] == ["precious"] * 4
    assert not (out / "heat-0001-face.png").exists()  # its own, of the image that was there before


@pytest.mark.parametrize("content", [b"", b"path\nx\n", b"heat_map\n\xff\n", None])
def test_an_earlier_table_that_is_damaged_is_told_before_anything_is_scored(made, tmp_path, content, monkeypatch):
    face = tmp_path / "face.jpg"
    face.write_bytes(jpeg(picture(1, fake=True)))
    config = PredictConfig.of(images=str(face), run=made.sweep.name, out=str(tmp_path / "out"))
    damaged = predict.run(config) / "predictions.csv"
    damaged.unlink()
    damaged.mkdir() if content is None else damaged.write_bytes(content)
    monkeypatch.setattr(Predictor, "of", lambda *_, **__: pytest.fail("scored"))
    with pytest.raises(UserError, match=r"predictions\.csv is not as this program wrote it .*another folder as OUT"):
        predict.run(config.but(threshold="half"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"run": "nix"}, "unknown run 'nix'"),
        ({"run": "faces"}, r"RUN=faces could be any of \d runs"),
        ({"run": "", "data": "nowhere"}, "no manifest"),
        ({"threshold": "best"}, "unknown THRESHOLD 'best'"),
        ({"batch": -1}, "BATCH and HEAT_MAPS must not be negative"),
        ({"threshold": "1.5"}, "THRESHOLD=1.5: a number is a probability of fake, more than 0 and less than 1"),
        ({"copies": "yes"}, "unknown COPIES 'yes'"),
        ({"device": "cuda:99"}, "DEVICE=cuda:99: .*leave DEVICE out"),
    ],
)
def test_a_wrong_option_is_one_message(made, options, words):
    with pytest.raises(UserError, match=words):
        predict.run(PredictConfig.of(**{"images": str(made.faces / "real"), "run": made.sweep.name} | options))


def test_no_run_yet_and_a_run_without_validation_scores(made, tmp_path, monkeypatch):
    copied = tmp_path / "copied"
    copied.mkdir()
    for each in made.sweep.iterdir():
        (copied / each.name).write_bytes(each.read_bytes())
    (copied / "predictions-val.csv").unlink()
    with pytest.raises(UserError, match=r"predictions-val\.csv: it is gone"):
        Predictor.load(str(copied))
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "none"))
    for run in ("", "any"):
        with pytest.raises(UserError, match="there is no finished run yet"):
            predict.run(PredictConfig.of(images=str(made.faces), run=run))


def named(images: str, root: Path) -> list[str]:
    return [each.path.removeprefix(f"{root}/") for each in files_of(images)]


def test_images_are_paths_with_spaces_patterns_and_folders(tmp_path, monkeypatch):
    for name in ("a b.jpg", "c.jpg", "d/2.png", "d/1.png", "d/.git/x.png", "e f/g.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert named("a b.jpg", tmp_path) == ["a b.jpg"]
    assert named("c.jpg a b.jpg e f d", tmp_path) == ["c.jpg", "a b.jpg", "e f/g.webp", "d/1.png", "d/2.png"]
    assert named("c.jpg\na b.jpg\n", tmp_path) == ["c.jpg", "a b.jpg"]
    assert named("*.jpg c.jpg", tmp_path) == ["a b.jpg", "c.jpg"]
    assert named("**/*.png", tmp_path) == ["d/1.png", "d/2.png"]
    found = {each.path: each.reason for each in files_of("c.jpg none.jpg no*.gif")}
    assert found == {"c.jpg": "", "none.jpg": "no such file or folder", "no*.gif": "no file matches"}


def test_nothing_to_score_is_a_mistake(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    (tmp_path / "texts" / "b.txt").write_text("b")
    for images, words in {
        "": "IMAGES= names no image", " ": "IMAGES= names no image",
        str(tmp_path / "empty"): "the folder holds no files",
        str(tmp_path / "texts"): "a.txt: not the ending of an image, and 1 more",
        str(tmp_path / "nix"): "no such file or folder",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=words):
            files_of(images)


def test_files_that_may_not_be_read_and_pipes(made, tmp_path, monkeypatch):
    closed, pipe, big = tmp_path / "closed.jpg", tmp_path / "pipe.jpg", tmp_path / "big.jpg"
    closed.write_bytes(b"x")
    os.mkfifo(pipe)
    with big.open("wb") as file:
        file.truncate(2**30 + 1)  # a hole: no disk behind it
    refuse = {str(closed): PermissionError(13, "Permission denied")}  # root may read everything

    def opener(path, flags, really=disk._without_waiting):
        if str(path) in refuse:
            raise refuse[str(path)]
        return really(path, flags)

    monkeypatch.setattr(disk, "_without_waiting", opener)
    found = Predictor.of(made.sweep, batch=8).score([closed, pipe, big, tmp_path])
    assert [(each.status, each.reason) for each in found] == [
        ("unreadable", "Permission denied"), ("unreadable", "no regular file"),
        ("enormous", "1,073,741,825 bytes, over 1,073,741,824"), ("unreadable", "a folder"),
    ]  # fmt: skip


def test_names_are_no_formulas_in_a_spreadsheet_and_as_they_are_in_the_json(made, tmp_path, monkeypatch):
    names = ["=HYPERLINK(1).jpg", "+1+1.jpg", "-2+3.jpg", "@sum.jpg", "\tx.jpg", "a=b.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(jpeg(picture(1, fake=False)))
    monkeypatch.chdir(tmp_path)
    given = {"run": made.sweep.name, "out": str(tmp_path / "out")}
    out = predict.run(PredictConfig.of(images="\n".join(names), heat_maps=1, **given))
    rows = table(out)
    assert rows.path.tolist() == [f"'{name}" for name in names[:-1]] + ["a=b.jpg"]
    _, images = said(out)
    assert [each["path"] for each in images] == names
    assert rows.score.tolist() == [each["score"] for each in images]
    assert rows.score.dtype == float
    predict.run(PredictConfig.of(images="a=b.jpg", **given))  # what it drew is still known
    assert not list(out.glob("heat-*"))


def test_names_that_are_no_utf8_are_scored(made, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.jpg"
    with open(name, "wb") as file:
        file.write(jpeg(picture(1, fake=True)))
    rows = table(predict.run(PredictConfig.of(images=str(tmp_path), run=made.sweep.name, out=str(tmp_path / "out"))))
    assert rows.path.tolist() == [f"{tmp_path}/\\udcff.jpg"]
    assert rows.status.tolist() == ["ok"]


def test_the_command_as_it_is_typed(made, tmp_path):
    face = tmp_path / "<i>my face</i>.jpg".replace("/", "_")
    face.write_bytes(jpeg(picture(1, fake=True)))
    flags = [f"--images={face} {tmp_path}/none.jpg", f"--run={made.trained.name}", f"--out={tmp_path / 'out'}"]
    call = forked.python("-m", "analysis.predict", *flags)
    assert call.returncode == 0, call.stderr
    assert "1 image judged by" in call.stdout
    assert "1 bad (1 missing)" in call.stdout
    assert table(tmp_path / "out").status.tolist() == ["ok", "missing"]
    command = said(tmp_path / "out")[0]["environment"]["command"]
    assert shlex.split(command) == ["analysis.predict", *flags]
