"""The stages on a tiny data set, each in a process of its own, and what of each must be equal after it was disturbed.

A world is one folder with cache/, data/ and runs/. It is always the same folder, because its name is in some files;
what it was before each stage is kept beside it.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io  # noqa: F401, as all that children would import: a disturbance should cost the work and not a start

import analysis.gradcam.heatmaps  # noqa: F401
from analysis.options import ReportCommand
from analysis.predict.options import PredictConfig
from analysis.predict.run import run as predict
from analysis.report import run as report
from cache import paths
from cache.command import called
from cache.errors import UserError, one_of
from cache.features import open_shard, shard_paths
from data.build import run as data
from data.options import DataConfig
from extract.options import ExtractConfig
from extract.run import run as extract
from finetune.options import FinetuneConfig
from finetune.run import run as finetune
from heads.options import HeadsConfig
from heads.run import run as heads
from tests.conftest import write_faces

IMAGES = 96
EXTRACT = {
    "backbone": "resnet18", "weights": "random", "size": 64, "features": "layer2:map layer2:avgstd", "device": "cpu",
    "workers": 0, "shard_mb": 1, "batch": 8,
}  # fmt: skip
GRID = json.dumps([
    {"family": "mlp", "lr": [1e-2, 1e-3], "hidden": [8, 16], "epochs": 20}, {"family": "ridge", "penalty": [1, 100]},
    {"family": "logistic", "penalty": 0.1}, {"family": "knn"},
])  # fmt: skip
HEADS = {**EXTRACT, "seeds": 2, "head_batch": 16, "grid": GRID}
TRAINED = {"recipe": "cnn-dropout-logsoftmax", "smoke": True, "device": "cpu", "workers": 0, "save_every": 1}
# What two runs need not have in common: times, and checksums of files that hold them.
CLOCK = {"seconds", "images_per_second", "rate", "time", "finished", "commit", "files", "checksum"}
REPORTED = {"perturb": 0, "num_samples": 1}
PREDICTED = {"data": "faces", "heat_maps": 2, "device": "cpu"}


@dataclass(frozen=True)
class Stage:
    """run: on its options. options: on a folder of images, and others where given. files: what of it must be equal."""

    name: str
    run: Callable[[Any], Any]
    options: Callable[..., Any]
    files: tuple[str, ...] = ()


STAGES = {
    each.name: each
    for each in (
        Stage("data", data, DataConfig.of, ("data/faces/*.csv", "data/faces/*.json")),
        Stage("extract", extract, partial(ExtractConfig.of, **EXTRACT)),
        Stage(
            "heads", heads, partial(HeadsConfig.of, **HEADS),
            ("runs/heads/*/*.csv", "runs/heads/*/head.safetensors", "runs/heads/*/result.json", "runs/ledger.jsonl"),
        ),
        Stage(
            "finetune", finetune, partial(FinetuneConfig.of, **TRAINED),
            ("runs/finetune/*/*.csv", "runs/finetune/*/best.safetensors", "runs/finetune/*/result.json",
             "runs/ledger.jsonl", "runs/best/*"),
        ),
        Stage(
            "report", report, partial(ReportCommand.of, **HEADS, **REPORTED),
            ("runs/report/*/*.csv", "runs/report/*/*.json", "runs/report/*/*.png", "runs/gradcam/*/*.csv"),
        ),
        Stage(
            "predict", predict, lambda data, **other: PredictConfig.of(images=data, **{**PREDICTED, **other}),
            ("runs/predict/*/*.csv", "runs/predict/*/*.png", "runs/predict/*/*.json"),
        ),
    )
}  # fmt: skip


@dataclass
class World:
    """home: holds everything. whole: by stage, what an undisturbed run leaves; seconds, bytes: that it takes."""

    home: Path
    whole: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        return self.home / "world"

    @property
    def said(self) -> Path:
        """What the latest process printed."""
        return self.home / "said.txt"

    def before(self, stage: str) -> Path:
        return self.home / "before" / stage

    def restore(self, stage: str) -> None:
        """Make the place what it was before a stage; the place itself stays, because something may be mounted there."""
        for path in self.place.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.before(stage), self.place, dirs_exist_ok=True)

    def start(self, stage: str, *, said: Path | None = None, **setting: Any) -> int:
        """Run a stage in a process of its own group, some of its settings changed; its pid."""
        pid = os.fork()
        if pid == 0:
            os.setsid()
            told = os.open(said or self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(told, 1)
            os.dup2(told, 2)
            os._exit(_status(STAGES[stage], str(self.home / "faces"), setting))
        return pid

    def finish(self, stage: str, **setting: Any) -> int:
        """Run a stage to its end; its exit status, as the command line has it, and 2 for a traceback."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(stage, **setting), 0)[1])

    def differences(self, stage: str) -> list[str]:
        """What a stage left that an undisturbed run does not leave, or leaves otherwise."""
        found, whole = left(self.place, STAGES[stage]), self.whole[stage]
        return sorted(name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name))


