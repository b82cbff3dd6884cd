"""Manifests: every layout, every bad image, splits that stay, leaks that stop."""

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cache import paths
from cache.atomic import write_bytes
from cache.errors import UserError
from cache.features import Preprocess
from data import augment, build, images, probing, sample
from data.audit.shortcuts import auc
from data.augment import Augmentation, Draw, changed
from data.manifest import BLACK_DIGEST, Manifest
from data.options import AUGMENTATIONS, DataConfig
from data.preprocess import of_view, to_input
from tests.conftest import jpeg, picture, write_faces


def made(data, **options) -> Manifest:
    return Manifest.load(build.run(DataConfig.of(data=str(data), **options)))


def kaggle(folder, *, labels=("1", "0"), prefix="real_vs_fake/real-vs-fake"):
    """The layout of the 140k set: label 1 = real, 0 = fake."""
    write_faces(folder / prefix / "train", 8)
    write_faces(folder / prefix / "valid", 4, start=100)
    write_faces(folder / prefix / "test", 4, start=200)
    for split in ("train", "valid", "test"):
        paths = sorted((folder / prefix / split).rglob("*.jpg"))
        table = pd.DataFrame({"path": [str(p.relative_to(folder / prefix)) for p in paths]})
        table["label"] = [labels[0] if "real" in p.parts[-2] else labels[1] for p in paths]
        table["label_str"] = [p.parts[-2] for p in paths]
        table.to_csv(folder / f"{split}.csv")
    return folder


def test_class_folders(faces):
    manifest = made(faces)
    assert len(manifest) == 60
    assert manifest.fake.sum() == 30
    assert set(manifest.rows.split) == {"train", "val", "test"}
    assert manifest.rows.path[0].startswith("fake/")
    assert (manifest.rows.group == manifest.rows.digest).all()


def test_class_folders_under_splits(tmp_path):
    write_faces(tmp_path / "d" / "train", 6)
    write_faces(tmp_path / "d" / "val", 4, start=50)
    write_faces(tmp_path / "d" / "test", 2, start=70)
    assert made(tmp_path / "d").rows.split.value_counts().to_dict() == {"train": 6, "val": 4, "test": 2}


def test_kaggle_csvs(tmp_path):
    manifest = made(kaggle(tmp_path / "k"))
    assert manifest.rows.split.value_counts().to_dict() == {"train": 8, "val": 4, "test": 4}
    assert all((row.label == "real") == ("/real/" in row.path) for row in manifest.rows.itertuples())
    assert manifest.root.name == "real-vs-fake"


def test_other_csvs_and_root(tmp_path):
    folder = kaggle(tmp_path / "k", prefix="elsewhere")
    (folder / "batches").mkdir()
    pd.read_csv(folder / "train.csv", dtype=str).head(6).to_csv(folder / "batches" / "train1.csv")
    manifest = made(folder, train_csv="batches/train1.csv", root=str(folder / "elsewhere"))
    assert manifest.dataset == "k-train1"
    assert (manifest.rows.split == "train").sum() == 6
    with pytest.raises(UserError, match=r"none of the listed images is there.*ROOT="):
        made(folder, name="other")


def test_a_data_csv_is_checked_against_the_folders(faces):
    rows = [(path.stem, path.parent.name) for path in sorted(faces.rglob("*.jpg"))]
    pd.DataFrame(rows, columns=["images_id", "label"]).to_csv(faces / "data.csv", index=False)
    assert len(made(faces)) == 60
    rows[0] = (rows[0][0], "real")
    pd.DataFrame(rows, columns=["images_id", "label"]).to_csv(faces / "data.csv", index=False)
    with pytest.raises(
        UserError, match=r"in 1 rows `label` and the class folder in its path disagree:\n  line 2: fake/0001.jpg"
    ):
        made(faces)


