"""`make finetune UNSEEN=1`: how a detector does on a generator that it never saw, from a training without each in turn.

What a training without a generator may look at is a data set of its own, data/<dataset>-without-<generator>/: in train
and val what the fold of heads.folds that leaves the generator out trains on, in test what that holds out, the
generator's test fakes and the real test images. Head and detector are then made on it by the same commands as on any
data set, choice of the head and of the epoch included, so that no label of the generator has a way into either.

runs/unseen/<run>-<key>/
    scores-unseen.csv      of each generator its test fakes and the real test images: path, digest, label, group,
                           generator, and the scores of the detector and of the head that it started from, each by what
                           was trained with the generator (`seen`) and by what was not (`unseen`)
    scores-held-out.csv    of what the training without it left out of train and val, which the other one knows: unseen
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cache import paths, runs
from cache.errors import UserError
from cache.key import key
from data.build import run as build_manifest
from data.manifest import Manifest
from data.naming import known_manifest
from finetune.options import FinetuneConfig
from finetune.training.team import Team
from finetune.training_result import FinetuneResult
from heads.folds import Folds, cut, dates
from heads.options import HeadsConfig
from heads.predictions import ABOUT, predictions_file, read_scores, validation_digest
from heads.sweep import DATE, GENERATOR, VALIDATION
from heads.sweep.grid import UNSEEN as UNSEEN_GRID
from heads.sweep.sweep_result import SEEN, UNSEEN, UNSEEN_FILE
from heads.sweep.sweep_result import STAGE as SWEEPS

STAGE = "unseen"
VERSION = 1  # of result.json
DETECTOR, HEAD = "detector", "head"  # before a side, columns of scores-unseen.csv
HELD_OUT_FILE = "scores-held-out.csv"


@dataclass(frozen=True)
class LeftOutResult:
    """result.json of runs/unseen/*.

    run: the detector that is kept, which saw every generator; scored: sha256 of its validation scores. split: whose
    images both sides are judged on: test, or val where there is none. trainings: generator -> the run that was trained
    without it. words: of the columns, DETECTOR and, where the recipe starts from one, HEAD. dates: of the generators,
    where those that came with or after the judged one were left out with it.
    """

    dataset: str
    manifest_key: str
    run: str
    scored: str
    split: str
    trainings: dict[str, str]
    words: list[str]
    dates: dict[str, str] = field(default_factory=dict)
    version: int = VERSION


def left_out(config: FinetuneConfig, here: Team) -> dict[str, FinetuneConfig]:
    """Generator -> the options of the training without it; the data sets that they name are there then.

    Raises:
        UserError: fewer than two generators, a fold without both classes in train and val, or another data set of the
            name.
    """
    manifest = Manifest.load(build_manifest(config.heads.extract.data)).usable
    how = _word(config.heads.folds)
    folds = cut(manifest, how)
    parts = {name: _part(manifest, folds, number, how) for number, name in enumerate(folds.generators)}
    for part in parts.values():
        cut(part, 1)  # what cannot be trained is refused before anything is
        _refuse_other_data(part)
    _refuse_one_name(parts)
    if here.leads:
        if not all(known_manifest(part.dataset) for part in parts.values()):
            print(f"finetune {manifest.dataset}: with all generators, then without {', '.join(parts)}", flush=True)
        for part in parts.values():
            part.save(paths.manifest_file(part.dataset))
    here.wait()
    return {name: _options(config, part) for name, part in parts.items()}


def judge_apart(kept: Path, apart: Mapping[str, Path], folds: int | str) -> Path:
    """What the finished trainings say of the generators that they did not see, beside what the kept one says.

    Args:
        kept: with all generators. apart: generator -> the training without it. folds: FOLDS of both.

    Returns:
        The folder in runs/unseen, which is complete.
    """
    trained = {name: folder.name for name, folder in apart.items()}
    made_from = {"run": kept.name, "scored": validation_digest(kept), "trainings": trained, "version": VERSION}
    folder = paths.run_dir(STAGE, f"{kept.name}-{key(made_from)}")
    if runs.is_complete(folder):
        return folder
    runs.begin(folder, made_from)
    own = runs.result(kept).into(FinetuneResult)
    manifest = Manifest.load(paths.manifest_file(own.dataset)).usable
    split = "test" if len(manifest.where("test")) else "val"
    table = pd.concat([_scored(name, _scorers(kept, each), split, manifest) for name, each in apart.items()])
    judged, held_out = table[table.split == split], table[table.split != "test"]
    words = [word for word in (DETECTOR, HEAD) if f"{word}_{UNSEEN}" in table]
    for column in [f"{word}_{UNSEEN}" for word in words] if split == "test" else []:
        runs.count_test_scoring(own.dataset, f"{folder.name} {column}", judged[column].to_numpy())
    runs.write_table(folder / UNSEEN_FILE, judged.drop(columns="split"))
    runs.write_table(folder / HELD_OUT_FILE, held_out.drop(columns=["split", *(f"{word}_{SEEN}" for word in words)]))
    order = dates(manifest) if folds == DATE else {}
    runs.finish(folder, asdict(LeftOutResult(
        own.dataset, own.manifest_key, kept.name, made_from["scored"], split, trained, words, order,
    )))  # fmt: skip
    _say(folder, judged, words)
    return folder


def _word(folds: int | str) -> str:
    """A word of FOLDS: how generators are left out where it does not say."""
    return folds if isinstance(folds, str) else GENERATOR


def _part(manifest: Manifest, folds: Folds, number: int, how: str) -> Manifest:
    """What the training without a generator looks at, its test split being what it is judged on."""
    generator, held_out = folds.generators[number], folds.held_out[number]
    of_test = (manifest.split == "test") & (~manifest.fake | (manifest.generator == generator))
    split = np.where(folds.trained[number], manifest.split, "test")
    rows = manifest.rows.assign(split=split)[folds.trained[number] | held_out | of_test].reset_index(drop=True)
    name = f"{manifest.dataset}-{'before' if how == DATE else 'without'}-{paths.safe(generator)}"
    return replace(manifest, dataset=paths.dataset_name(name), rows=rows, part_of=manifest.dataset)


def _refuse_other_data(part: Manifest) -> None:
    there = known_manifest(part.dataset)
    if there and Manifest.load(there).part_of != part.part_of:
        raise UserError(
            f"UNSEEN=1: the name {part.dataset!r} is that of a data set which is no part of {part.part_of}: give one "
            f"of the two another with NAME=..., or delete {there.parent} if it is no longer needed"
        )


def _refuse_one_name(parts: Mapping[str, Manifest]) -> None:
    """A folder's name has fewer characters than that of a generator may have."""
    named: dict[str, str] = {}
    for name, part in parts.items():
        other = named.setdefault(part.dataset, name)
        if other != name:
            raise UserError(f"UNSEEN=1: the generators {other!r} and {name!r} would both be kept in {part.dataset}: "
                            "call one of them something else")  # fmt: skip


def _options(config: FinetuneConfig, part: Manifest) -> FinetuneConfig:
    """The same training on a part; its head is chosen by the same rule, as far as the part allows it."""
    data = config.heads.extract.data.elsewhere(str(paths.manifest_file(part.dataset)))
    return config.but(**data.flat(), **_choice(config.heads, part), unseen=False)


def _choice(heads: HeadsConfig, part: Manifest) -> dict[str, int | str]:
    """FOLDS, CHOOSE and GRID on a part: its generators can be left out in their turn if there are two of them.

    Where validation chooses, folds of generators change nothing about the head that is kept, and are spared.
    """
    if heads.choose == VALIDATION:
        return {"folds": 1 if isinstance(heads.folds, str) else heads.folds}
    try:
        cut(part, heads.folds)
    except UserError as error:
        print(f"finetune {part.dataset}: its head is chosen by validation, not by CHOOSE={heads.choose}: {error}")
        return {"folds": 1, "choose": VALIDATION, "grid": heads.grid or UNSEEN_GRID}
    return {}


def _scorers(kept: Path, apart: Path) -> dict[str, tuple[Path, Path]]:
    """Word -> the runs that saw a generator and that did not: the detectors, and the sweeps that they started from."""
    heads = [runs.result(folder).into(FinetuneResult).head_run for folder in (kept, apart)]
    found = {DETECTOR: (kept, apart)}
    return found | ({HEAD: tuple(paths.run_dir(SWEEPS, name) for name in heads)} if all(heads) else {})


def _scored(generator: str, scorers: Mapping[str, tuple[Path, Path]], split: str, manifest: Manifest) -> pd.DataFrame:
    """All images that the run without a generator is judged on, with the split that they have in the whole data set.

    Args:
        split: that which the kept run is judged on; it knows, or was chosen by, the images of others.
    """
    table = read_scores(predictions_file(scorers[DETECTOR][1], "test"))[ABOUT]
    table = table.assign(split=table.path.map(manifest.rows.set_index("path").split), generator=generator)
    for word, (kept, apart) in scorers.items():
        for side, folder, part in ((SEEN, kept, split), (UNSEEN, apart, "test")):
            found = read_scores(predictions_file(folder, part)).set_index("path").score
            table[f"{word}_{side}"] = table.path.map(found)
    return table


def _say(folder: Path, judged: pd.DataFrame, words: list[str]) -> None:
    """A line a generator."""
    from sklearn.metrics import roc_auc_score  # seconds, and a complete training is not judged anew

    for name, rows in judged.groupby("generator", sort=False):
        if rows.label.nunique() == 2:
            aucs = {f"{word} {side}": roc_auc_score(rows.label == "fake", rows[f"{word}_{side}"])
                    for word in words for side in (SEEN, UNSEEN)}  # fmt: skip
            figures = ", ".join(f"{what} {auc:.4f}" for what, auc in aucs.items())
            runs.log(folder, f"unseen {name}: AUC of {int((rows.label == 'fake').sum())} fakes: {figures}")
