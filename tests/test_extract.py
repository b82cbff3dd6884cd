"""Stage one: parity, splitting, weights of every format, resume, parts, views."""

import itertools
import re
import shutil
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from cache import paths, runs
from cache.errors import UserError
from cache.features import shard_paths
from data.images import decode
from data.manifest import Manifest
from data.preprocess import to_input
from extract import loading, writing
from extract.loading import Crew
from extract.networks import catalogue, weights
from extract.networks.backbones import build
from extract.networks.catalogue import layout
from extract.networks.layout import refuse_other_layout
from extract.options import DEFAULT, ExtractConfig
from extract.run import run, run_each, specs_of, tables
from heads.options import HeadsConfig
from heads.run import run_each as run_heads
from tests import forked
from tests.conftest import write_faces

FOUR = {
    "tf_efficientnet_lite0": "blocks.2:avgstd blocks.4:map",
    "resnet18": "layer2:avg layer3:avgstd layer4:avgstd",
    "wide_resnet50_2": "layer3:map",
    "cvt_13": "stages.1:avgstd stages.2:map",
}
SMALL = {"size": 64, "device": "cpu", "workers": 1, "compute": "fp32"}


def config(data, backbone="resnet18", **options) -> ExtractConfig:
    given = "" if backbone == "tf_efficientnet_lite0" else "random"
    merged = {"weights": given, "features": FOUR[backbone], **SMALL, **options}
    return ExtractConfig.of(data=str(data), backbone=backbone, **merged)


def manifest_of(options: ExtractConfig) -> Manifest:
    return Manifest.load(paths.manifest_file(options.data.dataset)).usable


def loaded(options: ExtractConfig) -> list[np.ndarray]:
    return [table.X for table in tables(options)]


def pixels_of(manifest: Manifest, how) -> torch.Tensor:
    images = [decode((manifest.root / path).read_bytes())[0] for path in manifest.rows.path]
    return torch.from_numpy(np.stack([to_input(image, how) for image in images]))


@pytest.mark.parametrize(
    ("backbone", "tap"),
    [("tf_efficientnet_lite0", "bn1"), ("tf_efficientnet_lite0", "blocks.4"), ("resnet18", "layer1"),
     ("resnet18", "layer3.0"), ("wide_resnet50_2", "layer3"), ("cvt_13", "stages.0"), ("cvt_13", "stages.2"),
     ("vit_tiny_patch16_224", "blocks.5"), ("swin_tiny_patch4_window7_224", "layers.1")],
)  # fmt: skip
def test_trunk_and_tail_compose_to_the_whole_exactly(backbone, tap):
    network = build(backbone, weights="" if backbone == "tf_efficientnet_lite0" else "random")
    trunk, tail = network.split(tap)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tapped = trunk(images)
        assert torch.equal(tail(tapped), network.module(images))
        assert torch.equal(network.tapped((tap,))(images)[0], tapped)


def test_taps_that_cannot_be():
    network = build("resnet18", weights="random")
    with pytest.raises(UserError, match="unknown tap of resnet18 'layer9'"):
        network.split("layer9")
    with pytest.raises(UserError, match=r"cannot be split at layer3.0.conv1: .* passes beside it"):
        network.split("layer3.0.conv1")


def test_the_default_backbone_has_its_imagenet_weights():
    network = build(DEFAULT)
    assert network.weights.source == "efficientnet-lite0-57934424.pth"
    assert not any(p.requires_grad for p in network.module.parameters())
    assert not network.module.training


def test_published_files_of_every_format_load(tmp_path):
    torch.manual_seed(1)
    whole = timm.create_model("resnet18")
    state = whole.state_dict()
    save_file(state, tmp_path / "timm.safetensors")
    torchvision_form = {name: t for name, t in state.items() if "num_batches" not in name}
    torch.save(torchvision_form, tmp_path / "resnet18-abc.pth")  # torchvision's older files count no batches
    cvt = build("cvt_13", weights="random")
    for file in ("timm.safetensors", "resnet18-abc.pth"):
        network = build("resnet18", weights=str(tmp_path / file))
        assert torch.equal(network.module.layer3[0].conv1.weight, state["layer3.0.conv1.weight"])
    assert len(cvt.weights.identity) == len("random:") + 64


