"""Engines: OpenVINO's features beside torch's, conversions that are kept, and networks that only torch takes."""

import re
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from analysis.predict.predictor import Predictor
from cache import paths, runs
from cache.errors import UserError
from cache.pooling import pool, pool_in_graph
from data.build import run as run_data
from data.manifest import Manifest
from data.options import DataConfig
from extract import writing
from extract.computing import engines, machine
from extract.loading import Batch
from extract.networks import catalogue
from extract.networks.backbones import build
from extract.networks.weights import Origin
from extract.options import DEFAULT, ExtractConfig, engine_of, number_type
from extract.run import fill, run, specs_of, tables
from finetune.detectors.detector import FeatureDetector
from finetune.detectors.image_scorer import open_detector
from finetune.detectors.logits import logits_of
from finetune.detectors.parity import PARITY_LIMITS, compared
from finetune.options import FinetuneConfig
from finetune.run import run as run_finetune
from heads.elsewhere import score_other_data
from heads.options import HeadsConfig
from heads.run import run as run_heads
from heads.sweep.sweep_result import HEAD_FILE
from tests.conftest import write_faces

installed = pytest.mark.skipif(not engines.find_spec("openvino"), reason="the package openvino is not installed")
native = pytest.mark.skipif(machine.compute_of("auto", "cpu") != "bf16", reason="the CPU does not multiply in bfloat16")
FEATURES = "stem:avgstd body:avg body:map"
HOW = {"backbone": "tiny", "weights": "random", "size": 32, "device": "cpu", "batch": 8, "features": FEATURES}


class Tiny(nn.Module):
    """What networks consist of: convolutions, one of them depthwise, norms, a shortcut."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), between)
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.ReLU(), nn.Conv2d(16, 24, 1), nn.ReLU())
        self.short = nn.Conv2d(16, 24, 1)
        self.classifier = nn.Linear(24, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)  # (N, 3, H, W) -> (N, 16, H/2, W/2)
        return self.classifier((self.body(x) + self.short(x)).mean((2, 3)))


class Bessel(nn.Module):
    """That OpenVINO does not know."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


