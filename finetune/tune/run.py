"""`make tune`: search a recipe's settings with Optuna, prune what lags behind, finish the best like any other run.

    python -m finetune.tune --data=path --recipe=two-phase --trials=30

A trial is a training in runs/tune/<study>/<key>/ that does not see the test split; the study itself is study.db beside
them, or STORAGE, a database that many machines may share. Run again, it goes on: trials that were killed are begun
anew from their checkpoints. The best trial becomes a run in runs/finetune/, and only there is the test split scored.
"""

import json
import os
import warnings
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import MaxTrialsCallback
from optuna.trial import FrozenTrial, TrialState

from cache import paths, runs
from cache.atomic import copy
from cache.errors import UserError, masked
from cache.key import key
from cache.progress import Progress
from extract.cluster import machines, results
from extract.computing.machine import training_device
from finetune.options import FinetuneConfig
from finetune.recipes import Asked, changed
from finetune.run import run as finetune
from finetune.run import stages_before
from finetune.train import train
from finetune.training import state
from finetune.training.job import BEST
from finetune.training.step import TrainingFailed
from finetune.training.team import Team
from finetune.training_result import FinetuneResult
from finetune.tune.options import TuneConfig
from heads.sweep.grid import Range

STAGE = "tune"
HEARTBEAT = 60  # seconds; a trial whose process is silent for longer was killed and is begun again
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def run(config: TuneConfig) -> Path:
    """Search until so many trials are finished; the run folder of the best.

    Raises:
        UserError: as finetune.run; several processes; a storage that cannot be opened; every trial diverged.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("a search is one process; start more of them with the same STORAGE to share its trials")
    study, search = _opened(config)
    folder = search.folder
    if _finished(study) < config.trials:
        if config.finetune.heads.extract.cluster:
            _on_cluster(config.but(storage=_url(config, folder)), config.trials - _finished(study))
        else:
            study.optimize(search.trial, callbacks=[search.forget_weights, MaxTrialsCallback(config.trials, DONE)])
    if not any(trial.state == TrialState.COMPLETE for trial in study.trials):
        raise UserError(f"none of the {len(study.trials)} trials in {folder} came to an end: lower the range of `lr`")
    runs.log(folder, f"tune {folder.name}: best of {_finished(study)} trials has val AUC {study.best_value:.4f} with "
                     f"{json.dumps(study.best_params)}")  # fmt: skip
    return search.finish(study.best_trial)


def _opened(config: TuneConfig) -> "tuple[optuna.Study, _Search]":
    """The study, and what a trial of it does; data, features and heads are made as far as they are missing."""
    here = Team(training_device(config.finetune.heads.extract.device))
    asked = config.finetune.asked
    job, _ = stages_before(config.finetune, asked, here, stage=STAGE)
    folder = paths.run_dir(STAGE, f"{job.folder.name}-{key(asked.ranges)[:6]}")
    if not (folder / "config.json").exists():
        runs.begin(folder, {"made_from": job.made_from, "ranges": asked.ranges})
    return _study(config, folder), _Search(config, asked, folder, here)


def _on_cluster(config: TuneConfig, count: int) -> None:
    """So many trials, as many at a time as the cluster has room for. One whose machine dies is replaced by another."""
    cluster = config.finetune.heads.extract
    trials = results(cluster, _one_trial, range(count), config.but(cluster=""))
    with closing(trials), Progress(f"tune on {cluster.cluster}", count, unit="trials") as progress:
        for _ in trials:
            progress.note = machines()
            progress.advance(1)


def _one_trial(_: int, config: TuneConfig) -> None:
    """On a machine of the cluster."""
    study, search = _opened(config)
    study.optimize(search.trial, n_trials=1, callbacks=[search.forget_weights])


@dataclass(frozen=True)
class _Search:
    config: TuneConfig
    asked: Asked
    folder: Path
    here: Team

    def trial(self, trial: optuna.Trial) -> float:
        """Train with suggested settings; the best epoch's validation AUC."""
        settings = {name: _suggested(trial, name, value) for name, value in self.asked.ranges.items()}
        config = self._config(settings)
        job, start = stages_before(config, config.asked, self.here)
        job = replace(job, folder=self.folder / key(job.made_from))
        trial.set_user_attr("folder", job.folder.name)
        with runs.alone(job.folder, "tune"):  # another process may have been given the same settings
            try:
                if not runs.is_complete(job.folder):
                    train(config, job, start, self.here, watchers=[_Watcher(trial)], test=False)
            except TrainingFailed as error:
                print(f"tune: trial {trial.number} failed: {error}")
                raise optuna.TrialPruned(str(error)) from error
            except optuna.TrialPruned:
                raise
            except BaseException:
                trial.study.enqueue_trial(trial.params)  # stopped: the next call goes on with these settings
                raise
        return runs.result(job.folder).into(FinetuneResult).val_auc

    def finish(self, best: FrozenTrial) -> Path:
        """Its training as a run of its own, which goes on behind the last epoch: with the test split."""
        config = self._config(best.params)
        folder = stages_before(config, config.asked, self.here)[0].folder
        trained = [self.folder / best.user_attrs["folder"] / name for name in (BEST, state.FILE)]
        # On another machine's disk it may not be here; then it is trained again.
        if not runs.is_complete(folder) and all(path.exists() for path in trained):
            for path in trained:
                copy(path, folder / path.name)
        return finetune(config)

    def forget_weights(self, study: optuna.Study, _: FrozenTrial) -> None:
        """Weights are kept of the best trial alone: those of all would fill the disk."""
        finished = [trial for trial in study.trials if trial.state in DONE and "folder" in trial.user_attrs]
        complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
        kept = {study.best_trial.user_attrs["folder"]} if complete else set()
        kept |= {trial.user_attrs.get("folder") for trial in study.trials if trial.state == TrialState.RUNNING}
        for name in {trial.user_attrs["folder"] for trial in finished} - kept:
            for path in (*(self.folder / name).glob("*.safetensors"), self.folder / name / state.FILE):
                path.unlink(missing_ok=True)

    def _config(self, settings: dict[str, Any]) -> FinetuneConfig:
        recipe = changed(self.asked.recipe, settings)
        return self.config.finetune.but(recipe=json.dumps({"recipe": self.asked.name, **asdict(recipe)}))


