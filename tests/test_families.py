"""Families: what they ask of the machine before they work, and one that is added from outside."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from cache import paths, runs
from cache.errors import UserError
from cache.features import write_shard
from data.manifest import Manifest
from heads.families import FAMILIES, Estimator, Family, Linear, Mlp, Ridge, Tail, from_json, register
from heads.head_file import read_record
from heads.sweep import run as sweep
from heads.sweep.grid import read_grid
from heads.sweep.run import SweepConfig
from heads.sweep.sweep_result import HEAD_FILE
from tests import forked
from tests.chance import SPEC, random_images
from tests.contrast import Contrast

ROWS, COLUMNS = 60, 5
SCORED = """
import json, sys
from pathlib import Path
{plugin}
from data.manifest import Manifest
from heads.head_file import load_head
from heads.scorer import views_of
from heads.scoring import member_scores
head, record = load_head(Path(sys.argv[1]))
found = member_scores(head, views_of(record), Manifest.load(Path(sys.argv[2])))
print(json.dumps([record.config.name, found.mean(axis=1).tolist()]))
"""


FAMILIES.pop(Contrast.family)  # as the file registers it for everybody; here it is known within each test


@pytest.fixture(autouse=True)
def contrast(monkeypatch):
    monkeypatch.setitem(FAMILIES, Contrast.family, Contrast)


@pytest.fixture
def images() -> Path:
    """The manifest of images whose cached features say something of their labels."""
    manifest = random_images(ROWS, seed=3)
    path = paths.manifest_file(manifest.dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest.save(path)
    X = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)) + manifest.fake[:, None]
    write_shard(SPEC, manifest.digests, X.astype(np.float32))
    return path


def opened_elsewhere(head: Path, images: Path, plugin: str) -> subprocess.CompletedProcess:
    """The head in a process that knows only what it imports."""
    return forked.python("-c", SCORED.format(plugin=plugin), str(head), str(images))


def test_a_family_of_somebodys_own_is_swept_kept_and_opened_again(images, capsys):
    grid = [{"family": "contrast", "shrink": [0, 0.5]}, {"family": "linear", "lr": 1e-6, "epochs": 1}]
    folder = sweep.run(SweepConfig(images, [SPEC], read_grid(json.dumps(grid)), folds=2, seeds=2))
    board = pd.read_csv(folder / "leaderboard.csv").set_index("head")
    beside = Linear(lr=1e-6, epochs=1).name
    assert dict(board.family) == {"contrast": "contrast", "contrast shrink=0.5": "contrast", beside: "linear"}
    assert board.members["contrast"] == 2  # no seed makes a difference to it
    assert board.shrink["contrast shrink=0.5"] == 0.5
    assert "how long the contrast heads take is not known" in capsys.readouterr().out
    assert runs.result(folder)["family"] == "contrast"
    assert isinstance(read_record(folder / HEAD_FILE).config, Contrast)
    call = opened_elsewhere(folder / HEAD_FILE, images, "import tests.contrast")
    name, scores = json.loads(call.stdout)
    table = pd.read_csv(folder / "predictions-test.csv")
    rows = Manifest.load(images).where("test")
    assert name == runs.result(folder)["head"]
    np.testing.assert_allclose(np.array(scores)[rows], table.score, rtol=1e-6)
    lost = opened_elsewhere(folder / HEAD_FILE, images, "").stderr
    assert "unknown family 'contrast'. Known: linear, mlp, tail, ridge, logistic, discriminant, blend, sklearn" in lost


def test_an_unknown_family_is_told_with_the_known_ones():
    with pytest.raises(UserError, match=r"unknown family 'contest'; did you mean contrast"):
        read_grid('[{"family": "contest"}]')
    with pytest.raises(
        UserError,
        match=r"unknown family 'zzz'.*Known: linear, mlp, tail, ridge, logistic, discriminant, blend, svm-rbf",
    ):
        read_grid('[{"family": "zzz"}]')
    with pytest.raises(UserError, match=r"unknown family 'zzz'. Known: linear, mlp"):
        from_json({"family": "zzz"})


@dataclass(frozen=True)
class Nameless(Family):
    pass


@dataclass(frozen=True)
class Another(Family):
    family: ClassVar[str] = "ridge"


@dataclass(frozen=True)
class ScoutOfMaps(Family):
    family: ClassVar[str] = "scout-of-maps"
    scouts: ClassVar[bool] = True
    reads_maps: ClassVar[bool] = True


@pytest.mark.parametrize("kind", [Nameless, Another, ScoutOfMaps])
def test_a_family_without_a_word_of_its_own_or_that_contradicts_itself_is_refused(kind):
    before = dict(FAMILIES)
    with pytest.raises(UserError, match=r"cannot be the family|scouts and reads maps"):
        register(kind)
    assert before == FAMILIES


def test_what_a_family_says_of_its_heads():
    """What the sweep does with them rests on it."""
    tree, knn = Estimator("sklearn.tree.DecisionTreeClassifier"), Estimator("sklearn.neighbors.KNeighborsClassifier")
    heads = (Linear(lr=1), Tail(lr=1), Ridge(penalty=1), tree, knn)
    assert [each.seeded for each in heads] == [True, True, False, True, False]
    assert [name for name, kind in FAMILIES.items() if kind.scouts] == [
        "ridge", "logistic", "discriminant", "blend"
    ]  # fmt: skip
    assert [name for name, kind in FAMILIES.items() if kind.reads_maps] == ["tail"]
    assert [each.work for each in (Linear(lr=1, epochs=7), Tail(lr=1), Ridge(penalty=1), tree)] == [7, 5, 1, 1]
    assert [each.strength for each in (Mlp(lr=1, weight_decay=3), Ridge(penalty=2), knn)] == [3, 2, 0]
    assert Linear(lr=1).shared(9) == Linear(lr=2).shared(9) != Linear(lr=1, batch=3).shared(9)
    assert Mlp(lr=1, hidden=(3,)).shared(9) != Mlp(lr=1, hidden=(4,)).shared(9)
    assert Tail(lr=1).shared(0) != Linear(lr=1, batch=32).shared(0)


def test_families_grids_and_records_need_no_heavy_library():
    """A grid is read before anything is computed, and a page reads a thousand records."""
    heavy = ["torch", "scipy", "sklearn", "skops", "extract"]
    modules = "heads.families, heads.sweep.grid, heads.sweep.sweep_result, heads.head_file"
    code = f"import {modules}, sys; heads.sweep.grid.read_grid(''); print([n for n in {heavy} if n in sys.modules])"
    call = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert call.stdout.strip() == "[]"
    code = "import heads.families, sys; print('pandas' in sys.modules)"
    call = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert call.stdout.strip() == "False"
