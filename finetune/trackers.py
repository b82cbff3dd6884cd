"""Where the curves of a training go: TensorBoard always, MLflow or Weights & Biases when asked for and installed.

make finetune TRACKER=mlflow        runs/mlflow.db, unless MLFLOW_TRACKING_URI says otherwise
make finetune TRACKER=wandb         offline below runs/wandb, unless WANDB_MODE says otherwise
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from cache import paths
from cache.errors import UserError, one_of

EXPERIMENT = "finetune"
FOLDER = "tb"


class Tracker(Protocol):
    """Takes numbers by name; step counts optimiser steps from the start of the training."""

    def log(self, values: dict[str, float], step: int) -> None: ...


class TensorBoard:
    """Event files in <run>/tb. They are only appended to; after a kill what lies behind the step is hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds, and options are checked without it

        self.writer = SummaryWriter(str(folder / FOLDER), purge_step=step + 1 if step else 0)

    def log(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


class Mlflow:
    """A run of the experiment `finetune`, named like the folder; going on with the folder's run if there is one."""

    def __init__(self, module: ModuleType, run: str, settings: dict[str, Any]) -> None:
        self.module = module
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            module.set_tracking_uri(f"sqlite:///{paths.runs_dir() / 'mlflow.db'}")
        module.set_experiment(EXPERIMENT)
        found = module.search_runs(filter_string=f"attributes.run_name = '{run}'", output_format="list")
        if found:
            module.start_run(run_id=found[0].info.run_id)
        else:
            module.start_run(run_name=run)
            module.log_params(settings)

    def log(self, values: dict[str, float], step: int) -> None:
        self.module.log_metrics(values, step=step)


class Wandb:
    """A run of the project `finetune`, named like the folder."""

    def __init__(self, module: ModuleType, run: str, settings: dict[str, Any]) -> None:
        mode = os.environ.get("WANDB_MODE", "offline")
        self.run = module.init(
            project=EXPERIMENT, name=run, id=run, resume="allow", config=settings, dir=str(paths.runs_dir()), mode=mode
        )

    def log(self, values: dict[str, float], step: int) -> None:
        self.run.log(values, step=step)


TRACKERS = {"mlflow": Mlflow, "wandb": Wandb}


def check_tracker(name: str) -> None:
    """Raises: UserError for a tracker that is not known or not installed."""
    if name:
        one_of(name, TRACKERS, what="TRACKER")
        _module(name)


@contextmanager
def trackers(name: str, folder: Path, *, settings: dict[str, Any], step: int) -> Iterator[list[Tracker]]:
    """TensorBoard and the one called `name`, closed at the end.

    Args:
        settings: what the run was made with. step: where it stands when it goes on.
    """
    board = TensorBoard(folder, step)
    opened: list[Tracker] = [board]
    module = _module(name) if name else None
    try:
        if module:
            opened.append(TRACKERS[name](module, folder.name, settings))
        yield opened
    finally:
        board.writer.close()
        if module and name == "mlflow":
            module.end_run()
        elif module:
            module.finish()


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"TRACKER={name}: it is not installed; .venv/bin/python -m pip install {name}") from error
