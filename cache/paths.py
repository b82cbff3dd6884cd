"""The only file that spells a folder name.

CACHE_DIR, DATA_DIR and RUNS_DIR move the three artefact folders to another disk.
"""

import os
import re
from pathlib import Path

from cache.errors import UserError, printable

LONGEST_NAME = 100  # bytes of a data set's name; that of a run on another set holds two of them, and 255 is the limit
LONGEST = 255  # bytes of a folder's name
NO_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\]")

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


def _folder(name: str) -> str:
    """`name` as a folder's: the one place that keeps folders below those above.

    Raises:
        UserError: it would be another folder, or is too long.
    """
    folder = safe(name)
    if folder in ("", ".", "..") or len(folder.encode()) > LONGEST:
        raise UserError(f"{folder!r} cannot be the name of a folder: expected 1 to {LONGEST} bytes, neither . nor ..")
    return folder


def dataset_name(name: str) -> str:
    """`name`, if a data set can have it: folders of data/ and runs/ are called so.

    Raises:
        UserError: it would lead out of them, is too long, or cannot be printed.
    """
    size = len(name.encode("utf-8", "surrogatepass"))
    if name in ("", ".", "..") or size > LONGEST_NAME or NO_NAME.search(name):
        raise UserError(
            f"{printable(name)!r} cannot be the name of a data set, because folders are called so: expected up to "
            f"{LONGEST_NAME} bytes (found {size}) without / and \\ and control characters, and neither . nor .. ; "
            "choose another with NAME=..."
        )
    if (ROOT / "data" / name / "__init__.py").exists():
        raise UserError(f"{name!r} cannot be the name of a data set, because it is a folder of this program: "
                        "choose another with NAME=...")  # fmt: skip
    return name


def features_dir() -> Path:
    """The feature cache: one folder below it for each FeatureSpec."""
    return cache_dir() / "features"


def engines_dir() -> Path:
    """Networks as an engine compiles them: what a conversion made, kept so that it is made once."""
    return cache_dir() / "engines"


def sample_dir() -> Path:
    """The images of the built-in synthetic set."""
    return data_dir() / "sample" / "images"


def sample_list() -> Path:
    """The CSV that says what each of them is."""
    return sample_dir() / "images.csv"


def manifest_file(dataset: str) -> Path:
    return data_dir() / _folder(dataset) / "manifest.csv"


def known_datasets() -> list[str]:
    """The names of all data sets with a manifest, whose JSON is written last."""
    return sorted(path.parent.name for path in data_dir().glob("*/manifest.json"))


def run_dir(stage: str, name: str) -> Path:
    return runs_dir() / stage / _folder(name)


def report_dir(dataset: str) -> Path:
    return runs_dir() / "report" / _folder(dataset)


def ledger_file() -> Path:
    """The ledger: one line for every time a test split was scored."""
    return runs_dir() / "ledger.jsonl"


def registry_file() -> Path:
    """The file that lists every finished training."""
    return runs_dir() / "registry.json"


def best_file(dataset: str) -> Path:
    """The file of the best detector on a data set."""
    return runs_dir() / "best" / f"{_folder(dataset)}.safetensors"
