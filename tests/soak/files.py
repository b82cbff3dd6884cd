"""A small real file of every kind that the program reads again, its reader, and what of it must not change unseen."""

import copy
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from analysis.found.sweeps import read_sweep
from cache import paths, runs
from cache.features import FeatureSpec, open_shard, shard_paths
from data import build as data_build
from data.augment import Augmentation
from data.images import probe
from data.manifest import Manifest
from data.options import DataConfig
from extract.networks.weights import Weights
from extract.run import run as extract
from extract.run import specs_of
from finetune.detectors.detector_file import load_detector
from finetune.options import FinetuneConfig
from finetune.recipes import Recipe
from finetune.run import run as finetune
from finetune.training import state
from finetune.training.job import BEST
from finetune.training.optimise import optimiser_of
from heads.families import Estimator, Family, Linear, Logistic, Member, Mlp, Ridge, Tail
from heads.head_file import HeadRecord, assemble, load_head, read_record, save_head
from heads.options import HeadsConfig
from heads.predictions import read_predictions
from heads.run import run as sweep
from heads.sweep.buckets import load_trials, save_trials
from heads.sweep.leaderboard import Trial
from heads.sweep.sweep_result import HEAD_FILE, SweepResult
from tests.conftest import picture, write_faces
from tests.tables import source, task

IMAGES = 24
OPTIONS = {
    "backbone": "resnet18", "weights": "random", "size": 64, "device": "cpu", "workers": 0, "compute": "fp32",
    "features": "layer1:avg", "seeds": 1, "grid": '[{"family": "ridge", "penalty": 1}]',
}  # fmt: skip
TRAINED = '{"recipe": "cnn-dropout-logsoftmax", "size": 16, "epochs": 1, "batch": 8}'
SLOW = 0.3  # share of the kinds that build a network each time
COLUMNS = 12  # of the heads that are not the sweep's
FAMILIES = {
    "linear": Linear(lr=0.1, epochs=2), "mlp": Mlp(lr=0.1, epochs=2, hidden=(4, 3)), "ridge": Ridge(penalty=1.0),
    "logistic": Logistic(penalty=0.1), "sklearn": Estimator("sklearn.svm.SVC", (("C", 1.0),)),
    "tail": Tail(lr=0.1),
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """path: of the real file. read: what it says, raises UserError. exact: whatever is not refused must say the same.

    share: of all inputs.
    """

    name: str
    path: Path
    read: Callable[[Path], Any]
    exact: bool = True
    share: float = 1


def kinds(home: Path) -> list[Kind]:
    """Below `home`, which is the artefact folders too: CACHE_DIR and so on must say so."""
    faces = write_faces(home / "faces", IMAGES)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        head = sweep(HeadsConfig.of(data=str(faces), **OPTIONS))
        trained = finetune(FinetuneConfig.of(data=str(faces), recipe=TRAINED, device="cpu", workers=0))
        extracted = extract(HeadsConfig.of(data=str(faces), **OPTIONS).extract)
    manifest = paths.manifest_file("faces")
    (shard,) = shard_paths(specs_of(extracted)[0].folder)
    return [
        Kind("shard", shard, _shard, share=4),
        *_heads(home, head),
        Kind("bucket of heads", _bucket(home), load_trials),
        Kind("detector", trained / BEST, _with_tensors(load_detector), share=SLOW),
        Kind("last.pt", trained / state.FILE, _last(trained), share=SLOW),
        Kind("manifest.csv", manifest, Manifest.load, exact=False, share=2),
        Kind("manifest.json", manifest.with_suffix(".json"), lambda _: Manifest.load(manifest), exact=False),
        Kind("probes.csv", manifest.with_name("probes.csv"), lambda _: _rebuilt(faces), share=2),
        *(Kind(f"result.json of {each.parent.name}", each / runs.RESULT, lambda path: runs.result(path.parent), False)
          for each in (extracted, head, trained)),
        Kind("config.json", head / "config.json", runs.read_json, exact=False),
        Kind("predictions-val.csv", head / "predictions-val.csv", read_predictions, share=2),
        Kind("leaderboard.csv", head / "leaderboard.csv", _sweep_of, share=2),
        Kind("ledger.jsonl", paths.ledger_file(), lambda _: runs.test_scorings("faces"), exact=False),
        *_weights(home),
    ]  # fmt: skip


def pictures(home: Path) -> list[tuple[str, bytes]]:
    """(ending, bytes) of every format that Pillow writes, in every mode that it writes it in."""
    Image.init()
    found = []
    for kind in sorted(Image.SAVE):
        for mode in ("RGB", "L", "P", "RGBA", "1", "CMYK", "I;16", "LAB"):
            buffer = io.BytesIO()
            try:
                _in_mode(mode).save(buffer, kind)
            except (OSError, ValueError, KeyError, SystemError, RuntimeError, AttributeError, TypeError):
                continue  # it does not write this mode, or needs a library that is not there
            found.append((kind.lower(), buffer.getvalue()))
    return found


def _in_mode(mode: str) -> Image.Image:
    image = picture(1, fake=True, side=32)
    if mode == "I;16":
        return Image.fromarray(np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16))
    return image.convert("RGBA" if mode == "LAB" else mode)


