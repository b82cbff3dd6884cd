"""The five laws of the architecture, each one a test."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cache.paths import ROOT

ORDER = ["cache", "data", "extract", "heads", "finetune", "analysis"]
FILES = [path for folder in ORDER for path in sorted((ROOT / folder).rglob("*.py"))]
WRITERS = {"to_csv", "to_json", "savefig", "save_file", "write_text", "write_bytes", "mkdir", "dump", "imsave"}


def folder_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_left(path):
    right = ORDER[ORDER.index(folder_of(path)) + 1 :]
    assert not imported(path) & {*right, "tests"}


ROOMS = ["judge", "found", "gradcam", "predict", "export", "page", "audit", "house"]  # of analysis, in one order too
IN_ROOMS = [path for room in ROOMS for path in sorted((ROOT / "analysis" / room).rglob("*.py"))]


@pytest.mark.parametrize("path", IN_ROOMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_of_analysis_import_rooms_to_their_left(path):
    """And of what lies beside the rooms the options alone, not the recipe that imports all rooms."""
    room = path.relative_to(ROOT / "analysis").parts[0]
    named = re.findall(r"^\s*(?:from|import) analysis(?:\.(\w+)| import (\w+))", path.read_text(), re.MULTILINE)
    assert {first or second for first, second in named} <= {"options", *ROOMS[: ROOMS.index(room) + 1]}


def test_every_room_of_analysis_has_its_place():
    assert {path.parent.name for path in (ROOT / "analysis").glob("*/__init__.py")} == set(ROOMS)


def test_no_folder_for_leftovers():
    assert not {path.stem for path in FILES} & {"utils", "util", "common", "core", "helpers", "misc"}


def test_no_two_files_share_a_name():
    """But those whose name says the same everywhere: a stage's options, what it runs, its command, its base class."""
    names = Counter(path.stem for path in FILES)
    shared = {name for name, count in names.items() if count > 1}
    assert shared <= {"__init__", "__main__", "run", "base", "options"}


@pytest.mark.parametrize("path", [p for p in FILES if folder_of(p) != "cache"], ids=lambda p: str(p.relative_to(ROOT)))
def test_only_cache_writes(path):
    """Outside cache, whatever writes to a path does so to the temporary one that `replacing` gave."""
    given = {"temporary", "buffer"}
    for call in calls(path):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        target = call.args[0].id if call.args and isinstance(call.args[0], ast.Name) else ""
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if name == "open" and not (isinstance(owner, ast.Name) and owner.id == "Image"):
            mode = [a.value for a in call.args[1:] if isinstance(a, ast.Constant)]
            assert not set("".join(map(str, mode))) & set("wax+"), f"{path}:{call.lineno} opens a file to write"
        elif name in WRITERS and owner is not None and not (name in ("to_csv", "to_json") and not call.args):
            assert target in given, f"{path}:{call.lineno} writes with {name} past cache.atomic"


def test_artefacts_are_ignored_and_code_is_not():
    paths = [
        "cache/features/x/y.h5",
        "data/sample/manifest.csv",
        "runs/heads/x/result.json",
        "cache/key.py",
        "cache/README.md",
        "data/build.py",
        "data/README.md",
        "data/layouts/base.py",
    ]
    call = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True, check=False)
    if call.returncode == 128:
        pytest.skip("not a git checkout")
    assert call.stdout.split() == paths[:3]


def test_stages_are_run_functions():
    for module in (
        "data/build.py",
        "data/unpack/run.py",
        "extract/run.py",
        "heads/sweep/run.py",
        "heads/run.py",
        "finetune/run.py",
        "finetune/tune/run.py",
        "analysis/report.py",
        "analysis/page/report_page.py",
        "analysis/page/datasets.py",
        "analysis/audit/run.py",
        "data/equalize/run.py",
        "analysis/gradcam/run.py",
        "analysis/predict/run.py",
        "analysis/export/run.py",
    ):
        tree = ast.parse((ROOT / module).read_text())
        run = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run")
        assert [argument.arg for argument in run.args.args] == ["config"]
        assert ast.unparse(run.returns) == "Path"


def test_the_sweep_needs_no_images():
    heavy = ["torchvision", "timm", "transformers", "PIL", "extract"]
    code = f"import heads.sweep.run, sys; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
