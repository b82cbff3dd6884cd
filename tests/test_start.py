"""What a command imports that has nothing to do: libraries take seconds, and nobody waits for what is not used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.options import ReportCommand
from analysis.report import run as report
from cache import paths
from finetune.options import FinetuneConfig
from finetune.run import run as finetune
from tests.conftest import without_pictures, write_faces

COMMANDS = (
    "cache", "data", "extract", "heads", "finetune", "finetune.tune", "analysis", "analysis.gradcam",
    "analysis.predict", "analysis.export",
)  # fmt: skip
NETWORKS = {"torch", "timm", "torchvision", "transformers", "pytorch_grad_cam", "optuna"}
HEAVY = NETWORKS | {"sklearn", "scipy", "matplotlib", "jinja2", "pandas", "numpy", "h5py", "PIL", "huggingface_hub"}
OPTIONS = {
    "size": 64, "device": "cpu", "workers": 0, "features": "blocks.0:avgstd", "head_epochs": 1, "seeds": 1,
    "grid": '[{"family": "ridge", "penalty": 1.0}, {"family": "linear", "lr": 0.01}]',
}  # fmt: skip
RECIPE = '{"recipe": "two-phase", "epochs": 1, "unfreeze_every": 0, "batch": 16}'
PAGE = {"perturb": 4, "num_samples": 3}


def imported(*commands: tuple[str, ...]) -> list[str]:
    """The heavy modules that commands, run in one process, have imported between them."""
    code = f"""
import runpy, sys
for command, *given in {commands!r}:
    sys.argv = [command, *given]
    runpy.run_module(command, run_name="__main__", alter_sys=True)
print(*sorted({HEAVY!r} & sys.modules.keys()))
"""
    call = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert call.returncode == 0, call.stderr
    return call.stdout.splitlines()[-1].split()


def flags(**options: object) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Faces, and folders that hold everything of them: features, a sweep, a training, heat maps, a page."""
    home = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch_places(patch, home)
        without_pictures(patch)
        faces = write_faces(home / "faces", 60)
        finetune(FinetuneConfig.of(data=str(faces), recipe=RECIPE, **OPTIONS))
        report(ReportCommand.of(data=str(faces), **PAGE, **OPTIONS))
    return home


def patch_places(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
        patch.setenv(name, str(home / name.lower()))


@pytest.fixture
def faces(made, monkeypatch) -> Path:
    patch_places(monkeypatch, made)
    return made / "faces"


def test_help_imports_nothing():
    assert imported(*((command, "--help") for command in COMMANDS)) == []


def test_complete_stages_import_no_network(faces):
    """Nor scikit-learn, scipy and what draws."""
    found = imported(
        ("data", *flags(data=faces)),
        ("extract", *flags(data=faces, size=64, device="cpu", features="blocks.0:avgstd")),
        ("heads", *flags(data=faces, **OPTIONS)),
        ("finetune", *flags(data=faces, recipe=RECIPE, **OPTIONS)),
    )
    assert not set(found) & (NETWORKS | {"sklearn", "scipy", "matplotlib", "jinja2"})


def test_a_page_of_finished_runs_imports_no_network(faces, made):
    page = made / "runs_dir" / "report" / "faces" / "index.html"
    before = page.stat().st_mtime_ns
    assert not set(imported(("analysis", *flags(data=faces, **PAGE, **OPTIONS)))) & NETWORKS
    assert page.stat().st_mtime_ns > before


def test_heat_maps_and_predictions_that_are_there_import_no_network(faces, made):
    predict = ("analysis.predict", *flags(images=faces / "fake", device="cpu"))
    assert "torch" in imported(predict)
    assert not set(imported(predict, ("analysis.gradcam", *flags(num_samples=3, device="cpu")))) & NETWORKS
    assert json.loads((made / "runs_dir" / "registry.json").read_text())
