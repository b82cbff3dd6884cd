"""Splits of small sets: each class has its share of each, and nobody moves when images are added."""

import numpy as np
import pandas as pd
import pytest

from cache.errors import UserError
from data import build, splits
from data.manifest import Manifest
from data.options import DataConfig
from tests.conftest import jpeg, picture, write_faces


def groups(count: int, start: int = 0) -> pd.Series:
    return pd.Series([f"image {number}" for number in range(start, start + count)])


def free(count: int, word: str = "") -> pd.Series:
    return pd.Series([word] * count)


def classes(count: int) -> pd.Series:
    return pd.Series(np.where(np.arange(count) % 2, "fake", "real"))


def made(data, **options) -> Manifest:
    return Manifest.load(build.run(DataConfig.of(data=str(data), **options)))


@pytest.mark.parametrize("start", range(0, 6000, 1000))
@pytest.mark.parametrize(("word", "shares"), [("", splits.SHARES), ("train", splits.OF_TRAIN)])
def test_each_split_of_a_small_set_has_its_share_of_each_class(start, word, shares):
    names, labels = groups(60, start), classes(60)
    salt = splits.salt_for(free(60, word), names, labels)
    counts = pd.crosstab(labels, splits.settled(free(60, word), names, salt))
    for split, share in shares.items():
        assert (abs(counts[split] - 30 * share) <= splits.UNEVEN * 30 * share).all()
    assert salt == 0 or splits.salt_for(free(60, word), names, labels) == salt  # of the images alone


def test_the_plain_hash_is_kept_where_it_is_even_enough():
    names = groups(2000)
    assert splits.salt_for(free(2000), names, classes(2000)) == 0
    assert splits.settled(free(2000), names).value_counts(normalize=True).round(1).to_dict() == splits.SHARES
    assert splits.settled(free(1), pd.Series(["a"])).tolist() == ["val"]  # .79: as it has always been


def test_a_class_of_many_groups_costs_no_second_try(monkeypatch):
    tried = []
    monkeypatch.setattr(splits, "place", lambda group, salt=0: tried.append(group) or hash((group, salt)) % 1000 / 1000)
    count = splits.MANY + 20
    labels = pd.Series(["real"] * splits.MANY + ["fake"] * 20)
    splits.salt_for(free(count), groups(count), labels)
    assert set(tried) == set(groups(20, splits.MANY))


def test_splits_that_are_given_stay_and_groups_are_whole():
    given = pd.Series(["train", "", "test", "", "val", ""])
    names = pd.Series(["a", "b", "c", "b", "d", "b"])
    settled = splits.settled(given, names, 3)
    assert settled[[0, 2, 4]].tolist() == ["train", "test", "val"]
    assert settled[[1, 3, 5]].nunique() == 1
    assert splits.salt_for(given[[0, 2, 4]], names[[0, 2, 4]], pd.Series(["real"] * 6)[[0, 2, 4]]) == 0


def test_images_that_are_added_move_nobody_and_a_second_machine_agrees(tmp_path, monkeypatch):
    faces = write_faces(tmp_path / "few", 20)
    first = made(faces)
    assert pd.crosstab(first.rows.label, first.rows.split).to_numpy().tolist() == [[2, 6, 2], [2, 6, 2]]
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "another"))
    again = made(faces)
    assert (again.salt, again.key) == (first.salt, first.key)
    assert first.salt > 0
    write_faces(faces, 14, start=20)
    more = made(faces)
    assert more.salt == first.salt
    before = first.rows.set_index("digest").split
    assert (more.rows.set_index("digest").split[before.index] == before).all()


def test_an_earlier_manifest_keeps_its_splits_and_other_groups_are_placed_anew(tmp_path):
    folder = tmp_path / "v"
    for video in range(12):
        for frame in range(2):
            path = folder / ("real", "fake")[video % 2] / f"video{video}_{frame}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(picture(100 * video + frame, fake=bool(video % 2))))
    first = made(folder)
    plain = first.rows.assign(split=splits.settled(free(24), first.rows.group))
    Manifest("v", first.root, False, plain).save(build.paths.manifest_file("v"))  # as it was without salts
    write_faces(folder, 2, start=5000)
    kept = made(folder).rows.set_index("digest").split
    assert (kept[plain.digest].to_numpy() == plain.split.to_numpy()).all()
    videos = made(folder, group=r"(video\d+|50\d+)")
    assert (videos.rows.groupby("group").split.nunique() == 1).all()
    assert set(videos.rows.split[videos.fake]) == {"train", "val", "test"}


def test_few_images_of_a_class_are_said():
    counts = {"train": {"real": 5, "fake": 5}, "val": {"real": 4, "fake": 40}, "test": {"real": 30, "fake": 30}}
    said = splits.warnings(counts)
    assert list(said) == ["val"]
    assert said["val"].startswith("Few images to choose among settings: val has 4 real and 40 fake")
    assert list(splits.warnings({**counts, "val": {"real": 0, "fake": 300}})) == ["val"]  # nothing to choose by
    of_one_class = {split: {"real": 0, "fake": each["fake"]} for split, each in counts.items()}
    assert splits.warnings(of_one_class) == {}  # no AUC to be far off


@pytest.mark.parametrize(
    ("group", "meant"),
    [
        (r"((real|fake)/\d)\d+", r"; did you mean GROUP='((?:real|fake)/\d)\d+'?"),
        (r"(\d)(\d)", r"; did you mean GROUP='(\d)(?:\d)'?"), (r"\d+", ""),
    ],
)  # fmt: skip
def test_a_pattern_with_several_groups_is_written_with_one(tmp_path, group, meant):
    with pytest.raises(UserError, match="nor a pattern with one") as told:
        made(write_faces(tmp_path / "some", 2), group=group)
    assert str(told.value).endswith(f"(group){meant}")
