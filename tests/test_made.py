"""A second run over an unchanged folder ends when the folder was looked at; anything else is done anew."""

import os

import pandas as pd
import pytest

from cache import paths
from cache.errors import UserError
from data import build, made
from data.probes import probe_all
from tests.conftest import write_faces
from tests.test_data import kaggle
from tests.test_data import made as manifest_of


@pytest.fixture
def built(monkeypatch):
    """Names of the data sets whose manifest was not only looked at."""
    names = []

    def noted(listing, kept, **options):
        names.append(kept.parent.name)
        return probe_all(listing, kept, **options)

    monkeypatch.setattr(build, "probe_all", noted)
    return names


def contents(name="faces") -> dict[str, bytes]:
    return {file: (paths.data_dir() / name / file).read_bytes() for file in (*made.FILES, "made.json")}


def test_an_unchanged_folder_is_only_looked_at(faces, built, capsys):
    before = manifest_of(faces)
    times = {name: os.stat(paths.data_dir() / "faces" / name).st_mtime_ns for name in (*made.FILES, "made.json")}
    capsys.readouterr()
    assert manifest_of(faces).key == before.key
    assert built == ["faces"]
    assert times == {name: os.stat(paths.data_dir() / "faces" / name).st_mtime_ns for name in times}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", [*made.FILES, "made.json"])
@pytest.mark.parametrize("change", ["gone", "byte"])
def test_what_was_changed_beside_it_is_made_anew(faces, built, name, change):
    manifest_of(faces)
    whole, file = contents(), paths.data_dir() / "faces" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink() if change == "gone" else file.write_bytes(content)
    manifest_of(faces)
    assert built == ["faces", "faces"]
    assert contents() == whole


def test_a_date_a_file_more_an_option_or_another_program_is_noticed(faces, built, monkeypatch):
    manifest_of(faces)
    write_faces(faces, 2, start=500)
    manifest_of(faces)
    os.utime(faces / "real" / "0000.jpg", (1, 1))
    manifest_of(faces)
    manifest_of(faces, group=r"(\d)\d*\.jpg", leaks="drop")
    manifest_of(faces, group=r"(\d)\d*\.jpg", leaks="drop", bad_images="black")
    manifest_of(faces, rehash=True)
    monkeypatch.setattr(made, "_program", lambda: b"another")
    manifest_of(faces, rehash=False)
    assert len(built) == 7
    manifest_of(faces)
    assert len(built) == 7


def test_what_a_csv_says_is_noticed(tmp_path, built):
    folder = kaggle(tmp_path / "k")
    table = pd.read_csv(folder / "train.csv").assign(camera="a")
    for camera in ("a", "b"):
        table.camera = table.camera.where(table.index > 0, camera)
        table.to_csv(folder / "train.csv")
        assert manifest_of(folder).rows.camera[0] == camera
    assert len(built) == 2
    manifest_of(folder)
    assert len(built) == 2


def test_what_could_not_be_read_is_read_again(tmp_path, built):
    folder = kaggle(tmp_path / "k")
    next((folder / "real_vs_fake/real-vs-fake/train/real").iterdir()).unlink()
    manifest_of(folder)
    assert not (paths.data_dir() / "k" / "made.json").exists()
    manifest_of(folder)
    assert len(built) == 2


def test_what_a_stopped_run_left_is_taken_over(faces, built):
    manifest_of(faces)
    log = paths.data_dir() / "faces" / "probes.log"
    log.touch()
    manifest_of(faces)
    assert len(built) == 2
    assert not log.exists()


def test_a_leak_is_refused_at_every_run(tmp_path, built):
    folder = tmp_path / "d"
    for split, start in (("train", 0), ("val", 20), ("test", 40)):
        write_faces(folder / split, 4, start=start)
    manifest_of(folder)
    (folder / "train" / "real" / "copy.jpg").write_bytes((folder / "test" / "real" / "0040.jpg").read_bytes())
    for _ in range(2):
        with pytest.raises(UserError, match="LEAKS=drop"):
            manifest_of(folder)


def test_a_file_that_changes_while_it_is_listed_is_read_again(faces, built, monkeypatch):
    """The listing has its old date, the probe its new one: what was made is of neither."""
    changed = faces / "real" / "0000.jpg"

    def late(listing, kept, **options):
        os.utime(changed, (1, 1))
        return probe_all(listing, kept, **options)

    monkeypatch.setattr(build, "probe_all", late)
    manifest_of(faces)
    assert not (paths.data_dir() / "faces" / "made.json").exists()
