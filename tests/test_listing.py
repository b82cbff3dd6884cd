"""What of a folder is taken, what is only counted, what is refused; and what a kill or damage leaves of a manifest."""

import json
import os
import time

import numpy as np
import pandas as pd
import pytest

from analysis.found import run_option as chosen
from analysis.predict.image_files import files_of
from cache import paths
from cache.errors import UserError
from data import build, manifest, probing, sample
from data.manifest import Manifest
from data.options import DataConfig
from tests.conftest import jpeg, picture, write_faces


def made(data, **options) -> Manifest:
    return Manifest.load(build.run(DataConfig.of(data=str(data), **options)))


def audited(name: str) -> dict:
    return json.loads((paths.data_dir() / name / "audit.json").read_text())


@pytest.mark.parametrize("word", ["validate", "validation", "val", "valid", "dev", "Dev"])
def test_validation_has_many_names(tmp_path, word):
    for folder, start in (("train", 0), (word, 20), ("test", 40)):
        write_faces(tmp_path / "d" / folder, 6, start=start)
    assert made(tmp_path / "d").rows.split.value_counts().to_dict() == {"train": 6, "val": 6, "test": 6}


def test_validation_has_as_many_names_in_csvs(tmp_path):
    write_faces(tmp_path / "d" / "images", 12)
    files = [f"images/{path.parent.name}/{path.name}" for path in sorted((tmp_path / "d").rglob("*.jpg"))]
    table = pd.DataFrame({"path": files, "label": [path.split("/")[1] for path in files]})
    table[::2].to_csv(tmp_path / "d" / "train.csv", index=False)
    table[1::2].to_csv(tmp_path / "d" / "dev.csv", index=False)
    assert made(tmp_path / "d").rows.split.value_counts().to_dict() == {"train": 6, "val": 6}
    table[:0].to_csv(tmp_path / "d" / "valid.csv", index=False)
    with pytest.raises(UserError, match=r"valid.csv and dev.csv could each be the val split: say which with VALID_CSV"):
        made(tmp_path / "d")


def test_class_folders_beside_splits_are_refused(tmp_path):
    write_faces(tmp_path / "d", 12)
    write_faces(tmp_path / "d" / "train", 12, start=20)
    with pytest.raises(UserError, match=r"images in fake/ and in train/fake/, so their split could be given or not"):
        made(tmp_path / "d")


def test_what_is_not_taken_is_said_and_counted(tmp_path, capsys):
    folder = tmp_path / "d"
    write_faces(folder / "train", 12)
    write_faces(folder / "test", 6, start=20)
    for name in ("train/real/a.heic", "train/real/b.heic", "train/fake/notes.txt", "holdout/real/x.jpg", "train/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "train" / "real" / "more").symlink_to(folder / "holdout")
    assert len(made(folder)) == 18
    expected = {
        "ending .heic": 2, "ending .txt": 1, "image in holdout/": 1, "image in no class folder of train/": 1,
        "a link to a folder": 1,
    }  # fmt: skip
    assert audited("d")["ignored"] == expected
    said = capsys.readouterr().out
    assert all(f"{count} x {what}" in said for what, count in expected.items())
    (folder / "train" / "real" / "c.heic").write_bytes(b"x")
    made(folder)
    assert audited("d")["ignored"]["ending .heic"] == 3
    capsys.readouterr()
    made(folder)
    assert capsys.readouterr().out == ""


def test_a_data_set_of_links_is_one_and_says_where_they_lead(tmp_path, capsys):
    source = write_faces(tmp_path / "source", 12)
    for label in ("real", "fake"):
        (tmp_path / "d" / label).mkdir(parents=True)
        for path in (source / label).iterdir():
            (tmp_path / "d" / label / path.name).symlink_to(path)
    (tmp_path / "d" / "real" / "gone.jpg").symlink_to(source / "nowhere.jpg")
    (tmp_path / "d" / "real" / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "d" / "real" / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tmp_path / "d" / "real" / "pipe.jpg")
    found = made(tmp_path / "d").rows
    assert found.status.value_counts().to_dict() == {"ok": 12, "unreadable": 3, "missing": 1}
    assert audited("d")["outside"] == 14
    assert "14 images lie, by links, outside of" in capsys.readouterr().out
    assert made(source, name="source").key == made(tmp_path / "d").key


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"path,label\nreal/a.jpg,1,x\nfake/b.jpg,0,y\n", "line 2: more cells than the 2 columns"),
        (b"path,label\nreal/a.jpg,1,\nfake/b.jpg,0,\n", "line 2: more cells than the 2 columns"),
        (b"path,label\nreal/a.jpg,1,x\nfake/b.jpg,0\n", "line 2: more cells than the 2 columns"),
        (b"path,label\nreal/a.jpg,1\nfake/b.jpg,0,y\n", "cannot be read as CSV"),
        (b"path,label\nreal/a\0.jpg,1\n", "holds NUL bytes"),
        ("path,label\nreal/a.jpg,1\n".encode("utf-16"), "NUL bytes|cannot be read as CSV"),
        (b"path,label,note\nreal/a.jpg,1," + b"x" * 200_000 + b"\n", "row 1 has a cell of over 131,072 charac"),
        (b"path,label\nreal/" + b"x" * 5000 + b",1\n", "a path of 5,005 bytes, over 4,096"),
        (b"path,label\nreal/\xff.jpg,1\n", "cannot be read as CSV"),
        (b"", "cannot be read as CSV"),
    ],
)  # fmt: skip
def test_tables_that_would_be_read_as_something_else(tmp_path, content, words):
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        made(tmp_path / "list.csv")


