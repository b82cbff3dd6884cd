"""What the READMEs say is true: commands are understood, what they name exists, examples run."""

import ast
import importlib
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import matthews_corrcoef
from torchvision.models import squeezenet1_1

from analysis.judge.calibrate import calibrate
from analysis.judge.evaluate import evaluate
from analysis.judge.metrics import METRICS
from analysis.judge.rules import RULES
from cache import command
from cache.options import Options
from cache.paths import ROOT
from cache.plugins import import_plugins
from data.augment import Augmentation
from data.layouts import LAYOUTS, list_images
from data.layouts.base import Source
from data.perturb import KINDS, PERTURBATIONS, Perturbation
from extract.networks.catalogue import REGISTRY
from finetune.recipes import RECIPES, Recipe
from heads.families import FAMILIES
from heads.sweep.grid import GRIDS
from tests import forked, test_earlier
from tests.conftest import picture, write_faces
from tests.test_commands import make
from tests.test_evaluate import scores_of

FOLDERS = ("cache", "data", "extract", "heads", "finetune", "analysis", "tests")
READMES = [
    ROOT / "README.md", *(ROOT / folder / "README.md" for folder in FOLDERS),
    *(path for folder in FOLDERS[1:] for path in sorted((ROOT / folder).glob("*/README.md"))), ROOT / "ORIGINALS.md",
]  # fmt: skip
COMMAND = re.compile(r"make\b|(python|torchrun|\.venv/bin/\w+) ")
PLUGIN = re.compile(r"`(my_\w+)\.py`[^`]*(?:`[^`]+`[^`]*)*?```python\n(.*?)```", re.DOTALL)
NAME = re.compile(rf"({'|'.join(FOLDERS)})(\.\w+)+")
FILES = (".py", ".md", ".toml", ".txt", ".json", ".csv")
OTHERS = ("pytest", "ruff", "tests")  # modules that no record of options stands behind
WITHOUT_PYTHON = {
    "make", "make lock", "make clean", ".venv/bin/tensorboard --logdir runs/finetune",
    ".venv/bin/jupyter lab analysis/notebooks", ".venv/bin/python -m pip install jupyterlab",
    ".venv/bin/python -m pip install --no-deps -e .",
}  # fmt: skip
NAMED_ALONE = {"make crop", "make equalize", "make pack"}  # in a sentence; typed so they ask for an option
MOST_LINES, MOST_BYTES = 160, 150_000
earlier = test_earlier.earlier


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def spans(path: Path) -> list[str]:
    """What stands in backticks in sentences and tables."""
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", re.sub(r"^ {4}.*$", "", prose, flags=re.MULTILINE))


