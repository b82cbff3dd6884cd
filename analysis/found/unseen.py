"""How models do on each generator: those that saw it in training, and those that did not.

Of a sweep heads of one setting, of a detector trainings by one recipe. Both sides judge the same images: a generator's
fakes against the real images of the split.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.found.models import Model
from analysis.judge.bootstrap import Draws, bootstrap
from analysis.judge.calibrate import Calibration, calibration_of
from analysis.judge.evaluate import Evaluation, evaluate
from analysis.judge.intervals import Interval
from analysis.judge.metrics import interval_of
from analysis.judge.ranking import Pairs
from cache import paths, runs
from finetune.left_out import HEAD, HELD_OUT_FILE, STAGE, VERSION, LeftOutResult
from finetune.training_result import STAGE as TRAININGS
from heads.predictions import read_scores, validation_digest
from heads.sweep.sweep_result import SEEN, UNSEEN, UNSEEN_FILE


@dataclass(frozen=True)
class Areas:
    """AUC on one generator, or the mean over all. seen: of what saw it in training; unseen: of what did not.

    other: of what stands beside and did not see it either, None where nothing does. lead: unseen minus other, by paired
    resamples. held_out: unseen, on images of train and val that were held out; None of heads, which are chosen by them.
    """

    seen: Interval
    unseen: Interval
    other: Interval | None
    lead: Interval | None
    held_out: Interval | None = None


@dataclass(frozen=True)
class OneGenerator:
    """fake: how many of its images. seen, unseen: at a threshold that validation fixed."""

    name: str
    fake: int
    areas: Areas
    seen: Evaluation
    unseen: Evaluation


@dataclass(frozen=True)
class Unseen:
    """run, title: of the model. beside: what stands beside it, for people.

    dates: of the generators, where those that were not seen are all that came with the judged one or after it.
    """

    run: str
    title: str
    beside: str
    generators: list[OneGenerator]
    mean: Areas
    dates: dict[str, str]

    @property
    def hardest(self) -> OneGenerator:
        """The one of lowest AUC where it was not seen."""
        return min(self.generators, key=lambda each: each.areas.unseen.value)


@dataclass(frozen=True)
class UnseenByHeads(Unseen):
    """Of the setting that a sweep chose, at the threshold of the kept head.

    chosen, other: the words of CHOOSE by which it was chosen, and by which that beside it would have been.
    other_head: the name of the setting beside it; `same` where both words choose one setting.
    """

    chosen: str
    other: str
    other_head: str
    same: bool


def on_generators(model: Model) -> UnseenByHeads | None:
    """What a sweep's chosen setting does on the generators that the split has images of; None where there are none."""
    table, result = model.made.unseen, model.made.result
    table = None if table is None else _of_two_classes(table)
    if table is None or not len(table):
        return None
    other = next(word for word in result.candidates if word != result.choose)
    words = (result.choose, other)
    found = [_one(name, rows, words, (model.calibration, model.calibration)) for name, rows in _by_name(table)]
    same = result.candidates[other] == result.candidates[result.choose]
    return UnseenByHeads(
        model.run, model.made.title, f"chosen by {other}", _in_order(found, result.dates), _areas(table, words),
        result.dates, *words, result.candidates[other], same,
    )  # fmt: skip


def detector_on_generators(model: Model) -> Unseen | None:
    """What a recipe's detectors do on the generators that the split has images of, each at its own threshold.

    None where UNSEEN was not asked for, or there are no such images.
    """
    study = _study(model.folder)
    if study is None:
        return None
    folder, result = study
    words = tuple(result.words)
    seen, unseen = ([f"{word}_{side}" for word in words] for side in (SEEN, UNSEEN))
    table = _of_two_classes(read_scores(folder / UNSEEN_FILE, seen + unseen))
    if not len(table):
        return None
    held_out = read_scores(folder / HELD_OUT_FILE, unseen)
    held_out = held_out[held_out.generator.isin(set(table.generator))].reset_index(drop=True)
    apart = {name: rows.reset_index(drop=True) for name, rows in held_out.groupby("generator")}
    own = {name: calibration_of(paths.run_dir(TRAININGS, run)) for name, run in result.trainings.items()}
    found = [_one(name, rows, words, (model.calibration, own[name]), apart[name]) for name, rows in _by_name(table)]
    return Unseen(
        model.run, model.title, "the head it starts from" if HEAD in words else "", _in_order(found, result.dates),
        _areas(table, words, held_out), result.dates,
    )  # fmt: skip


