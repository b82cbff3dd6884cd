"""What a saved classifier may be made of: classes that are listed, and nothing that runs."""

import functools
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from skops.io import dumps

from cache.checkpoint import save_weights
from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from heads.families import Estimator, Member
from heads.families.estimator import SHORT_NAMES
from heads.fitting.classifiers import CLASSIFIERS, PARTS, _is_known, from_bytes, to_bytes
from heads.fitting.estimators import fit_estimators
from heads.head_file import HeadRecord, assemble, load_head, save_head
from heads.sweep.grid import read_grid
from tests.tables import raw, task

SPEC = FeatureSpec("net", "ab", "a", "avg", Preprocess(0, 64, "bicubic", (0.5,) * 3, (0.5,) * 3), "fp32", "float32")
UNKNOWN = "which is no part of a known classifier"


class Stranger:
    """What a file of somebody else's could hold."""


def unchanged(_: dict) -> None:
    pass


def crafted(path: Path, change: Callable[[dict], None], *, compressed: bool = False) -> Path:
    """The file of a head around a classifier as skops writes it, but for its schema."""
    model = KNeighborsClassifier().fit(np.eye(6), np.arange(6) % 2 == 0)
    source, target = zipfile.ZipFile(io.BytesIO(dumps(model))), io.BytesIO()
    schema = json.loads(source.read("schema.json"))
    change(schema)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as file:
        for each in source.namelist():
            file.writestr(each, json.dumps(schema) if each == "schema.json" else source.read(each))
    content = torch.frombuffer(bytearray(target.getvalue()), dtype=torch.uint8)
    tensors = {"mean": torch.zeros(1, 6), "std": torch.ones(1, 6), "line": torch.ones(1, 2), "model0": content}
    save_weights(path, tensors, HeadRecord(Estimator("sklearn.neighbors.KNeighborsClassifier"), [SPEC], (6,)).to_json())
    return path


def node(name: str, loader: str, **more) -> dict:
    """What skops writes of an object."""
    module, _, short = name.rpartition(".")
    return {"__module__": module, "__class__": short, "__loader__": f"{loader}Node", **more}


def test_a_head_runs_no_function_whatever_its_file_calls_it(tmp_path):
    """A partial by the name under which scikit-learn imports it, around a helper of scikit-learn's own tests."""
    victim = tmp_path / "victim"
    victim.mkdir()
    helper = node("sklearn.utils._testing._delete_folder", "Type")
    folder = node("builtins.str", "Json", content=json.dumps(str(victim)), is_json=True)
    nothing = node("builtins.dict", "Dict", content={}, key_types=node("builtins.list", "List", content=[]))
    arguments = {"args": node("builtins.tuple", "Tuple", content=[helper, folder])}
    renamed = node("sklearn.metrics.pairwise.partial", "Loss", __reduce__=arguments, content=nothing)

    def change(schema: dict) -> None:
        schema["content"]["content"]["decision_function"] = renamed
        schema["content"]["key_types"]["content"].append(node("builtins.str", "Type"))

    assert load_head(crafted(tmp_path / "good.safetensors", unchanged))[0](torch.eye(6)).shape == (6,)
    with pytest.raises(UserError, match=r"bad\.safetensors is no head.*sklearn\.metrics\.pairwise\.partial"):
        load_head(crafted(tmp_path / "bad.safetensors", change))[0](torch.eye(6))
    assert victim.exists()


@pytest.mark.parametrize("loader", ["Function", "Partial", "Method", "OperatorFunc", "ConstructorFromReduce", "None"])
def test_a_loader_that_makes_no_plain_object_is_refused_even_for_a_known_class(tmp_path, loader):
    change = functools.partial(dict.update, __loader__=f"{loader}Node")
    with pytest.raises(UserError, match=f"KNeighborsClassifier, {UNKNOWN}"):
        load_head(crafted(tmp_path / "bad.safetensors", lambda schema: change(schema)))


def test_a_head_that_grows_when_it_is_opened_is_refused(tmp_path):
    with pytest.raises(UserError, match="is compressed"):
        load_head(crafted(tmp_path / "bad.safetensors", unchanged, compressed=True))


def test_a_schema_without_end_is_one_message(tmp_path):
    def nested(schema: dict) -> None:
        for _ in range(900):
            schema["content"] = {"content": schema["content"]}

    with pytest.raises(UserError, match="this is no scikit-learn classifier"):
        load_head(crafted(tmp_path / "bad.safetensors", nested))


def test_a_classifier_of_foreign_types_is_neither_written_nor_loaded():
    with pytest.raises(UserError, match=rf"test_classifiers\.Stranger, {UNKNOWN}"):
        to_bytes(Stranger())
    with pytest.raises(UserError, match=rf"test_classifiers\.Stranger, {UNKNOWN}"):
        from_bytes(np.frombuffer(dumps(Stranger()), np.uint8))


def test_every_listed_class_is_the_one_of_that_name():
    """But for those that another version of numpy has."""
    names = {(module, name) for each in (CLASSIFIERS, PARTS) for module in each for name in each[module].split()}
    assert {name for module, name in names if not _is_known(module, name)} <= {"bool", "bool_"}
    assert not _is_known("sklearn.metrics.pairwise", "partial")
    assert not _is_known("sklearn.svm", "SVC")  # where it is only imported


@pytest.mark.parametrize("name", [*SHORT_NAMES, "sklearn.naive_bayes.GaussianNB"])
def test_every_classifier_by_name_is_saved_and_loaded(name, tmp_path):
    block = {"family": name, **({"n_estimators": 9} if name == "random-forest" else {})}
    on, (config,) = task(90, 6), read_grid(json.dumps([block]))
    record = HeadRecord(config, [SPEC], (6,))
    head = assemble(fit_estimators([Member(config, 0, 0)], on), record)
    save_head(tmp_path / "head.safetensors", head, record)
    loaded, found = load_head(tmp_path / "head.safetensors")
    assert torch.equal(loaded(raw(on)), head(raw(on)))
    assert found.config == config


def test_a_classifier_that_a_setting_made_of_something_else_is_left_out(capsys):
    """Nobody can know it before it is fitted; it is not chosen, because it could not be opened again."""
    config = Estimator("sklearn.neighbors.KNeighborsClassifier", (("metric", "canberra"), ("algorithm", "ball_tree")))
    (fitted,) = fit_estimators([Member(config, 0, 0)], task(90, 6))
    assert fitted.diverged == 0
    assert f"CanberraDistance64, {UNKNOWN}" in capsys.readouterr().out
