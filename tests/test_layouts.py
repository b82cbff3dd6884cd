"""Every layout that people have, each with its wrong twin. A listing opens no image, so the files here are empty."""

import json
from pathlib import Path

import pandas as pd
import pytest

from cache.errors import UserError
from data.labels import classes_of, one_means
from data.layouts import LAYOUTS, list_images, register
from data.layouts.base import Listing, Source

ROWS = ["path", "label", "split", "generator"]


def tree(folder: Path, *files: str) -> Path:
    """`folder` with empty files; a number behind a folder's name and a colon stands for as many of them."""
    for each in files:
        where, _, count = each.partition(":")
        names = [f"{where}/{number}.jpg" for number in range(int(count))] if count else [where]
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    return folder


def listed(data: Path, *, classes: str = "", labels: str = "", root: str = "") -> Listing:
    return list_images(Source(data, root, classes=classes_of(classes), one=one_means(labels)))


def found(data: Path, **options: str) -> dict[str, tuple[str, ...]]:
    """Path -> label, split, generator; without what is not there."""
    rows = listed(data, **options).rows
    rows = rows[[name for name in ROWS if name in rows]]
    return {path: tuple(filter(None, more)) for path, *more in rows.itertuples(index=False)}


def refused(data: Path, words: str, **options: str) -> None:
    with pytest.raises(UserError, match=words):
        listed(data, **options)


def test_an_image_is_no_data_set(tmp_path):
    refused(tree(tmp_path, "a.JPG") / "a.JPG", "is an image: expected a folder or a list.*make predict IMAGES=")


# Folders


@pytest.mark.parametrize(
    ("real", "fake"),
    [
        ("real", "fake"), ("REAL", "FAKE"), ("0_real", "1_fake"), ("1_real", "0_fake"), ("nature", "ai"),
        ("original", "manipulated"), ("training_real", "training_fake"), ("authentic", "generated"),
        ("Real Images", "AI-generated images"), ("natural", "synthetic"), ("originals", "deepfakes"),
        ("pristine", "forged"), ("original_sequences", "manipulated_sequences"), ("genuine", "tampered"),
    ],
)  # fmt: skip
def test_class_folders_have_the_names_of_the_field(tmp_path, real, fake):
    tree(tmp_path, f"{real}/a.jpg", f"{fake}/b.jpg")
    assert found(tmp_path) == {f"{real}/a.jpg": ("real",), f"{fake}/b.jpg": ("fake",)}


@pytest.mark.parametrize("inner", ["", "train"])
def test_the_folder_that_one_is_in(tmp_path, monkeypatch, inner):
    monkeypatch.chdir(tree(tmp_path, *(f"{inner}/{name}".strip("/") for name in ("real/a.jpg", "fake/b.jpg"))))
    assert {path: (tmp_path / path).is_file() for path in found(Path("."))} == {
        f"{inner}/{name}".strip("/"): True for name in ("real/a.jpg", "fake/b.jpg")
    }


@pytest.mark.parametrize("name", ["real_vs_fake", "really", "realfake", "surreal", "unreal", "fakenews", "images", "0"])
def test_names_that_are_no_classes(name):
    assert classes_of("").of(name) == ""


def test_two_names_of_a_class_are_said_by_the_user(tmp_path):
    tree(tmp_path, "real:4", "nature:4", "fake:4", "ai:4")
    refused(tmp_path, r"ai/ and fake/ in \./ could each hold the fake .*CLASSES=\"real=nature,real fake=ai,fake\"")
    assert len(found(tmp_path, classes="real=nature,real fake=ai,fake")) == 16
    listing = listed(tmp_path, classes="real=nature fake=ai")
    assert (len(listing.rows), listing.ignored) == (8, {"image in fake/": 4, "image in real/": 4})
    refused(tmp_path, r"unknown name in CLASSES .* 'natur'; did you mean nature", classes="real=natur fake=ai")


