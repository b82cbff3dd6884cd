"""How the heads of a sweep do on each generator: those that saw it in training, and those that did not.

Both are of one setting and judge the same images: a generator's fakes against the real images of the split.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.found.models import Model
from analysis.judge.bootstrap import Draws, bootstrap
from analysis.judge.evaluate import Evaluation, evaluate
from analysis.judge.intervals import Interval
from analysis.judge.metrics import interval_of
from analysis.judge.ranking import Pairs
from heads.sweep.sweep_result import SEEN, UNSEEN


@dataclass(frozen=True)
class Areas:
    """AUC on one generator, or the mean over all. seen: of the chosen setting's heads that saw it in training.

    unseen: of those that did not. other: of those of the setting beside it that did not. lead: unseen minus other, by
    paired resamples.
    """

    seen: Interval
    unseen: Interval
    other: Interval
    lead: Interval


@dataclass(frozen=True)
class OneGenerator:
    """fake: how many of its images. seen, unseen: what the chosen setting does, at the threshold of the kept head."""

    name: str
    fake: int
    areas: Areas
    seen: Evaluation
    unseen: Evaluation


@dataclass(frozen=True)
class Unseen:
    """chosen, other: the words of CHOOSE by which the setting was chosen, and by which that beside it would have been.

    dates: of the generators, where those that were not seen are all that came with the judged one or after it.
    title: of the sweep. other_head: the name of the setting beside it; `same` where both words choose one setting.
    """

    title: str
    chosen: str
    other: str
    other_head: str
    same: bool
    generators: list[OneGenerator]
    mean: Areas
    dates: dict[str, str]

    @property
    def hardest(self) -> OneGenerator:
        """The one of lowest AUC where it was not seen."""
        return min(self.generators, key=lambda each: each.areas.unseen.value)


def on_generators(model: Model) -> Unseen | None:
    """What a sweep's chosen setting does on the generators that the split has images of; None where there are none."""
    table, result = model.made.unseen, model.made.result
    if table is not None:
        table = table[table.groupby("generator").label.transform("nunique") == 2].reset_index(drop=True)
    if table is None or not len(table):
        return None
    other = next(word for word in result.candidates if word != result.choose)
    found = [_one(str(name), rows, other, model) for name, rows in table.groupby("generator")]
    found.sort(key=lambda each: (result.dates.get(each.name, ""), each.name))
    same = result.candidates[other] == result.candidates[result.choose]
    mean = _areas(table, result.choose, other)
    return Unseen(model.made.title, result.choose, other, result.candidates[other], same, found, mean, result.dates)


def _one(name: str, rows: pd.DataFrame, other: str, model: Model) -> OneGenerator:
    chosen, fake, groups = model.made.result.choose, (rows.label == "fake").to_numpy(), rows.group.to_numpy(object)
    seen, unseen = (
        evaluate(rows[f"{chosen}_{side}"].to_numpy(), fake, groups, calibration=model.calibration)
        for side in (SEEN, UNSEEN)
    )
    return OneGenerator(name, int(fake.sum()), _areas(rows, chosen, other), seen, unseen)


def _areas(table: pd.DataFrame, chosen: str, other: str) -> Areas:
    """The mean over the generators of a table."""
    draws = _means(table, [f"{chosen}_{SEEN}", f"{chosen}_{UNSEEN}", f"{other}_{UNSEEN}"])
    seen, unseen, beside = (interval_of("auc", each) for each in draws)
    lead = Interval.of_difference(draws[1], draws[2], partial(interval_of, "auc"))
    return Areas(seen, unseen, beside, lead)


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