def test_a_data_csv_is_read_as_carefully(faces):
    (faces / "data.csv").write_bytes(b'images_id,label\n"a,1\n')
    with pytest.raises(UserError, match="cannot be read as CSV"):
        made(faces)


@pytest.mark.parametrize("name", [".", "..", "a/b", "a\\b", "../x", "a\x1b[31m", "a\nb", "x" * 101])
def test_names_that_would_be_other_folders(faces, name):
    with pytest.raises(UserError, match=r"cannot be the name of a data set.*NAME="):
        made(faces, name=name)
    assert not paths.data_dir().exists()
    if name in (".", ".."):
        for place in (paths.manifest_file, paths.report_dir, paths.best_file):
            with pytest.raises(UserError, match="cannot be the name of a folder"):
                place(name)
        with pytest.raises(UserError, match="cannot be the name of a folder"):
            paths.run_dir("heads", name)


def stopped(*_, **__):
    raise KeyboardInterrupt


def test_stopped_between_the_halves_of_a_manifest(faces, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write_text", stopped)
        with pytest.raises(KeyboardInterrupt):
            made(faces)
    path = paths.manifest_file("faces")
    assert path.exists()
    assert paths.known_datasets() == []
    with pytest.raises(UserError, match=r"manifest.json, which is written last, is not there"):
        Manifest.load(path)
    before = made(faces)
    assert len(before) == 60
    assert "is damaged" in capsys.readouterr().out
    faces.rename(tmp_path / "moved")
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write_text", stopped)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "moved", name="faces")
    with pytest.raises(UserError, match="is damaged"):  # never new rows under the old root
        Manifest.load(path)
    assert made(tmp_path / "moved", name="faces").key == before.key


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b""), ("manifest.json", b"[]"), ("manifest.json", b"{}"), ("manifest.json", b"\xff"),
        ("manifest.json", b"[" * 100_000), ("manifest.csv", b""), ("manifest.csv", b"digest,path\n"),
        ("manifest.csv", b"\x00\xff"), ("audit.json", b""), ("audit.json", b"{"), ("probes.csv", b""),
    ],
)  # fmt: skip
def test_damaged_files_are_one_message_and_made_anew(faces, name, content):
    before = made(faces)
    file = paths.data_dir() / "faces" / name
    whole = file.read_bytes()
    file.write_bytes(content)
    if name.startswith("manifest"):
        with pytest.raises(UserError, match=r"is damaged .* makes it anew"):
            Manifest.load(paths.manifest_file("faces"))
    assert made(faces).key == before.key
    assert file.read_bytes() == whole


