"""What is left of a sweep once every bucket is trained: the choice, its head, its predictions, the tables."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cache import runs
from cache.atomic import replacing
from cache.errors import UserError
from cache.key import file_digest
from cache.table import FeatureTable
from data.manifest import SPLITS, Manifest
from heads import leaderboard
from heads.families import HeadConfig, Tail
from heads.folds import Folds, without_one
from heads.inputs import Choice, Inputs
from heads.leaderboard import Setting, Trial, settings
from heads.models import Committee
from heads.plan import is_convex
from heads.saved import HeadRecord, assemble, save_head
from heads.scoring import member_scores, of_vectors

STAGE = "heads"
HEAD_FILE = "head.safetensors"
CALIBRATION = "calibration"  # of predictions-calibration.csv
VERSION = 3  # of result.json; in the sweep's key, so that a run of another version is made anew


@dataclass(frozen=True)
class SweepResult:
    """result.json of runs/heads/*.

    offered: all features; features: those that the chosen head reads. members: how many it averages, one for each of
    the folds and seeds. val_auc, val_auc_std: mean and spread over them. floor_auc: of the best convex head.
    scored_as_new: whether predictions-calibration.csv has validation images scored as new ones are, for threshold and
    temperature.
    """

    dataset: str
    manifest_key: str
    synthetic: bool
    backbone: str
    random_weights: bool
    offered: list[str]
    features: list[str]
    inputs: str
    head: str
    family: str
    settings: int
    heads: int
    folds: int
    members: int
    views: int
    seconds: float
    val_auc: float
    val_auc_std: float | None
    floor_auc: float | None
    scored_as_new: bool
    version: int = VERSION


@dataclass(frozen=True)
class Outcome:
    """Everything that a finished sweep knows; `save` makes the run folder of it.

    backbone: one name, or several joined by +. choices: what pooled heads were offered, by name. chosen: of the trials.
    without_one: the same setting with the members of heads.folds.without_one, or none.
    views: by how many views heads are judged. augmentation: of the views behind the first.
    """

    folder: Path
    backbone: str
    manifest: Manifest
    folds: Folds
    inputs: Inputs
    choices: dict[str, Choice]
    trials: list[Trial]
    chosen: Setting
    without_one: Setting
    views: int
    augmentation: str
    device: str

    def save(self) -> None:
        """Write the tables, the chosen head and its predictions, and result.json last."""
        found, chosen = settings(self.trials), self.chosen
        convex = [each for each in found if is_convex(each.config) and each.usable]
        write_table(self.folder / "leaderboard.csv", leaderboard.table(found))
        write_table(self.folder / "members.csv", leaderboard.members(found))
        write_table(self.folder / "curves.csv", leaderboard.curves(found))
        write_table(self.folder / "scores-inputs.csv", self._scores_of_inputs(convex))
        record = self._record(chosen)
        head = assemble(chosen.fitted, record)
        save_head(self.folder / HEAD_FILE, head, record)
        self._predict(chosen, self._scores(chosen, head))
        self._predict_as_new()
        result = self._result(chosen, convex, found, record)
        runs.finish(self.folder, asdict(result))
        floor = f", best convex {result.floor_auc:.4f}" if convex else ""
        runs.log(self.folder, f"heads {result.backbone}: chose {chosen.name} among {len(found)} settings, "
                              f"val AUC {chosen.val_auc:.4f} over {len(chosen.trials)} members{floor}")  # fmt: skip
        if result.folds > 1:
            runs.log(self.folder, f"heads {result.backbone}: {how_fixed(result)}")

    @property
    def scored_as_new(self) -> bool:
        return bool(self.without_one.trials) and self.without_one.usable

    def _record(self, chosen: Setting) -> HeadRecord:
        """What must be known to use the chosen head."""
        if isinstance(chosen.config, Tail):
            specs = self.inputs.maps[chosen.inputs][:1]
            shape = FeatureTable(specs[0], self.manifest).row_shape
        else:
            specs, shape = self.choices[chosen.inputs].specs, (self.choices[chosen.inputs].width,)
        return HeadRecord(chosen.config, specs, shape, len(chosen.trials), self.views, self.augmentation)

    def _predict(self, chosen: Setting, scores: np.ndarray) -> None:
        """predictions-<split>.csv: path, digest, label, group, score (logit of fake). The test's is counted."""
        judged = self.folds.judged
        for split in SPLITS:
            rows = judged if split == "val" else self.manifest.where(split)
            if not len(rows):
                continue
            fair = _fair(scores, chosen, self.folds.held_out) if split == "val" else scores.mean(axis=1)
            if split == "test":
                runs.count_test_scoring(self.manifest.dataset, self.folder.name, fair[rows])
            write_table(self.folder / f"predictions-{split}.csv", self._labelled(rows).assign(score=fair[rows]))

    def _predict_as_new(self) -> None:
        """predictions-calibration.csv, the same of each validation image by a committee that saw nothing of its fold.

        Those of predictions-val.csv come from single members, which are less sure of each other's images than the mean
        over all folds is of new ones.
        """
        if not self.scored_as_new:
            return
        members, rows = self.without_one, self.folds.judged
        scores = self._scores(members, assemble(members.fitted, self._record(members)))
        fair = _fair(scores, members, without_one(self.folds)[1])
        write_table(self.folder / f"predictions-{CALIBRATION}.csv", self._labelled(rows).assign(score=fair[rows]))

    def _scores_of_inputs(self, convex: list[Setting]) -> pd.DataFrame:
        """For each choice of inputs the held-out scores of its best convex head, so that intervals can be drawn."""
        found = self._labelled(self.folds.judged)
        for name in self.choices:
            best = next((each for each in convex if each.inputs == name), None)
            if best:
                head = assemble(best.fitted, self._record(best))
                found[name] = _fair(self._scores(best, head), best, self.folds.held_out)[self.folds.judged]
        return found

    def _scores(self, setting: Setting, head: Committee) -> np.ndarray:
        """Logits (N, M) of every member for every image; of pooled features from what is in memory already."""
        if isinstance(setting.config, Tail):
            return member_scores(head, self._record(setting), self.manifest, device=self.device)
        columns = self.choices[setting.inputs].columns
        return np.mean([of_vectors(head, view[:, columns]) for view in self.inputs.X[: self.views]], axis=0)

    def _labelled(self, rows: np.ndarray) -> pd.DataFrame:
        return self.manifest.rows.iloc[rows][["path", "digest", "label", "group"]].copy()

    def _result(self, chosen: Setting, convex: list[Setting], found: list[Setting],
                record: HeadRecord) -> SweepResult:  # fmt: skip
        return SweepResult(
            dataset=self.manifest.dataset,
            manifest_key=self.manifest.key,
            synthetic=self.manifest.synthetic,
            backbone=self.backbone,
            random_weights=any(spec.random_weights for spec in self.inputs.specs),
            offered=list(self.choices),
            features=[spec.feature for spec in record.inputs],
            inputs=chosen.inputs,
            head=chosen.config.name,
            family=chosen.config.family,
            settings=len(found),
            heads=len(self.trials),
            folds=len(self.folds),
            members=len(chosen.trials),
            views=len(self.inputs.X),
            seconds=round(sum(trial.seconds for trial in self.trials + self.without_one.trials), 2),
            val_auc=chosen.val_auc,
            val_auc_std=chosen.val_auc_std if len(chosen.trials) > 1 else None,
            floor_auc=convex[0].val_auc if convex else None,
            scored_as_new=self.scored_as_new,
        )


def write_table(path: Path, table: pd.DataFrame) -> None:
    """As CSV, whole or not at all."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def validation_digest(run: Path) -> str:
    """sha256 of the validation scores of a finished sweep or training: tells it from one made anew under its name.

    Raises:
        UserError: it has lost them.
    """
    file = run / "predictions-val.csv"
    if not file.exists():
        raise UserError(f"{run} has no {file.name}: delete the folder and make the run again")
    return file_digest(file)


def is_scored_as_new(config: HeadConfig, folds: int) -> bool:
    """Whether members are trained for it: two folds leave nothing to train on, and tails would take hours."""
    return folds > 2 and not isinstance(config, Tail)


def how_fixed(result: SweepResult) -> str:
    """In words, of a sweep with folds: what scores fix threshold, temperature and band."""
    if result.scored_as_new:
        return (
            "threshold, temperature and band are fixed on validation scores made as those of new images are: each by a "
            f"committee of {result.folds - 1} folds, trained for this, that saw nothing of the image's own fold"
        )
    return (
        "threshold, temperature and band are fixed on scores of single members, each of images that it did not see, "
        f"because {_why_not(result)}; the mean over all folds is surer than one of them, so that probabilities are too "
        "cautious"
    )


def _why_not(result: SweepResult) -> str:
    if result.folds == 2:
        return "two folds leave no third to train on"
    if result.family == Tail.family:
        return f"tails that leave out one more fold take {result.folds - 1} times as long as those that are kept"
    return "one of the heads that leave out one more fold diverged"


def _fair(scores: np.ndarray, setting: Setting, held_out: np.ndarray) -> np.ndarray:
    """Of scores (N, M) for each row the mean over the members whose folds hold it out: (N,), nan where none does.

    held_out: (F, N) bool.
    """
    fair = np.stack([held_out[each.member.fold] for each in setting.fitted], axis=1)  # (N, M)
    with np.errstate(invalid="ignore"):
        return np.where(fair, scores, 0).sum(axis=1) / fair.sum(axis=1)
