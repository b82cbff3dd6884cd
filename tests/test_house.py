"""What keeps house: what is there is told, what nobody needs is listed before it goes, what is packed comes back."""

import io
import json
import os
import re
import shutil
import tarfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from analysis.house import archive, forget, pack, prune, status
from analysis.house.options import ArchiveConfig, ForgetConfig, PackConfig, PruneConfig, StatusConfig
from cache import packing, paths, runs
from cache.atomic import locked, write_bytes
from cache.errors import UserError
from cache.key import canonical
from cache.packing import LISTING, Listing, Member
from data.manifest import Manifest
from data.unpack.options import UnpackConfig
from data.unpack.run import run as unpack
from extract.options import ExtractConfig
from extract.run import reached as reached_by_extract
from extract.run import run as extract
from heads.options import HeadsConfig
from heads.run import reached as reached_by_heads
from heads.run import run as run_heads

GRID = '[{"family": "ridge", "penalty": 1.0}]'
OLD = 40 * 86_400  # seconds


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """Cache, data and runs after one sweep over few faces; tests work on copies."""
    from tests.conftest import write_faces

    home = tmp_path_factory.mktemp("house")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
            patch.setenv(name, str(home / name.lower()))
        faces = write_faces(home / "faces", 48)
        run_heads(HeadsConfig.of(data=str(faces), size=64, features="blocks.2:avg", grid=GRID, seeds=1, inputs="all"))
    return home


@pytest.fixture
def kept(house, tmp_path, monkeypatch) -> Path:
    """A copy of it, which the environment names; the images stay where the manifest says."""
    for name in ("cache_dir", "data_dir", "runs_dir"):
        shutil.copytree(house / name, tmp_path / name)
        monkeypatch.setenv(name.upper(), str(tmp_path / name))
    return tmp_path


def sweep() -> Path:
    (folder,) = runs.complete_runs("heads")
    return folder


def extraction() -> Path:
    (folder,) = runs.complete_runs("extract")
    return folder


def stopped_training(name: str, *, age: float = 0, finished: bool = False) -> Path:
    """The state of a training that nobody ran."""
    state = paths.run_dir("finetune", name) / "last.pt"
    write_bytes(state, b"x" * 5000)
    os.utime(state, (time.time() - age,) * 2)
    if finished:
        runs.finish(state.parent, {"dataset": "faces"})
    return state


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_status_says_what_there_is_and_what_a_rerun_would_do(kept, house, capsys):
    stopped_training("faces-half")
    status.run(StatusConfig())
    said = capsys.readouterr().out
    assert re.search(rf"^faces +48( +\d+){{3}}  {house / 'faces'}$", said, re.MULTILINE)
    assert "tf_efficientnet_lite0        1      48" in said
    result = runs.result(sweep())
    assert f"heads/{sweep().name}   {result['val_auc']:.4f}" in said
    assert "complete: a rerun has nothing to do" in said
    assert "finetune/faces-half" in said
    assert "stopped: a rerun goes on from what is kept" in said
    assert "extract                 1" in said


def test_complete_stages_say_what_they_reached(kept):
    about = runs.result(sweep())
    assert reached_by_heads(sweep()) == (
        f"heads tf_efficientnet_lite0: complete: chose ridge penalty=1.0 among 1 setting, val AUC "
        f"{about['val_auc']:.4f} over 1 member, best convex {about['val_auc']:.4f} -> {sweep()}"
    )
    assert reached_by_extract(extraction()).startswith(
        "extract tf_efficientnet_lite0: complete: 1 feature of 48 images of faces in "
    )
    (sweep() / "result.json").unlink()
    assert reached_by_heads(paths.run_dir("heads", "faces-half")) == ""