def test_a_third_class_is_named_or_refused(tmp_path):
    tree(tmp_path, "real:40", "fake:40", "edited:3")
    assert listed(tmp_path).ignored == {"image in edited/": 3}  # few: they are told
    tree(tmp_path, "edited:5")
    refused(tmp_path, r"5 images lie in edited/, beside fake/ and real/ .*CLASSES=\"real=real fake=edited,fake\"")
    rows = found(tmp_path, classes="real=real fake=edited,fake")
    assert rows["edited/0.jpg"] == ("fake", "edited")
    assert rows["fake/0.jpg"] == ("fake", "fake")
    assert listed(tmp_path, classes="real=real").ignored == {"image in edited/": 5}


def test_folders_of_one_class_alone_are_one_and_beside_others_not(tmp_path):
    assert set(found(tree(tmp_path / "only", "fake:3")).values()) == {("fake",)}
    refused(tree(tmp_path / "some", "real:3", "sdxl:1"), r'1 images lie in sdxl/.*CLASSES="real=real fake=sdxl"')
    none = tree(tmp_path / "none", "Celeb-real:2", "YouTube-real:1", "Celeb-synthesis:3")
    refused(none, r'CLASSES="real=Celeb-real,YouTube-real fake=Celeb-synthesis"')
    rows = found(none, classes="real=Celeb-real,YouTube-real fake=Celeb-synthesis")
    assert sorted(rows.values()) == [("fake",)] * 3 + [("real",)] * 3


def test_splits_in_names_of_class_folders(tmp_path):
    tree(tmp_path, "train_real:1", "train_fake:1", "test_real:1", "test_fake:1")
    assert found(tmp_path)["test_fake/0.jpg"] == ("fake", "test")
    assert found(tmp_path)["train_real/0.jpg"] == ("real", "train")
    tree(tmp_path, "fake:1")
    refused(tmp_path, r"could each hold the fake images")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("fake/sdxl/1.jpg", ("fake", "sdxl")), ("1_fake/sdxl/more/1.jpg", ("fake", "sdxl")),
        ("train/fake/sdxl/1.jpg", ("fake", "train", "sdxl")), ("manipulated_sequences/NT/c23/1.jpg", ("fake", "NT")),
    ],
)  # fmt: skip
def test_a_folder_for_each_generator_below_the_class(tmp_path, path, expected):
    tree(tmp_path, path, f"{path.partition('fake')[0]}real/0.jpg" if "fake" in path else "original_sequences/0.jpg")
    assert found(tmp_path)[path] == expected


@pytest.mark.parametrize(
    ("form", "split"),
    [
        ("{}/{}/0.jpg", ()), ("train/{}/{}/0.jpg", ("train",)), ("{}/train/{}/0.jpg", ("train",)),
        ("{}/airplane/{}/0.jpg", ()), ("test/{}/car/{}/0.jpg", ("test",)),
    ],
)  # fmt: skip
def test_a_folder_for_each_generator_above_the_class(tmp_path, form, split):
    fakes = {form.format(name, "1_fake"): ("fake", *split, name) for name in ("progan", "biggan")}
    reals = {form.format(name, "0_real"): ("real", *split) for name in ("progan", "biggan")}
    assert found(tree(tmp_path, *fakes, *reals)) == fakes | reals


@pytest.mark.parametrize(
    "files",
    [
        ("deepfakes/real:3", "deepfakes/fake:3", "face2face/real:3", "face2face/fake:3"),  # both classes are in it
        ("original:3", "deepfakes/real:3", "deepfakes/fake:3"), ("deepfakes/real:3", "deepfakes/fake:3"),
        ("real:3", "fake/stylegan/0_real:3"),
    ],
)  # fmt: skip
def test_an_image_in_folders_of_both_classes_is_of_neither(tmp_path, files):
    refused(tree(tmp_path, *files), "are fake by (deepfakes|fake)/ and real by (0_)?real/")


def test_a_generator_called_like_a_class_is_one_where_classes_says_so(tmp_path):
    tree(tmp_path, "deepfakes/real/a.jpg", "deepfakes/fake/b.jpg", "face2face/real/c.jpg", "face2face/fake/d.jpg")
    assert found(tmp_path, classes="real=real fake=fake") == {
        "deepfakes/fake/b.jpg": ("fake", "deepfakes"), "deepfakes/real/a.jpg": ("real",),
        "face2face/fake/d.jpg": ("fake", "face2face"), "face2face/real/c.jpg": ("real",),
    }  # fmt: skip