def fingerprint(value: Any) -> Any:
    """Something that is equal exactly where two readings say the same, nan included."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
        return str(value.dtype), value.shape, hashlib.sha256(content).hexdigest()
    if isinstance(value, pd.DataFrame):
        return value.to_csv()
    if isinstance(value, torch.nn.Module):
        return fingerprint(value.state_dict())
    if is_dataclass(value):
        return type(value).__name__, fingerprint({name: getattr(value, name) for name in value.__dataclass_fields__})
    if isinstance(value, dict):
        return [(str(name), fingerprint(each)) for name, each in value.items()]
    return [fingerprint(each) for each in value] if isinstance(value, list | tuple) else repr(value)


def _shard(path: Path) -> Any:
    shard = open_shard(path)
    rows = np.array(shard.features)
    for row in range(len(shard)):
        shard.check(row, rows[row])
    return shard.spec, shard.digests, rows


def _with_tensors(load: Callable[[Path], tuple[torch.nn.Module, Any]]) -> Callable[[Path], Any]:
    return lambda path: [fingerprint(each) for each in load(path)]


def _heads(home: Path, folder: Path) -> Iterator[Kind]:
    """The sweep's own, and one of each family."""
    yield Kind("head of the sweep", folder / HEAD_FILE, _with_tensors(load_head), share=2)
    spec = read_record(folder / HEAD_FILE).inputs[0]
    for name, config in FAMILIES.items():
        path = home / "heads" / name / HEAD_FILE
        save_head(path, *_head(config, spec))
        yield Kind(f"head, {name}", path, _with_tensors(load_head), share=SLOW if name == "tail" else 1)


def _head(config: Family, spec: FeatureSpec) -> tuple[torch.nn.Module, HeadRecord]:
    if config.reads_maps:
        record = HeadRecord(config, [replace(spec, tap="layer4", pooling="map")], (512, 2, 2))
        return config.empty(record), record
    record = HeadRecord(config, [spec], (COLUMNS,))
    return assemble(_fitted(config), record), record


def _fitted(config: Family) -> list:
    return config.fit([Member(config, 0, 0)], source(task(columns=COLUMNS)))


def _bucket(home: Path) -> Path:
    path = home / "buckets" / "a.safetensors"
    save_trials(path, [Trial("layer1:avg", each, 0.5) for each in _fitted(FAMILIES["linear"])])
    return path


def _last(folder: Path) -> Callable[[Path], Any]:
    """As a training that goes on reads it."""
    made_from = runs.read_json(folder / "config.json")["made_from"]
    settings = made_from["recipe"]
    recipe = Recipe(**{**settings, "augmentation": Augmentation(**settings["augmentation"])})
    network, _ = load_detector(folder / BEST)

    def read(path: Path) -> Any:
        detector = copy.deepcopy(network).requires_grad_(True)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        learner = state.Learner(detector, optimiser_of(detector, recipe), scaler, None)
        standing, warning = state.load(path, made_from, learner)
        return fingerprint([standing, warning, detector, learner.optimiser.state_dict()])

    return read


def _rebuilt(faces: Path) -> Any:
    """The manifest that `make data` makes with what was kept of probing."""
    return Manifest.load(data_build.run(DataConfig.of(data=str(faces))))


def _sweep_of(path: Path) -> Any:
    return read_sweep(path.parent, SweepResult(**runs.result(path.parent)))


def _weights(home: Path) -> Iterator[Kind]:
    """The sha256 of the file is part of every spec, so that a changed one is another one."""
    tensors = {"a.weight": torch.ones(8, 8), "a.bias": torch.zeros(8)}
    for name in ("x.pth", "x.safetensors"):
        path = home / "weights" / name
        path.parent.mkdir(exist_ok=True)
        if name.endswith("pth"):
            torch.save({"state_dict": tensors}, path)
        else:
            from safetensors.torch import save_file

            save_file(tensors, path)
        yield Kind(f"weights {name[1:]}", path, lambda path: Weights("", "", path).read(), exact=False)


def probed(home: Path, ending: str, content: bytes) -> dict:
    """What `make data` keeps of an image file."""
    path = home / f"image.{ending}"
    path.write_bytes(content)
    return asdict(probe(home, path.name))