@contextmanager
def world(wanted: list[str]) -> Iterator[World]:
    """Every stage up to the last of `wanted` was run once, undisturbed. The artefact folders are the world's.

    Raises:
        UserError: no such stage.
    """
    names = list(STAGES)
    last = max(names.index(one_of(name, names, what="stage")) for name in wanted)
    with tempfile.TemporaryDirectory() as home:
        made = World(Path(home))
        write_faces(made.home / "faces", IMAGES)
        made.place.mkdir()
        for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
            os.environ[name] = str(made.place / name.removesuffix("_DIR").lower())
        for name in names[: last + 1]:
            _run_once(made, name)
        yield made


def _run_once(made: World, stage: str) -> None:
    shutil.copytree(made.place, made.before(stage))
    begun, held = time.monotonic(), held_by(made.place)
    status = made.finish(stage)
    if status:
        raise RuntimeError(f"{stage} failed undisturbed:\n{made.said.read_text()}")
    made.seconds[stage] = time.monotonic() - begun
    made.bytes[stage] = held_by(made.place) - held
    made.whole[stage] = left(made.place, STAGES[stage])


def in_turn(wanted: list[str], attempt: Callable[[World, str], str]) -> int:
    """Print what `attempt` says of each stage; the number of those that do not end in `equal`."""
    wrong = 0
    with world(wanted) as made:
        for stage in wanted:
            line = attempt(made, stage)
            wrong += not line.endswith(": equal")
            print(line, flush=True)
    return wrong


def held_by(folder: Path) -> int:
    """Bytes, in pages as a tmpfs counts them."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def left(place: Path, stage: Stage) -> dict[str, str]:
    """What must be equal: name -> sha256. Of extraction the rows of each feature, in whatever shards they are."""
    found = {
        str(path.relative_to(place)): hashlib.sha256(_timeless(path)).hexdigest()
        for pattern in stage.files for path in place.glob(pattern) if not path.name.startswith(".")
    }  # fmt: skip
    return found | (_features() if stage.name == "extract" else {})


def _features() -> dict[str, str]:
    found = {}
    for folder in paths.features_dir().iterdir():
        shards = [open_shard(path) for path in shard_paths(folder)]
        rows = {shard.digests[row].tobytes(): shard.features[row] for shard in shards for row in range(len(shard))}
        for shard in shards:
            for row in range(len(shard)):
                shard.check(row, np.array(shard.features[row]))
        content = b"".join(digest + rows[digest].tobytes() for digest in sorted(rows))
        found[folder.name] = hashlib.sha256(content).hexdigest()
    return found


def _timeless(path: Path) -> bytes:
    if path.name == "probes.csv":  # in the order in which files were read, and a checksum of that in the last line
        return "\n".join(sorted(path.read_text().splitlines()[:-1])).encode()
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return table.drop(columns=CLOCK & set(table)).to_csv().encode()
    if path.suffix == ".json":
        return json.dumps(_without_clock(json.loads(path.read_text()))).encode()
    if path.suffix == ".jsonl":
        lines = {json.dumps(_without_clock(json.loads(line))) for line in path.read_text().splitlines()}
        return "\n".join(sorted(lines)).encode()  # of the ledger: what is there twice counts once
    return path.read_bytes()


def _without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_clock(each) for name, each in value.items() if name not in CLOCK}
    return [_without_clock(each) for each in value] if isinstance(value, list) else value


def _status(stage: Stage, faces: str, setting: dict[str, Any]) -> int:
    try:
        called(stage.run, stage.options(data=faces, **setting))
    except UserError as error:
        print(f"UserError: {error}", flush=True)
        return 1
    except BaseException:  # noqa: BLE001, the process ends here
        traceback.print_exc()
        sys.stderr.flush()
        return 2
    return 0