def block_lines(path: Path) -> list[str]:
    """Lines that are set off, without what is said behind two spaces."""
    lines = re.findall(r"^ {4,}(.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE)
    return [line.strip().partition("  ")[0] for line in lines]


def places(path: Path) -> list[Path]:
    """The files of its tree, each in the folder that stands above it, further to the left."""
    found, above = [], [(0, path.parent)]
    for indent, line in re.findall(r"^( {4,})(.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.M):
        while above[-1][0] >= len(indent):
            above.pop()
        name = line.partition("  ")[0]
        if name.endswith("/"):
            above.append((len(indent), path.parent / name))
        elif re.fullmatch(r"[\w./]+\.py(, [\w./]+\.py)*", name):
            found += [above[-1][1] / each for each in name.split(", ")]
    return found


def examples(path: Path) -> list[str]:
    """Python that is to be run as it stands; plugins are files of their own."""
    text = PLUGIN.sub("", path.read_text())
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def plugins() -> dict[str, str]:
    """Name -> code of every module that a README tells its reader to write."""
    return {name: code for path in READMES for name, code in PLUGIN.findall(path.read_text())}


@cache
def commands() -> list[str]:
    """Every command of every README, once."""
    found = [each for path in READMES for each in (*block_lines(path), *spans(path)) if COMMAND.match(each)]
    return [each for each in dict.fromkeys(found) if each not in NAMED_ALONE]


@cache
def recipe(line: str) -> list[str]:
    """What make would run of a command."""
    call = make(*shlex.split(line)[1:])
    assert call.returncode == 0, call.stderr
    return call.stdout.splitlines()


def calls(line: str) -> list[list[str]]:
    """Module and arguments of every `python -m` behind a command."""
    lines = recipe(line) if line.startswith("make") else [line]
    words = [shlex.split(each) for each in lines if re.match(r"@?\S*(python|torchrun) ", each)]
    return [each[each.index("-m") + 1 :] for each in words if "-m" in each and not {"venv", "pip"} & set(each)]


@pytest.fixture
def somebody(tmp_path, monkeypatch) -> Iterator[Path]:
    """The working directory of somebody who wrote the plugins of the READMEs, a grid, and images."""
    for name, code in plugins().items():
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "grid.json").write_text('[{"family": "ridge", "penalty": 1}]')
    picture(0, fake=False).save(tmp_path / "face.jpg")
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    registries = (FAMILIES, METRICS, KINDS, REGISTRY, LAYOUTS, RULES)
    before, listed = [dict(each) for each in registries], list(PERTURBATIONS)
    yield tmp_path
    for registry, kept in zip(registries, before, strict=True):
        registry.clear()
        registry.update(kept)
    PERTURBATIONS[:] = listed
    for name in plugins():
        sys.modules.pop(name, None)


def plug_in(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the plugins that a command names, as it would."""
    named_there = [word.partition("=")[2] for word in shlex.split(line) if word.startswith("PLUGINS=")]
    wanted = [each for word in named_there for each in word.split() if each in plugins()]
    monkeypatch.setenv("PLUGINS", " ".join(wanted))
    import_plugins()


def asked(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """The options with which `python -m module` would begin."""
    begun: list[Options] = []

    def main(record: type[Options], run: object, *, command: str) -> None:
        begun.append(parse(record, arguments, command))

    parse = command.parse
    monkeypatch.setattr(command, "main", main)
    runpy.run_module(module, run_name="__main__")
    return begun


def test_there_are_commands_to_look_at():
    assert len(commands()) > 60
    assert {line.split()[0] for line in commands()} >= {"make", "python", ".venv/bin/python", ".venv/bin/torchrun"}
    assert set(plugins()) == {"my_family", "my_metric", "my_backbone", "my_perturbation", "my_layout", "my_rule"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning:runpy")
@pytest.mark.parametrize("line", commands())
def test_a_command_is_understood(line, somebody, monkeypatch):
    plug_in(line, monkeypatch)
    assert bool(calls(line)) != (line in WITHOUT_PYTHON)
    for module, *arguments in calls(line):
        assert find_spec(module), f"no module {module}"
        if "--help" not in arguments and module.split(".")[0] not in OTHERS:
            assert len(asked(module, arguments, monkeypatch)) == 1


def test_every_variable_is_known_and_said():
    known = set(re.search(r"Known: (.*?)\.  Stop", make("NONE=1").stderr).group(1).split())
    text = "\n".join(path.read_text() for path in READMES)
    assert set(re.findall(r"\b([A-Z][A-Z_]+)=", text)) - known == {"ARGS"}
    assert known - set(re.findall(r"\b[A-Z][A-Z_]+\b", text)) == set()


@pytest.mark.parametrize("path", READMES, ids=named)
def test_what_it_names_exists(path):
    for span in spans(path):
        if NAME.fullmatch(span.partition("(")[0]) and not span.endswith(FILES):
            assert resolve_name(span.partition("(")[0])
        elif span.endswith(FILES) and span.split("/")[0] in FOLDERS and not re.search(r"[<>*]", span):
            assert (ROOT / span).is_file(), span


@pytest.mark.parametrize("path", [each for each in READMES[1:-1] if not each.is_relative_to(ROOT / "tests")], ids=named)
def test_it_lists_the_files_beside_it_and_no_others(path):
    below = {each.parent for each in READMES if each != path and each.is_relative_to(path.parent)}
    there = {each.name for each in path.parent.rglob("*.py") if not any(map(each.is_relative_to, below))}
    listed = {word for line in block_lines(path) for word in re.findall(r"[a-z_]\w*\.py\b", line.partition(" -m ")[0])}
    assert there - listed == {name for name in there if name.startswith("__")}
    assert listed - there == set()
    assert [each for each in places(path) if not each.is_file()] == []


@pytest.mark.parametrize("path", READMES, ids=named)
def test_its_links_lead_somewhere(path):
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", path.read_text()):
        page = (path.parent / target).resolve() if target else path
        assert page.exists(), target
        headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]


@pytest.mark.parametrize("path", sorted([*ROOT.glob("tests/bench/*.py"), *ROOT.glob("tests/soak/*.py")]), ids=named)
def test_a_benchmark_and_a_soak_find_what_they_import(path):
    importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def test_the_first_one_is_a_page_with_a_picture():
    text = READMES[0].read_text()
    assert len(text.splitlines()) <= MOST_LINES
    (picture_file,) = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert (ROOT / picture_file).stat().st_size < MOST_BYTES
    with Image.open(ROOT / picture_file) as opened:
        assert opened.width >= 800


def test_what_make_report_does_is_said_as_it_is_done():
    source = (ROOT / "analysis" / "report.py").read_text()
    (body,) = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "_report"]
    told = READMES[0].read_text().partition("## What `make report` does")[2].partition("\n## ")[0]
    left = re.findall(r"  # ([^,\n]+)", ast.get_source_segment(source, body))
    places = [told.find(each) for each in left]
    assert len(left) == 7
    assert -1 not in places
    assert places == sorted(places)


def test_every_choice_is_said():
    """Families with their settings, grids, recipes, rules; and no setting is said that there is not."""
    families, recipes = (ROOT / f"{folder}/README.md" for folder in ("heads/families", "finetune"))
    settings = {each.name for name, kind in FAMILIES.items() if name != "sklearn" for each in fields(kind)}
    assert settings <= set(spans(families))
    assert set(GRIDS) <= set(spans(ROOT / "heads" / "README.md"))
    assert set(RECIPES) <= set(spans(recipes))
    assert set(RULES) <= {each.removeprefix("THRESHOLD=") for each in spans(ROOT / "analysis/predict/README.md")}
    said = re.search(r"\*\*Settings\*\*(.*?)\n\n", recipes.read_text(), re.DOTALL).group(1)
    known = {each.name for kind in (Recipe, Augmentation) for each in fields(kind)}
    assert set(re.findall(r"`(\w+)`", said)) <= known


def test_the_example_of_features_works(few, capsys):
    """On 48 images; drawing and extracting the sample takes a minute."""
    (example,) = examples(ROOT / "extract" / "README.md")
    assert example.count('data="sample"') == 1
    assert len(example.split("\n\n")) == 2  # imports, and the four lines below them
    assert len(list(filter(None, example.splitlines()))) == 6
    names = {}
    exec(example.replace('"sample"', f'"{few}"'), names)
    assert names["X"].shape == (48, 160)
    assert set(names["split"]) == {"train", "val", "test"}
    assert set(names["y"]) == {0, 1}
    assert len(names["group"]) == 48
    assert float(capsys.readouterr().out.splitlines()[-1]) > 0.6


def test_the_other_examples_work_on_finished_runs(earlier, somebody):
    options = test_earlier.options(earlier).extract
    manifest = earlier / "data" / "few" / "manifest.csv"
    run = earlier / "runs" / "heads" / "few-tf_efficientnet_lite0-5c8f962a580d"
    training = earlier / "runs" / "finetune" / "few-cnn-dropout-logsoftmax-f95979943f66"
    names = {
        "extracted": earlier / "runs" / "extract" / "few-tf_efficientnet_lite0-996782db5d2b", "manifest": manifest,
        "run": run, "options": options, "path": training / "best.safetensors",
        "pixels": torch.zeros(2, 8, 8, 3, dtype=torch.uint8),
    }  # fmt: skip
    (somebody / "run").symlink_to(training)
    left = [(path, code) for path in READMES if path.parent.name != "extract" for code in examples(path)]
    assert [path.parent.name for path, _ in left] == ["cache", "heads", "finetune", "predict", "predict"]
    for _, code in left:
        exec(code, here := dict(names))
        if "scores" in here:
            assert here["scores"].shape == (2,)


def test_the_plugins_do_what_is_said(somebody, monkeypatch):
    plug_in(f"PLUGINS='{' '.join(plugins())}'", monkeypatch)
    changed = Perturbation("bits", 2).of(picture(0, fake=True), "00" * 32)
    assert len(np.unique(np.asarray(changed))) <= 4
    assert sum(each.kind == "bits" for each in PERTURBATIONS) == 3
    (somebody / "named").mkdir()
    for name in ("real_1.jpg", "fake_1.jpg"):
        (somebody / "named" / name).touch()
    assert list_images(Source(somebody / "named")).rows.label.tolist() == ["fake", "real"]
    scores, fake = scores_of(80, gap=3.0)
    judged = evaluate(scores, fake, np.arange(80), calibration=calibrate(scores, fake))
    called = scores >= judged.threshold
    assert judged.operating["careful"].fpr.value <= judged.operating["youden"].fpr.value
    assert judged.metrics["mcc"].value == pytest.approx(matthews_corrcoef(fake, called))


def really(line: str, home: Path) -> str:
    """Run what make would run, in somebody's working directory."""
    (last,) = [each for each in recipe(line) if " -m " in each and "venv" in each and "pip" not in each][-1:]
    given = dict(word.split("=", 1) for word in shlex.split(line) if word.startswith("PLUGINS="))
    words = shlex.split(last)
    call = forked.python(*words[words.index("-m") :], cwd=home, **given, PYTHONPATH=str(ROOT))
    assert call.returncode == 0, call.stderr
    return call.stdout


def command_of(module: str, words: str) -> str:
    """The first command that has these words."""
    return next(line for line in commands() if line.startswith(f"make {module} ") and words in line)


def test_commands_with_plugins_run(somebody):
    write_faces(somebody / "faces", 48)
    torch.save(squeezenet1_1().state_dict(), somebody / "file")
    assert "train" in really("make data DATA=faces", somebody)
    assert "complete: 2 features of 48 images" in really(command_of("extract", "my_backbone"), somebody)
    assert "chose " in really(command_of("heads", "PLUGINS=my_family"), somebody)
    board = next((somebody / "runs_dir" / "heads").glob("*/leaderboard.csv")).read_text()
    assert "contrast shrink=0.5" in board
    assert "all as they were written" in really("make verify", somebody)


def test_predict_runs(earlier, somebody):
    (somebody / "run").symlink_to(earlier / "runs" / "finetune" / "few-cnn-dropout-logsoftmax-f95979943f66")
    write_faces(somebody / "photos", 4)
    assert "5 images judged by" in really(command_of("predict", "RUN=run"), somebody)
