"""Exports: the graph says what the detector says, in the folder is all that a stranger needs, and nothing half done."""

import json
import re

import numpy as np
import onnx
import pytest
import torch
from huggingface_hub import ModelCard

from analysis.export import card, onnx_graph
from analysis.export import run as export
from analysis.export.onnx_graph import measured_parity, to_onnx
from analysis.export.options import ExportConfig
from analysis.predict.predictor import Predictor
from cache.errors import UserError
from cache.features import FeatureSpec
from extract.networks.backbones import build
from extract.networks.catalogue import layout, preprocess
from finetune.detectors.detector import Detector, FeatureDetector
from finetune.detectors.detector_file import network_detector
from finetune.detectors.detector_record import NetworkRecord
from finetune.detectors.image_scorer import open_detector
from finetune.detectors.networks import preprocess_for
from heads.families import Mlp, Tail
from heads.head_file import HeadRecord
from heads.options import HeadsConfig
from heads.run import run as run_heads
from tests import forked
from tests.conftest import picture
from tests.test_predict import SMALL, made  # noqa: F401  (a fixture)

LITE0_TAPS = ("bn1", "blocks.0", "blocks.2")


def with_head(name: str, features: list[tuple[str, str]], config, shape: tuple[int, ...], members: int) -> Detector:
    """A head as it was initialised on a backbone without weights, at 64 pixels."""
    torch.manual_seed(0)
    backbone = build(name, weights="random")
    how = preprocess(name, size=64)
    specs = [
        FeatureSpec(name, backbone.weights.identity, tap, pooling, how, "bf16", "float16", **layout(name))
        for tap, pooling in features
    ]
    head = config.empty(HeadRecord(config, specs, shape, members)).eval()
    return FeatureDetector([backbone], head, specs).eval().requires_grad_(False)


def detectors() -> dict[str, Detector]:
    """What must be exportable, made when asked for."""
    scratch = NetworkRecord("cnn-fc6", True, preprocess_for(64), 2, 0.5, "bf16")
    return {
        "pooled": lambda: with_head("tf_efficientnet_lite0", [(tap, "avgstd") for tap in LITE0_TAPS],
                                    Mlp(lr=1.0, hidden=(8, 4), layer_norm=True), (2 * (32 + 16 + 40),), 2),
        "tail": lambda: with_head("resnet18", [("layer3", "map")], Tail(lr=1.0, loss="ce"), (256, 4, 4), 2),
        "tokens": lambda: with_head("cvt_13", [("stages.0", "avg"), ("stages.1", "avgstd")], Mlp(lr=1.0),
                                    (64 + 2 * 192,), 1),
        "scratch": lambda: network_detector(scratch).eval().requires_grad_(False),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["pooled", "tail", "tokens", "scratch"])
def test_the_graph_says_what_the_detector_says(name):
    detector = detectors()[name]()
    before = {tensor: value.clone() for tensor, value in detector.state_dict().items()}
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    model = to_onnx(detector)
    # An untrained network hardly tells images apart, so that the spread is that of a trained one.
    found = measured_parity(model, detector, pixels, against="images of noise", spread=1.0, threshold=0.0)
    assert found.float32 < 1e-4
    assert 0 < found.run < 0.5
    assert detector.compute == "bf16"
    assert all(torch.equal(value, before[tensor]) for tensor, value in detector.state_dict().items())
    graph = onnx.load_from_string(model).graph
    assert [each.name for each in (*graph.input, *graph.output)] == ["pixels", "score"]
    assert not {node.op_type for node in graph.node} & {"If", "Loop"}


def test_an_export_is_all_that_a_stranger_needs(made, tmp_path, capsys):  # noqa: F811
    folder = export.run(ExportConfig.of(run=made.trained.name, opset=18))
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "example.py",
        "model.onnx",
        "preprocess.json",
    ]
    assert onnx.load(folder / "model.onnx").opset_import[0].version == 18
    said = capsys.readouterr().out
    assert "on 10 validation images scores differ by up to" in said
    assert re.search(r"\d MB, \d+ ms an image", said)
    face = tmp_path / "a face.png"
    picture(5, fake=True, side=90).resize((90, 120)).save(face)
    call = forked.python(folder / "example.py", face)
    assert call.returncode == 0, call.stderr
    expected = Predictor.of(made.trained).score(face)[0]
    score, probability, called = re.fullmatch(r"score (\S+), probability of fake (\S+): (\w+)\n", call.stdout).groups()
    assert float(score) == pytest.approx(expected.score, abs=1e-4)
    assert float(probability) == pytest.approx(expected.probability, abs=1e-3)
    assert called == expected.decision