def test_splits_below_the_classes_are_taken_where_all_images_have_one(tmp_path):
    tree(tmp_path, "real/train/a.jpg", "real/test/b.jpg", "fake/gan/Train/c.jpg", "fake/test/gan/d.jpg")
    assert found(tmp_path) == {
        "real/train/a.jpg": ("real", "train"), "real/test/b.jpg": ("real", "test"),
        "fake/gan/Train/c.jpg": ("fake", "train", "gan"), "fake/test/gan/d.jpg": ("fake", "test", "gan"),
    }  # fmt: skip
    tree(tmp_path, "real/e.jpg")
    assert {row[:2] for row in found(tmp_path).values()} == {("real",), ("fake", "gan")}
    assert listed(tmp_path).ignored == {"split that a folder inside of a class names": 4}


def test_one_folder_above_the_classes_is_the_data_set(tmp_path):
    tree(tmp_path, "faces/real:2", "faces/fake:2")
    refused(tmp_path, f"Did you mean DATA={tmp_path}/faces")
    assert len(found(tree(tmp_path, "train/progan/0_real:2", "train/progan/1_fake:2") / "train" / "progan")) == 4
    tree(tmp_path, "other/real:2", "other/fake:2", "other/train.csv")  # two data sets are no two generators
    refused(tmp_path, r"Did you mean DATA=.*faces or DATA=.*other")


def test_a_generator_with_a_split_beside_one_without_is_refused(tmp_path):
    tree(tmp_path, "progan/0_real:1", "progan/1_fake:1", "biggan/train/ai:1", "biggan/train/nature:1")
    refused(tmp_path, "so their split could be given or not")


def test_what_is_said_of_tables_is_refused_of_folders(tmp_path):
    tree(tmp_path, "real:1", "fake:1", "list.csv")
    assert list(listed(tmp_path).ignored) == [f"CSV beside class folders, which DATA={tmp_path}/list.csv would read"]
    refused(tmp_path, "LABELS says how a CSV is read", labels="fake=1")
    refused(tmp_path, "ROOT says how a CSV is read", root=str(tmp_path))


# Tables


def table(folder: Path, **columns: list) -> Path:
    """A CSV of columns, and the files of the first of them; `_` in a name stands for itself."""
    frame = pd.DataFrame(columns)
    tree(folder, *(name for name in frame.iloc[:, 0].str.replace("\\", "/") if ".." not in name))
    frame.to_csv(folder / "list.csv", index=False)
    return folder / "list.csv"


NEUTRAL = ["x/1.jpg", "x/2.jpg", "y/3.jpg"]


