"""What DATA, EVAL and IMAGES name: paths, known data sets, lists of them; and what was probably meant."""

import pytest

from analysis.options import ReportCommand
from analysis.predict.image_files import files_of
from cache import paths
from cache.errors import UserError
from data.build import run
from data.manifest import Manifest
from data.naming import suggestion, words_of
from data.options import DataConfig
from tests.conftest import write_faces


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A data set called setA, whose images are somewhere else, and the working directory."""
    run(DataConfig.of(data=str(write_faces(tmp_path / "far" / "setA", 8))))
    monkeypatch.chdir(tmp_path)
    return Manifest.load(paths.manifest_file("setA"))


def test_words_of_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("my photos", "a,b", "c"):
        (tmp_path / name).mkdir()
    assert words_of("c my photos a,b d,e f, g\nh") == ["c", "my photos", "a,b", "d", "e", "f", "g", "h"]
    assert words_of("my photos") == ["my photos"]
    assert words_of("") == []


def test_a_known_data_set_goes_by_its_name_everywhere(known, tmp_path):
    assert run(DataConfig.of(data="setA")) == paths.manifest_file("setA")
    other = write_faces(tmp_path / "other", 8, start=40)
    assert DataConfig.of(data=str(other)).elsewhere("setA").dataset == "setA"
    command = ReportCommand.of(data=str(other), eval="setA,other")
    assert command.each_other() == ["setA", "other"]
    images = files_of("setA")
    assert [each.path for each in images] == [str(known.root / path) for path in known.rows.path]
    assert files_of("setA,other/real")[:8] == images
    joined = Manifest.load(run(DataConfig.of(data="setA+other")))
    assert (joined.dataset, len(joined)) == ("setA+other", 16)
    write_faces(other, 2, start=60)
    assert len(Manifest.load(run(DataConfig.of(data="setA+other")))) == 18  # what is there goes before the name
    assert len(Manifest.load(run(DataConfig.of(data="setA", name="again")))) == 8  # its images are found


def test_a_path_goes_before_a_name(known, tmp_path):
    write_faces(tmp_path / "setA", 4, start=20)
    with pytest.raises(UserError, match="already stands for"):
        run(DataConfig.of(data="setA"))
    assert len(Manifest.load(run(DataConfig.of(data="setA", name="here")))) == 4


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("face", " Did you mean DATA=faces?"), ("sett", " Did you mean DATA=setA?"), ("zzzz", ""), ("/", ""),
        ("faces setA", ' Several data sets that are to be one are joined by +: DATA="faces+setA"'),
    ],
)  # fmt: skip
def test_what_was_probably_meant(known, tmp_path, word, meant):
    (tmp_path / "faces").mkdir()
    assert suggestion(word) == meant
    if meant:
        with pytest.raises(UserError) as told:
            run(DataConfig.of(data=word, name="x"))
        assert str(told.value).endswith(meant)


def test_a_folder_of_the_program_is_no_name_of_a_data_set():
    with pytest.raises(UserError, match="'layouts' cannot be the name of a data set, because it is a folder of this"):
        paths.dataset_name("layouts")
