"""Train every head of a grid on cached features, choose one on validation data, score the test once.

    python -m heads --data=path --backbone=name --grid=grid.json --folds=5 --seeds=3

The run folder gets leaderboard.csv, members.csv and curves.csv (validation only) as buckets of heads finish, then
head.safetensors, predictions-{train,val,test}.csv and scores-inputs.csv. A finished bucket is kept in buckets/ until
all are: killed anywhere and run again, the sweep goes on behind the last one.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cache import paths, runs
from cache.atomic import replacing
from cache.errors import one_of
from cache.features import FeatureSpec
from cache.key import key
from cache.progress import Progress
from cache.table import FeatureTable
from data.manifest import SPLITS, Manifest
from heads import folds as cutting
from heads import leaderboard
from heads.convex import fit_convex
from heads.estimators import fit_estimators
from heads.families import Estimator, HeadConfig, Tail
from heads.fit import fit
from heads.folds import Folds
from heads.inputs import Choice, load_inputs
from heads.leaderboard import Setting, Trial, choose, settings
from heads.plan import Bucket, buckets, expected_seconds, is_convex, load_trials, save_trials
from heads.saved import HeadRecord, assemble, save_head
from heads.scoring import member_scores, of_vectors
from heads.stream import MapStream
from heads.task import Fitted, Task

if TYPE_CHECKING:
    from heads.tail import MapTask  # imports the backbones, which pooled heads do without

HEAD_FILE = "head.safetensors"
BUCKETS = "buckets"
SEARCH = "search"
VERSION = 2  # of result.json; in the key, so that a run of another version is made anew


@dataclass(frozen=True)
class SweepConfig:
    """What to train on what.

    manifest: the CSV. specs: the cached features, all views. configs: the heads. folds: 1 = the given split.
    seeds: how often each trained head starts anew. inputs: a choice of Inputs.choices, or `search` among them.
    one_se: choose by the one-standard-error rule. mean_views: judge and score by the mean over the views.
    weights: backbone -> its weight file as WEIGHTS names it, for tails. part: this process's share, (i, n).
    """

    manifest: Path
    specs: list[FeatureSpec]
    configs: list[HeadConfig]
    folds: int = 1
    seeds: int = 3
    inputs: str = SEARCH
    one_se: bool = False
    mean_views: bool = False
    weights: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    part: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class SweepResult:
    """result.json of runs/heads/*.

    offered: all features; features: those that the chosen head reads. members: how many it averages, one for each of
    the folds and seeds. val_auc, val_auc_std: mean and spread over them. floor_auc: of the best convex head.
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
    version: int = VERSION


def run(config: SweepConfig) -> Path:
    """Train, choose, save; the run folder. Does nothing when it is complete.

    Raises:
        UserError: features missing, a fold without both classes, more folds than groups, every head diverged.
    """
    manifest = Manifest.load(config.manifest).usable
    folder = paths.run_dir("heads", f"{manifest.dataset}-{_backbone(config.specs)}-{_identity(config, manifest)}")
    if runs.is_complete(folder):
        return folder
    folds = cutting.cut(manifest, config.folds)
    runs.begin(folder, _readable(config))
    _Sweep(config, folder, manifest, folds).run()
    return folder


class _Sweep:
    """One sweep on its way. Trials of finished buckets are in `trials` and on disk."""

    def __init__(self, config: SweepConfig, folder: Path, manifest: Manifest, folds: Folds) -> None:
        self.config, self.folder, self.manifest, self.folds = config, folder, manifest, folds
        self.inputs = load_inputs(manifest, config.specs)
        self.choices = self._choices()
        self.trials: list[Trial] = []
        self.tasks: dict[str, Task] = {}
        self.map_tasks: dict[str, MapTask] = {}

    def run(self) -> None:
        """Scouts first: convex heads need no learning rate, so they look for the best inputs; the others follow."""
        scouts = [bucket for choice in self.choices.values() for bucket in self._buckets(choice, is_convex)]
        with Progress(f"heads {_backbone(self.config.specs)}", _members(scouts), unit="heads") as progress:
            self._announce(scouts, progress)
            for bucket in scouts:
                self._finish(bucket, progress)
            others = self._others()
            share, shares = self.config.part
            for bucket in others[share::shares]:
                self._finish(bucket, progress)
        left = [bucket for bucket in others if not self._file(bucket).exists()]
        if left:
            print(f"heads: part {share}/{shares} is done, {len(left)} buckets of heads are left to the other parts")
            return
        self.trials = [trial for bucket in scouts + others for trial in load_trials(self._file(bucket))]
        self._save()

    def _choices(self) -> dict[str, Choice]:
        choices = {choice.name: choice for choice in self.inputs.choices()}
        if self.config.inputs == SEARCH:
            return choices
        name = one_of(self.config.inputs, choices, what="INPUTS")
        return {name: choices[name]}

    def _buckets(self, choice: Choice, wanted: Callable[[HeadConfig], bool]) -> list[Bucket]:
        configs = [config for config in self.config.configs if wanted(config)]
        return buckets(configs, choice.name, columns=choice.width, folds=self.config.folds, seeds=self.config.seeds)

    def _others(self) -> list[Bucket]:
        """Trained heads and estimators on the inputs that won, tails on every map."""
        won = self.choices[choose(settings(self.trials)).inputs if self.trials else next(iter(self.choices))]
        pooled = self._buckets(won, lambda config: not is_convex(config) and not isinstance(config, Tail))
        tails = [config for config in self.config.configs if isinstance(config, Tail)]
        return pooled + [
            bucket for name in self.inputs.maps
            for bucket in buckets(tails, name, columns=0, folds=self.config.folds, seeds=self.config.seeds)
        ]  # fmt: skip

    def _announce(self, scouts: list[Bucket], progress: Progress) -> None:
        """How many heads, and about how long those take whose steps can be timed beforehand."""
        widest = max(self.choices.values(), key=lambda choice: choice.width)
        stacked = self._buckets(widest, lambda c: not is_convex(c) and not isinstance(c, Tail | Estimator))
        others = self._others()  # as many as there will be, if on other inputs
        progress.total = _members(scouts) + _members(others)
        seconds = sum(expected_seconds(bucket, self._task(bucket.inputs)) for bucket in stacked)
        untimed = [name for kind, name in ((Tail, "tails"), (Estimator, "scikit-learn heads"))
                   if any(isinstance(config, kind) for config in self.config.configs)]  # fmt: skip
        print(
            f"heads {_backbone(self.config.specs)}: {len(self.config.configs)} settings, {self.config.folds} folds, "
            f"{self.config.seeds} seeds: {_members(scouts)} convex heads on {len(self.choices)} inputs, then "
            f"{_members(others)} others, the stacked ones in {timedelta(seconds=round(seconds))} at most"
            + (f" (beside {' and '.join(untimed)})" if untimed else ""),
            flush=True,
        )

    def _finish(self, bucket: Bucket, progress: Progress) -> None:
        """Train a bucket, unless that has been done, and bring the leaderboard up to date."""
        path = self._file(bucket)
        if not path.exists():
            started = progress.seconds
            fitted = self._train(bucket, progress)
            seconds = (progress.seconds - started) / len(fitted)
            save_trials(path, [Trial(bucket.inputs, each, seconds) for each in fitted])
        self.trials += load_trials(path)
        self._write("leaderboard.csv", leaderboard.table(settings(self.trials)))
        progress.note = f"best val AUC {self._best_auc():.4f}"
        progress.advance(len(bucket.members))

    def _best_auc(self, unfinished: list[Trial] | None = None) -> float:
        """Of all settings so far, 0 when there is none."""
        return max((each.val_auc for each in settings(self.trials + (unfinished or [])) if each.usable), default=0.0)

    def _train(self, bucket: Bucket, progress: Progress) -> list[Fitted]:
        members, first = list(bucket.members), bucket.members[0].config

        def report(epoch: int, fitted: list[Fitted]) -> None:
            best = self._best_auc([Trial(bucket.inputs, each, 0.0) for each in fitted])
            progress.note = f"epoch {epoch}, best val AUC {best:.4f}"
            progress.advance(0)

        if isinstance(first, Tail):
            from heads.tail import fit_tails  # imports the backbones, which pooled heads do without

            return fit_tails(members, self._map_task(bucket.inputs), report=report)
        task = self._task(bucket.inputs)
        if is_convex(first):
            return fit_convex(members, task)
        return fit_estimators(members, task) if isinstance(first, Estimator) else fit(members, task, report=report)

    def _task(self, inputs: str) -> Task:
        """Kept until another is asked for, because its copy of the features is large."""
        if inputs not in self.tasks:
            self.tasks.clear()
            X = self.inputs.X[:, :, self.choices[inputs].columns]
            self.tasks[inputs] = Task.of(
                X, self.manifest.fake, self.folds, device=self.config.device, mean_views=self.config.mean_views
            )
        return self.tasks[inputs]

    def _map_task(self, inputs: str) -> "MapTask":
        if inputs not in self.map_tasks:
            from heads.tail import MapTask

            specs = self.inputs.maps[inputs]
            stream = MapStream([FeatureTable(spec, self.manifest) for spec in specs])
            print(f"heads: {inputs}: {stream.mode}", flush=True)
            self.map_tasks[inputs] = MapTask(
                stream,
                specs[0],
                self.manifest.fake,
                self.folds,
                weights=self.config.weights.get(specs[0].backbone, ""),
                device=self.config.device,
                mean_views=self.config.mean_views,
            )
        return self.map_tasks[inputs]

    def _save(self) -> None:
        found = settings(self.trials)
        chosen = choose(found, one_se=self.config.one_se)
        convex = [each for each in found if is_convex(each.config) and each.usable]
        self._write("leaderboard.csv", leaderboard.table(found))
        self._write("members.csv", leaderboard.members(found))
        self._write("curves.csv", leaderboard.curves(found))
        self._write("scores-inputs.csv", self._scores_of_inputs(convex))
        record = self._record(chosen)
        head = assemble(chosen.fitted, record)
        save_head(self.folder / HEAD_FILE, head, record)
        self._predict(chosen, member_scores(head, record, self.manifest, device=self.config.device))
        result = self._result(chosen, convex, found, record)
        runs.finish(self.folder, asdict(result))
        shutil.rmtree(self.folder / BUCKETS)
        floor = f", best convex {result.floor_auc:.4f}" if convex else ""
        runs.log(self.folder, f"heads {result.backbone}: chose {chosen.name} among {len(found)} settings, "
                              f"val AUC {chosen.val_auc:.4f} over {len(chosen.trials)} members{floor}")  # fmt: skip

    def _record(self, chosen: Setting) -> HeadRecord:
        """What must be known to use the chosen head."""
        if isinstance(chosen.config, Tail):
            specs, shape = self.inputs.maps[chosen.inputs][:1], self._map_task(chosen.inputs).row_shape
        else:
            specs, shape = self.choices[chosen.inputs].specs, (self.choices[chosen.inputs].width,)
        views = len(self.inputs.X) if self.config.mean_views else 1
        return HeadRecord(chosen.config, specs, shape, len(chosen.trials), views, self.config.specs[-1].augmentation)

    def _predict(self, chosen: Setting, scores: np.ndarray) -> None:
        """predictions-<split>.csv: path, digest, label, group, score (logit of fake). The test's is counted."""
        judged = self.folds.judged
        for split in SPLITS:
            rows = judged if split == "val" else self.manifest.where(split)
            if not len(rows):
                continue
            fair = _out_of_fold(scores, chosen, self.folds) if split == "val" else scores.mean(axis=1)
            if split == "test":
                runs.count_test_scoring(self.manifest.dataset, self.folder.name)
            self._write(f"predictions-{split}.csv", self._labelled(rows).assign(score=fair[rows]))

    def _scores_of_inputs(self, convex: list[Setting]) -> pd.DataFrame:
        """For each choice of inputs the held-out scores of its best convex head, so that intervals can be drawn."""
        found = self._labelled(self.folds.judged)
        for name, choice in self.choices.items():
            best = next((each for each in convex if each.inputs == name), None)
            if best:
                head = assemble(best.fitted, self._record(best))
                scores = of_vectors(head, self.inputs.X[0][:, choice.columns])
                found[name] = _out_of_fold(scores, best, self.folds)[self.folds.judged]
        return found

    def _labelled(self, rows: np.ndarray) -> pd.DataFrame:
        return self.manifest.rows.iloc[rows][["path", "digest", "label", "group"]].copy()

    def _result(self, chosen: Setting, convex: list[Setting], found: list[Setting],
                record: HeadRecord) -> SweepResult:  # fmt: skip
        return SweepResult(
            dataset=self.manifest.dataset,
            manifest_key=self.manifest.key,
            synthetic=self.manifest.synthetic,
            backbone=_backbone(self.config.specs),
            random_weights=any(spec.random_weights for spec in self.config.specs),
            offered=list(self.choices),
            features=[spec.feature for spec in record.inputs],
            inputs=chosen.inputs,
            head=chosen.config.name,
            family=chosen.config.family,
            settings=len(found),
            heads=len(self.trials),
            folds=self.config.folds,
            members=len(chosen.trials),
            views=len(self.inputs.X),
            seconds=round(sum(trial.seconds for trial in self.trials), 2),
            val_auc=chosen.val_auc,
            val_auc_std=chosen.val_auc_std if len(chosen.trials) > 1 else None,
            floor_auc=convex[0].val_auc if convex else None,
        )

    def _file(self, bucket: Bucket) -> Path:
        return self.folder / BUCKETS / bucket.file

    def _write(self, name: str, table: pd.DataFrame) -> None:
        with replacing(self.folder / name) as temporary:
            table.to_csv(temporary, index=False)


def _out_of_fold(scores: np.ndarray, setting: Setting, folds: Folds) -> np.ndarray:
    """For each row the mean over the members that did not train on it but were judged by it: (N,), nan elsewhere."""
    fair = np.stack([folds.held_out[each.member.fold] for each in setting.fitted], axis=1)  # (N, M)
    with np.errstate(invalid="ignore"):
        return np.where(fair, scores, 0).sum(axis=1) / fair.sum(axis=1)


def _members(plan: list[Bucket]) -> int:
    return sum(len(bucket.members) for bucket in plan)


def _backbone(specs: list[FeatureSpec]) -> str:
    """One name, or several joined by +."""
    return "+".join(dict.fromkeys(spec.backbone for spec in specs))


def _readable(config: SweepConfig) -> dict:
    """For config.json."""
    return {**asdict(config), "manifest": str(config.manifest), "configs": [each.to_json() for each in config.configs]}


def _identity(config: SweepConfig, manifest: Manifest) -> str:
    return key({
        "manifest": manifest.key, "specs": [spec.key for spec in config.specs],
        "heads": [each.to_json() for each in config.configs], "folds": config.folds, "seeds": config.seeds,
        "inputs": config.inputs, "one_se": config.one_se, "mean_views": config.mean_views, "version": VERSION,
    })  # fmt: skip