@pytest.mark.parametrize(
    "columns",
    [
        {"path": NEUTRAL, "label": ["real", "FAKE", "Fake"]}, {"filename": NEUTRAL, "class": ["nature", "ai", "ai"]},
        {"image": NEUTRAL, "target": ["original", "deepfake", "manipulated"]}, {"file": NEUTRAL, "is_fake": [0, 1, 1]},
        {"Path": NEUTRAL, "is_real": ["True", "False", "False"]},
        {"img_path": NEUTRAL, "Label": ["0_real", "1_fake", "ai"]},
        {"file_name": NEUTRAL, "is_fake": ["no", "yes", "yes"], "is_real": [1, 0, 0]},
        {"path": NEUTRAL, "label": [1, 0, 0], "label_str": ["real", "fake", "fake"]},
        {"path": NEUTRAL, "label": [0, 1, 1], "is_fake": [0, 1, 1]} | {"": "fake=1"},
    ],
)  # fmt: skip
def test_columns_and_labels_by_their_usual_names(tmp_path, columns):
    labels = columns.get("", "")
    data = table(tmp_path, **{name: cells for name, cells in columns.items() if name})
    rows = listed(data, labels=labels).rows
    assert rows.label.tolist() == ["real", "fake", "fake"]
    assert rows.path.tolist() == NEUTRAL
    assert not {"is_fake", "is_real", "class", "target"} & set(rows)  # no slices that give the label away


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": NEUTRAL, "label": [0, 1, 1]}, r'nothing says which of them is fake.*LABELS="fake=1" or LABELS='),
        ({"path": NEUTRAL, "class": [0, 1, 1], "target": [0, 1, 1]}, "class and target could each be the label"),
        ({"image": NEUTRAL, "file": NEUTRAL, "label": ["real"] * 3}, "image and file could each be the path"),
        ({"picture": NEUTRAL, "label": ["real"] * 3}, "no column 'path'; found picture, label.*or one of filepath"),
        ({"path": NEUTRAL, "kind": ["real"] * 3}, "no column 'label'; found path, kind.*or one of labels, class"),
        ({"path": NEUTRAL, "label": ["real", "fake", "edited"]}, "line 4: label 'edited'.*edited, fake, real: say"),
        ({"path": NEUTRAL, "label": [0, 1, 2]}, r"line 4: label '2'; expected 1 or real.*CLASSES="),
        ({"path": NEUTRAL, "is_fake": [0, 1, 1], "is_real": [1, 1, 0]}, r"in 1 rows `is_fake` .* and is_real disagree"),
    ],
)  # fmt: skip
def test_tables_that_could_mean_anything(tmp_path, columns, words):
    refused(table(tmp_path, **columns), words)


def test_numbers_are_what_labels_say_and_no_witness_contradicts(tmp_path):
    neutral = table(tmp_path, path=NEUTRAL, label=[0, 1, 1])
    assert listed(neutral, labels="fake=1").rows.label.tolist() == ["real", "fake", "fake"]
    assert listed(neutral, labels="real=1").rows.label.tolist() == ["fake", "real", "real"]
    assert listed(neutral, labels="real=0").rows.label.tolist() == ["real", "fake", "fake"]
    turned = table(tmp_path / "turned", path=["fake/1.jpg", "real/2.jpg"], label=[1, 0])
    refused(turned, r'(?s)in 2 rows `label` \(1 = real, 0 = fake\) and the class folder.*say LABELS="fake=1"')
    assert listed(turned, labels="fake=1").rows.label.tolist() == ["fake", "real"]
    refused(turned, r"\(1 = real, 0 = fake\) and the class folder", labels="real=1")
    named = table(tmp_path / "named", path=NEUTRAL, is_fake=[0, 1, 1])
    refused(named, r"a 1 in the column is_fake is fake, and LABELS=\"real=1\" says otherwise", labels="real=1")
    half = table(tmp_path / "half", path=["ai/1.jpg", "nature/2.jpg", "x/3.jpg"], label=[0, 1, 1])
    assert listed(half).rows.label.tolist() == ["fake", "real", "real"]  # two rows are witnesses
    alone = table(tmp_path / "alone", path=["original/1.jpg", "original/2.jpg"], label=[0, 1])
    refused(alone, "nothing says which of them is fake")  # a folder of both classes is the witness of none


@pytest.mark.parametrize("mark", [";", "\t"])
def test_tables_of_spreadsheets(tmp_path, mark):
    tree(tmp_path, "a, b.jpg", "c.jpg")
    (tmp_path / "list.csv").write_text(f"path{mark}label\na, b.jpg{mark}real\nc.jpg{mark}fake\n", encoding="utf-8-sig")
    assert found(tmp_path / "list.csv") == {"a, b.jpg": ("real",), "c.jpg": ("fake",)}


