"""What a person types: the real commands, in processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from cache import paths, runs
from cache.__main__ import VerifyConfig
from cache.atomic import remove_folder
from cache.command import main, parse, usage
from cache.errors import UserError
from cache.features import open_shard
from cache.verify import run as verify
from data.options import DataConfig
from finetune.options import FinetuneConfig
from heads.options import HeadsConfig
from tests import forked
from tests.small import RIDGE


def python(*arguments: str) -> subprocess.CompletedProcess:
    return forked.python("-m", *arguments)


def test_the_whole_pipeline_in_one_command(faces, world):
    call = python(
        "analysis",
        f"--data={faces}",
        "--size=64",
        "--features=blocks.2:avgstd blocks.3:avgstd",
        "--head_epochs=3",
        "--perturb=4",
        "--num_samples=3",
    )
    assert call.returncode == 0, call.stderr
    assert "report faces: tf_efficientnet_lite0" in call.stdout
    summary = json.loads((world / "runs_dir" / "report" / "faces" / "summary.json").read_text())
    assert summary["models"][0]["test"]["auc"] > 0.9  # a checkerboard on half of the pictures
    assert not summary["models"][0]["random_weights"]
    assert (world / "runs_dir" / "report" / "faces" / "index.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data=/no/such/place"], "no such folder"),
        (["--dta=x"], "unknown flag of python -m data 'dta'; did you mean data"),
        (["faces"], "stray word 'faces'"),
        (["--rehash=maybe"], "REHASH=maybe (--rehash): expected 1 or 0"),
        (["--leaks=ignore"], "unknown LEAKS 'ignore'"),
    ],
)
def test_a_mistake_is_one_message_and_no_traceback(arguments, words):
    call = python("data", *arguments)
    assert call.returncode == 1
    assert words in call.stderr
    assert "Traceback" not in call.stderr
    assert call.stdout == ""


def test_names_of_files_command_no_terminal(faces):
    (faces / "real" / "\x1b[2J\x1b]0;title\x07.jpg").write_bytes(b"")
    (faces / "real" / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    (faces / "\x9bnew").mkdir()
    (faces / "\x9bnew" / "a.jpg").write_bytes(b"")
    listed = faces / "listed.csv"
    listed.write_text("path,label\n\x1b[31mred,7\n", encoding="utf-8")
    good, bad = python("data", f"--data={faces}", "--bad_images=fail"), python("data", f"--data={faces}")
    wrong = python("data", f"--data={listed}")
    assert (good.returncode, bad.returncode, wrong.returncode) == (1, 0, 1), bad.stderr
    for said in (good.stderr, bad.stdout, wrong.stderr):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said), said
    assert "left out, empty: 1, first real/\\x1b[2J\\x1b]0;title\\x07.jpg" in bad.stdout
    assert "1 x image in \\x9bnew/" in bad.stdout
    assert "1 x name that is not UTF-8" in bad.stdout


def test_a_reader_that_leaves_is_no_fault():
    """As `make backbones | head -1` does."""
    command = [sys.executable, "-m", "extract.networks"]
    with subprocess.Popen(command, cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_help_lists_every_flag_with_its_meaning():
    call = python("data", "--help")
    assert call.returncode == 0
    assert "--bad_images=skip" in call.stdout
    assert "put a black image" in call.stdout


def test_flags_become_the_types_of_their_fields():
    assert parse(DataConfig, ["--data", "1234", "--rehash"], "x").data == "1234"
    assert parse(DataConfig, ["--rehash"], "x").rehash is True
    assert parse(DataConfig, ["--bad-images=black", "--norehash"], "x").bad_images == "black"
    assert "Build the manifest" in usage(DataConfig, "x")
    with pytest.raises(UserError, match=r"=3 \(--.*\): expected text"):
        DataConfig.of(data=3)


STOPPING = """
import os, signal
from cache.progress import Progress

advance, seen = Progress.advance, []

def advanced(self, count=1):
    advance(self, count)
    seen.extend([count] * self.label.startswith("extract"))
    if len(seen) == 3:
        os.killpg(0, signal.SIGINT)

Progress.advance = advanced
"""


def test_ctrl_c_keeps_what_is_done(faces, world):
    """Pressed, as it were, once three batches are computed: all processes of the terminal's group are told."""
    (world / "stopping.py").write_text(STOPPING)
    flags = (f"--data={faces}", "--features=blocks.2:avg", "--size=64", "--batch=8")
    call = forked.python("-m", "extract", *flags, cwd=world, PLUGINS="stopping", PYTHONPATH=str(paths.ROOT))
    assert call.returncode == 130, call.stderr
    assert "Finished work is kept" in call.stderr
    assert "Traceback" not in call.stderr
    (shard,) = paths.features_dir().glob("*/*.h5")
    assert len(open_shard(shard)) == 24


def test_verify_names_the_damaged_shard(faces, capsys):
    from extract.run import run
    from tests.test_extract import config

    run(config(faces))
    verify(VerifyConfig())
    assert "3 shards, 180 rows: all as they were written" in capsys.readouterr().out
    shard = sorted(paths.features_dir().glob("*/*.h5"))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=f"1 of 3 shards are damaged.*{shard.name}".replace(".*", r"(?s:.*)")):
        verify(VerifyConfig())


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """What make would run; the one that may run these tests has no say."""
    return subprocess.run(
        ["make", "--dry-run", *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | environment,
    )  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        "$(shell touch {})",
        "`touch {}`",
        "x; touch {}",
        "it's ' && touch {}",
        "price$5.jpg",
        "(a)$|(b)",
        "$$HOME #1",
        '"',
    ],
)
def test_a_value_reaches_its_flag_as_it_was_typed(value, tmp_path):
    value = value.format(tmp_path / "ran")
    (line,) = [line for line in make("data", f"GROUP={value}").stdout.splitlines() if "-m data" in line]
    found = subprocess.run(
        ["sh", "-c", "printf %s " + line.partition("--group=")[2]], capture_output=True, text=True, check=True
    )
    assert found.stdout == value
    assert not (tmp_path / "ran").exists()


