"""What a run was made by and on, for whoever wants to make it again: commit, command, versions, hardware."""

import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from cache import paths
from cache.errors import masked

DEVICES = Path("/dev")
DRIVERS = ("nvidia*", "kfd", "dxg", "nvhost*", "nvmap")  # of CUDA, ROCm, CUDA inside Windows, and Tegra
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
    "openvino",
)


def describe_environment() -> dict:
    """Commit, command, versions and hardware, as JSON-able values."""
    return {
        "commit": _commit(),
        "command": masked(shlex.join([_module(Path(sys.argv[0])), *sys.argv[1:]])),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": _gpus(),
    }


def may_accelerate() -> bool:
    """Whether the machine may have an accelerator. Without the file of its driver Linux has none, and nobody need wait
    for torch, which takes seconds to import, to say so."""
    return sys.platform != "linux" or any(any(DEVICES.glob(name)) for name in DRIVERS)


def _gpus() -> list[str]:
    """The names of the GPUs, as far as CUDA knows them."""
    if not may_accelerate():
        return []
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def _module(started: Path) -> str:
    """What was started, as `python -m` names it: analysis/gradcam/__main__.py -> analysis.gradcam."""
    inside = started.resolve().with_suffix("")
    parts = inside.relative_to(paths.ROOT).parts if _is_ours(inside) else inside.parts[-2:]
    return ".".join(part for part in parts if part != "__main__")


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(paths.ROOT) and not path.is_relative_to(sys.prefix)


@cache  # what this process has loaded stays what it is
def _commit() -> str:
    call = ["git", "-C", str(paths.ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"


@cache
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
