"""Heads and detectors whose records ask for what no file holds: refused before room is made for it."""

import json
import resource
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from cache.checkpoint import load_weights, save_weights
from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from extract.networks.backbones import empty
from finetune.detectors.detector_file import load_detector, network_detector, save_detector
from finetune.detectors.detector_record import DetectorRecord, NetworkRecord
from heads.families import Estimator, Mlp, Ridge, Tail
from heads.head_file import HeadRecord, load_head, save_head

HOW = Preprocess(72, 64, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SPEC = FeatureSpec("resnet18", "ab12", "layer1", "avg", HOW, "fp32", "float32")
RECORD = HeadRecord(Mlp(lr=0.1, hidden=(3,)), [SPEC], (5,), members=2)
NETWORK = NetworkRecord("cnn-fc6", True, HOW, 1, 0.0, "fp32")
ROOM = 3 << 30  # bytes that a refusal may add to what is mapped already


@pytest.fixture(autouse=True)
def little_room():
    """Whoever makes room for a billion numbers gets none."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def rewritten(path: Path, change: dict) -> None:
    """The same tensors under a changed record, and a checksum that holds."""
    tensors, record = load_weights(path)
    save_weights(path, tensors, record | change)


def changed(spec: FeatureSpec, **how: object) -> dict:
    return {"inputs": [json.loads(json.dumps(asdict(spec))) | {"preprocess": asdict(HOW) | how}]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"row_shape": [1_000_000_000]}, "row_shape"),
        ({"row_shape": [50_000_000]}, r"mean: expected \[2, 50000000\], found \[2, 5\]"),
        ({"row_shape": []}, "row_shape"),
        ({"row_shape": [0]}, "row_shape"),
        ({"row_shape": 5}, "row_shape = 5: expected a tuple"),
        ({"row_shape": [5.0]}, "row_shape = 5.0: expected a whole number"),
        ({"members": 1_000_000}, r"mean: expected \[1000000, 5\], found \[2, 5\]"),
        ({"members": 0}, "members = 0"),
        ({"members": "2"}, "members = '2': expected a whole number"),
        ({"views": 1_000_000}, "views = 1000000: expected 1 to 1000 views"),
        ({"views": -1}, "views = -1"),
        ({"augmentation": 3}, "augmentation = 3: expected text"),
        ({"inputs": []}, "of 0 features"),
        ({"inputs": {}}, r"inputs = \{\}: expected a list"),
        ({"inputs": [1]}, "inputs = 1: expected an object"),
        (changed(SPEC, crop=20_000), "crop = 20000"),
        (changed(SPEC, crop=0), "crop = 0"),
        (changed(SPEC, resize=10**30), "resize = 1000000000000000000000000000000"),
        (changed(SPEC, crop="64"), "crop = '64': expected a whole number"),
        ({"config": {"family": "mlp", "lr": 0.1, "hidden": [8192, 8192]}}, "stack.bias1: expected"),
        ({"config": {"family": "mlp", "lr": 0.1, "hidden": [10**400]}}, "at most 8192"),
        ({"config": {"family": "nonsense"}}, "no setting of a head"),
        ({"config": {"family": ["mlp"]}}, "no setting of a head"),
        ({"config": [1]}, "no setting of a head"),
        ({"config": {"family": "sklearn", "estimator": "sklearn.svm.SVC", "params": 3}}, "no setting of a head"),
        ({"config": Estimator("sklearn.svm.SVC").to_json()}, "line: expected"),
        ({"config": Estimator("sklearn.svm.SVC").to_json(), "members": 10**9}, "line: expected"),
        ({"config": Tail(lr=0.1).to_json()}, "members: expected 2, found 0"),
        ({"more": 1}, "has an unknown more"),
    ],
)
def test_a_head_that_asks_for_what_its_file_does_not_hold_is_refused(tmp_path, change, words):
    path = tmp_path / "head.safetensors"
    save_head(path, RECORD.config.empty(RECORD), RECORD)
    assert load_head(path)[1] == RECORD
    rewritten(path, change)
    with pytest.raises(UserError, match=rf"(?s)head\.safetensors is no head of this program: .*{words}"):
        load_head(path)


def test_a_tail_on_a_map_without_end_is_refused(tmp_path):
    record = HeadRecord(Tail(lr=0.1), [replace(SPEC, tap="layer4", pooling="map")], (512, 2, 2))
    path = tmp_path / "head.safetensors"
    save_head(path, record.config.empty(record), record)
    assert load_head(path)[1] == record
    for shape in ([512, 2000, 2000], [3, 2, 2], [512]):
        rewritten(path, {"row_shape": shape})
        with pytest.raises(UserError, match=r"head\.safetensors (is no head of this program|does not fit TailHead)"):
            load_head(path)
    rewritten(path, {"row_shape": [512, 2, 2], "members": 1_000_000})
    with pytest.raises(UserError, match="members: expected 1000000, found 1"):
        load_head(path)


def test_a_tail_to_be_filled_looks_for_no_weights_and_hashes_none(tmp_path, monkeypatch):
    record = HeadRecord(Tail(lr=0.1), [replace(SPEC, tap="layer4", pooling="map")], (512, 2, 2))
    save_head(tmp_path / "head.safetensors", record.config.empty(record), record)
    for name in ("randomised", "locate"):
        monkeypatch.setattr(
            f"extract.networks.backbones.{name}", lambda *_, **__: pytest.fail("this is work for nothing")
        )
    load_head(tmp_path / "head.safetensors")
    drawn = torch.get_rng_state()
    assert empty("resnet18", identity="ab").weights.identity == "ab"
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": {"preprocess": asdict(HOW) | {"crop": 20_000}}}, "crop = 20000"),
        ({"network": {"preprocess": asdict(HOW) | {"crop": 4096}}}, "its tensors are not those of its record"),
        ({"network": {"network": "vgg19"}}, "its tensors are not those of its record"),
        ({"network": {"network": "nonsense"}}, "unknown network 'nonsense'"),
        ({"network": {"own": 1}}, "own = 1: expected true or false"),
        ({"network": {"outputs": 10**9}}, "outputs = 1000000000"),
        ({"network": {"dropout": "much"}}, "dropout = 'much': expected a number"),
        ({"network": {"compute": "fp8"}}, "unknown compute 'fp8'"),
        ({"made": [1]}, "a detector's record has network and made"),
        ({"made": {"epoch": "one"}}, "epoch = 'one': expected a whole number"),
        ({"more": 1}, "a detector's record has network and made"),
    ],
)
def test_a_detector_that_asks_for_what_its_file_does_not_hold_is_refused(tmp_path, change, words):
    path, record = tmp_path / "best.safetensors", DetectorRecord(NETWORK, {"epoch": 3})
    save_detector(path, network_detector(NETWORK).state_dict(), record)
    assert load_detector(path)[1] == record
    if isinstance(change.get("network"), dict):
        change = {"network": asdict(NETWORK) | change["network"]}
    rewritten(path, change)
    with pytest.raises(UserError, match=rf"best\.safetensors is no detector of this program: .*{words}"):
        load_detector(path)


def test_a_ridge_head_of_a_detector_is_compared_before_it_is_built(tmp_path):
    path, record = tmp_path / "best.safetensors", HeadRecord(Ridge(penalty=1.0), [SPEC], (50_000_000,))
    save_weights(path, {"head.mean": torch.zeros(1, 64)}, DetectorRecord(record, {}).to_json())
    with pytest.raises(UserError, match=r"mean: expected \[1, 50000000\], found \[1, 64\]"):
        load_detector(path)