def test_status_tells_what_is_gone_changed_or_damaged(kept, capsys):
    manifest = paths.manifest_file("faces")
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines[:-1]).replace(",train,", ",val,", 1))
    source = json.loads(manifest.with_suffix(".json").read_text())
    manifest.with_suffix(".json").write_text(json.dumps(source | {"root": "/no/such"}))
    with locked(sweep() / "lock"):
        status.run(StatusConfig())
        assert "  running" in capsys.readouterr().out
    status.run(StatusConfig())
    said = capsys.readouterr().out
    assert "/no/such, which is gone" in said
    assert "complete; of data as they were: a rerun makes a new one" in said
    manifest.write_text("no table")
    (sweep() / "result.json").write_text("{")
    status.run(StatusConfig())
    said = capsys.readouterr().out
    assert "`make data` makes its manifest anew" in said
    assert "damaged" in said


def test_smoke_runs_are_not_among_the_best(kept, capsys):
    best = f"heads/{sweep().name}"
    for stage, name, more in (("heads", "few-smoke-x", {}), ("finetune", "few-smoke-y", {"smoke": True})):
        runs.finish(paths.run_dir(stage, name), {"dataset": "few-smoke", "val_auc": 1.0, **more})
    for every in (False, True):
        status.run(StatusConfig(all=every))
        said = capsys.readouterr().out
        assert [best in said, "few-smoke-x" in said, "few-smoke-y" in said] == [True, every, every]
        assert ("and 2 more: make status ALL=1" in said) == (not every)


def test_status_of_an_empty_house(world, capsys):
    status.run(StatusConfig())
    said = capsys.readouterr().out
    assert "no data set" in said
    assert "no run yet" in said


def test_prune_lists_first_and_deletes_after_a_yes(kept, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    finished, old = stopped_training("done", finished=True), stopped_training("old", age=OLD)
    fresh, busy = stopped_training("fresh"), stopped_training("busy", age=OLD)
    graph = paths.engines_dir() / "somebodys_network-0123456789ab.safetensors"
    used = paths.engines_dir() / "tf_efficientnet_lite0-0123456789ab.safetensors"
    left = paths.runs_dir() / "heads" / ".x.1-ab.part.csv"
    for path in (graph, used, left):
        write_bytes(path, b"x")
        os.utime(path, (time.time() - OLD,) * 2)
    before = files_below(kept)
    with locked(busy.parent / "lock"):
        prune.run(PruneConfig())
        said = capsys.readouterr().out
        for path in (finished, old, graph, left):
            assert f"{path}: " in said
        assert "4 to delete, 10 kB" in said
        assert "YES=1" in said
        assert files_below(kept) | {"runs_dir/finetune/busy/lock": b""} == before | {"runs_dir/finetune/busy/lock": b""}
        prune.run(PruneConfig(yes=True))
    assert "4 deleted" in capsys.readouterr().out
    assert not any(path.exists() for path in (finished, old, graph, left))
    assert all(path.exists() for path in (fresh, busy, used, sweep() / "head.safetensors"))


def test_prune_takes_features_of_no_manifest_once_nobody_writes_them(kept, capsys):
    (folder,) = paths.features_dir().glob("*/")
    shutil.rmtree(paths.data_dir() / "faces")
    prune.run(PruneConfig(yes=True))
    assert "0 deleted, 1 left, because they are in use by now" in capsys.readouterr().out
    for path in (*folder.iterdir(), folder):
        os.utime(path, (time.time() - OLD,) * 2)
    prune.run(PruneConfig(yes=True))
    assert not folder.exists()
    capsys.readouterr()
    prune.run(PruneConfig(yes=True))
    assert "nothing to prune" in capsys.readouterr().out


def test_prune_keeps_features_where_a_manifest_cannot_be_read(kept, capsys):
    paths.manifest_file("faces").write_text("no table")
    prune.run(PruneConfig(yes=True))
    assert "features stay: the manifest of faces cannot be read" in capsys.readouterr().out


def test_an_answer_on_a_terminal_is_a_yes(kept, monkeypatch):
    state = stopped_training("old", age=OLD)
    terminal = type("Terminal", (io.StringIO,), {"isatty": lambda self: True})
    monkeypatch.setattr("sys.stdin", terminal("n\n"))
    prune.run(PruneConfig())
    assert state.exists()
    monkeypatch.setattr("sys.stdin", terminal("yes\n"))
    prune.run(PruneConfig())
    assert not state.exists()


def test_what_is_packed_comes_back_byte_for_byte_elsewhere(kept, tmp_path, monkeypatch, capsys):
    for folder in (sweep(), extraction()):
        write_bytes(folder / "tb" / "events.1", b"curves")
        out = pack.run(PackConfig(run=folder.name, out=str(tmp_path / f"{folder.name}.tar")))
        assert packing.is_packed(out)
        assert not packing.is_packed(folder / "result.json")
        stage, before = folder.parent.name, files_below(folder)
        shards = files_below(paths.features_dir())
        with monkeypatch.context() as elsewhere:
            for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
                elsewhere.setenv(name, str(tmp_path / "elsewhere" / name.lower()))
            there = packing.unpack(out)
            assert there == paths.run_dir(stage, folder.name)
            assert files_below(there) == {name: content for name, content in before.items() if "lock" not in name}
            assert files_below(paths.features_dir()) == (shards if stage == "extract" else {})
            assert packing.unpack(out) == there
            assert {path.name for path in paths.runs_dir().iterdir()} <= {"heads", "extract"}
    with pytest.raises(UserError, match="is there already"):
        pack.run(PackConfig(run=extraction().name, out=str(out)))


def test_what_is_not_whole_is_not_packed(kept, tmp_path):
    out = tmp_path / "x.tar"
    stopped_training("half")
    with pytest.raises(UserError, match="is no finished run"):
        pack.run(PackConfig(run=str(paths.run_dir("finetune", "half")), out=str(out)))
    with pytest.raises(UserError, match="unknown run 'nobody'"):
        pack.run(PackConfig(run="nobody", out=str(out)))
    board = sweep() / "leaderboard.csv"
    board.write_bytes(board.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"damaged .*leaderboard.csv"):
        pack.run(PackConfig(run=str(sweep()), out=str(out)))
    (extraction() / "link").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="is a link"):
        pack.run(PackConfig(run=str(extraction()), out=str(out)))
    assert not out.exists()