def test_a_transformers_file_loads_and_gives_what_transformers_gives(tmp_path):
    from transformers import CvtConfig, CvtForImageClassification

    torch.manual_seed(2)
    theirs = CvtForImageClassification(CvtConfig(num_labels=1000)).eval()
    theirs.save_pretrained(tmp_path)
    ours = build("cvt_13", weights=str(tmp_path / "model.safetensors"))
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        tokens = theirs.cvt(images).cls_token_value
        assert torch.equal(ours.module(images), theirs.layernorm(tokens).mean(dim=1))


def test_the_hubs_local_cache_is_found(tmp_path, monkeypatch):
    found = tmp_path / "model.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), found)
    monkeypatch.setattr(
        weights, "try_to_load_from_cache", lambda hub_id, name: str(found) if "resnet18" in hub_id else None
    )
    assert catalogue.locate("resnet18", weights="").path == found
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda hub_id, name: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").touch()
    assert catalogue.locate("resnet18", weights="").path.name == "resnet18-f37072fd.pth"


def test_no_weights_is_said_with_the_cure(monkeypatch):
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(weights, "_hub_answers", lambda: False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nonexistent")
    with pytest.raises(UserError, match=r"(?s)no weights for resnet18.*timm/resnet18.tv_in1k.*WEIGHTS=random"):
        build("resnet18")


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_file(timm.create_model("resnet34").state_dict(), tmp_path / "r34.safetensors")
    with pytest.raises(UserError, match="unexpected"):
        build("resnet18", weights=str(tmp_path / "r34.safetensors"))
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"junk.pth"):
        build("resnet18", weights=str(tmp_path / "junk.pth"))


def test_only_missing_rows_are_computed(faces):
    options = config(faces)
    first = runs.result(run(options))
    assert first["computed"] == 60
    write_faces(faces, 10, start=60)
    second = runs.result(run(options))
    assert (second["images"], second["computed"]) == (70, 10)
    assert second["dataset"] == "faces"
    shards = {path: path.stat().st_mtime_ns for spec in specs_of(run(options)) for path in shard_paths(spec.folder)}
    run(options)
    assert {path: path.stat().st_mtime_ns for path in shards} == shards


def test_batch_and_workers_change_no_number(faces, world, monkeypatch):
    one = loaded(config(faces, batch=32))
    monkeypatch.setenv("CACHE_DIR", str(world / "other"))
    monkeypatch.setenv("RUNS_DIR", str(world / "other_runs"))
    for a, b in zip(one, loaded(config(faces, batch=7, workers=0)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("processes", "free", "crew"),
    [
        (15, 64_000_000, None),  # a container's shared memory
        (15, 200_000_000, Crew(2, 1)),
        (15, 1_000_000_000, Crew(14, 1)),
        (15, 2_000_000_000, Crew(15, 2)),
        (15, 9_000_000_000, Crew(15, 4)),
        (15, sys.maxsize, Crew(15, 4)),
        (1, 200_000_000, Crew(1, 2)),
        (0, 9_000_000_000, None),
    ],
)
def test_batches_ahead_fit_into_shared_memory(processes, free, crew, monkeypatch):
    monkeypatch.setattr(loading, "_free_shared", lambda: free)
    batch = 256 * 256 * 256 * 3
    assert loading.fitting_crew(processes, batch) == crew
    if crew:
        assert (crew.processes * crew.ahead + 1) * batch <= free


def test_too_little_shared_memory_is_told_once_and_threads_decode(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loading, "_free_shared", lambda: 100_000)
    monkeypatch.setattr(loading, "DataLoader", None)
    loading._tell.cache_clear()
    few = write_faces(tmp_path / "few", 12)
    assert runs.result(run(config(few, batch=8, workers=2, views=1)))["computed"] == 24
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("images: ")]
    assert len(said) == 1
    assert "threads decode in place of 2 processes" in said[0]
    assert "--shm-size=2m" in said[0]


def test_parts_together_are_the_whole(faces, monkeypatch):
    folder = run(config(faces, part="0/2"))
    assert not runs.is_complete(folder)
    with pytest.raises(UserError, match="not complete"):
        specs_of(folder)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun sets them
    assert runs.is_complete(run(config(faces)))
    with pytest.raises(UserError, match="PART=2/2: expected i/n"):
        run(config(faces, part="2/2"))