def test_a_manifest_is_data_too(faces, tmp_path):
    first = made(faces)
    first.rows.to_csv(tmp_path / "mine.csv", index=False)
    again = made(tmp_path / "mine.csv", root=str(faces), name="mine")
    pd.testing.assert_frame_equal(again.rows, first.rows)
    assert again.key == first.key


def test_a_set_without_validation_gets_some_of_train(tmp_path):
    write_faces(tmp_path / "d" / "train", 80)
    write_faces(tmp_path / "d" / "test", 4, start=100)
    counts = made(tmp_path / "d").rows.split.value_counts()
    assert 8 <= counts["val"] <= 32
    assert counts["test"] == 4


def test_adding_images_moves_nobody(faces):
    before = made(faces).rows.set_index("digest").split
    write_faces(faces, 40, start=60)
    after = made(faces).rows.set_index("digest").split
    assert len(after) == 100
    assert (after[before.index] == before).all()


def test_groups_stay_together(tmp_path):
    for video in range(12):
        for frame in range(3):
            folder = tmp_path / "v" / ("real", "fake")[video % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"video{video}_{frame}.jpg").write_bytes(jpeg(picture(100 * video + frame, fake=bool(video % 2))))
    manifest = made(tmp_path / "v", group=r"(video\d+)_")
    assert manifest.rows.group.nunique() == 12
    assert (manifest.rows.groupby("group").split.nunique() == 1).all()
    with pytest.raises(UserError, match=r"36 paths do not match"):
        made(tmp_path / "v", group=r"(person\d+)")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="path"), "no column 'path'"),
        (lambda t: t.assign(label="7"), "line 2: label '7'; expected 1 or real"),
        (lambda t: t.assign(label=t.label.map({"1": "0", "0": "1"})), r"8 rows .*disagree"),
        (lambda t: t.assign(path="../" + t.path), "leaves the image root"),
        (lambda t: t.assign(path="/etc/passwd", label="real", label_str=""), "leaves the image root"),
        (lambda t: pd.concat([t, t]), "listed twice"),
        (lambda t: t.head(0), "no rows"),
    ],
)
def test_csvs_that_cannot_be_right(tmp_path, change, words):
    folder = kaggle(tmp_path / "k")
    change(pd.read_csv(folder / "train.csv", dtype=str)).to_csv(folder / "train.csv", index=False)
    with pytest.raises(UserError, match=words):
        made(folder)


