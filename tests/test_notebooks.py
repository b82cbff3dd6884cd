"""Every cell of every notebook runs, in order, on small files; and from a folder that has a `data` of its own."""

import json
import os
import subprocess
import sys
import tomllib

import pytest

from cache.paths import ROOT
from tests.test_laws import ORDER

FOLDER = ROOT / "analysis" / "notebooks"


def cells(name: str) -> list[dict]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"]


def executed(name: str, **parameters: str) -> dict:
    """What stands in a notebook's names when all its cells have run, the parameters given in place of its own."""
    names: dict = {}
    for cell in cells(name):
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                assert parameters.keys() <= names.keys()
                names |= parameters
    return names


def test_the_notebooks_run(few, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    made = executed("from_images_to_a_head", DATA=str(few), FEATURES="blocks.1:avgstd")
    assert made["table"].X.shape[0] == 48
    assert len(made["leaderboard"]) == 4
    assert set(made["test"].decision) <= {"real", "fake"}
    read = executed("read_a_finished_run")
    assert read["folder"] == made["run"]
    assert read["rows"][0]["reals"] == (made["test"].label == "real").sum()
    assert read["figures"].loc["auc", "low"] <= read["figures"].loc["auc", "value"]
    assert (read["wrong"].decision != read["wrong"].label).all()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_output_is_kept(path):
    for cell in cells(path.stem):
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


def test_an_installed_project_is_imported_beside_a_folder_called_data(tmp_path):
    """One line in a .pth file, as pip writes for `package-dir`, puts the root behind the working directory."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-dir"] == {"": "."}
    assert settings["packages"]["find"] == {"include": [f"{name}*" for name in ORDER], "namespaces": False}
    for name in ("data", "cache", "runs"):
        (tmp_path / name).mkdir()
    code = f"import site; site.addsitedir({str(tmp_path / 'runs')!r})\n"
    code += "import data.layouts, cache.key\nprint(data.__file__)"
    (tmp_path / "runs" / "project.pth").write_text(f"{ROOT}\n")
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    call = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, env=without
    )
    assert call.stdout.strip() == str(ROOT / "data" / "__init__.py"), call.stderr
