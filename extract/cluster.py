"""Work that several machines take in parts: a cluster of Ray, joined, or started on this machine alone.

Ray places parts where cores or GPUs are free, begins those of a dead machine anew elsewhere, and keeps its processes
between them. All machines see one disk: the repository with its environment, the working directory, the images and the
artefact folders lie under the same paths everywhere.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from cache.errors import UserError
from cache.paths import ROOT
from cache.plugins import import_plugins
from extract.options import OPENVINO, ExtractConfig

EVERYWHERE = ("CACHE_DIR", "DATA_DIR", "RUNS_DIR", "PLUGINS")  # of the environment, which machines must share
RETRIES = 3  # how often a part is begun anew whose machine or process died
LOOK_EVERY = 10.0  # seconds, at the machines that are left
GRACE = 20.0  # seconds in which a part that is stopped may write what it computed


def results(config: ExtractConfig, work: Callable[..., Any], parts: Iterable[Any], *common: Any) -> Iterator[Any]:
    """What `work(part, *common)` returns of each part, in the order in which they end; close it to stop the others.

    Raises:
        UserError: that of the first part that had one, whereupon the others are stopped; no cluster, or no machine in
            it that has room; a part that died too often.
    """
    ray = _joined(config.cluster)
    task = ray.remote(**_room(ray, config), max_calls=0, max_retries=RETRIES, runtime_env=_place())(_told)
    shared = [ray.put(each) for each in common]
    running = [task.remote(str(Path.cwd()), work, part, *shared) for part in parts]
    try:
        while running:
            ended, running = ray.wait(running, timeout=LOOK_EVERY)
            if not ended:
                _room(ray, config)
            for each in ended:
                found, error = ray.get(each)
                if error:
                    raise UserError(error)
                yield found
    except ray.exceptions.RayTaskError:  # a fault of this program, with its traceback
        raise
    except ray.exceptions.RayError as error:
        raise UserError(
            f"CLUSTER={config.cluster}: a part died {RETRIES + 1} times, or the cluster is gone "
            f"({_first_line(error)}). Finished work is kept: run the same command again"
        ) from error
    finally:
        for each in running:
            ray.cancel(each)
        if running:
            ray.wait(running, num_returns=len(running), timeout=GRACE)


def machines() -> str:
    """How many of the cluster's are there, and how many died, in words."""
    import ray

    alive = [each["Alive"] for each in ray.nodes()]
    lost = len(alive) - sum(alive)
    return f"{sum(alive)} machines" + (f", {lost} died" if lost else "")


def _joined(address: str) -> ModuleType:
    """Ray, connected until the program ends. Raises: UserError: it is not installed, or there is no such cluster."""
    if find_spec("ray") is None:
        raise UserError(
            f"CLUSTER={address}: the package ray is not installed. `.venv/bin/pip install ray` puts it there; PART=i/n "
            "on each machine does without"
        )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would tell its makers of every cluster
    import ray

    if not ray.is_initialized():
        alone = {"include_dashboard": False} if address == "local" else {}
        try:
            # The server behind ray:// reads what is sent to the parts, and must find its modules as they do.
            ray.init(address, log_to_driver=False, logging_level="ERROR", runtime_env=_place(), **alone)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"CLUSTER={address}: no cluster can be joined ({_first_line(error)}). `ray start --head` on one "
                "machine and `ray start --address=...` on the others begin one; CLUSTER=local needs none"
            ) from error
    return ray


def _room(ray: ModuleType, config: ExtractConfig) -> dict[str, float]:
    """What a part takes of a machine: a GPU with its share of the cores, or where there is none CORES.

    Raises:
        UserError: no machine has that.
    """
    has = [each["Resources"] for each in ray.nodes() if each["Alive"]]
    on_cpu = config.device == "cpu" or config.engine == OPENVINO
    gpus = [] if on_cpu else [int(each["CPU"] // each["GPU"]) for each in has if each.get("GPU") and each.get("CPU")]
    cores = gpus or [int(each["CPU"]) for each in has if each.get("CPU")]
    taken = config.cores or min(cores, default=1)
    if taken > max(cores, default=0):
        raise UserError(
            f"CLUSTER={config.cluster}: no machine has {taken} cores for a part: the largest of {len(has)} has "
            f"{max(cores, default=0)}. Start machines (`ray start`), or give fewer CORES; finished work is kept"
        )
    return {"num_cpus": taken, "num_gpus": int(bool(gpus))}


def _place() -> dict[str, dict[str, str]]:
    """The environment of a part's process, which finds the program, and plugins in the working directory."""
    search = [str(ROOT), str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
    same = {name: os.environ[name] for name in EVERYWHERE if name in os.environ}
    return {"env_vars": same | {"PYTHONPATH": ":".join(search)}}


def _told(folder: str, work: Callable[..., Any], part: Any, *common: Any) -> tuple[Any, str]:
    """One part, on its machine, in the command's working directory: what it returns, or a user's mistake as its text.

    An exception would lose its words between processes.
    """
    try:
        if not Path(folder).is_dir():
            raise UserError(f"there is no {folder}: all machines of a cluster need the same disk, under the same paths")
        os.chdir(folder)
        import_plugins()
        return work(part, *common), ""
    except UserError as error:
        return None, f"{error} (on {socket.gethostname()})"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
