"""A run folder, file by file:

config.json        the record it was made from
environment.json   commit, package versions, hardware
log.txt            what was printed, with times
...                what the stage makes
result.json        written last: a folder that has it is complete
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from cache import paths
from cache.atomic import append_line, read_lines, write_json
from cache.errors import masked

RESULT = "result.json"
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "h5py",
    "numpy",
    "scikit-learn",
    "pandas",
    "pillow",
    "grad-cam",
    "onnxruntime",
)


def is_complete(folder: Path) -> bool:
    return (folder / RESULT).exists()


def begin(folder: Path, config: Any) -> None:
    """Record what is about to be run, and on what."""
    write_json(folder / "config.json", config)
    write_json(folder / "environment.json", environment())


def finish(folder: Path, result: Any) -> None:
    """The last, atomic act of a run."""
    write_json(folder / RESULT, result)


def result(folder: Path) -> dict:
    return read_json(folder / RESULT)


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def complete_runs(stage: str) -> list[Path]:
    """The folders of all complete runs of a stage, by name."""
    return sorted(path.parent for path in (paths.runs_dir() / stage).glob(f"*/{RESULT}"))


def log(folder: Path, text: str, *, quiet: bool = False) -> None:
    """Print a line, unless quiet, and keep it in the run's log.txt with the time."""
    if not quiet:
        print(text, flush=True)
    append_line(folder / "log.txt", f"{datetime.now().isoformat(timespec='seconds')} {text}")


def count_test_scoring(dataset: str, run: str) -> None:
    """Note in the ledger that `run` scored the test split of `dataset`."""
    entry = {"dataset": dataset, "run": run, "time": datetime.now().isoformat(timespec="seconds")}
    append_line(paths.ledger_file(), json.dumps(entry))


def test_scorings(dataset: str) -> int:
    """How often the test split of `dataset` has been scored so far."""
    return sum(json.loads(line)["dataset"] == dataset for line in read_lines(paths.ledger_file()))


def environment() -> dict:
    """Commit, command, versions and hardware, as JSON-able values."""
    return {
        "commit": _commit(),
        "command": masked(shlex.join([_module(Path(sys.argv[0])), *sys.argv[1:]])),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }


def _module(started: Path) -> str:
    """What was started, as `python -m` names it: heads/__main__.py -> heads, finetune/tune.py -> finetune.tune."""
    return ".".join(filter(None, [started.parent.name, started.stem if started.stem != "__main__" else ""]))


def _commit() -> str:
    call = ["git", "-C", str(paths.ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