def test_words_of_the_users_own_in_tables(tmp_path):
    data = table(tmp_path, path=NEUTRAL, label=["camera", "sdxl", "flux"])
    refused(data, "label 'camera'; expected .* It has camera, flux, sdxl: say which are which with CLASSES=")
    rows = listed(data, classes="real=camera fake=sdxl,flux").rows
    assert rows[["label", "generator"]].to_numpy().tolist() == [["real", ""], ["fake", "sdxl"], ["fake", "flux"]]
    refused(data, r"unknown name in CLASSES .* 'sdx'; did you mean sdxl", classes="real=camera fake=sdxl,flux,sdx")
    numbers = table(tmp_path / "numbers", path=NEUTRAL, target=[0, 1, 2])
    assert listed(numbers, classes="real=0 fake=1,2").rows.label.tolist() == ["real", "fake", "fake"]


def test_absolute_paths_have_a_common_root(tmp_path):
    places = [str(tmp_path / "far" / name) for name in ("a/real/1.jpg", "b/fake/2.jpg")]
    tree(tmp_path / "far", "a/real/1.jpg", "b/fake/2.jpg")
    (tmp_path / "list").mkdir()
    data = tmp_path / "list" / "list.csv"
    pd.DataFrame({"path": places, "label": [1, 0]}).to_csv(data, index=False)
    listing = listed(data)
    assert listing.root == tmp_path / "far"
    assert listing.rows.path.tolist() == ["a/real/1.jpg", "b/fake/2.jpg"]
    pd.DataFrame({"path": [*places, "real/3.jpg"], "label": [1, 0, 1]}).to_csv(data, index=False)
    refused(data, rf"leaves the image root {tmp_path}/list: .* as ROOT={tmp_path}\Z")
    pd.DataFrame({"path": ["../far/a/real/1.jpg"], "label": [1]}).to_csv(data, index=False)
    refused(data, rf"leaves the image root {tmp_path}/list: .* as ROOT={tmp_path}\Z")
    pd.DataFrame({"path": ["a/real/1.jpg"], "label": [1]}).to_csv(data, index=False)
    refused(data, r"none of the listed images is there.*ROOT=")
    assert listed(data, root=str(tmp_path / "far")).rows.label.tolist() == ["real"]


def test_paths_and_splits_as_windows_and_others_write_them(tmp_path):
    data = table(tmp_path, path=["real\\1.jpg", "fake\\2.jpg"], label=["real", "fake"], split=["Train", "Testing"])
    assert found(data) == {"real/1.jpg": ("real", "train"), "fake/2.jpg": ("fake", "test")}


# DeepfakeBench


def bench(folder: Path, name: str, content: dict) -> Path:
    path = folder / "dataset_json" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: content}))
    return path


def video(label: str, *frames: str) -> dict:
    return {"label": label, "frames": list(frames)}


def test_lists_of_deepfakebench(tmp_path):
    real, fake = "FF++\\original\\c23\\frames\\{}\\0.png", "FF++\\manipulated\\c23\\frames\\{}\\0.png"
    content = {
        label: {split: {"c23": {name: video(label, form.format(name))}} for split, name in videos.items()}
        for label, form, videos in (
            ("FF-real", real, {"train": "001", "val": "002", "test": "003"}),
            ("FF-F2F", fake, {"train": "001_002", "val": "002_001", "test": "003_004"}),
        )
    }
    data = bench(tmp_path / "bench", "FF-F2F", content)
    refused(data, "none of the listed images is there.*ROOT=")
    tree(tmp_path / "bench" / "rgb", "FF++/original/c23/frames/001/0.png")
    rows = listed(data).rows
    assert rows.path[0] == "FF++/original/c23/frames/001/0.png"
    assert rows.group.tolist()[::3] == ["FF-real/001", "FF-F2F/001_002"]
    assert rows[["label", "generator", "compression"]].drop_duplicates().to_numpy().tolist() == [
        ["real", "", "c23"], ["fake", "FF-F2F", "c23"],
    ]  # fmt: skip
    assert rows.split.tolist() == ["train", "val", "test"] * 2