def test_wrong_places_say_what_was_expected(tmp_path, faces):
    with pytest.raises(UserError, match="no such folder"):
        made(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"the folder is empty.*real/ and fake/"):
        made(tmp_path / "empty")
    with pytest.raises(UserError, match=r"Did you mean DATA=.*faces"):
        made(tmp_path)
    with pytest.raises(UserError, match=r"unknown BAD_IMAGES 'blak'; did you mean black"):
        DataConfig.of(bad_images="blak")


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_every_kind_of_image_has_its_outcome(faces):
    base = picture(999, fake=False)
    sixteen = Image.fromarray(np.asarray(base.convert("L"), np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    cases = {
        "cmyk.jpg": (encoded(base.convert("CMYK"), "JPEG"), "ok", "CMYK"),
        "sixteen.png": (encoded(sixteen, "PNG"), "ok", "16-bit"),
        "alpha.png": (encoded(base.convert("RGBA"), "PNG"), "ok", "alpha over white"),
        "grey.png": (encoded(base.convert("L"), "PNG"), "ok", "greyscale"),
        "turned.jpg": (encoded(base.resize((64, 32)), "JPEG", exif=exif), "ok", "EXIF rotation 6"),
        "moving.gif": (encoded(base, "GIF", save_all=True, append_images=[picture(5, fake=True)]), "ok", "animated"),
        "huge.png": (encoded(Image.new("1", (10_001, 10_000)), "PNG"), "enormous", "10001x10000"),
        "empty.jpg": (b"", "empty", "no bytes"),
        "text.jpg": (b"not an image at all", "unreadable", "not an image"),
        "cut.jpg": (jpeg(base)[:-300], "truncated", "truncated"),
        "cut.png": (encoded(base, "PNG")[:3000], "truncated", "truncated"),
    }  # fmt: skip
    for name, (content, _, _) in cases.items():
        (faces / "real" / name).write_bytes(content)
    manifest = made(faces)
    found = manifest.rows.set_index("path")
    for name, (_, status, note) in cases.items():
        assert found.status[f"real/{name}"] == status, name
        assert note in found.note[f"real/{name}"], name
    assert (found.width["real/turned.jpg"], found.height["real/turned.jpg"]) == (32, 64)
    assert len(manifest.usable) == 66
    grey = np.asarray(images.decode(cases["sixteen.png"][0])[0])[..., 0].astype(int)
    assert abs(grey - np.asarray(base.convert("L"), int)).max() <= 1


def test_bad_images_can_stop_or_turn_black(faces):
    (faces / "real" / "bad.jpg").write_bytes(b"x")
    (faces / "fake" / "worse.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"(?s)2 of 62 images cannot be used.*worse.jpg: empty"):
        made(faces, bad_images="fail")
    assert len(made(faces).usable) == 60
    black = made(faces, bad_images="black")
    assert len(black.usable) == 62
    assert (black.rows.digest[black.rows.status == "black"] == BLACK_DIGEST).all()


def test_a_listed_file_that_is_gone_is_a_row(tmp_path):
    folder = kaggle(tmp_path / "k")
    next((folder / "real_vs_fake/real-vs-fake/train/real").iterdir()).unlink()
    assert made(folder).rows.status.value_counts().to_dict() == {"ok": 15, "missing": 1}


def test_the_second_run_reads_only_what_changed(faces, monkeypatch):
    made(faces)
    read = []
    probe = probing.probe
    monkeypatch.setattr(probing, "probe", lambda root, path: read.append(path) or probe(root, path))
    made(faces)
    assert read == []
    (faces / "real" / "0000.jpg").write_bytes(jpeg(picture(0, fake=False), quality=60))
    made(faces)
    assert read == ["real/0000.jpg"]
    made(faces, rehash=True)
    assert len(read) == 61


def test_a_leak_stops_and_can_be_dropped(tmp_path):
    folder = tmp_path / "d"
    for split, start in (("train", 0), ("val", 20), ("test", 40)):
        write_faces(folder / split, 10, start=start)
    (folder / "train" / "real" / "copy.jpg").write_bytes((folder / "test" / "real" / "0040.jpg").read_bytes())
    with pytest.raises(UserError, match=r"(?s)2 rows share an image.*copy.jpg.*LEAKS=drop"):
        made(folder)
    rows = made(folder, leaks="drop").rows.set_index("path")
    assert rows.status["train/real/copy.jpg"] == "leak"
    assert rows.status["test/real/0040.jpg"] == "ok"


def test_one_image_under_both_labels_stops(faces):
    (faces / "fake" / "copy.jpg").write_bytes((faces / "real" / "0000.jpg").read_bytes())
    with pytest.raises(UserError, match="under the other label"):
        made(faces)
    assert (made(faces, leaks="drop").rows.status == "leak").sum() == 2


def test_the_audit_finds_a_shortcut(tmp_path):
    for index in range(40):
        label = ("real", "fake")[index % 2]
        path = tmp_path / "d" / label / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(picture(index, fake=False), quality=95 if label == "real" else 60))
    made(tmp_path / "d")
    found = json.loads((tmp_path / "data_dir" / "d" / "audit.json").read_text())
    assert found["shortcuts"]["JPEG compression"] == 1.0
    assert "JPEG compression (AUC 1.00 [1.00, 1.00])" in found["warnings"][0]


def test_audit_auc_counts_ties_half():
    assert auc(np.array([1.0, 1, 2, 3]), np.array([False, True, False, True])) == 0.625


def test_one_name_is_one_data_set(tmp_path):
    made(write_faces(tmp_path / "a" / "set", 8))
    with pytest.raises(UserError, match=r"already stands for .*NAME="):
        made(write_faces(tmp_path / "b" / "set", 8))


def test_moving_a_folder_changes_no_key(faces, tmp_path):
    before = made(faces)
    faces.rename(tmp_path / "new")
    after = made(tmp_path / "new", name="faces")
    assert after.key == before.key
    assert after.root != before.root


def test_the_sample_is_a_function_of_its_seed(monkeypatch, tmp_path):
    monkeypatch.setattr(sample, "COUNT", 20)
    old = paths.sample_dir() / "fake" / "fake_0001.jpg"
    write_bytes(old, b"of another version")
    manifest = made("sample")
    assert manifest.synthetic
    assert {(row.width, row.height, row.format) for row in manifest.rows.itertuples()} == {(256, 256, "JPEG")}
    assert not old.exists()
    path, content, seam = sample._drawn(5)
    assert (manifest.root / path).read_bytes() == content
    seams = json.loads((manifest.root / "seams.json").read_text())["seams"]
    assert seams[path] == [round(edge, 1) for edge in seam]
    assert {str(Path(each).parent) for each in seams} == {"fake/blending"}
    assert len(seams) == 5


def test_the_sample_has_videos_and_generators_in_every_split():
    rows = pd.DataFrame([asdict(sample._listed(index)) for index in range(sample.COUNT)])
    videos = rows.groupby("group")
    assert set(videos.size()) == {3}
    assert (videos[["label", "split", "generator"]].nunique() == 1).all(axis=None)
    counts = rows.groupby(["split", "label", "generator"]).size().to_dict()
    assert counts == {
        (split, label, generator): share * images
        for split, share in (("train", 3), ("val", 1), ("test", 1))
        for label, generator, images in (("real", "", 48), ("fake", "blending", 24), ("fake", "synthesis", 24))
    }
    assert not rows.path.duplicated().any()


@pytest.mark.parametrize("policy", AUGMENTATIONS.values())
def test_views_are_seeded_by_image_and_number(policy):
    how = Preprocess(0, 48, "bicubic", (0.5,) * 3, (0.5,) * 3)
    image, digest = picture(1, fake=False), "ab" * 32
    plain = to_input(image, how)
    np.testing.assert_array_equal(plain, np.asarray(image)[8:56, 8:56])
    first = to_input(image, how, digest=digest, draw=of_view(1, policy))
    np.testing.assert_array_equal(first, to_input(image, how, digest=digest, draw=of_view(1, policy)))
    for other in (
        plain,
        to_input(image, how, digest=digest, draw=of_view(2, policy)),
        to_input(image, how, digest="cd" * 32, draw=of_view(1, policy)),
    ):
        assert (other != first).any()
    larger = Preprocess(80, 100, "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert to_input(image, larger)[0].max() == 0  # black where the crop is larger than the image


def test_augmentations_depend_on_seed_and_image_alone_and_windows_keep_the_scale():
    how = Preprocess(0, 64, "bicubic", (0.5,) * 3, (0.5,) * 3)
    image = picture(3, fake=True)
    whole = np.asarray(image)
    window = to_input(image, how, digest="ab" * 32, draw=Draw(Augmentation(window=0.6), (1, 2)))
    assert window.shape == (32, 32, 3)
    places = [(y, x) for y in range(33) for x in range(33) if np.array_equal(whole[y : y + 32, x : x + 32], window)]
    assert len(places) == 1  # cut out, not rescaled
    every = Augmentation(
        flip=0.5, rotation=9, zoom=0.8, colour=0.3, jpeg=0.9, blur=0.9, window=0.6, shift=0.1, scale=0.1, chain=0.9
    )
    drawn = [to_input(image, how, digest="ab" * 32, draw=Draw(every, seed)) for seed in ((1, 2), (1, 2), (1, 3))]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    "one",
    [
        {"flip": 1}, {"rotation": 20}, {"zoom": 0.6}, {"colour": 0.5}, {"jpeg": 1}, {"blur": 1}, {"shift": 0.1},
        {"scale": 0.1}, {"chain": 1},
    ],
)  # fmt: skip
def test_each_augmentation_changes_the_image(one):
    how = Preprocess(0, 64, "bicubic", (0.5,) * 3, (0.5,) * 3)
    image = picture(3, fake=True)
    changed = to_input(image, how, digest="ab" * 32, draw=Draw(Augmentation(**one), (0,)))
    assert changed.shape == (64, 64, 3)
    assert not np.array_equal(changed, np.asarray(image))


def spot(image: Image.Image) -> tuple[np.ndarray, float]:
    """Where a bright spot is, as (x, y), and how bright it is in all."""
    grey = np.asarray(image.convert("L"), float)
    y, x = np.indices(grey.shape)
    return np.array([(x * grey).sum(), (y * grey).sum()]) / grey.sum() + 0.5, grey.sum()


def test_shift_and_scale_stay_inside_their_bounds():
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[28:32, 68:72] = 255  # around (70, 30): 20 to the right of the centre
    image = Image.fromarray(pixels)
    drawn = [np.random.default_rng(seed) for seed in range(60)]
    ways = np.array([spot(changed(image, Augmentation(shift=0.1), rng))[0] for rng in drawn]) - (70, 30)
    assert (np.abs(ways) <= (10.2, 6.2)).all()
    assert (ways.min(axis=0) < (-8, -4.5)).all()
    assert (ways.max(axis=0) > (8, 4.5)).all()
    found = [spot(changed(image, Augmentation(scale=0.1), rng)) for rng in drawn]
    places = np.array([place for place, _ in found])
    assert ((places[:, 0] >= 67.9) & (places[:, 0] <= 72.1)).all()
    assert places[:, 0].min() < 68.5
    assert places[:, 0].max() > 71.5
    np.testing.assert_allclose(places[:, 1], 30, atol=0.2)
    assert found[places[:, 0].argmax()][1] > 1.3 * found[places[:, 0].argmin()][1]  # what goes outwards grows


def test_a_turn_is_the_one_of_pillow():
    image, rng = picture(3, fake=True).crop((0, 0, 50, 61)), np.random.default_rng(4)
    turned = image.rotate(np.random.default_rng(4).uniform(-20, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(changed(image, Augmentation(rotation=20), rng), turned)


def test_a_chain_has_few_links_of_its_sizes_and_qualities(monkeypatch):
    sent = []

    def kept(image: Image.Image, quality: int) -> Image.Image:
        sent[-1].append((*image.size, quality))
        return image

    monkeypatch.setattr(augment, "through_jpeg", kept)
    how = Augmentation(chain=1, links=3, smallest=0.6, lowest_quality=40, highest_quality=100)
    for seed in range(80):
        sent.append([])
        assert changed(picture(1, fake=False), how, np.random.default_rng(seed)).size == (64, 64)
    assert {len(links) for links in sent} == {1, 2, 3}
    width, height, quality = np.concatenate(sent).T
    assert (width == height).all()
    assert (width.min(), width.max()) == (38, 64)
    assert 40 <= quality.min() < 45
    assert 95 < quality.max() <= 100


def test_qualities_the_wrong_way_round_are_told():
    with pytest.raises(UserError, match="lowest_quality = 60: above highest_quality = 50"):
        Augmentation(lowest_quality=60, highest_quality=50)


@pytest.mark.parametrize("group", [["a", "b"], ["a,b", "c"], ['a "b"', "c"], ["a\nb", "c"], ["a\rb", ""], ["", None]])
def test_a_manifests_key_is_that_of_its_lines_as_a_csv(group):
    rows = pd.DataFrame({"digest": "ab", "label": "real", "split": ["train", "test"], "group": group, "status": "ok"})
    lines = rows.drop(columns="status").to_csv(index=False)
    assert Manifest("made", Path(), False, rows).key == hashlib.sha256(lines.encode()).hexdigest()[:12]
