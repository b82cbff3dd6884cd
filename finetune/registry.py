"""All finished trainings in one place, and the best detector of each data set.

runs/registry.json                every finished training with its best metric
runs/best/<dataset>.safetensors   the detector of highest validation AUC over all of them
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cache import paths, runs
from cache.atomic import copy, locked, write_json
from cache.errors import UserError
from cache.key import file_digest
from finetune.detectors.detector_record import checked_record, read_record
from finetune.training.job import BEST
from finetune.training_result import FinetuneResult, finished

LISTED = ("dataset", "recipe", "network", "val_auc", "val_accuracy", "best_epoch", "smoke", "random_weights", "seed")


def register(folder: Path) -> None:
    """Bring registry.json and runs/best up to date behind a run that has just finished.

    Both are made from the runs themselves, so that a file edited into nonsense costs nothing: it is put aside.
    """
    with locked(paths.registry_file().with_suffix(".lock")):
        _put_aside_if_broken(paths.registry_file(), _registry)
        everything = finished()
        write_json(paths.registry_file(), {run.name: _line(run, result) for run, result in everything})
        this = runs.result(folder).into(FinetuneResult)
        rivals = [(run, result) for run, result in everything if _comparable(result, this)]
        best_first = sorted(rivals, key=lambda each: each[1].val_auc, reverse=True)
        known = {result.detector for _, result in everything}
        whole = next((each for each in best_first if _is_whole(each[0] / BEST, known)), None)
        if whole:
            _promote(*whole, known)


def _registry(path: Path) -> dict[str, dict]:
    """Raises: UserError if it is none."""
    found = runs.read_json(path)
    if not all(isinstance(each, dict) for each in found.values()):
        raise UserError("not an object of runs")
    return found


def _line(folder: Path, result: FinetuneResult) -> dict:
    listed = {name: getattr(result, name) for name in LISTED}
    finished_at = datetime.fromtimestamp((folder / runs.RESULT).stat().st_mtime, UTC).isoformat(timespec="seconds")
    where = str(folder.relative_to(paths.runs_dir()))
    return {**listed, "folder": where, "commit": _commit(folder), "finished": finished_at}


def _commit(folder: Path) -> str:
    path = folder / "environment.json"
    return runs.read_json(path)["commit"] if path.exists() else "unknown"


def _comparable(one: FinetuneResult, other: FinetuneResult) -> bool:
    """Judged on the same images; a smoke run is nobody's rival."""
    return (one.dataset, one.manifest_key) == (other.dataset, other.manifest_key) and not one.smoke


def _promote(folder: Path, result: FinetuneResult, known: set[str]) -> None:
    """Unless the one there is as good; one on earlier data cannot be compared and gives way."""
    best = paths.best_file(result.dataset)
    _put_aside_if_broken(best, partial(_check, known=known))
    if best.exists():
        made = read_record(best).made
        if made.get("manifest_key") == result.manifest_key and made.get("val_auc", 0) >= result.val_auc:
            return
    copy(folder / BEST, best)
    runs.log(folder, f"the best detector on {result.dataset} so far: {best}")


def _check(detector: Path, known: set[str]) -> None:
    """Raises: UserError unless it is whole.

    Args:
        known: sha256 of the files that trainings left. One of them is not opened, which would import a network.
    """
    if not detector.exists() or file_digest(detector) not in known:
        checked_record(detector)


def _is_whole(detector: Path, known: set[str]) -> bool:
    """As far as it can be read; a line says so if not."""
    try:
        _check(detector, known)
    except UserError as error:
        print(f"warning: {error}")
        return False
    return True


def _put_aside_if_broken(path: Path, read: Callable[[Path], object]) -> None:
    if not path.exists():
        return
    try:
        read(path)
    except UserError as error:
        aside = path.with_name(f"{path.name}.broken-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        path.replace(aside)
        print(f"warning: {path} could not be read ({error}); it is put aside as {aside.name} and made anew")