@pytest.mark.parametrize("at", [10, 600, 2000, -3000, -1200])
def test_a_changed_byte_unpacks_nothing(kept, tmp_path, monkeypatch, at):
    out = pack.run(PackConfig(run=sweep().name, out=str(tmp_path / "x.tar")))
    content = bytearray(out.read_bytes())
    while content[at] in (0, 32):  # of what tar fills up with, nobody reads anything
        at -= 1
    content[at] ^= 1
    out.write_bytes(content)
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(UserError, match="Nothing was unpacked"):
        packing.unpack(out)
    assert not (tmp_path / "elsewhere").exists()


def test_another_run_of_the_name_stays(kept, tmp_path):
    folder = sweep()
    out = pack.run(PackConfig(run=folder.name, out=str(tmp_path / "x.tar")))
    (folder / "result.json").unlink()
    runs.finish(folder, {"dataset": "other"})
    before = files_below(paths.runs_dir())
    with pytest.raises(UserError, match="another run than the packed"):
        packing.unpack(out)
    assert files_below(paths.runs_dir()) == before
    (folder / "result.json").unlink()
    with pytest.raises(UserError, match=f"{folder.name} is there and not finished"):
        packing.unpack(out)


def crafted(out: Path, names: list[str], *, folder: str = "runs/heads/x", kind: bytes = tarfile.REGTYPE,
            size: int | None = None) -> Path:  # fmt: skip
    """What somebody with ill will could write, its checksums right."""
    content = b"{}"
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    listing = Listing(folder, [Member(name, digest, len(content) if size is None else size) for name in names])
    head = canonical(asdict(listing.sealed())).encode()
    with tarfile.open(out, "w") as tar:
        for name, what in [(LISTING, head), *((name, content) for name in names)]:
            header = tarfile.TarInfo(name)
            header.size = len(what)
            if name != LISTING:
                header.type, header.linkname = kind, "/etc/passwd"
            tar.addfile(header, io.BytesIO(what))
    return out


