"""What is left of a sweep once every bucket is trained: the choice, its head, its predictions, the tables."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cache import runs
from cache.table import FeatureTable
from data.manifest import SPLITS, Manifest
from heads.families import Fitted
from heads.fitting.stack import Committee
from heads.folds import Folds
from heads.head_file import HeadRecord, assemble, save_head
from heads.inputs import Choice, Inputs
from heads.predictions import ABOUT, predictions_file, write_predictions
from heads.scorer import views_of
from heads.scoring import member_scores, stream_scores
from heads.sweep import MEAN, VALIDATION, leaderboard
from heads.sweep.leaderboard import Setting, Trial, choose, settings
from heads.sweep.sweep_result import HEAD_FILE, SEEN, UNSEEN, UNSEEN_FILE, SweepResult


@dataclass(frozen=True)
class Outcome:
    """Everything that a finished sweep knows; `save` makes the run folder of it.

    backbone: one name, or several joined by +. choices: what pooled heads were offered, by name.
    views: by how many views heads are judged. augmentation: of the views behind the first.
    """

    folder: Path
    backbone: str
    manifest: Manifest
    folds: Folds
    inputs: Inputs
    choices: dict[str, Choice]
    trials: list[Trial]
    views: int
    augmentation: str
    one_se: bool
    choose: str
    device: str
    dates: dict[str, str]

    def save(self) -> None:
        """Write the tables, choose, write the head and its predictions, and result.json last.

        Raises:
            UserError: every head diverged.
        """
        found = settings(self.trials, self.folds.generators, by=self.choose)
        chosen = choose(found, one_se=self.one_se, by=self.choose)
        candidates = self._candidates(found)
        convex = [each for each in found if each.config.scouts and each.usable]
        runs.write_table(self.folder / "leaderboard.csv", leaderboard.table(found))
        runs.write_table(self.folder / "members.csv", leaderboard.members(found))
        runs.write_table(self.folder / "curves.csv", leaderboard.curves(found))
        runs.write_table(self.folder / "scores-inputs.csv", self._scores_of_inputs(convex))
        record = self._record(chosen)
        head = assemble(chosen.fitted, record)
        save_head(self.folder / HEAD_FILE, head, record)
        self._predict(chosen, self._scores(chosen, head))
        if candidates:
            self._predict_unseen(candidates)
        result = self._result(chosen, convex, found, record, candidates)
        runs.finish(self.folder, asdict(result))
        runs.log(self.folder, f"heads {result.backbone}: {result.chosen} -> {self.folder}")
        if result.doubt:
            runs.log(self.folder, f"  {result.doubt}")

    def _record(self, chosen: Setting) -> HeadRecord:
        """What must be known to use the chosen head."""
        if chosen.config.reads_maps:
            specs = self.inputs.maps[chosen.inputs][:1]
            shape = FeatureTable(specs[0], self.manifest).row_shape
        else:
            specs, shape = self.choices[chosen.inputs].specs, (self.choices[chosen.inputs].width,)
        return HeadRecord(chosen.config, specs, shape, len(chosen.trials), self.views, self.augmentation)

    def _chosen_on(self) -> dict[str, int]:
        """Label -> images that the choice went by: those of validation, or those held out with generators."""
        by = self.folds.kept if self.choose == VALIDATION else range(len(self.folds.generators))
        fake = self.manifest.fake[self.folds.held_out[by].any(axis=0)]
        return {"real": int((~fake).sum()), "fake": int(fake.sum())}

    def _predict(self, chosen: Setting, scores: np.ndarray) -> None:
        """predictions-<split>.csv: path, digest, label, group, score (logit of fake). The test's is counted."""
        judged = self.folds.judged
        for split in SPLITS:
            rows = judged if split == "val" else self.manifest.where(split)
            if not len(rows):
                continue
            fair = _out_of_fold(scores, chosen, self.folds) if split == "val" else scores.mean(axis=1)
            if split == "test":
                runs.count_test_scoring(self.manifest.dataset, self.folder.name, fair[rows])
            write_predictions(predictions_file(self.folder, split), self.manifest.rows.iloc[rows], score=fair[rows])

    def _candidates(self, found: list[Setting]) -> dict[str, Setting]:
        """Word of CHOOSE -> the setting that it would choose: validation, and what goes by generators left out."""
        words = (VALIDATION, MEAN if self.choose == VALIDATION else self.choose) if self.folds.generators else ()
        return {word: choose(found, by=word) for word in words}

    def _predict_unseen(self, candidates: dict[str, Setting]) -> None:
        """scores-unseen.csv: for each generator its fakes and the real images of a split, as heads score them that saw
        the generator in training and as heads of the same settings do that did not.

        Of the test split, which neither saw; of val, where there is none, those that both held out.
        """
        split = "test" if len(self.manifest.where("test")) else "val"
        parts = [self._about_generator(number, split) for number in range(len(self.folds.generators))]
        columns = {}
        for word, setting in candidates.items():
            seen = self._mean_scores(setting, setting.fitted)
            columns[f"{word}_{SEEN}"] = np.concatenate([seen[rows.index] for rows in parts])
            unseen = [self._mean_scores(setting, [trial.fitted for trial in setting.unseen[name]])
                      for name in self.folds.generators]  # fmt: skip
            columns[f"{word}_{UNSEEN}"] = np.concatenate(
                [scores[rows.index] for scores, rows in zip(unseen, parts, strict=True)]
            )
        if split == "test":
            for name, scores in columns.items():
                runs.count_test_scoring(self.manifest.dataset, f"{self.folder.name} {name}", scores)
        runs.write_table(self.folder / UNSEEN_FILE, pd.concat(parts).assign(**columns))

    def _about_generator(self, number: int, split: str) -> pd.DataFrame:
        """The rows of a split that a generator is judged on: its fakes and real images that its fold did not see."""
        name, folds = self.folds.generators[number], self.folds
        fair = ~folds.trained[number] if split == "test" else folds.held_out[number]
        rows = fair & (self.manifest.split == split) & (~self.manifest.fake | (self.manifest.generator == name))
        return self._labelled(np.flatnonzero(rows)).assign(generator=name)

    def _mean_scores(self, setting: Setting, fitted: list[Fitted]) -> np.ndarray:
        """Logits (N,) of the head that some members of a setting make."""
        record = replace(self._record(setting), members=len(fitted))
        return self._scores(setting, assemble(fitted, record)).mean(axis=1)

    def _scores_of_inputs(self, convex: list[Setting]) -> pd.DataFrame:
        """For each choice of inputs the held-out scores of its best convex head, so that intervals can be drawn."""
        found = self._labelled(self.folds.judged)
        for name in self.choices:
            best = next((each for each in convex if each.inputs == name), None)
            if best:
                head = assemble(best.fitted, self._record(best))
                found[name] = _out_of_fold(self._scores(best, head), best, self.folds)[self.folds.judged]
        return found

    def _scores(self, setting: Setting, head: Committee) -> np.ndarray:
        """Logits (N, M) of every member for every image."""
        if setting.config.reads_maps:
            return member_scores(head, views_of(self._record(setting)), self.manifest, device=self.device)
        return stream_scores(head, self.inputs.of(self.choices[setting.inputs]), range(self.views))

    def _labelled(self, rows: np.ndarray) -> pd.DataFrame:
        return self.manifest.rows.iloc[rows][ABOUT].copy()

    def _result(self, chosen: Setting, convex: list[Setting], found: list[Setting],
                record: HeadRecord, candidates: dict[str, Setting]) -> SweepResult:  # fmt: skip
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
            folds=len(self.folds.kept),
            members=len(chosen.trials),
            views=self.inputs.rows.views,
            seconds=round(sum(trial.seconds for trial in self.trials), 2),
            val_auc=chosen.val_auc,
            val_auc_std=chosen.val_auc_std if len(chosen.trials) > 1 else None,
            floor_auc=max((each.val_auc for each in convex), default=None),
            choose=self.choose,
            unseen_auc=chosen.unseen_auc,
            candidates={word: each.name for word, each in candidates.items()},
            chosen_on=self._chosen_on(),
            dates=self.dates,
        )


def _out_of_fold(scores: np.ndarray, setting: Setting, folds: Folds) -> np.ndarray:
    """For each row the mean over the members that did not train on it but were judged by it: (N,), nan elsewhere."""
    fair = np.stack([folds.held_out[each.member.fold] for each in setting.fitted], axis=1)  # (N, M)
    with np.errstate(invalid="ignore"):
        return np.where(fair, scores, 0).sum(axis=1) / fair.sum(axis=1)
