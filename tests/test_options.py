"""Options of several stages in one record, flat on the command line; and what PLUGINS adds."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from analysis.options import ReportCommand
from cache import paths
from cache.command import parse, usage
from cache.errors import UserError
from cache.options import Options, option, section
from data.options import DataConfig
from extract.options import ExtractConfig
from finetune.options import FinetuneConfig
from finetune.tune.options import TuneConfig
from heads.options import HeadsConfig
from heads.sweep import SEARCH
from heads.sweep.sweep_config import SweepConfig
from tests import forked


def test_an_option_is_given_by_its_name_wherever_it_stands():
    config = FinetuneConfig.of(data="faces", backbone="resnet18", folds=2, seed=3)
    assert config.heads.extract.data.data == "faces"
    assert (config.heads.extract.backbone, config.heads.folds, config.seed) == ("resnet18", 2, 3)
    changed = config.but(name="other", folds=1)
    assert (changed.heads.extract.data, changed.heads.folds) == (DataConfig.of(data="faces", name="other"), 1)
    assert changed.but(name="", folds=2) == config
    with pytest.raises(FrozenInstanceError):
        config.heads.folds = 4


def test_flat_holds_every_option_once_and_makes_the_same_record():
    config = ReportCommand.of(data="faces", views=2, perturb=8)
    flat = config.flat()
    assert list(flat) == ReportCommand.names()
    assert {"data": "faces", "views": 2, "perturb": 8, "seeds": 3}.items() <= flat.items()
    assert not {"heads", "extract"} & flat.keys()
    assert ReportCommand.of(**flat) == config


def test_the_default_of_inputs_is_the_sweeps_own_word():
    assert HeadsConfig().inputs == SweepConfig.inputs == SEARCH


def test_options_of_one_name_are_refused_when_the_class_is_made():
    with pytest.raises(TypeError, match="Twice has several options called backbone, views"):

        @dataclass(frozen=True, kw_only=True)
        class Twice(Options):
            extract: ExtractConfig = section(ExtractConfig)
            views: int = option(0, "whose?")
            backbone: str = option("", "which one?")


def test_inherited_options_count_too():
    with pytest.raises(TypeError, match="Again has several options called name"):

        @dataclass(frozen=True, kw_only=True)
        class Again(Options):
            name: str = option("", "")
            data: DataConfig = section(DataConfig)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HeadsConfig.of(bakbone="x"), "unknown option of HeadsConfig 'bakbone'; did you mean backbone"),
        (lambda: HeadsConfig.of(data=3), r"DATA=3 \(--data\): expected text"),
        (lambda: FinetuneConfig.of(smoke="maybe"), r"SMOKE=maybe \(--smoke\): expected 1 or 0"),
        (lambda: ExtractConfig.of(parts=4), "PARTS=4 is for CLUSTER=...; by hand a process takes PART=0/4"),
        (lambda: ExtractConfig.of(cores=2), "CORES=2 is for CLUSTER=..."),
        (lambda: HeadsConfig.of(memory="1KB"), "MEMORY='1KB': expected a size in MB, GB, TB, such as 8GB"),
        (lambda: HeadsConfig.of(views=-1), "VIEWS, SIZE and BATCH must not be negative"),
        (lambda: HeadsConfig.of(mean_views=True), "MEAN_VIEWS needs cached views"),
        (lambda: HeadsConfig.of(augment="harsh"), "AUGMENT=harsh says what changes views, and VIEWS is 0"),
        (lambda: HeadsConfig.of(augment="hard", views=1), "did you mean harsh"),
        (lambda: DataConfig.of().but(backbone="x"), "unknown option of DataConfig 'backbone'"),
        (lambda: ExtractConfig(data="faces"), r"expected a DataConfig, found 'faces'; ExtractConfig.of\(data"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told(make, words):
    with pytest.raises(UserError, match=words):
        make()


def test_flags_reach_the_record_that_they_belong_to():
    given = ["--data", "faces", "--views=2", "--mean-views", "--trials=3", "--norehash"]
    config = parse(TuneConfig, given, "x")
    assert config == TuneConfig.of(data="faces", views=2, mean_views=True, trials=3)
    assert config.finetune.heads.mean_views is True
    with pytest.raises(UserError, match="unknown flag of x 'heads'"):
        parse(FinetuneConfig, ["--heads=x"], "x")


def test_help_names_each_stage_above_its_flags():
    lines = usage(FinetuneConfig, "python -m finetune").splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["data:", "extract:", "heads:", "finetune:"]
    flags = [line.split("=")[0].strip() for line in lines if line.startswith("  --")]
    assert flags == [f"--{name}" for name in FinetuneConfig.names()]
    after = {title: lines[lines.index(title) + 1] for title in titles}
    assert after["heads:"].startswith("  --grid= ")
    assert after["finetune:"].startswith("  --recipe=two-phase ")


OPTIONS = ("data", "extract", "heads", "finetune", "analysis.gradcam", "analysis.predict", "analysis.export")
HEAVY = ["torch", "timm", "torchvision", "sklearn", "scipy", "matplotlib", "transformers", "jinja2", "pandas", "numpy"]


def test_options_are_read_without_what_they_stand_for():
    code = f"import sys\nfrom importlib import import_module as of\nfor each in {OPTIONS}: of(each + '.options')\n"
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    call = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert call.stdout.strip() == "[]"


def with_plugins(folder: Path, plugins: str, *arguments: str) -> subprocess.CompletedProcess:
    """A command with PLUGINS in `folder`, where the modules lie; the program is found beside them."""
    return forked.python("-m", *arguments, cwd=folder, PLUGINS=plugins, PYTHONPATH=str(paths.ROOT))


def test_a_plugin_registers_before_options_are_read(faces, tmp_path):
    (tmp_path / "first.py").write_text("from extract.networks.catalogue import REGISTRY\nprint('first is here')\n")
    (tmp_path / "second.py").write_text(
        "import first\nfirst.REGISTRY['tiny'] = first.REGISTRY['resnet18']\nprint('tiny is registered')\n"
    )
    given = (f"--data={faces}", "--backbone=tiny", "--weights=random", "--size=32", "--features=layer1:avg")
    call = with_plugins(tmp_path, "first second", "extract", *given)
    assert call.returncode == 0, call.stderr
    assert call.stdout.startswith("first is here\ntiny is registered\n")
    assert "extract tiny (random weights): complete: 1 feature of 60 images" in call.stdout


@pytest.mark.parametrize(
    ("content", "plugins", "words"),
    [
        ("", "absent", "PLUGINS: no module 'absent' in {folder}, PYTHONPATH or the installed packages: put absent.py "
                       "there, or leave absent out of PLUGINS"),
        ("", "mine.deeper", "PLUGINS: no module 'mine.deeper' in {folder}"),
        ("import absent", "mine", "PLUGINS: mine fails with ModuleNotFoundError in {folder}/mine.py, line 1: No module "
                                  "named 'absent'"),
        ("x = 1\n\nx / 0", "mine", "PLUGINS: mine fails with ZeroDivisionError in {folder}/mine.py, line 3: division"),
        ("def", "mine", "PLUGINS: mine fails with SyntaxError"),
    ],
)  # fmt: skip
def test_a_plugin_that_fails_is_one_message(content, plugins, words, tmp_path):
    (tmp_path / "mine.py").write_text(content)
    call = with_plugins(tmp_path, plugins, "data", "--data=/no/such/place")
    assert call.returncode == 1
    assert call.stderr.startswith("python -m data: " + words.format(folder=tmp_path)), call.stderr
    assert "Traceback" not in call.stderr
    assert call.stdout == ""