def test_a_video_in_several_splits_of_a_list_counts_for_the_most_sheltered(tmp_path):
    """Celeb-DF has those of test in all three; UADFV and DFD have every video in all three."""
    tree(tmp_path, *(f"{name}/0.png" for name in "abcd"))
    real, fake = "CelebDFv2_real", "CelebDFv2_fake"
    a, b, c, d = (
        {name: video(label, f"{name}/0.png")} for name, label in zip("abcd", (real, real, fake, fake), strict=True)
    )
    celeb = {real: {"train": a | b, "val": b, "test": b}, fake: {"train": c | d, "val": d, "test": d}}
    listing = listed(bench(tmp_path, "celeb", celeb))
    assert dict(zip(listing.rows.group, listing.rows.split, strict=True)) == {
        f"{real}/a": "train", f"{real}/b": "test", f"{fake}/c": "train", f"{fake}/d": "test",
    }  # fmt: skip
    assert list(listing.ignored.values()) == [4]
    everywhere = {
        real: dict.fromkeys(("train", "val", "test"), a | b),
        fake: dict.fromkeys(("train", "val", "test"), c),
    }
    assert set(listed(bench(tmp_path, "uadfv", everywhere)).rows.split) == {""}


@pytest.mark.parametrize(
    ("label", "name", "expected"),
    [
        ("DFDCP_FakeB", "x", ("fake", "train", "DFDCP_FakeB")), ("DFDC_Real", "x", ("real", "train")),
        ("fake", "Deepfakes", ("fake", "train", "Deepfakes")), ("FF-DF", "x", ("fake", "train", "FF-DF")),
        ("blendface", "x", None), ("Fake-or-Real", "x", None),
    ],
)  # fmt: skip
def test_labels_of_deepfakebench(tmp_path, label, name, expected):
    tree(tmp_path, "v/0.png")
    data = bench(tmp_path, "some", {name: {"train": {"v": video(label, "v/0.png")}}})
    if expected:
        assert found(data) == {"v/0.png": expected}
    else:
        refused(data, f"the label '{label}' names no class.*CLASSES=")
        assert found(data, classes=f"fake={label}") == {"v/0.png": ("fake", "train", label)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as JSON"), ("[1]", "expected a list of DeepfakeBench"), ("{}", "found no video"),
        ('{"a": {"v": {"label": 3, "frames": ["x"]}}}', "a > v: expected a label and a list of paths"),
        ('{"a": {"v": {"label": "real", "frames": [3]}}}', "a > v: expected a label and a list of paths"),
        ('{"a": {"real": {"v": {"label": "real", "frames": ["0.png", "0.png"]}}}}', "1 paths are listed twice"),
        ('{"a": {"v": {"label": "real", "frames": ["0.png", "../0.png"]}}}', "leaves the image root"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)  # fmt: skip
def test_json_that_is_no_such_list(tmp_path, content, words):
    (tree(tmp_path, "0.png") / "list.json").write_text(content)
    refused(tmp_path / "list.json", words)


# One's own words, and one's own layout


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (classes_of, "real=a b=c"), (classes_of, "photo=a"), (classes_of, "real"), (classes_of, "real=a,,b"),
        (classes_of, "real=a fake=A"), (one_means, "fake=2"), (one_means, "fake=1 real=1"), (one_means, "1"),
    ],
)  # fmt: skip
def test_options_that_say_nothing(read, text):
    with pytest.raises(UserError, match=r'(CLASSES|LABELS)=.*expected (CLASSES="real=a,b|LABELS="fake=1")'):
        read(text)


def test_names_with_spaces_in_classes():
    assert classes_of("real=Real Photos, b fake = c").own == {"real photos": "real", "b": "real", "c": "fake"}


def test_a_layout_of_ones_own_is_asked_first(tmp_path):
    tree(tmp_path, "real:2", "fake:2")
    before = dict(LAYOUTS)
    try:
        rows = pd.DataFrame({"path": ["real/0.jpg"], "label": ["fake"], "split": [""]})
        register("mine")(lambda source: Listing(source.data, rows) if source.data == tmp_path else None)
        assert found(tmp_path) == {"real/0.jpg": ("fake",)}
        rows.label = ["neither"]
        refused(tmp_path, "label 'neither'; expected real or fake")
        with pytest.raises(UserError, match="there is a layout 'mine' already"):
            register("mine")
    finally:
        LAYOUTS.clear()
        LAYOUTS.update(before)