def test_a_changed_image_stops_and_what_was_done_stays(faces):
    from data import build as data_build

    options = config(faces, batch=8)
    data_build.run(options.data)
    victim = faces / "real" / "0058.jpg"
    stamp = victim.stat()
    content = bytearray(victim.read_bytes())
    content[-10] ^= 1
    victim.write_bytes(content)
    import os

    os.utime(victim, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size, same date: only the digest tells
    with pytest.raises(UserError, match=r"0058.jpg changed since it was hashed.*REHASH=1"):
        run(options)
    kept = sum(len(shard_paths(folder)) for folder in paths.features_dir().glob("*/"))
    assert kept > 0
    assert runs.is_complete(run(options.but(rehash=True)))


def test_mild_and_harsh_views_live_side_by_side_and_the_image_itself_is_computed_once(faces):
    mild, harsh = (config(faces, views=1, features="layer2:avg", augment=each) for each in ("mild", "harsh"))
    first, other = (tables(each) for each in (mild, harsh))
    np.testing.assert_array_equal(first[0].X, other[0].X)
    assert first[1].spec.augmentation != other[1].spec.augmentation
    assert (np.abs(first[1].X - other[1].X).max(axis=1) > 0).all()
    assert runs.result(run(harsh))["computed"] == len(manifest_of(harsh))  # the harsh view alone


def test_views_differ_and_are_kept_beside_the_first(faces):
    options = config(faces, views=2, features="layer2:avg")
    plain, first, second = loaded(options)
    assert (plain != first).any()
    assert (first != second).any()
    assert [spec.view for spec in specs_of(run(options))] == [0, 1, 2]


def test_black_stands_in_for_bad_images(faces):
    for name in ("a.jpg", "b.jpg"):
        (faces / "real" / name).write_bytes(b"broken" + name.encode())
    options = config(faces, bad_images="black")
    (first, *_), manifest = loaded(options), manifest_of(options)
    black = first[(manifest.rows.status == "black").to_numpy()]
    assert len(manifest) == 62
    np.testing.assert_array_equal(black[0], black[1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "resnt18"}, "unknown backbone 'resnt18'; did you mean resnet18"),
        ({"features": "layer3"}, "'layer3' is not tap:pooling"),
        ({"features": "layer3:mean"}, "unknown pooling 'mean' in FEATURES=layer3:mean"),
        ({"features": "layer3:avg layer3:avg"}, "named twice"),
        ({"features": "layer7:avg"}, "unknown tap of resnet18 'layer7'"),
        ({"weights": "/no/such/file.pth"}, "no such file"),
        ({"device": "cuda:9"}, "DEVICE=cuda:9: .*leave DEVICE out"),
    ],
)
def test_mistakes_are_told_before_work(faces, options, words):
    merged = {"backbone": "resnet18", "weights": "random", **SMALL, **options}
    with pytest.raises(UserError, match=words):
        run(ExtractConfig.of(data=str(faces), **merged))
    assert not paths.features_dir().exists()


@pytest.mark.parametrize(
    "work", [lambda **given: run_each(ExtractConfig.of(**given)), lambda **given: run_heads(HeadsConfig.of(**given))]
)
def test_a_misspelt_backbone_is_told_before_an_image_is_read(faces, work):
    with pytest.raises(UserError, match="unknown backbone 'resnt18'; did you mean resnet18"):
        work(data=str(faces), backbone="tf_efficientnet_lite0 resnt18")
    assert not paths.data_dir().exists()


@pytest.mark.parametrize(
    ("backbone", "features", "words"),
    [
        ("volo_d1_224", "", r"network.0 of volo_d1_224 gives \(1, 28, 28, 192\).*channels first, 192 channels"),
        ("samvit_base_patch16_224", "blocks.1:avg", r"blocks.1 .* gives \(1, 14, 14, 768\)"),
        ("xcit_nano_12_p16_224", "blocks.0:avgstd", r"gives \(1, 196, 128\).*1 tokens before"),  # none is there yet
        ("crossvit_9_240", "blocks.0:avg", "gives no single tensor"),
        ("vit_tiny_patch16_224", "patch_embed:avg", r"gives \(1, 196, 192\).*unnamed channels"),
    ],
)
def test_a_tap_that_is_not_laid_out_as_its_network_says_is_refused(faces, backbone, features, words):
    with pytest.raises(UserError, match=words):
        run(ExtractConfig.of(data=str(faces), backbone=backbone, features=features, weights="random", device="cpu"))
    assert not paths.features_dir().exists()


