"""Parquet files, tar shards and videos -> images and a manifest: nothing lost, nothing written elsewhere, all told."""

import io
import json
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cache.errors import UserError
from data.build import run as build
from data.manifest import Manifest
from data.options import DataConfig
from data.unpack import journal
from data.unpack import run as unpacking
from data.unpack.options import UnpackConfig
from data.unpack.run import run
from tests.conftest import jpeg, picture

PORTRAIT = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0x4000]])  # as phones write into an MP4 what must be turned right


def write_video(path: Path, frames: int = 12, *, codec: str = "mpeg4", seed: int = 0, fake: bool = False) -> Path:
    """Frames of 64 x 48 pixels that grow brighter by 4 grey levels each; h264 with frames that lean on later ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    face = np.asarray(picture(seed, fake=fake).crop((0, 0, 64, 48))).astype(int) // 4
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, width=64, height=48, pix_fmt="yuv420p", gop_size=5)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray((face + 4 * number).astype(np.uint8), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def write_parquet(path: Path, labels: list, **further: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": jpeg(picture(each, fake=False)), "path": f"x/{each}.jpg"} for each in range(len(labels))]
    table = pa.table({"image": images, "label": labels, **further})
    pq.write_table(table, path, row_group_size=2)
    return path


def named(path: Path, names: list[str]) -> Path:
    """The same file, its labels with names as the `datasets` library of Hugging Face writes them."""
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pq.read_table(path).replace_schema_metadata(about), path, row_group_size=2)
    return path


def write_tar(path: Path, members: dict[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = info.size or len(content) if isinstance(content, bytes) else info.size
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def face(number: int = 0) -> bytes:
    return jpeg(picture(number, fake=False))


def member(kind: bytes, leads_to: str = "", *, name: str = "odd.jpg") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, leads_to
    return info


def unpacked(source: object, tmp_path: Path, **options: object) -> Path:
    return run(UnpackConfig.of(source=str(source), out=str(tmp_path / "out"), **options))


def table(out: Path, name: str = "manifest.csv") -> pd.DataFrame:
    return pd.read_csv(out / name, dtype=str, keep_default_na=False)


def reasons(out: Path) -> dict[str, str]:
    left = table(out, "left_out.csv")
    return dict(zip(left["item"], left.reason, strict=True))


def tree(out: Path) -> dict[str, bytes]:
    """Every file that a person sees."""
    files = [path for path in out.rglob("*") if path.is_file() and ".unpack" not in path.parts]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def grey(path: Path) -> float:
    with Image.open(path) as image:
        return float(np.asarray(image.convert("L")).mean())


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_are_evenly_spaced_and_are_those_of_their_time(codec, tmp_path):
    write_video(tmp_path / "videos" / "fake" / "gan" / "a.mp4", 40, codec=codec)
    write_video(tmp_path / "videos" / "real" / "b.mp4", 3, codec=codec)
    out = unpacked(tmp_path / "videos", tmp_path, frames=4)
    rows = table(out)
    fakes = rows[rows.label == "fake"]
    assert fakes.path.map(os.path.basename).tolist() == ["0000-0.200s.png", "0001-0.600s.png", "0002-0.960s.png",
                                                         "0003-1.360s.png"]  # fmt: skip
    assert set(fakes.group) == {"videos/fake/gan/a.mp4"}
    assert set(fakes.generator) == {"gan"}
    levels = [grey(out / path) for path in fakes.path]
    assert np.diff(levels) == pytest.approx([40, 36, 40], abs=3)  # 10, 9 and 10 frames of 4 grey levels
    assert rows.path[rows.label == "real"].map(os.path.basename).tolist() == ["0000-0.000s.png", "0001-0.040s.png",
                                                                              "0002-0.080s.png"]  # fmt: skip
    manifest = Manifest.load(build(DataConfig.of(data=str(out)))).rows
    assert manifest.groupby("group").split.nunique().max() == 1
    assert set(manifest.status) == {"ok"}


def test_a_video_is_turned_as_it_says(tmp_path):
    path = write_video(tmp_path / "real" / "phone.mp4", 2)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44  # where the matrix begins
    content[at : at + 36] = (PORTRAIT * np.array([0x10000, 0x10000, 0x10000])).astype(">i4").tobytes()
    content[at + 32 : at + 36] = (0x40000000).to_bytes(4, "big")
    plain = Image.open(unpacked(path, tmp_path, frames=1) / "real" / "phone.mp4" / "0000-0.000s.png")
    path.write_bytes(content)
    turned = Image.open(unpacked(path, tmp_path, frames=1) / "real" / "phone.mp4" / "0000-0.000s.png")
    assert turned.size == (48, 64)
    assert np.array_equal(np.asarray(turned), np.rot90(np.asarray(plain), -1))


def test_what_is_no_video_or_not_all_of_one_is_told(tmp_path):
    folder = tmp_path / "real"
    whole = write_video(folder / "whole.mkv", 40)
    (folder / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "cut.mp4").write_bytes(write_video(folder / "a.mp4").read_bytes()[:900])
    (folder / "text.mp4").write_text("no video")
    (folder / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{whole}\n#EXT-X-ENDLIST\n")
    (folder / "ffconcat.mp4").write_text(f"ffconcat version 1.0\nfile {whole}\n")
    os.mkfifo(folder / "pipe.mp4")
    out = unpacked(folder, tmp_path, frames=3)
    left = table(out, "left_out.csv")
    assert {Path(each).name for each in left.source} == {"cut.mp4", "text.mp4", "list.mp4", "ffconcat.mp4"}
    assert table(out).path.map(lambda path: Path(path).parent.name).value_counts().to_dict() == {
        "whole.mkv": 3, "cut.mkv": 3, "a.mp4": 3,
    }  # fmt: skip
    assert json.loads((out / "unpack.json").read_text())["ignored"] == {"no regular file": 1}


def test_bytes_of_a_parquet_file_are_kept_and_its_numbers_named(tmp_path):
    path = named(write_parquet(tmp_path / "set" / "train-00000-of-00001.parquet", [0, 1, 1, 0, 1],
                               group=["p", "p", "q", "", None]), ["Fake", "REAL"])  # fmt: skip
    rows = table(unpacked(path.parent, tmp_path))
    assert rows.label.tolist() == ["fake", "real", "real", "fake", "real"]
    assert rows.group.tolist() == ["p", "p", "q", "", ""]
    assert set(rows.split) == {"train"}
    kept = [(tmp_path / "out" / path).read_bytes() for path in rows.path]
    assert kept == [face(number) for number in range(5)]
    assert rows.path[1] == "set/train-00000-of-00001.parquet/0000001-1.jpg"


def test_numbers_without_names_need_a_word(tmp_path):
    path = write_parquet(tmp_path / "few.parquet", [0, 1, 2])
    with pytest.raises(UserError, match=r'few.parquet: the labels are numbers without names .* LABELS="fake=1"'):
        unpacked(path, tmp_path)
    out = unpacked(path, tmp_path, labels="fake=1")
    assert table(out).label.tolist() == ["real", "fake"]
    assert "neither 0 nor 1" in reasons(out)["x/2.jpg"]
    assert table(unpacked(path, tmp_path, labels="real=1", classes="fake=2")).label.tolist() == ["fake", "real", "fake"]


def test_a_file_called_by_both_classes_says_neither(tmp_path):
    path = write_parquet(tmp_path / "real-vs-fake-train.parquet", ["real", "fake"])
    assert table(unpacked(path, tmp_path)).label.tolist() == ["real", "fake"]
    one = write_parquet(tmp_path / "fake-0.parquet", [None, None])
    assert table(unpacked(one, tmp_path / "one")).label.tolist() == ["fake", "fake"]


def test_columns_of_other_names(tmp_path):
    path = tmp_path / "odd.parquet"
    columns = {"picture": [face(0), face(1), b"", b"no image"], "thumb": [b"x"] * 4, "kind": ["ffhq", *["gan"] * 3],
               "who": ["stylegan"] * 4, "fold": ["Training", "dev", "test", "test"]}  # fmt: skip
    pq.write_table(pa.table(columns), path)
    with pytest.raises(UserError, match=r"2 columns of images; found picture \(binary\), .* COLUMNS=\"image="):
        unpacked(path, tmp_path)
    wanted = {"columns": "image=picture label=kind generator=who split=fold", "classes": "real=ffhq fake=gan"}
    out = unpacked(path, tmp_path, **wanted)
    expected = {"label": ["real", "fake"], "split": ["train", "val"], "generator": ["", "stylegan"]}
    assert table(out)[list(expected)].to_dict("list") == expected
    assert sorted(table(out, "left_out.csv").reason)[0] == "an empty cell"
    with pytest.raises(UserError, match="no column 'x' for group"):
        unpacked(path, tmp_path, columns="image=picture group=x")


def test_a_broken_parquet_file_does_not_stop_the_others(tmp_path):
    whole = write_parquet(tmp_path / "set" / "a.parquet", ["real", "fake"])
    (tmp_path / "set" / "b.parquet").write_bytes(whole.read_bytes()[:-300])
    damaged = bytearray(whole.read_bytes())
    damaged[200:400] = bytes(200)
    (tmp_path / "set" / "c.parquet").write_bytes(damaged)
    out = unpacked(whole.parent, tmp_path)
    assert len(table(out)) >= 2
    assert {Path(each).name for each in table(out, "left_out.csv").source} == {"b.parquet", "c.parquet"}


def test_a_tar_of_samples(tmp_path):
    members = {
        "a/1.jpg": face(1), "a/1.cls": b"fake\n", "a/2.png": face(2), "a/2.json": b'{"label": "real", "video": "v7"}',
        "a/3.jpg": face(3), "a/3.txt": b"Real", "real/4.jpg": face(4), "real/4.txt": b"a man with a hat",
        "fake/gan/5.x.jpg": face(5), "fake/gan/5.y.jpg": face(6), "a/6.jpg": face(7), "a/6.json": b"{",
        "a/7.npy": b"0", "real/8.jpg": face(8), "real/8.cls": b"fake", "a/9.jpg": face(9), "10.jpg": face(1),
        "10.png": b"",
    }  # fmt: skip
    out = unpacked(write_tar(tmp_path / "valid-000.tar.xz", members, "w:xz"), tmp_path)
    rows = table(out)
    assert rows.label.tolist() == ["fake", "real", "real", "real", "fake", "fake"]
    assert rows.generator.tolist() == ["", "", "", "", "gan", "gan"]
    assert rows.group.tolist() == ["", "v7", "", "", "", ""]
    assert set(rows.split) == {"val"}
    assert rows.path[1].endswith(".jpg")  # which it is, whatever its name says
    assert table(out, "unlabelled.csv").path.tolist() == [f"{tmp_path.name}/valid-000.tar.xz/0000015-9.jpg"]
    assert reasons(out).keys() == {"a/6", "a/7", "real/8", "10"}


def test_nothing_in_a_tar_leads_out_of_the_folder(tmp_path):
    absolute, above, odd = tarfile.TarInfo(str(tmp_path / "evil.jpg")), "../../evil.jpg", "real/\x1b[2J\n.jpg"
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    members = {"absolute": absolute, above: face(1), odd: face(2), "real/../../..": face(3), "real/..jpg": face(4)}
    absolute.size = 0
    members |= {f"{number}": member(kind, "/etc/passwd", name=f"link{number}.jpg") for number, kind in enumerate(kinds)}
    source = write_tar(tmp_path / "set.tar", members, "w")
    before = {path for path in tmp_path.parent.rglob("*") if "out" not in path.parts}
    out = unpacked(source, tmp_path, classes="")
    assert {path for path in tmp_path.parent.rglob("*") if "out" not in path.parts} == before
    assert all(path.resolve().is_relative_to(out.resolve()) and not path.is_symlink() for path in out.rglob("*"))
    assert [each for each in reasons(out).values() if each.startswith("a ")] == ["a link"] * 2 + ["a device", "a pipe"]
    assert all("\x1b" not in each and "\n" not in each for each in table(out).path)


def test_bombs_and_torn_tars_end_where_they_are_noticed(tmp_path, monkeypatch):
    name, zeros = member(tarfile.XHDTYPE), tmp_path / "real" / "zeros.tar.gz"
    zeros.parent.mkdir()
    name.size = 2**32
    write_tar(tmp_path / "real" / "long.tar", {"real.jpg": face(0), "x": name}, "w")
    monkeypatch.setattr("data.unpack.tar.SMALL", 2**16)
    write_tar(zeros, {"one.jpg": face(0), "big.bin": bytes(2**24)}, "w:gz")
    write_tar(tmp_path / "real" / "whole.tar", {f"{each}.jpg": face(each) for each in range(3)}, "w")
    content = (tmp_path / "real" / "whole.tar").read_bytes()
    end = len(content.rstrip(b"\0"))
    (tmp_path / "real" / "torn.tar").write_bytes(content[: end - 100])
    (tmp_path / "real" / "unmarked.tar").write_bytes(content[: -(-end // 512) * 512])
    (tmp_path / "real" / "damaged.tar").write_bytes(content[:100] + b"x" + content[101:])
    (tmp_path / "real" / "half.tar.gz").write_bytes(zeros.read_bytes()[:2000])
    out = unpacked(tmp_path / "real", tmp_path)
    left = table(out, "left_out.csv").assign(source=lambda rows: rows.source.map(os.path.basename))
    told = left.set_index("source").reason
    assert set(told.index) == {"long.tar", "zeros.tar.gz", "torn.tar", "unmarked.tar", "damaged.tar", "half.tar.gz"}
    assert "a name of 4,294,967,296 bytes" in told["long.tar"]
    assert "unpacks to over 200 times" in told["zeros.tar.gz"]
    assert "no end mark" in told["unmarked.tar"]
    counts = table(out).path.map(lambda path: Path(path).parent.name).value_counts()
    assert counts.to_dict() == {"whole.tar": 3, "unmarked.tar": 3, "torn.tar": 2, "long.tar": 1, "zeros.tar.gz": 1}


@pytest.fixture
def mixture(tmp_path) -> Path:
    """A folder with one of each kind, and something broken."""
    folder = tmp_path / "mixture"
    write_video(folder / "real" / "a.mp4", 8)
    write_video(folder / "fake" / "gan" / "b.mp4", 8)
    named(write_parquet(folder / "c.parquet", [0, 1, 1, 0, 1]), ["real", "fake"])
    write_tar(folder / "d.tar", {"real/1.jpg": face(1), "fake/2.jpg": face(2), "fake/3.jpg": b"none"}, "w")
    return folder


def test_whatever_was_killed_goes_on_and_ends_the_same(mixture, tmp_path, monkeypatch, capsys):
    whole = run(UnpackConfig.of(source=str(mixture), out=str(tmp_path / "whole"), frames=3))
    note = journal.Journal.note

    def killed(self: journal.Journal, entry: object, left: list[int]) -> None:
        try:
            left.pop()
        except IndexError:
            raise KeyboardInterrupt from None
        note(self, entry)

    for count in (1, 6, 3):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            left = list(range(count))
            patch.setattr(journal.Journal, "note", lambda self, entry, left=left: killed(self, entry, left))
            unpacked(mixture, tmp_path, frames=3)
    capsys.readouterr()
    (torn,) = [each for each in (tmp_path / "out" / ".unpack").glob("*.log")][:1]
    torn.write_text(torn.read_text() + '{"number": 9')  # as a line that a killed process had begun
    out = unpacked(mixture, tmp_path, frames=3)
    assert {name: content for name, content in tree(out).items() if name != "unpack.json"} == {
        name: content for name, content in tree(whole).items() if name != "unpack.json"
    }
    assert "13 images of 4 files" in capsys.readouterr().out
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert unpacked(mixture, tmp_path, frames=3) == out
    assert capsys.readouterr().out.startswith("unpack: complete, 13 images of 4 files (6 real, 7 fake), 1 left out -> ")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"} == {
        path: stamp for path, stamp in stamps.items() if path.name != ".lock"
    }


def test_only_what_is_new_is_opened(mixture, tmp_path, monkeypatch):
    unpacked(mixture, tmp_path, frames=3)
    write_video(mixture / "real" / "new.mp4", 8)
    opened = []
    readers = {kind: lambda archive, *rest, read=read: opened.append(archive.file.name) or read(archive, *rest)
               for kind, read in unpacking.READERS.items()}  # fmt: skip
    monkeypatch.setattr(unpacking, "READERS", readers)
    assert len(table(unpacked(mixture, tmp_path, frames=3))) == 16
    assert opened == ["new.mp4"]


def test_of_an_archive_that_was_begun_only_the_rest_is_written(tmp_path, monkeypatch):
    source = write_parquet(tmp_path / "few.parquet", ["real", "fake"] * 3)
    folder = tmp_path / "out" / tmp_path.name / "few.parquet"
    note, noted, written = journal.Journal.note, [], []

    def killed(self: journal.Journal, entry: object) -> None:
        if len(noted) == 3:
            raise KeyboardInterrupt
        note(self, entry)
        noted.append(entry)

    def write(path: Path, content: bytes) -> None:
        written.append(path.name)
        path.write_bytes(content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(journal.Journal, "note", killed)
        unpacked(source, tmp_path)
    (folder / ".0000004.9-abc.part.jpg").write_bytes(b"half")  # as SIGKILL leaves one
    (folder / "0000001-1.jpg").unlink()
    monkeypatch.setattr(unpacking, "write_bytes", write)
    assert len(table(unpacked(source, tmp_path))) == 6
    assert sorted(written) == ["0000001-1.jpg", "0000003-3.jpg", "0000004-4.jpg", "0000005-5.jpg"]
    assert len(list(folder.iterdir())) == 6


def test_two_at_once_do_the_work_once(mixture, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: unpacked(mixture, tmp_path, frames=3), range(2))
    assert first == second
    assert len(table(first)) == 13


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": ""}, "SOURCE= names what is to be unpacked"),
        ({"source": "{here}/none"}, "no such file or folder"),
        ({"source": "{here}/photos"}, r"no Parquet file, tar file or video; found 1 x image \(.jpg\), which make data"),
        ({"out": ""}, "OUT= names the folder"),
        ({"out": "{here}/photos"}, "holds files that make unpack did not write"),
        ({"out": "{here}/mixture"}, "holds files that make unpack did not write"),
        ({"out": "{here}/photos/1.jpg"}, "is a file: give a folder"),
        ({"frames": 0}, "FRAMES=0: expected at least one frame"),
        ({"labels": "1"}, "LABELS=1: expected"),
        ({"columns": "picture"}, "unknown field in COLUMNS 'picture'"),
        ({"source": "{here}/mixture/c.parquet {here}/mixture/c.parquet/../c.parquet"}, "no such file"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_and_leaves_nothing(options, words, mixture, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(face())
    before = tree(tmp_path)
    given = {"source": "{here}/mixture", "out": "{here}/out", **options}
    with pytest.raises(UserError, match=words):
        run(UnpackConfig.of(**{name: each.format(here=tmp_path) if isinstance(each, str) else each
                               for name, each in given.items()}))  # fmt: skip
    assert tree(tmp_path) == before


def test_folders_of_both_classes_and_equal_names_are_refused(tmp_path):
    write_video(tmp_path / "real" / "fake" / "a.mp4", 1)
    with pytest.raises(UserError, match="called real in one place and fake in another"):
        unpacked(tmp_path / "real", tmp_path)
    for name in ("one", "two"):
        write_video(tmp_path / name / "set" / "a.mp4", 1)
    with pytest.raises(UserError, match=r"would both be unpacked to set/a.mp4"):
        unpacked(f"{tmp_path}/one/set {tmp_path}/two/set", tmp_path)


def test_names_that_no_path_can_have_become_others(tmp_path):
    strange = tmp_path / "real" / "a\nb \x1b.mp4"
    write_video(strange, 1)
    write_video(tmp_path / "real" / "a_b _.mp4", 1)
    rows = table(unpacked(tmp_path / "real", tmp_path))
    assert rows.path.nunique() == 2
    assert all(each.isprintable() for each in rows.path)