RESULT = "runs/heads/x/result.json"


@pytest.mark.parametrize(
    ("names", "how", "words"),
    [
        (["runs/heads/x/../../../../evil", RESULT], {}, "belongs nowhere"),
        (["/tmp/evil", RESULT], {}, "belongs nowhere"),
        (["runs/heads/y/config.json", RESULT], {}, "belongs nowhere"),
        (["runs/registry.json", RESULT], {}, "belongs nowhere"),
        (["cache/features/x/y.py", RESULT], {}, "belongs nowhere"),
        (["cache/features/../y.h5", RESULT], {}, "belongs nowhere"),
        (["runs/heads/x/a\nb", RESULT], {}, "belongs nowhere"),
        (["runs/heads/x/.lock", RESULT], {}, "belongs nowhere"),
        ([RESULT], {"folder": "runs/heads/.."}, "belongs nowhere"),
        (["runs/nowhere/x/result.json"], {"folder": "runs/nowhere/x"}, "belongs nowhere"),
        ([RESULT, RESULT], {}, "a file twice"),
        (["runs/heads/x/a"], {}, "a file twice, or no result.json"),
        ([RESULT], {"kind": tarfile.SYMTYPE}, "is not where its"),
        ([RESULT], {"kind": tarfile.DIRTYPE}, "is not where its"),
        ([RESULT], {"size": 1 << 60}, "is not where its"),
        ([RESULT], {"size": -1}, "is not where its"),
    ],
)
def test_an_archive_of_ill_will_writes_nothing(tmp_path, names, how, words):
    file = crafted(tmp_path / "x.tar", names, **how)
    with pytest.raises(UserError, match=words):
        packing.unpack(file)
    assert {path.name for path in tmp_path.iterdir()} == {"x.tar"}