@pytest.mark.parametrize(
    "backbone",
    ["swin_tiny_patch4_window7_224", "mambaout_femto", "convnext_atto", "poolformer_s12", "nextvit_small",
     "hiera_tiny_224", "vit_tiny_patch16_224", "levit_128s", "tiny_vit_5m_224", "maxvit_tiny_tf_224", "davit_tiny",
     "regnety_002"],
)  # fmt: skip
def test_taps_that_are_laid_out_as_their_network_says_are_not(backbone):
    taps = tuple(feature.rpartition(":")[0] for feature in catalogue.default_features(backbone))
    refuse_other_layout(backbone, taps, layout(backbone), crop=catalogue.preprocess(backbone).crop)


def test_several_backbones_take_turns(faces):
    options = ExtractConfig.of(data=str(faces), backbone="resnet18 resnet10t", weights="random", **SMALL)
    folders = run_each(options)
    assert [runs.result(folder)["backbone"] for folder in folders] == ["resnet18", "resnet10t"]
    assert all(runs.result(folder)["weights"] == "random weights" for folder in folders)
    with pytest.raises(UserError, match="WEIGHTS='resnet18=file"):
        list(ExtractConfig.of(backbone="resnet18 cvt_13", weights="x.pth").each_backbone())


def _safetensors(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.bin"])
@pytest.mark.parametrize(
    "content",
    [
        b"", b"no weights", [torch.zeros(2)], torch.zeros(2), {"state_dict": [torch.zeros(2)]}, {"model": 3},
        {1: torch.zeros(2)}, {"conv1.weight": "words"}, {"conv1.weight": torch.zeros(2)}, {},
        _safetensors(b"[" * 100_000), _safetensors(b"{}")[:-1], b"\xff" * 100,
        _safetensors(b'{"conv1.weight": {"dtype": "F32", "shape": [99], "data_offsets": [0, 396]}}'),
    ],
    ids=str,
)  # fmt: skip
def test_files_that_are_no_weights_are_one_sentence(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=rf"{tmp_path}/{name}"):
        build("resnet18", weights=str(path))


@pytest.mark.parametrize("batch", [1, 7])
def test_a_cache_removed_in_the_middle_is_one_sentence_and_the_rerun_has_all(tmp_path, monkeypatch, batch):
    """As somebody may in another terminal."""
    options = config(write_faces(tmp_path / "few", 32), features="layer1:map layer1:avg", batch=4)
    whole = loaded(options)
    shutil.rmtree(paths.features_dir())
    shutil.rmtree(paths.runs_dir())
    number, original = itertools.count(), writing.ShardWriter.add

    def add(writer, *arguments):
        original(writer, *arguments)
        writer.waiting[-1].result()
        if next(number) == batch:
            shutil.rmtree(paths.features_dir())

    monkeypatch.setattr(writing, "KEEP_EVERY", 0)  # a shard a batch
    monkeypatch.setattr(writing.ShardWriter, "add", add)
    with pytest.raises(UserError, match=r"features of \d+ images were written and are gone"):
        run(options)
    assert not list(paths.runs_dir().glob("extract/*/result.json"))
    for one, other in zip(whole, loaded(options), strict=True):
        assert one.tobytes() == other.tobytes()


def test_values_too_large_for_their_type_are_refused(tmp_path):
    options = config(write_faces(tmp_path / "few", 12), features="layer2:map")
    network = build("resnet18", weights="random")
    state = timm.create_model("resnet18").state_dict()
    state.update(network.module.state_dict())
    state["layer2.1.bn2.weight"] = torch.full_like(state["layer2.1.bn2.weight"], 1e7)
    save_file(state, tmp_path / "large.safetensors")
    with pytest.raises(UserError, match=r"not finite in float16.*STORED=float32"):
        run(options.but(weights=str(tmp_path / "large.safetensors")))
    assert runs.is_complete(run(options.but(weights=str(tmp_path / "large.safetensors"), stored="float32")))


def test_killed_extractions_leave_what_an_undisturbed_one_leaves():
    call = forked.python("-m", "tests.soak.kills", "4", "extract")
    assert call.returncode == 0, call.stdout + call.stderr
    assert re.fullmatch(r"extract: 4 kills within .* s, 2 files or features: equal\n", call.stdout)
