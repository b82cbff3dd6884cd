"""The only file that spells a folder name.

CACHE_DIR, DATA_DIR and RUNS_DIR move the three artefact folders to another disk.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def cache_dir() -> Path:
    return Path(os.environ.get("CACHE_DIR") or ROOT / "cache")


def data_dir() -> Path:
    return Path(os.environ.get("DATA_DIR") or ROOT / "data")


def runs_dir() -> Path:
    return Path(os.environ.get("RUNS_DIR") or ROOT / "runs")


def safe(name: str) -> str:
    """`name` as one path component: everything but letters, digits and `._+-` becomes `_`."""
    return re.sub(r"[^\w.+-]", "_", name)


def features_dir() -> Path:
    """One folder below it for each FeatureSpec."""
    return cache_dir() / "features"


def sample_dir() -> Path:
    """The images of the built-in synthetic set, as class folders."""
    return data_dir() / "sample" / "images"


def manifest_file(dataset: str) -> Path:
    return data_dir() / safe(dataset) / "manifest.csv"


def known_datasets() -> list[str]:
    """The names of all data sets with a manifest."""
    return sorted(path.parent.name for path in data_dir().glob("*/manifest.csv"))


def run_dir(stage: str, name: str) -> Path:
    return runs_dir() / stage / safe(name)


def report_dir(dataset: str) -> Path:
    return runs_dir() / "report" / safe(dataset)


def ledger_file() -> Path:
    """One line for every time a test split was scored."""
    return runs_dir() / "ledger.jsonl"


def registry_file() -> Path:
    """Every finished training."""
    return runs_dir() / "registry.json"


def best_file(dataset: str) -> Path:
    """The best detector on a data set."""
    return runs_dir() / "best" / f"{safe(dataset)}.safetensors"
