"""The audit: near copies and only those, shortcuts and their cure, labels in doubt, and the page that says so."""

import json
from dataclasses import replace
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance, ImageOps

from analysis.audit import cached
from analysis.audit.contradicted import _by
from analysis.audit.neighbours import copies_by_features
from analysis.audit.options import AuditCommand
from analysis.audit.run import run as audit
from analysis.found.models import Run
from cache import paths
from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess, write_shard
from data import splits
from data.audit.copies import Copy, families, find_copies
from data.audit.examined import audit_of
from data.audit.lookalikes import CROWDED, candidates
from data.audit.shortcuts import THUMBNAIL, Shortcut, try_shortcuts
from data.equalize import run as equalizing
from data.equalize.options import EqualizeConfig
from data.equalize.run import run as equalize
from data.manifest import STATISTICS, Manifest
from data.thumbnails import Thumbnails
from heads.predictions import Predictions
from tests.conftest import jpeg
from tests.test_data import encoded, made

COUNT = 24  # pictures of a set


def scene(seed: int, side: int = 96) -> Image.Image:
    """A picture with coarse shapes and with detail, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse, fine = (Image.fromarray(rng.integers(30, 226, (many, many, 3), dtype=np.uint8)).resize((side, side), 3)
                    for many in (5, 24))  # fmt: skip
    return Image.blend(coarse, fine, 0.35)


def cropped(image: Image.Image) -> Image.Image:
    edge = round(0.05 * image.width)
    return image.crop((edge, edge, image.width - edge, image.height - edge))


COPIES = {
    "half": lambda image: image.resize((48, 48), 3), "mirrored": ImageOps.mirror, "cropped": cropped,
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.25), "grey": lambda image: image.convert("L"),
    "turned and cut": lambda image: cropped(ImageOps.mirror(image)),
}  # fmt: skip


def scenes(folder: Path, count: int = COUNT, *, start: int = 0) -> Path:
    """As class folders with splits, so that copies can be put where they must not be."""
    for number in range(start, start + count):
        place = folder / ("train", "valid", "test")[number % 3] / ("real", "fake")[number // 3 % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:03d}.jpg").write_bytes(jpeg(scene(number)))
    return folder


@pytest.fixture
def copied(tmp_path) -> Path:
    """COUNT pictures; of those in train/real, number 0, 6, 12, ..., there are copies of each kind in test/real."""
    folder = scenes(tmp_path / "copied")
    for (name, change), number in zip(COPIES.items(), (0, 6, 12, 18, 0, 6), strict=True):
        (folder / "test" / "real" / f"{name}.jpg").write_bytes(jpeg(change(scene(number)), 50))
    return folder


def pairs(manifest: Manifest) -> set[frozenset[str]]:
    found = find_copies(manifest, Thumbnails.load(paths.manifest_file(manifest.dataset).parent))
    names = [Path(path).stem for path in manifest.rows.path]
    return {frozenset({names[each.first], names[each.second]}) for each in found.copies}


def test_copies_of_each_kind_are_found_and_nothing_else(copied):
    found = pairs(made(copied))
    originals = dict(zip(COPIES, ("000", "006", "012", "018", "000", "006"), strict=True))
    planted = {frozenset({name, original}) for name, original in originals.items()}
    both = {frozenset({"half", "grey"}), frozenset({"mirrored", "turned and cut"})}
    assert planted <= found <= planted | both


def test_what_a_perceptual_hash_of_others_finds_is_found(copied):
    """imagehash knows neither mirror images nor crops; what it is sure of is among ours."""
    manifest = made(copied)
    hashes = {Path(path).stem: imagehash.phash(Image.open(manifest.root / path)) for path in manifest.rows.path}
    names = sorted(hashes)
    near = {frozenset({one, other}) for at, one in enumerate(names) for other in names[:at]
            if hashes[one] - hashes[other] <= 6}  # fmt: skip
    assert len(near) >= 3
    assert near <= pairs(manifest)


def test_near_copies_in_two_splits_are_warned_of_and_can_be_dropped(copied, capsys):
    manifest = made(copied)
    found = audit_of(manifest)
    assert (found.copies.looked, found.copies.across_labels) == (30, 0)
    assert found.copies.across_splits >= 6
    assert "LEAKS=drop" in found.warnings[0]
    assert "Near copies: " in capsys.readouterr().out
    rows = made(copied, leaks="drop").rows.set_index("path")
    dropped = rows.index[rows.status == "leak"]
    assert sorted(dropped) == [f"train/real/{number:03d}.jpg" for number in (0, 6, 12, 18)]
    assert audit_of(made(copied, leaks="drop")).copies.across_splits == 0


def test_images_of_one_group_may_look_alike(tmp_path):
    folder = tmp_path / "video"
    for number in range(12):
        place = folder / ("real", "fake")[number // 2 % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"video{number // 2}_{number}.jpg").write_bytes(jpeg(scene(number // 2), 60 + number))
    assert pairs(made(folder, group=r"(video\d+)_")) == set()
    assert len(pairs(made(folder, name="alone"))) == 6


def test_a_crowd_of_one_picture_is_not_compared_all_with_all():
    grey = np.random.default_rng(0).integers(0, 256, (1, 16, 16), np.uint8).repeat(500, axis=0)
    assert len(candidates(grey)) <= 500 * CROWDED
    assert len(candidates(grey[:0])) == len(candidates(np.zeros((9, 16, 16), np.uint8))) == 0


def test_a_crop_from_anywhere_is_found_by_cached_features_and_pixels(copied, monkeypatch):
    """Images 1 and 7 are nearest too, and do not show the same."""
    scene(4).crop((9, 3, 95, 89)).save(copied / "test" / "fake" / "anywhere.jpg", quality=90)
    manifest = made(copied)
    names = [Path(path).stem for path in manifest.rows.path]
    spec = FeatureSpec(
        "net", "w", "middle", "avg", Preprocess(0, 96, "bilinear", (0,) * 3, (1,) * 3), "fp32", "float32"
    )
    features = np.random.default_rng(0).normal(size=(len(manifest), 16))
    for near, of in (("anywhere", "004"), ("007", "001")):
        features[names.index(near)] = features[names.index(of)] + 0.01
    assert copies_by_features(manifest) is None
    write_shard(spec, manifest.digests, features)
    (paths.runs_dir() / "extract" / "one").mkdir(parents=True)
    monkeypatch.setattr(cached.runs, "is_complete", lambda folder: True)
    monkeypatch.setattr(cached, "specs_of", lambda folder: [spec])
    found = {frozenset({names[each.first], names[each.second]}) for each in copies_by_features(manifest)}
    assert frozenset({"004", "anywhere"}) in found
    assert frozenset({"001", "007"}) not in found


def test_images_of_a_group_are_no_candidates_however_many_they_are():
    grey = np.random.default_rng(0).integers(0, 256, (2, 16, 16), np.uint8).repeat(100, axis=0)
    groups = np.arange(200) % 100  # two of each, which do not look alike
    groups[:50] = 7
    found = candidates(grey, groups)
    assert len(found)
    assert (groups[found.whole] != groups[found.other]).all()
    assert len(candidates(grey, np.arange(200) // 100)) == 0


def test_an_image_whose_first_row_was_left_out_is_still_compared(copied):
    """As in a set that is joined of others, of which one had a leak."""
    manifest = made(copied)
    left_out = manifest.rows.assign(path="other/" + manifest.rows.path, status="leak")
    both = replace(manifest, rows=pd.concat([left_out, manifest.rows], ignore_index=True))
    thumbnails = Thumbnails.load(paths.manifest_file("copied").parent)
    found = find_copies(both, thumbnails)
    assert len(found.copies) == len(find_copies(manifest, thumbnails).copies) >= 6
    assert all(min(each.first, each.second) >= len(manifest) for each in found.copies)


def test_a_set_of_one_class_says_so_and_so_does_a_split(tmp_path, capsys):
    for number in range(8):
        (tmp_path / "one" / "real").mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / "real" / f"{number}.jpg").write_bytes(jpeg(scene(number)))
    (tmp_path / "one" / "fake").mkdir()
    assert "One class: 8 real and 0 fake" in audit_of(made(tmp_path / "one")).warnings[0]
    assert "Few images" not in capsys.readouterr().out
    counts = {"train": {"real": 90, "fake": 90}, "val": {"real": 40, "fake": 0}, "test": {"real": 0, "fake": 0}}
    assert list(splits.warnings(counts)) == ["val"]


def test_families_are_groups_and_what_copies_connect():
    found = families(pd.Series(["a", "a", "b", "c", "d"]), [Copy(1, 3, False, 1.0, 0.99)])
    assert found[0] == found[1] == found[3]
    assert len({found[0], found[2], found[4]}) == 3


def test_a_set_from_before_thumbnails_is_read_once_more_and_its_audit_says_that_nobody_looked(copied):
    before = made(copied)
    folder = paths.manifest_file("copied").parent
    whole = {name: (folder / name).read_bytes() for name in ("thumbnails.bin", "audit.json")}
    for name in ("thumbnails.bin", "audit.json", "made.json"):
        (folder / name).unlink()
    assert audit_of(before).copies is None
    assert made(copied).key == before.key
    assert {name: (folder / name).read_bytes() for name in whole} == whole


def test_an_audit_that_was_changed_is_not_believed(copied):
    manifest = made(copied)
    file = paths.manifest_file("copied").with_name("audit.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "warnings": []}))
    assert audit_of(manifest).copies is None


def rows_of(count: int, **columns: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = ("quantisation", "brightness", "colour", "sharpness", "bytes", "width", "height")
    noise = {name: rng.normal(size=count) for name in names}
    return pd.DataFrame({"label": np.tile(["real", "fake"], count // 2), "format": "JPEG"} | noise | columns)


def test_shortcuts_are_found_where_they_are_and_chance_is_chance():
    rng, fake = np.random.default_rng(1), np.tile([False, True], 300)
    middle = np.where(fake, rng.normal(size=600), rng.choice([-3, 3], 600) + rng.normal(size=600))
    grey = rng.integers(0, 256, (600, 16, 16), np.uint8)
    grey[fake, :4, :4] //= 2
    found = try_shortcuts(rows_of(600, sharpness=middle), np.arange(600), grey)
    assert found["sharpness"].is_strong("sharpness")  # neither more nor less of it: a middle
    assert found["sharpness"].low > 0.85
    assert found[THUMBNAIL].is_strong(THUMBNAIL)
    assert not any(found[name].is_strong(name) for name in ("file size", "brightness", "width"))
    assert found["file size"].low < 0.5 < found["file size"].high
    assert try_shortcuts(rows_of(12), np.arange(12), None) == {}


def test_images_of_one_family_are_no_evidence_for_one_another():
    """Twenty families of thirty images that share a number by chance: alone they would tell the classes apart."""
    family = np.repeat(np.arange(40), 15)
    fake = family % 2 == 1
    values = np.random.default_rng(0).normal(size=40)[family]
    rows = rows_of(600, sharpness=values, label=np.where(fake, "fake", "real"))
    together, alone = (try_shortcuts(rows, each, None)["sharpness"] for each in (family, np.arange(600)))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_thumbnail_may_say_more_before_it_is_warned_of():
    assert Shortcut(0.68, 0.66, 0.7).is_strong("sharpness")
    assert not Shortcut(0.68, 0.66, 0.7).is_strong(THUMBNAIL)
    assert not Shortcut(0.7, 0.59, 0.9).is_strong("sharpness")


def test_few_images_are_seldom_warned_of_by_chance():
    rng, fake = np.random.default_rng(0), np.arange(30) % 2 == 0
    warned = []
    for _ in range(25):
        numbers = {name: rng.random(30) for name in (*STATISTICS, "bytes", "width", "height")}
        rows = pd.DataFrame({"label": np.where(fake, "fake", "real"), "format": "JPEG"} | numbers)
        found = try_shortcuts(rows, np.arange(30), None)
        assert len(found) == len(numbers) + 2
        warned.append(any(each.is_strong(name) for name, each in found.items()))
    assert np.mean(warned) < 0.2


@pytest.fixture
def unequal(tmp_path) -> Path:
    """Real images as large PNGs, fakes as small JPEGs; one of the real ones is broken."""
    for number in range(40):
        label = ("real", "fake")[number % 2]
        (tmp_path / "unequal" / label).mkdir(parents=True, exist_ok=True)
        image = scene(number, 96 if label == "fake" else 128)
        content = jpeg(image, 70) if label == "fake" else encoded(image, "PNG")
        path = tmp_path / "unequal" / label / f"{number}.{'jpg' if label == 'fake' else 'png'}"
        path.write_bytes(content if number else content[:200])
    return tmp_path / "unequal"


def test_equalize_takes_away_what_lies_in_how_files_are_stored(unequal, tmp_path):
    found = audit_of(made(unequal))
    assert found.shortcuts["file format"] == found.shortcuts["width"] == 1.0
    assert "make equalize" in " ".join(found.warnings)
    path = equalize(EqualizeConfig.of(data=str(unequal), out=str(tmp_path / "equal"), size=64))
    after = made(path)
    assert after.dataset == "equal"
    assert len(after.usable) == 39
    assert {(row.width, row.height, row.format) for row in after.rows.itertuples()} == {(64, 64, "JPEG")}
    left = audit_of(after).shortcuts
    assert {name: left[name] for name in ("file format", "width", "height", "JPEG compression")} == {
        "file format": 0.5, "width": 0.5, "height": 0.5, "JPEG compression": 0.5,
    }  # fmt: skip
    before = made(unequal).usable.rows.set_index("digest").split
    assert (before[after.rows.source].to_numpy() == after.rows.split).all()


def test_equalize_enlarges_no_class_alone_and_says_what_is_still_seen(tmp_path, capsys):
    for number in range(41):
        label = "fake" if number == 7 else "real"
        place = tmp_path / "rare" / label / f"{number}.{'jpg' if label == 'fake' else 'png'}"
        place.parent.mkdir(parents=True, exist_ok=True)
        image = scene(number, 48 if label == "fake" else 64)
        place.write_bytes(jpeg(image) if label == "fake" else encoded(image, "PNG"))
    asked = {"data": str(tmp_path / "rare"), "out": str(tmp_path / "equal")}
    equalize(EqualizeConfig.of(**asked))
    said = capsys.readouterr().out
    assert "images of 48 x 48 pixels" in said
    assert "100 % of the fake and 0 % of the real images were JPEGs of 48 pixels before" in said
    assert "SIZE=32 hides them" in said
    equalize(EqualizeConfig.of(**asked | {"out": str(tmp_path / "large")}, size=64))
    assert "100 % of the fake and 0 % of the real images were enlarged, which blurs: SIZE=48" in capsys.readouterr().out


def test_equalize_goes_on_where_it_was_stopped_and_then_has_nothing_to_do(unequal, tmp_path, monkeypatch):
    asked = EqualizeConfig.of(data=str(unequal), out=str(tmp_path / "equal"), size=32)
    stored, seen = equalizing.stored, []

    def some(content, how):
        if len(seen) == 9:
            raise KeyboardInterrupt
        seen.append(content)
        return stored(content, how)

    monkeypatch.setattr(equalizing, "cores", lambda: 1)
    monkeypatch.setattr(equalizing, "stored", some)
    with pytest.raises(KeyboardInterrupt):
        equalize(asked)
    assert not (tmp_path / "equal" / "manifest.csv").exists()
    monkeypatch.setattr(equalizing, "stored", lambda content, how: seen.append(content) or stored(content, how))
    path = equalize(asked)
    assert len(seen) == 39
    times = {each: each.stat().st_mtime_ns for each in path.parent.rglob("*")}
    assert equalize(asked) == path
    assert len(seen) == 39
    assert times == {each: each.stat().st_mtime_ns for each in path.parent.rglob("*") if each in times}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "OUT=... is missing"), ({"out": "{data}"}, "the images themselves"),
        ({"out": "{data}/inner"}, "the images themselves"), ({"out": "{above}"}, "the images themselves"),
        ({"out": "{other}"}, "is not empty"), ({"out": "x", "size": 3}, "SIZE=3: expected 16"),
        ({"out": "x", "quality": 101}, "QUALITY=101"),
    ],
)  # fmt: skip
def test_equalize_refuses_what_would_go_wrong(unequal, tmp_path, options, words):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    places = {"data": unequal, "above": tmp_path, "other": tmp_path / "other"}
    given = {name: value.format(**places) if isinstance(value, str) else value for name, value in options.items()}
    with pytest.raises(UserError, match=words):
        equalize(EqualizeConfig.of(data=str(unequal), **given))


def test_a_folder_of_another_size_is_not_mixed(unequal, tmp_path):
    equalize(EqualizeConfig.of(data=str(unequal), out=str(tmp_path / "equal"), size=32))
    with pytest.raises(UserError, match="choose another folder"):
        equalize(EqualizeConfig.of(data=str(unequal), out=str(tmp_path / "equal"), size=64))


def test_the_audit_of_two_sets_says_what_they_share(tmp_path, capsys):
    one, other = scenes(tmp_path / "one"), scenes(tmp_path / "other", start=100)
    (other / "test" / "real" / "same.jpg").write_bytes((one / "train" / "real" / "000.jpg").read_bytes())
    (other / "test" / "fake" / "near.jpg").write_bytes(jpeg(scene(6).resize((50, 50), 3), 60))
    folder = audit(AuditCommand.of(data=f"{one} {other}"))
    said = capsys.readouterr().out
    assert "Files that stand in two sets, byte for byte: 1\nNear copies between one and other: 1\n" in said
    summary = json.loads((folder / "summary.json").read_text())
    assert [each["across"] for each in summary["shared"]["copies"]["shown"]] == ["set and label"]
    page = (folder / "index.html").read_text()
    assert page.count("No heads judged this set") == 2
    assert (folder / "copies.png").exists()
    assert not (audit(AuditCommand.of(data=f"{one} {other}", faces=False)) / "copies.png").exists()
    with pytest.raises(UserError, match="ROOT cannot be meant for several"):
        AuditCommand.of(data=f"{one} {other}", root="x")


def test_labels_that_are_contradicted_most_come_first():
    rng, fake = np.random.default_rng(0), np.tile([False, True], 100)
    scores = np.where(fake, 3.0, -3.0) + rng.normal(size=200)
    scores[[10, 11]] = 9, -9  # a real image that is surely fake, and the other way round
    judged = Predictions(np.array([f"{row}.jpg" for row in range(200)], object), scores, fake, np.arange(200))
    found = _by(Run(Path("run"), None, scored={"val": judged}))
    assert {each.path for each in found.shown} == {"10.jpg", "11.jpg"}
    assert (found.run, found.images, found.doubtful) == ("run", 200, 2)