def test_what_is_no_packed_file_is_refused_in_words(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        packing.unpack(tmp_path / "none.tar")
    for name, content in {"empty": b"", "text": b"x" * 2000}.items():
        (tmp_path / name).write_bytes(content)
        assert not packing.is_packed(tmp_path / name)
        with pytest.raises(UserError, match="Nothing was unpacked"):
            packing.unpack(tmp_path / name)
    future = Listing("runs/heads/x", [Member(RESULT, "0" * 64, 2)])
    head = canonical(asdict(replace(future, version=2).sealed())).encode()
    with tarfile.open(tmp_path / "future.tar", "w") as tar:
        header = tarfile.TarInfo(LISTING)
        header.size = len(head)
        tar.addfile(header, io.BytesIO(head))
    with pytest.raises(UserError, match="version 2"):
        packing.unpack(tmp_path / "future.tar")


def test_archive_removes_the_run_only_once_the_copy_is_right(kept, tmp_path, monkeypatch, capsys):
    folder, before = sweep(), files_below(sweep())
    from analysis.house import archive as module

    def damaged(path: Path) -> Listing:
        raise UserError(f"damaged {path}")

    with monkeypatch.context() as broken:
        broken.setattr(module, "check", damaged)
        with pytest.raises(UserError, match="damaged"):
            archive.run(ArchiveConfig(run=folder.name, to=str(tmp_path / "bad"), remove=True))
    assert files_below(folder) == before
    with locked(folder / "lock"), pytest.raises(UserError, match="is in use, so it stays"):
        archive.run(ArchiveConfig(run=folder.name, to=str(tmp_path / "busy"), remove=True))
    there = archive.run(ArchiveConfig(run=folder.name, to=f"file://{tmp_path}/kept", remove=True))
    assert "read back and right" in capsys.readouterr().out
    assert not folder.exists()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [f"{folder.name}.tar"]
    assert packing.unpack(Path(there.removeprefix("file://"))) == folder
    assert runs.result(folder)["dataset"] == "faces"
    with pytest.raises(UserError, match=r"holds .* already"):
        archive.run(ArchiveConfig(run=folder.name, to=str(tmp_path / "kept")))
    with pytest.raises(UserError, match="The run here is as it was"):
        archive.run(ArchiveConfig(run=folder.name, to="nonsense://x"))
    assert not list(paths.runs_dir().glob(".archive*"))


def test_a_packed_run_without_its_environment_goes_on(kept, tmp_path):
    """The unpacked extraction is complete for the stage that made it."""
    folder = extraction()
    out = pack.run(PackConfig(run=folder.name, out=str(tmp_path / "x.tar")))
    source = json.loads((paths.data_dir() / "faces" / "manifest.json").read_text())["root"]
    shutil.rmtree(folder)
    shutil.rmtree(paths.features_dir())
    packing.unpack(out)
    before = files_below(paths.features_dir())
    assert extract(ExtractConfig.of(data=source, size=64, features="blocks.2:avg")) == folder
    assert files_below(paths.features_dir()) == before


def test_nothing_of_an_image_is_left_and_all_else_is(kept, capsys):
    manifest = Manifest.load(paths.manifest_file("faces"))
    shutil.copytree(manifest.root, kept / "own")
    replace(manifest, root=kept / "own").save(paths.manifest_file("faces"))
    path, digest = manifest.rows.path[manifest.where("train")[0]], manifest.rows.digest[manifest.where("train")[0]]
    pages = [paths.run_dir(stage, name) / "index.html" for stage, name in (
        ("report", "faces"), ("report", "faces+others"), ("audit", "faces"), ("report", "other"))]  # fmt: skip
    for page in pages:
        write_bytes(page, b"pictures, of which nobody says whose they are")
    asked = ForgetConfig(image=str(kept / "own" / path))
    forget.run(asked)
    said = capsys.readouterr().out
    assert "Nothing was changed" in said
    assert re.search(r"heads/faces-\S+: stands on what was trained.*features: \d+ shards of \d+ kinds", said, re.DOTALL)
    assert len(found(kept, path, digest)) > 2
    forget.run(replace(asked, yes=True))
    assert found(kept, path, digest) == []
    assert not (kept / "own" / path).exists()
    assert [page.exists() for page in pages] == [False, False, False, True]
    left = Manifest.load(paths.manifest_file("faces"))
    assert sorted(left.rows.path) == sorted(set(manifest.rows.path) - {path})
    assert len(list((kept / "own").rglob("*.jpg"))) == len(manifest) - 1
    with pytest.raises(UserError, match="knows it"):
        forget.run(replace(asked, image=digest))


def found(home: Path, *words: str) -> list[Path]:
    """Files below a folder that hold one of the words, or as bytes a sha256 among them."""
    wanted = [word.encode() for word in words] + [bytes.fromhex(word) for word in words if len(word) == 64]
    return [file for file in home.rglob("*") if file.is_file() and any(each in file.read_bytes() for each in wanted)]


def test_who_is_not_known_is_not_forgotten(kept):
    with pytest.raises(UserError, match="no such file"):
        forget.run(ForgetConfig(image="nobody.jpg"))
    with locked(sweep() / "lock"), pytest.raises(UserError, match="nothing was removed"):
        forget.run(ForgetConfig(image=Manifest.load(paths.manifest_file("faces")).rows.digest[0], yes=True))


def test_make_unpack_knows_a_packed_run(kept, capsys):
    folder = sweep()
    packed = pack.run(PackConfig(run=folder.name, out=str(kept / "run.tar")))
    shutil.rmtree(folder)
    assert unpack(UnpackConfig(source=str(packed))) == folder
    assert "every byte is as it was packed" in capsys.readouterr().out
    assert runs.is_complete(folder)