class Noisy(nn.Module):
    """A graph of it says something else than the network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rand_like(x)


BETWEEN = {"tiny": nn.ReLU, "bessel": Bessel, "noisy": Noisy}
wanted = "tiny"


def network() -> nn.Module:
    return Tiny(BETWEEN[wanted]())


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    entry = catalogue.Entry(Origin(), tuple(FEATURES.split()), module="tests.test_engines")
    for name in BETWEEN:
        monkeypatch.setitem(catalogue.REGISTRY, name, entry)
    monkeypatch.setattr("extract.run.FEW", 0)  # so that auto converts a network for the images of a test


@pytest.fixture
def images(tmp_path) -> Path:
    return write_faces(tmp_path / "images", 20)


def config(data: Path, **more) -> ExtractConfig:
    return ExtractConfig.of(data=str(data), **{**HOW, "engine": "openvino", "compute": "fp32", **more})


def rows(options: ExtractConfig) -> list[np.ndarray]:
    return [np.asarray(table.X) for table in tables(options)]


def pixels_of(number: int) -> torch.Tensor:
    return torch.randint(0, 256, (number, 32, 32, 3), generator=torch.Generator().manual_seed(1)).byte()


def tiny_engine(compute: str, batch: int = 8) -> "engines.Engine":
    backbone = build("tiny", weights="random")
    how = catalogue.preprocess("tiny", size=32)
    specs = [
        engines.FeatureSpec("tiny", backbone.weights.identity, tap, pooling, how, compute, "float32")
        for tap, pooling in (("stem", "avgstd"), ("body", "avg"), ("body", "map"))
    ]
    return engines.engine(backbone, specs, torch.device("cpu"), batch=batch)


def largest_error(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    return max(float((a.float() - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("pooling", ["avg", "avgstd"])
@pytest.mark.parametrize(
    ("shape", "layout"),
    [((9, 5, 4, 4), (False, 0)), ((9, 4, 4, 5), (True, 0)), ((9, 17, 5), (False, 1)), ((9, 5), (False, 0))],
)
def test_poolings_in_a_graph_are_those_outside(shape, layout, pooling):
    maps = 3 + torch.randn(shape, generator=torch.Generator().manual_seed(0))
    how = dict(zip(("channels_last", "prefix_tokens"), layout, strict=True))
    found, expected = pool_in_graph(maps, pooling, **how), pool(maps, pooling, **how)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert pool_in_graph(maps, "map", **how) is maps


@installed
def test_float32_is_torchs(images):
    ours, theirs = rows(config(images)), rows(config(images, engine="torch"))
    assert [each.shape for each in ours] == [(20, 32), (20, 24), (20, 24, 16, 16)]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3 if one.ndim > 2 else 1e-4, atol=1e-4)  # maps are in float16
    specs = [specs_of(run(config(images, engine=engine)))[0] for engine in ("openvino", "torch")]
    assert [spec.compute for spec in specs] == ["openvino-fp32", "fp32"]
    assert specs[0].key != specs[1].key


def test_kernels_say_what_torch_says_of_every_image_by_itself(images, capsys):
    """Compiling takes seconds, so all is asked of one engine."""
    ours, theirs = rows(config(images, engine="compiled")), rows(config(images, engine="torch"))
    assert "compiling tiny" in capsys.readouterr().out
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3 if one.ndim > 2 else 1e-4, atol=1e-4)
    specs = specs_of(run(config(images, engine="compiled")))
    assert {spec.compute for spec in specs} == {"compiled-fp32"}
    assert "compiling" not in capsys.readouterr().out
    network, pixels = tiny_engine("compiled-fp32"), pixels_of(8)
    together = network(Batch(pixels, 8))
    kept = [each.clone() for each in together]
    alone = network(Batch(torch.cat([pixels[5:6], torch.zeros(7, 32, 32, 3, dtype=torch.uint8)]), 1))
    for one, whole, before in zip(alone, together, kept, strict=True):
        assert torch.equal(one, whole[5:6])
        assert torch.equal(whole, before)


def test_torch_takes_what_cannot_be_compiled(images, monkeypatch, capsys):
    def no_compiler(*_, **__):
        def fails(_):
            raise RuntimeError("\nno C++ compiler is here\nand more")

        return fails

    monkeypatch.setattr(torch, "compile", no_compiler)
    found = specs_of(run(config(images, engine="compiled")))
    assert {spec.compute for spec in found} == {"fp32"}
    assert "engine of tiny: torch (ENGINE=compiled, torch.compile does not take it: no C++ compiler is here)" in (
        capsys.readouterr().out
    )
    monkeypatch.setattr(torch, "compile", lambda module, **_: lambda pixels: [2 * each for each in module(pixels)])
    run(config(images, engine="compiled", features="stem:avg"))
    assert re.search(r"what torch.compile made differs from it by 1\b", capsys.readouterr().out)


@installed
@native
def test_bfloat16_is_as_far_from_float32_as_torchs():
    batch = Batch(pixels_of(8), 8)
    exact = tiny_engine("fp32")(batch)
    ours, theirs = (largest_error(tiny_engine(compute)(batch), exact) for compute in ("openvino-bf16", "bf16"))
    assert theirs / 20 < ours <= 2 * theirs  # float32 under the name of bfloat16 would be far below


@installed
@pytest.mark.parametrize("compute", ["openvino-fp32", pytest.param("openvino-bf16", marks=native)])
def test_features_do_not_depend_on_what_came_with_them(compute):
    pixels = pixels_of(8)
    together = tiny_engine(compute)(Batch(pixels, 8))
    alone = torch.cat([pixels[5:6], torch.zeros(7, 32, 32, 3, dtype=torch.uint8)])
    others = torch.cat([pixels[5:], pixels.flip(0)[:5]])
    for batch, place in ((Batch(alone, 1), 0), (Batch(others, 3), 0)):
        found = tiny_engine(compute)(batch)
        assert [len(each) for each in found] == [batch.count] * 3
        assert all(torch.equal(one[place], whole[5]) for one, whole in zip(found, together, strict=True))


@installed
@pytest.mark.parametrize("compute", ["openvino-fp32", pytest.param("openvino-bf16", marks=native)])
def test_features_do_not_depend_on_threads_nor_much_on_the_batch(compute):
    pixels = pixels_of(8)
    before = torch.get_num_threads()
    one = tiny_engine(compute)(Batch(pixels, 8))
    try:
        torch.set_num_threads(2)
        two = tiny_engine(compute)(Batch(pixels, 8))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    smaller = tiny_engine(compute, batch=2)(Batch(pixels[:2], 2))
    assert largest_error(smaller, [each[:2] for each in one]) < 1e-6


@installed
def test_rows_stay_what_they_were_when_the_next_batch_comes():
    network = tiny_engine("openvino-fp32")
    first = network(Batch(pixels_of(8), 8))
    before = [each.clone() for each in first]
    network(Batch(255 - pixels_of(8), 8))
    assert all(torch.equal(a, b) for a, b in zip(first, before, strict=True))


@installed
def test_a_network_is_converted_once(images, monkeypatch, capsys):
    from extract.computing import openvino_graph

    first = rows(config(images))
    assert capsys.readouterr().out.count("converting tiny for openvino (once)") == 1
    assert [path.suffix for path in paths.engines_dir().iterdir()] == [".safetensors"]
    monkeypatch.setattr(openvino_graph, "converted", None)  # would fail
    write_faces(images, 4, start=20)
    again = rows(config(images))
    np.testing.assert_array_equal(again[0][[0, 5]], first[0][[0, 5]])
    assert len(again[0]) == 24


@installed
def test_a_network_is_compiled_once_for_all_views(images, monkeypatch):
    from extract.computing import forward

    made, engine = [], forward.engine
    monkeypatch.setattr(forward, "engine", lambda *given, **how: made.append(given) or engine(*given, **how))
    found = rows(config(images, views=2))
    assert len(made) == 1
    first, second = (found[number] for number in (3, 6))  # stem:avgstd of views 1 and 2
    assert not np.array_equal(first, second)


@installed
def test_a_damaged_conversion_is_made_anew(images, monkeypatch, capsys):
    first = rows(config(images))
    (kept,) = paths.engines_dir().iterdir()
    content = bytearray(kept.read_bytes())
    content[-100] ^= 1
    kept.write_bytes(content)
    monkeypatch.setenv("CACHE_DIR", str(images.parent / "other"))
    monkeypatch.setenv("RUNS_DIR", str(images.parent / "other_runs"))
    (paths.engines_dir()).mkdir(parents=True)
    kept.rename(paths.engines_dir() / kept.name)
    capsys.readouterr()
    for one, other in zip(rows(config(images)), first, strict=True):
        np.testing.assert_array_equal(one, other)
    said = capsys.readouterr().out
    assert "is not what was written, the network is converted again" in said
    assert said.count("converting tiny") == 1
    assert (paths.engines_dir() / kept.name).read_bytes() != bytes(content)


@installed
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bessel", "openvino does not take it: No .*bessel_j0"),
        ("noisy", "what openvino made of it differs"),
    ],
)
@pytest.mark.parametrize("engine", ["openvino", "auto"])
def test_torch_takes_what_openvino_does_not(images, name, reason, engine, monkeypatch, capsys):
    monkeypatch.setattr("tests.test_engines.wanted", name)
    options = config(images, backbone=name, engine=engine)
    (spec, *_) = specs_of(run(options))
    assert spec.compute == "fp32"
    (said,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("engine of ")]
    assert re.match(rf"engine of {name}: torch \(ENGINE={engine}, {reason}", said)
    (kept,) = paths.engines_dir().iterdir()
    assert re.match(reason, kept.read_text())
    assert run(options) == run(options)
    out = capsys.readouterr().out
    assert "converting" not in out  # it is not tried again, and only who asked for it is told again
    assert ("openvino" in out) == (engine == "openvino")
    kept.unlink()
    run(options)
    assert ("converting" in capsys.readouterr().out) == (engine == "openvino")  # auto has torch's features by now


@installed
def test_torch_takes_a_number_type_that_the_cpu_does_not_multiply_in(images, monkeypatch, capsys):
    monkeypatch.setattr(engines, "multiplies_bf16", lambda: False)
    assert specs_of(run(config(images, engine="auto", compute="bf16")))[0].compute == "bf16"
    assert "torch (ENGINE=auto, this CPU does not multiply in bf16" in capsys.readouterr().out


@installed
@pytest.mark.parametrize(
    ("few", "kept", "taken"), [(21, [], "fp32"), (20, [], "openvino-fp32"), (20, ["fp32"], "fp32")]
)
def test_auto_converts_where_images_are_many_and_not_here_by_torch(images, few, kept, taken, monkeypatch, capsys):
    monkeypatch.setattr("extract.run.FEW", few)  # there are 20 images
    for compute in kept:
        run(config(images, engine="torch", compute=compute))
    capsys.readouterr()
    assert specs_of(run(config(images, engine="auto")))[0].compute == taken
    assert ("engine of tiny" in capsys.readouterr().out) == (taken != "fp32")
    assert ExtractConfig.of(data=str(images)).engine == "auto"


@installed
def test_auto_says_what_it_took_and_why(images, monkeypatch, capsys):
    assert engine_of(specs_of(run(config(images, engine="auto")))[0].compute) == "openvino"
    assert "engine of tiny: openvino (ENGINE=auto, it takes the network)" in capsys.readouterr().out
    if engines.multiplies_bf16():
        assert engine_of(specs_of(run(config(images, engine="auto", compute="bf16")))[0].compute) == "openvino"
    capsys.readouterr()
    monkeypatch.setattr(engines, "device_of", lambda word: "cuda:0")
    reason = engines.why_not("auto", "auto", "bf16")
    assert reason == "openvino computes on CPUs and the device is cuda:0"
    monkeypatch.undo()
    assert "not in fp16" in engines.why_not("auto", "cpu", "fp16")
    with pytest.raises(UserError, match=r"ENGINE=openvino: openvino computes in bf16 or fp32.*COMPUTE=bf16 or fp32"):
        engines.why_not("openvino", "cpu", "fp16")


def test_a_missing_package_is_told_with_its_cure(images, monkeypatch, capsys):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"ENGINE=openvino: the package openvino is not installed.*pip install"):
        run(config(images))
    assert not paths.features_dir().exists()
    specs = specs_of(run(config(images, engine="auto")))
    assert "engine of tiny: torch (ENGINE=auto, openvino is not installed)" in capsys.readouterr().out
    assert specs[0].compute == "fp32"
    made_there = [replace(spec, compute="openvino-fp32") for spec in specs]
    manifest = Manifest.load(paths.manifest_file("images")).usable
    with pytest.raises(UserError, match=r"tiny's features of openvino-fp32: the package openvino is not installed"):
        fill(config(images, engine="torch"), manifest, made_there)


def test_engines_have_names(images):
    with pytest.raises(UserError, match="unknown ENGINE 'openvin'; did you mean openvino"):
        config(images, engine="openvin")
    assert [engine_of(each) for each in ("bf16", "openvino-bf16")] == ["torch", "openvino"]
    assert [number_type(each) for each in ("fp32", "openvino-bf16")] == ["fp32", "bf16"]


@installed
def test_an_interrupted_extraction_ends_with_the_same_rows(images, monkeypatch):
    whole = rows(config(images))
    monkeypatch.setenv("CACHE_DIR", str(images.parent / "other"))
    monkeypatch.setenv("RUNS_DIR", str(images.parent / "other_runs"))
    number, add = count(), writing.ShardWriter.add

    def interrupted(writer: writing.ShardWriter, *given: object) -> None:
        if next(number) == 1:
            raise KeyboardInterrupt
        add(writer, *given)

    monkeypatch.setattr(writing.ShardWriter, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config(images))
    for one, other in zip(whole, rows(config(images, part="0/1")), strict=True):
        assert one.tobytes() == other.tobytes()


@installed
@pytest.mark.parametrize(
    ("compute", "features", "family"),
    [("fp32", "stem:avgstd body:avg", "ridge"), pytest.param("bf16", "stem:avgstd body:avg", "ridge", marks=native),
     pytest.param("bf16", "stem:map", "tail", marks=native)],
)  # fmt: skip
def test_a_detector_says_what_the_head_says_on_another_engines_features(compute, features, family, images):
    grid = {"ridge": '[{"family": "ridge", "penalty": 1.0}]', "tail": '[{"family": "tail", "lr": 0.01, "epochs": 1}]'}
    how = {**HOW, "engine": "openvino", "compute": compute, "features": features, "seeds": 1, "workers": 0}
    folder = run_heads(HeadsConfig.of(data=str(images), grid=grid[family], **how))
    detector = FeatureDetector.load(folder / HEAD_FILE, [build("tiny", weights="random")])
    assert detector.compute == compute
    assert {spec.compute for spec in detector.inputs} == {f"openvino-{compute}"}
    manifest = Manifest.load(paths.manifest_file("images")).usable
    table = pd.read_csv(folder / "predictions-train.csv").set_index("path").score
    where = manifest.where("train")
    cached = table[manifest.rows.path.iloc[where]].to_numpy()
    found = logits_of(detector, manifest, where, torch.device("cpu"), batch=8, workers=0)
    assert compared(found, cached, compute=detector.compute, head_file=folder / HEAD_FILE).startswith("parity: ")


@dataclass(frozen=True)
class Judged:
    """Finished runs whose number type is bf16 where the CPU has it: of a head, of its fine-tuning, of a network."""

    faces: Path
    head: Path
    trained: Path
    network: Path


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Judged:
    home = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
            patch.setenv(name, str(home / name.lower()))
        patch.setitem(
            catalogue.REGISTRY, "tiny", catalogue.Entry(Origin(), ("stem:avgstd",), module="tests.test_engines")
        )
        faces = write_faces(home / "faces", 60)
        how = {
            **HOW, "features": "stem:avgstd body:avg", "grid": '[{"family": "ridge", "penalty": 1.0}]', "seeds": 1,
            "workers": 0, "data": str(faces), "inputs": "all", "engine": "torch",
        }  # fmt: skip
        patch.setattr("extract.run.FEW", 0)
        own = {**how, "backbone": DEFAULT, "weights": "", "size": 64, "features": ""}
        return Judged(
            faces,
            run_heads(HeadsConfig.of(**how | {"engine": "auto"})),
            run_finetune(FinetuneConfig.of(**how, recipe='{"recipe": "two-phase", "epochs": 1, "batch": 16}')),
            run_finetune(FinetuneConfig.of(**own, recipe='{"recipe": "cnn-fc6", "epochs": 1, "batch": 16}')),
        )


@pytest.fixture
def beside(judged, monkeypatch) -> Judged:
    """The same, with conversions of their own."""
    home = judged.faces.parent
    monkeypatch.setenv("CACHE_DIR", str(home / "cache_dir"))
    monkeypatch.setenv("DATA_DIR", str(home / "data_dir"))
    monkeypatch.setenv("RUNS_DIR", str(home / "runs_dir"))
    return judged


def spread_of(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / expected.std())


@installed
@pytest.mark.parametrize("name", ["trained", "network"])
def test_a_detector_through_an_engine_says_what_torch_says(beside, name):
    folder, manifest = getattr(beside, name), Manifest.load(paths.manifest_file("faces")).usable
    torchs, ours = (open_detector(folder, device="cpu", batch=8, workers=0, engine=e) for e in ("torch", "auto"))
    assert (torchs.engine, ours.engine) == ("torch", "openvino")
    expected = torchs.scores(manifest)
    assert 0 < spread_of(ours.scores(manifest), expected) < PARITY_LIMITS[torchs.detector.compute]
    for each in (torchs, ours):
        each.detector.evaluate_in("fp32")
    exact = open_detector(folder, device="cpu", batch=8, workers=0, engine="openvino")
    exact.detector.evaluate_in("fp32")
    assert spread_of(exact.scores(manifest), torchs.scores(manifest)) < PARITY_LIMITS["fp32"]


def test_a_detector_of_kernels_says_what_torch_says(beside):
    manifest = Manifest.load(paths.manifest_file("faces")).usable
    torchs, ours = (open_detector(beside.trained, device="cpu", batch=8, workers=0, engine=e)
                    for e in ("torch", "compiled"))  # fmt: skip
    for each in (torchs, ours):
        each.detector.evaluate_in("fp32")
    assert ours.engine == "compiled"
    assert spread_of(ours.scores(manifest), torchs.scores(manifest)) < PARITY_LIMITS["fp32"]


@installed
def test_a_detector_is_converted_once_and_another_one_anew(beside, capsys):
    manifest = Manifest.load(paths.manifest_file("faces")).usable
    for folder in (beside.trained, beside.trained, beside.network):
        open_detector(folder, device="cpu", batch=4, workers=0, engine="openvino").scores(manifest)
    assert capsys.readouterr().out.count("converting") == 2


@installed
def test_a_heads_scores_from_images_are_those_of_the_engine_that_made_its_features(beside, capsys):
    expected = pd.read_csv(beside.head / "predictions-test.csv")
    judge = Predictor.of(beside.head, device="cpu", batch=8)
    assert judge.scorer.engine == "openvino"
    found = judge.score([beside.faces / path for path in expected.path])
    assert "converting" not in capsys.readouterr().out  # what made the features makes the scores
    np.testing.assert_allclose([each.score for each in found], expected.score, rtol=0, atol=1e-5 * expected.score.std())


@installed
@pytest.mark.parametrize("name", ["head", "trained", "network"])
def test_a_score_does_not_depend_on_what_came_with_it(beside, name):
    judge = Predictor.of(getattr(beside, name), device="cpu", batch=8, engine="auto")
    images = sorted(beside.faces.rglob("*.jpg"))[:20]
    together = judge.score(images)
    assert [judge.score(each)[0] for each in images[:9:4]] == together[:9:4]


@installed
def test_torch_judges_what_openvino_does_not_take(beside, monkeypatch, capsys):
    from extract.computing import openvino_graph

    def refused(conversion, module):
        raise openvino_graph.NotTaken("openvino does not take it: test")

    monkeypatch.setattr(openvino_graph, "_equal_graph", refused)
    scorer = open_detector(beside.trained, device="cpu", batch=2, workers=0, engine="auto")
    assert scorer.engine == "torch"
    assert f"engine of {beside.trained.name}: torch (ENGINE=auto, openvino does not take it" in capsys.readouterr().out


@installed
def test_scores_of_other_data_say_what_ran_the_networks(beside, tmp_path):
    other = Manifest.load(run_data(DataConfig(data=str(write_faces(tmp_path / "others", 12, start=100))))).usable
    for engine in ("openvino", "torch"):
        scorer = open_detector(beside.trained, device="cpu", batch=8, workers=0, engine=engine)
        folder = score_other_data(scorer, other)
        assert runs.result(folder)["engine"] == "openvino"  # what is there is not scored again


SIGNALLED = """
import os, signal, subprocess, sys, threading
from torch import nn
from extract.computing.conversions import Conversion
from extract.computing.openvino_graph import Graph

class Halved(nn.Module):
    def forward(self, pixels):
        return (pixels.float() / 2,)

held = [Graph(Conversion("halved", {}, 2, 8), Halved(), "fp32")]
dropping = threading.Thread(target=held.clear)
dropping.start()
dropping.join()
signal.signal(signal.SIGCHLD, lambda *_: print("told", flush=True))
subprocess.run(["true"], check=True)
"""


@installed
def test_a_signal_after_another_thread_dropped_the_engine_ends_nothing():
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED], cwd=paths.ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "told"), done.stderr