def _study(run: Path) -> tuple[Path, LeftOutResult] | None:
    """The latest of what was trained beside a detector without a generator at a time, as far as it is all there."""
    found = [(folder, record.into(LeftOutResult)) for folder, record in
             runs.find(STAGE, run=run.name, scored=validation_digest(run), version=VERSION)]  # fmt: skip
    whole = []
    for folder, result in found:
        gone = [run for run in result.trainings.values() if not runs.is_complete(paths.run_dir(TRAININGS, run))]
        if gone:
            print(f"report: {folder.name} is left out, because {gone[0]} is gone: make finetune UNSEEN=1 again")
        else:
            whole.append((folder, result))
    return max(whole, key=lambda each: (each[0] / runs.RESULT).stat().st_mtime_ns, default=None)


def _of_two_classes(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of generators of which the split has fakes."""
    return table[table.groupby("generator").label.transform("nunique") == 2].reset_index(drop=True)


def _by_name(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(name), rows) for name, rows in table.groupby("generator")]


def _in_order(found: list[OneGenerator], dates: Mapping[str, str]) -> list[OneGenerator]:
    return sorted(found, key=lambda each: (dates.get(each.name, ""), each.name))


def _one(name: str, rows: pd.DataFrame, words: tuple[str, ...], calibrations: tuple[Calibration, Calibration],
         held_out: pd.DataFrame | None = None) -> OneGenerator:  # fmt: skip
    """words: the chosen one, and perhaps that beside it. calibrations: of what saw the generator and what did not."""
    fake, groups = (rows.label == "fake").to_numpy(), rows.group.to_numpy(object)
    seen, unseen = (
        evaluate(rows[f"{words[0]}_{side}"].to_numpy(), fake, groups, calibration=calibration)
        for side, calibration in zip((SEEN, UNSEEN), calibrations, strict=True)
    )
    return OneGenerator(name, int(fake.sum()), _areas(rows, words, held_out), seen, unseen)


def _areas(table: pd.DataFrame, words: tuple[str, ...], held_out: pd.DataFrame | None = None) -> Areas:
    """The mean over the generators of a table."""
    draws = _means(table, [f"{words[0]}_{SEEN}", *(f"{word}_{UNSEEN}" for word in words)])
    seen, unseen, *beside = (interval_of("auc", each) for each in draws)
    lead = Interval.of_difference(draws[1], draws[2], partial(interval_of, "auc")) if beside else None
    apart = None if held_out is None else interval_of("auc", _means(held_out, [f"{words[0]}_{UNSEEN}"])[0])
    return Areas(seen, unseen, beside[0] if beside else None, lead, apart)


def _means(table: pd.DataFrame, columns: list[str]) -> list[Draws]:
    """Of each column of scores the mean AUC over generators; all share resamples of the images, each drawn once."""
    images = table.drop_duplicates("path")
    at, fake = pd.Index(images.path).get_indexer(table.path), (table.label == "fake").to_numpy()
    parts = list(table.groupby("generator").indices.values())
    pairs = {column: [Pairs(table[column].to_numpy()[rows], fake[rows]) for rows in parts] for column in columns}

    def means(weights: np.ndarray) -> dict[str, np.ndarray]:
        of_parts = [weights[:, at[rows]] for rows in parts]
        return {column: np.mean([each.auc(part) for each, part in zip(found, of_parts, strict=True)], axis=0)
                for column, found in pairs.items()}  # fmt: skip

    drawn = bootstrap(means, (images.label == "fake").to_numpy(), images.group.to_numpy(object))
    return [drawn[column] for column in columns]