@dataclass
class _Watcher:
    """Tells Optuna of each epoch's validation AUC and stops a trial that lags behind."""

    trial: optuna.Trial

    def log(self, values: dict[str, float], step: int) -> None:
        if "val/auc" not in values:
            return
        self.trial.report(values["val/auc"], int(values["epoch"]))
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"behind the median after epoch {values['epoch']:.0f}")


def _study(config: TuneConfig, folder: Path) -> optuna.Study:
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats, which are wanted
    url = _url(config, folder)
    try:
        storage = RDBStorage(
            url, heartbeat_interval=HEARTBEAT, heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(5)
        )
        study = optuna.create_study(
            storage=storage, study_name=folder.name, direction="maximize", load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        )  # fmt: skip
    except Exception as error:  # whatever the driver of the database raises
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(masked(f"STORAGE={url} cannot be opened: {reason}")) from error
    # Machines that share a study must not draw alike; one alone draws what its seed and the trials so far say.
    seed = None if config.storage else config.finetune.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
    return study


def _url(config: TuneConfig, folder: Path) -> str:
    return config.storage or f"sqlite:///{folder.resolve() / 'study.db'}"


def _finished(study: optuna.Study) -> int:
    return sum(trial.state in DONE for trial in study.trials)


def _suggested(trial: optuna.Trial, name: str, value: Any) -> Any:
    if isinstance(value, list):
        return trial.suggest_categorical(name, value)
    span = Range.of(name, value)
    suggest = trial.suggest_int if span.whole else trial.suggest_float
    return suggest(name, span.low, span.high, log=span.log)
