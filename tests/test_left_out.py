"""Detectors without a generator at a time: what they look at, what they start from, what is said of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from analysis.found.models import find_models
from analysis.found.run_option import find_run
from analysis.found.unseen import detector_on_generators
from analysis.judge.calibrate import calibration_of
from analysis.page import report_page
from analysis.page.model_tables import generators_table
from cache import paths, runs
from cache.checkpoint import load_weights
from cache.errors import UserError
from data.manifest import Manifest
from finetune import train
from finetune.left_out import HELD_OUT_FILE, STAGE, left_out
from finetune.options import FinetuneConfig
from finetune.run import run
from finetune.training.job import BEST
from finetune.training.team import Team
from finetune.tune.options import TuneConfig
from heads.folds import cut
from heads.sweep.grid import UNSEEN as UNSEEN_GRID
from heads.sweep.sweep_result import HEAD_FILE, UNSEEN_FILE
from tests.conftest import jpeg, picture
from tests.small import RIDGE

RECIPE = json.dumps({"recipe": "two-phase", "epochs": 1, "batch": 16, "ema": 0, "best_after": 0})
TINY = {**RIDGE, "backbone": "test_resnet", "seeds": 1}  # a network of 372 688 numbers
NAMES = ("007", "new one")  # a number, and what no folder's name keeps


def write_made_by(folder: Path, names: tuple[str, ...], each: int) -> Path:
    """`each` fake faces of each generator, and as many real ones."""
    for number in range(2 * each * len(names)):
        fake, name = number % 2 == 1, names[number // 2 % len(names)]
        path = folder / (f"fake/{name}" if fake else "real") / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(picture(900 + number, fake=fake)))
    return folder


def options(data: Path | str, **more) -> FinetuneConfig:
    return FinetuneConfig.of(data=str(data), recipe=RECIPE, unseen=True, **{**TINY, **more})


@dataclass(frozen=True)
class Trained:
    """home: where everything lies. kept: the run of all generators. begun: trainings in both calls, in their order.

    best: data sets that have a best detector then.
    """

    home: Path
    config: FinetuneConfig
    kept: Path
    begun: list[str]
    best: list[str]

    @property
    def manifest(self) -> Manifest:
        return Manifest.load(paths.manifest_file("two")).usable

    @property
    def scores(self) -> Path:
        (folder,) = (self.home / "runs_dir" / STAGE).iterdir()
        return folder

    @property
    def tables(self) -> list[pd.DataFrame]:
        """Scores of what both sides judge, and of what was held out of train and val."""
        return [pd.read_csv(self.scores / name, dtype={"generator": str}) for name in (UNSEEN_FILE, HELD_OUT_FILE)]


def at_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
        patch.setenv(name, str(home / name.lower()))


@pytest.fixture(scope="module")
def once(tmp_path_factory) -> Iterator[Trained]:
    """Trained with both generators and without each; stopped in the second training, and run again."""
    home, begun = tmp_path_factory.mktemp("without"), []
    original = train.train

    def stopping(config, job, *args, **more):
        begun.append(job.folder.name)
        if len(begun) == 2:
            raise KeyboardInterrupt
        original(config, job, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, home)
        patch.setattr(train, "train", stopping)
        config = options(write_made_by(home / "two", NAMES, 16))
        with pytest.raises(KeyboardInterrupt):
            run(config)
        kept = run(config)
        best = [path.stem for path in (home / "runs_dir" / "best").iterdir()]
        yield Trained(home, config, kept, [*begun], best)


@pytest.fixture
def trained(once, monkeypatch) -> Trained:
    at_home(monkeypatch, once.home)
    return once


def test_nothing_is_trained_twice_and_the_kept_detector_is_that_of_a_training_without_the_option(trained, monkeypatch):
    kept, first, again, second = trained.begun
    assert kept == trained.kept.name
    assert first == again != second  # where it was stopped it went on, and not before that
    monkeypatch.setattr(train, "train", None)
    assert run(trained.config) == run(trained.config.but(unseen=False)) == trained.kept


def test_no_label_of_the_generator_reaches_head_or_detector(trained):
    """Real and fake of all that the training without it is judged on, the other way round: the same bytes."""
    part = Manifest.load(paths.manifest_file("two-without-007"))
    assert set(part.generator[part.split == "test"]) == {"", "007"}
    turned = part.rows.label.map({"real": "fake", "fake": "real"})
    rows = part.rows.assign(label=part.rows.label.mask(part.split == "test", turned))
    replace(part, dataset="turned", rows=rows).save(paths.manifest_file("turned"))
    folders = [run(trained.config.but(data=name, unseen=False)) for name in ("two-without-007", "turned")]
    assert folders[0].name in trained.begun
    one, other = [paths.run_dir("heads", runs.result(folder)["head_run"]) / HEAD_FILE for folder in folders]
    assert one != other
    assert one.read_bytes() == other.read_bytes()
    ours, theirs = (load_weights(folder / BEST)[0] for folder in folders)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_both_sides_judge_the_same_images(trained):
    judged, held_out = trained.tables
    manifest, result = trained.manifest, runs.result(trained.scores)
    assert tuple(result["trainings"]) == tuple(judged.generator.unique()) == NAMES
    folds = cut(manifest, "generator")
    for number, (name, without) in enumerate(result["trainings"].items()):
        rows, apart = judged[judged.generator == name], paths.run_dir("finetune", without)
        of_test = (manifest.split == "test") & (~manifest.fake | (manifest.generator == name))
        assert rows.path.tolist() == manifest.rows.path[of_test].tolist()
        left = held_out[held_out.generator == name]
        assert left.path.tolist() == manifest.rows.path[folds.held_out[number]].tolist()
        for word, (seen, unseen) in {
            "detector": (trained.kept, apart),
            "head": [paths.run_dir("heads", runs.result(each)["head_run"]) for each in (trained.kept, apart)],
        }.items():
            for side, folder, table in (("seen", seen, rows), ("unseen", unseen, rows), ("unseen", unseen, left)):
                said = pd.read_csv(folder / "predictions-test.csv").set_index("path").score
                np.testing.assert_array_equal(table[f"{word}_{side}"], said[table.path])
        assert not np.allclose(rows.detector_seen, rows.detector_unseen)
    assert runs.test_scorings("two") == 4  # head and detector, seen and unseen


def test_parts_of_a_data_set_are_no_data_set_of_somebodys(trained):
    assert find_run("").name in (trained.kept.name, runs.result(trained.kept)["head_run"])
    assert trained.best == ["two"]


def test_the_page_has_the_detector_seen_and_unseen_beside_its_head(trained, monkeypatch):
    for name in ("model_pictures", "sweep_pictures", "training_picture"):
        monkeypatch.setattr(report_page, name, lambda _: [])
    page = report_page.run(report_page.ReportConfig("two", faces=False))
    found = pd.read_csv(page / "generators_finetuned.csv").set_index("generator")
    saved, held_out = trained.tables
    for name, rows in saved.groupby("generator"):
        fake, left = rows.label == "fake", held_out[held_out.generator == name]
        unseen, beside = (roc_auc_score(fake, rows[f"{word}_unseen"]) for word in ("detector", "head"))
        assert found.loc[name, "AUC, seen"] == pytest.approx(roc_auc_score(fake, rows.detector_seen))
        assert found.loc[name, "AUC, unseen"] == pytest.approx(unseen)
        assert found.loc[name, "difference"] == pytest.approx(unseen - beside)
        assert found.loc[name, "AUC, unseen, train and val"] == pytest.approx(
            roc_auc_score(left.label == "fake", left.detector_unseen)
        )
        without = paths.run_dir("finetune", runs.result(trained.scores)["trainings"][name])
        assert found.loc[name, "found at the threshold, unseen"] == pytest.approx(
            (rows.detector_unseen[fake] >= calibration_of(without).threshold).mean()
        )
    assert "Beside it stands the head that it starts from" in (page / "index.html").read_text()
    models = {each["run"]: each for each in runs.read_json(page / "summary.json")["models"]}
    figures = models[trained.kept.name]["generators"]
    assert figures["each"]["007"]["unseen"] == pytest.approx(found.loc["007", "AUC, unseen"])
    assert figures["mean"]["lead_ci"] == pytest.approx(
        [found.loc["mean", f"difference {end}"] for end in ("low", "high")]
    )


def test_a_study_whose_trainings_are_gone_is_left_out(trained, monkeypatch, capsys):
    model = next(each for each in find_models(trained.manifest) if each.folder == trained.kept)
    assert [row["generator"] for row in generators_table(detector_on_generators(model)).rows] == [*NAMES, "mean"]
    complete = runs.is_complete
    monkeypatch.setattr(runs, "is_complete", lambda folder: complete(folder) and "-without-" not in folder.name)
    assert detector_on_generators(model) is None
    assert "is gone: make finetune UNSEEN=1 again" in capsys.readouterr().out


def parts_of(config: FinetuneConfig) -> dict[str, tuple[FinetuneConfig, Manifest]]:
    made = left_out(config, Team("cpu"))
    return {name: (each, Manifest.load(Path(each.heads.extract.data.data))) for name, each in made.items()}


def test_heads_of_a_part_are_chosen_by_its_other_generators_as_far_as_there_are_two(tmp_path, capsys):
    three = write_made_by(tmp_path / "three", ("a", "b", "c"), 10)
    by_mean = parts_of(options(three, folds="generator", choose="mean", grid=""))
    assert [(each.heads.folds, each.heads.choose, part.part_of) for each, part in by_mean.values()] == [
        ("generator", "mean", "three")
    ] * 3
    assert all(each.heads.folds == 1 for each, _ in parts_of(options(three, folds="generator")).values())
    two = write_made_by(tmp_path / "two", ("a", "b"), 10)
    config, part = parts_of(options(two, folds="generator", choose="worst", grid=""))["a"]
    assert (config.heads.folds, config.heads.choose, config.heads.grid) == (1, "validation", UNSEEN_GRID)
    assert "two-without-a: its head is chosen by validation, not by CHOOSE=worst" in capsys.readouterr().out
    assert set(part.generator[part.split != "test"]) == {"", "b"}


def test_by_date_a_training_sees_older_generators_alone(tmp_path):
    three = write_made_by(tmp_path / "three", ("a", "b", "c"), 10)
    rows = pd.DataFrame({"path": sorted(str(path.relative_to(three)) for path in three.rglob("*.jpg"))})
    rows["label"] = rows.path.str.split("/").str[0]
    rows["generator"] = [path.split("/")[1] if path.startswith("fake") else "" for path in rows.path]
    rows["date"] = rows.generator.map({"a": "2014", "b": "2021", "c": "2019"})
    rows.to_csv(three / "dated.csv", index=False)
    found = parts_of(options(three / "dated.csv", folds="date"))
    known = {name: set(part.generator[part.split != "test"]) - {""} for name, (_, part) in found.items()}
    assert known == {"c": {"a"}, "b": {"a", "c"}}
    assert {part.dataset for _, part in found.values()} == {"dated-before-c", "dated-before-b"}


def test_what_cannot_be_left_out_is_refused_before_anything_is_trained(tmp_path):
    given = {"head": "runs/heads/x", "checkpoint": "last.pt", "smoke": True}
    for name, value in given.items():
        with pytest.raises(UserError, match=f"UNSEEN=1: .*{name.upper()}"):
            options("faces", **{name: value})
    with pytest.raises(UserError, match="the settings that a search finds are those that suit all generators"):
        TuneConfig.of(data="faces", unseen=True)
    two = write_made_by(tmp_path / "two", ("a b", "a_b"), 12)
    with pytest.raises(UserError, match="'a b' and 'a_b' would both be kept in two-without-a_b"):
        parts_of(options(two))
    taken = Manifest.load(paths.manifest_file("two"))
    replace(taken, dataset="two-without-a_b").save(paths.manifest_file("two-without-a_b"))
    with pytest.raises(UserError, match="the name 'two-without-a_b' is that of a data set which is no part of two"):
        parts_of(options(two))
    with pytest.raises(UserError, match="has 1 known generator "):
        parts_of(options(write_made_by(tmp_path / "one", ("a",), 8)))