def test_a_places_value_is_exported_as_it_was_typed(tmp_path):
    line = f"CACHE_DIR=$(shell touch {tmp_path / 'ran'})"
    assert make("clean", line).stdout.splitlines()[-1].endswith('"${CACHE_DIR:-cache}/engines"')
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("goal", ["data", "predict", "verify"])
def test_plugins_reach_every_command(goal):
    said = """--eval=said: ; +@echo "plugins: $$PLUGINS" """  # with a plus, it is run even where nothing is
    call = make("said", goal, "PLUGINS=mine $(yours)", said)
    assert call.returncode == 0, call.stderr
    assert "plugins: mine $(yours)" in call.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data", "BAKBONE=x"], r"unknown: BAKBONE (did you mean BACKBONE?)"),
        (["data", "DATS=x"], r"unknown: DATS (did you mean DATA?)"),
        (["heads", "STORAGE=x"], "make heads takes no STORAGE. It takes: AUGMENT BACKBONE"),
        (["data", "RECIPE=x", "FOLDS=5"], "make data takes no FOLDS RECIPE"),
        (["verify", "DATA=x"], "make verify takes no DATA. It takes: no options"),
        (["data", "DATA=x\ntouch y"], "DATA holds a line break"),
    ],
)
def test_make_refuses_what_it_would_not_use(arguments, words):
    call = make(*arguments)
    assert call.returncode == 2
    assert words in call.stderr
    assert call.stdout == ""


def test_gpus_are_processes_of_one_training():
    (line,) = [line for line in make("finetune", "DATA=faces", "GPUS=2").stdout.splitlines() if "-m finetune" in line]
    assert line == ".venv/bin/torchrun --standalone --nproc_per_node='2' -m finetune --data='faces'"
    assert "make heads takes no GPUS" in make("heads", "GPUS=2").stderr


def test_epochs_are_those_of_what_is_fine_tuned():
    assert make("finetune", "EPOCHS=2").stdout.splitlines()[-1].endswith("-m finetune --epochs='2'")
    assert "make heads takes no EPOCHS. It takes: AUGMENT BACKBONE" in make("heads", "EPOCHS=2").stderr
    config = FinetuneConfig.of(epochs=2)
    assert (config.asked.recipe.epochs, config.heads.head_epochs) == (2, 0)
    assert config.asked == FinetuneConfig.of(recipe='{"recipe": "two-phase", "epochs": 2}').asked
    with pytest.raises(UserError, match="EPOCHS=2 and RECIPE, which says 3: leave one of them out"):
        FinetuneConfig.of(epochs=2, recipe='{"epochs": 3}')


def test_a_stage_with_nothing_to_do_says_what_is_there(faces, world):
    first, second = python("data", f"--data={faces}"), python("data", f"--data={faces}")
    counts = first.stdout.splitlines()[0].removeprefix("data faces: ")
    complete, warned = second.stdout.splitlines()
    assert complete == f"data faces: complete: {counts}"
    assert re.fullmatch(r"  \d warnings?: .*audit.json has them, and make audit DATA=faces shows them", warned)
    assert second.stderr == ""


def test_the_last_lines_say_where_a_sweep_is_and_what_comes_next(few, monkeypatch, capsys):
    given = {**RIDGE, "data": few, "grid": '[{"family": "ridge", "penalty": [1, 9]}]', "mean_views": 0}
    monkeypatch.setattr("sys.argv", ["heads", *(f"--{name}={value}" for name, value in given.items())])
    said = []
    for _ in range(2):
        main(HeadsConfig, "heads.run:run_each", command="python -m heads")
        said.append(capsys.readouterr().out.splitlines())
    (folder,) = paths.runs_dir().glob("heads/*")
    chose, luck, after = said[0][-3:]
    assert re.fullmatch(rf"heads resnet18: chose ridge penalty=\d.0 among 6 settings, .* -> {folder}", chose)
    assert re.match(r"  Only \d real and \d fake images chose among 6 settings: which one is best is partly luck", luck)
    assert after.startswith(f"next: make report DATA={few} BACKBONE=resnet18 FEATURES='layer1:avgstd layer2:avgstd' ")
    assert after.endswith("; or make finetune, with the same options")
    assert said[1] == [chose.replace(": chose", ": complete: chose"), luck, after]
    remove_folder(paths.features_dir())
    monkeypatch.setattr(runs, "finished_here", set())  # as in a process that finished nothing
    main(HeadsConfig, "heads.run:run_each", command="python -m heads")
    assert capsys.readouterr().out.splitlines()[-3:] == said[1]  # where something was said before, too


def test_several_goals_share_their_options():
    lines = make("extract", "heads", "DATA=faces", "FOLDS=5").stdout.splitlines()[-2:]
    assert [line.partition("-m ")[2] for line in lines] == [
        "extract --data='faces'", "heads --data='faces' --folds='5'"
    ]  # fmt: skip


def test_a_variable_of_the_environment_is_told():
    call = make("report", DATA="faces", NAME="everybody's")
    assert "DATA in the environment is not used; to use it: make report DATA=..." in call.stderr
    assert "NAME in the" not in call.stderr
    assert "--data" not in call.stdout