def test_changed_cells_of_a_manifest_are_damage(faces):
    made(faces)
    path = paths.manifest_file("faces")
    whole = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name, cell in {"digest": "xy", "label": "fakf", "split": "tesu", "width": "6x"}.items():
        whole.assign(**{name: [cell, *whole[name][1:]]}).to_csv(path, index=False)
        with pytest.raises(UserError, match="is damaged"):
            Manifest.load(path)


@pytest.mark.parametrize("change", ["flip", "cut", "edit", "old"])
def test_probes_that_were_changed_are_not_believed(faces, change, monkeypatch, capsys):
    before = made(faces)
    file = paths.data_dir() / "faces" / "probes.csv"
    whole = file.read_bytes()
    digest = before.rows.digest[0].encode()
    file.write_bytes({
        "flip": whole.replace(digest, (b"1" if digest[:1] != b"1" else b"2") + digest[1:]), "cut": whole[:1000],
        "edit": whole.replace(b",ok,", b",empty,", 1), "old": whole[: whole.rindex(b"#")],
    }[change])  # fmt: skip
    read, probe = [], probing.probe
    monkeypatch.setattr(probing, "probe", lambda root, path: read.append(path) or probe(root, path))
    capsys.readouterr()
    assert made(faces).key == before.key
    assert len(read) == 60
    assert "probes.csv is not as it was written" in capsys.readouterr().out
    assert file.read_bytes() == whole


def test_leftovers_of_killed_writers_go_from_data_and_sample(monkeypatch):
    monkeypatch.setattr(sample, "COUNT", 4)
    made("sample")
    places = [
        paths.data_dir() / "sample",
        paths.sample_dir(),
        *(paths.sample_dir() / each for each in ("real", "fake/blending")),
    ]
    for place in places:
        left = place / ".x.1-ab.part.jpg"
        left.touch()
        os.utime(left, (time.time() - 7200,) * 2)
    (paths.sample_dir() / "seams.json").write_text('{"version": 1,')
    assert len(made("sample")) == 4
    assert not [each for place in places for each in place.glob(".*.part*")]
    assert json.loads((paths.sample_dir() / "seams.json").read_text())["version"] == sample.VERSION


def test_anothers_broken_manifest_breaks_no_choice_of_the_best_run(faces, tmp_path, monkeypatch, capsys):
    made(faces)
    made(write_faces(tmp_path / "broken", 8, start=200))
    (paths.data_dir() / "broken" / "manifest.json").write_text("{")
    run = type("Ranked", (), {"folder": tmp_path / "run"})
    monkeypatch.setattr(chosen, "ranked_runs", lambda found: [run] if found.dataset == "faces" else [])
    assert chosen.find_run("") == tmp_path / "run"
    assert "manifest.csv is damaged" in capsys.readouterr().out
    with pytest.raises(UserError, match="is damaged"):
        chosen.find_run("", dataset="broken")


def test_loops_of_links_among_images_to_predict(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(picture(1, fake=False)))
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "again").symlink_to(tmp_path)
    found = {each.path.removeprefix(f"{tmp_path}/"): each.reason for each in files_of(str(tmp_path))}
    assert found == {"a.jpg": "", "again": "a link to a folder", "loop.jpg": ""}


def test_the_order_of_rows_is_that_of_their_paths(tmp_path):
    for number, name in enumerate(["b/2.jpg", "b.jpg", "b-1.jpg", "a/z/1.jpg", "a.jpg", ".hid/1.jpg"]):
        path = tmp_path / "d" / ("real", "fake")[number % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(picture(number, fake=False)))
    expected = [str(path.relative_to(tmp_path / "d")) for path in sorted((tmp_path / "d").rglob("*.jpg"))]
    assert np.array_equal(made(tmp_path / "d").rows.path, expected)