def test_the_card_and_the_steps_are_those_of_the_run(made, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(export, "to_onnx", lambda *_, **__: b"graph")
    parity = onnx_graph.Parity(15, "validation images", 1.0, 1e-6, "fp32", 1e-6, 0, 3.0)
    monkeypatch.setattr(export, "measured_parity", lambda *_, **__: parity)
    folder = export.run(ExportConfig.of(run=made.sweep.name, out=str(tmp_path / "out")))
    text = (folder / "README.md").read_text()
    model = card._figures_of(made.sweep).model
    auc = " | ".join(card._written(each.metrics["auc"], 3) for each in (model.val, model.test))
    for words in (
        "**Random weights:", "**Shortcut: the classes can be told apart by", "| train | 20 | 20 |",
        f"| AUC | {auc} |", "- 10 test images are few",
        "It was never tried on another data set", "no proof that an image",
        "Faces are personal data", "python -m", parity.words, "resnet18, head ridge penalty=10.0",
    ):  # fmt: skip
        assert words in text, words
    assert "{" not in text
    header = ModelCard(text).data  # as programs read it
    assert (header.library_name, header.pipeline_tag, header.model_name) == (
        "onnx", "image-classification", made.sweep.name
    )  # fmt: skip
    known = {(each.dataset_split, each.metric_type): each.metric_value for each in header.eval_results}
    assert known["test", "auc"] == model.test.metrics["auc"].value
    assert known["validation", "accuracy"] == model.val.metrics["accuracy"].value
    assert {each.dataset_name for each in header.eval_results} == {"faces"}
    assert "\n\n\n" not in text
    steps = json.loads((folder / "preprocess.json").read_text())
    how = Predictor.of(made.sweep).detector.preprocess
    assert (steps["resize"], steps["crop"], steps["interpolation"]) == (how.resize, how.crop, how.interpolation)
    assert steps["thresholds"]["youden"] == steps["threshold"] == Predictor.of(made.sweep).threshold


def test_a_run_whose_data_changed_has_a_card_without_figures(made, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(card, "find_models", lambda manifest: [])
    found = card._figures_of(made.sweep)
    assert card._header("run", found.columns).to_dict()["tags"] == ["real-or-fake-faces"]  # and no results
    assert (found.model, found.audit) == (None, None)
    assert "has changed since the run" in found.missing


def test_images_that_are_gone_are_replaced_by_noise(made, monkeypatch, capsys):  # noqa: F811
    scorer = open_detector(made.sweep)
    pixels, against = export._pixels(scorer)
    assert (len(pixels), against) == (10, "validation images")

    def gone(*_, **__):
        raise UserError("gone")

    monkeypatch.setattr(export, "batches", gone)
    pixels, against = export._pixels(scorer)
    assert (pixels.shape, against) == ((8, 64, 64, 3), "images of noise")
    assert "compared on noise, because validation images cannot be had: gone" in capsys.readouterr().out


class Bright(Detector):
    """The mean grey level of an image as its score."""

    compute = "fp32"

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float().mean(dim=(1, 2, 3))


def test_parity_by_hand(monkeypatch):
    """Images of grey levels 0 to 4; what the graph says of them all at once, and of the first alone, is given."""
    pixels = np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None, None], (5, 2, 2, 3)).copy()

    def compared(off: list[float], alone: float = 0.0, spread: float = 1.0) -> onnx_graph.Parity:
        said = np.arange(5) + np.array(off), np.array([alone]), 3.0
        monkeypatch.setattr(onnx_graph, "_run", lambda *_: said)
        return measured_parity(b"", Bright(), pixels, against="greys", spread=spread, threshold=2.0)

    assert compared([0.0] * 5).flipped == 0
    found = compared([0, 0, -5e-4, 0, 2e-4])  # the third is at the threshold, and so called fake
    assert (found.flipped, found.float32, found.run) == (1, pytest.approx(5e-4), pytest.approx(5e-4))
    assert "differ by up to 5.0e-04 from PyTorch in float32" in found.words
    assert "1 decisions differ from the run's" in found.words
    assert compared([0, 0, 0, 0, 5e-3], spread=10.0).float32 == pytest.approx(5e-3)
    for wrong in ({"off": [0, 0, -5e-4, 0, 0], "spread": 0.1}, {"off": [0.0] * 5, "alone": 0.1}):
        with pytest.raises(UserError, match="does not say what the detector says"):
            compared(**wrong)


def test_an_export_that_fails_leaves_no_graph_of_an_earlier_one(made, tmp_path, monkeypatch):  # noqa: F811
    """The graph is written last, and says that the card and the steps beside it are its own."""
    parity = onnx_graph.Parity(15, "validation images", 1.0, 1e-6, "fp32", 1e-6, 0, 3.0)
    monkeypatch.setattr(export, "to_onnx", lambda *_, **__: b"graph")
    monkeypatch.setattr(export, "measured_parity", lambda *_, **__: parity)
    monkeypatch.setattr(export, "card", lambda *_: "a card")
    config = ExportConfig.of(run=made.sweep.name, out=str(tmp_path / "out"))
    assert (export.run(config) / "model.onnx").read_bytes() == b"graph"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        export.run(config)
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_a_graph_that_says_something_else_is_not_written(made, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(onnx_graph, "LIMIT", -1.0)
    with pytest.raises(UserError, match="does not say what the detector says"):
        export.run(ExportConfig.of(run=made.trained.name, out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_a_graph_is_refused(made, tmp_path):  # noqa: F811
    trees = run_heads(HeadsConfig.of(data=str(made.faces), **SMALL | {"grid": '[{"family": "knn", "n_neighbors": 3}]'}))
    for run, words in {
        trees: "this head is scikit-learn's", made.views: "is judged by the mean over 3 views",
        made.joined: "take the image in several forms",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=words):
            export.run(ExportConfig.of(run=str(run), out=str(tmp_path / "out")))
    for opset in (7, 999):
        with pytest.raises(UserError, match=f"OPSET={opset}: expected 18 to"):
            export.run(ExportConfig.of(run=made.trained.name, opset=opset, out=str(tmp_path / "out")))
    with pytest.raises(UserError, match="unknown run 'nix'"):
        export.run(ExportConfig.of(run="nix"))
    assert not (tmp_path / "out").exists()
    found = Predictor.of(trees, batch=8).score(made.faces / "real" / "0000.jpg")[0]
    assert found.status == "ok"  # what cannot be exported can be used here
