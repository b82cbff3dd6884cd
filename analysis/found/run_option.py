"""RUN -> the folder of a finished sweep or training."""

from pathlib import Path

from analysis.found.models import ranked_runs
from analysis.options import RunOptions
from cache import paths, runs
from cache.errors import UserError, one_of
from data.manifest import Manifest
from finetune.detectors.image_scorer import model_file
from finetune.training_result import STAGE as TRAININGS
from heads.sweep.sweep_result import STAGE as SWEEPS


def chosen_run(asked: RunOptions) -> Path:
    """The run's folder. Raises: UserError as find_run."""
    return find_run(asked.run, dataset=asked.dataset)


def find_run(run: str, *, dataset: str = "") -> Path:
    """The folder of the run that RUN names: its folder, its name, or a part that only one name has.

    Args:
        run: '' = the best run on `dataset`, by validation AUC. dataset: '' = the only one with finished runs.

    Raises:
        UserError: no run, several that the name or the data set could mean, or one that is not finished.
    """
    if not run:
        return _best(dataset)
    folder = Path(run).expanduser()
    if folder.is_dir():
        if not runs.is_complete(folder) or not _has_model(folder):
            raise UserError(f"RUN={run} is no finished run of `make heads` or `make finetune`")
        return folder
    known = {each.name: each for stage in (SWEEPS, TRAININGS) for each in runs.complete_runs(stage)}
    if not known:
        raise UserError(f"RUN={run}: there is no finished run yet: `make heads DATA=...` first")
    meant = [run] if run in known else [name for name in known if run in name]
    if len(meant) > 1:
        raise UserError(f"RUN={run} could be any of {len(meant)} runs; name one of them:\n  " + "\n  ".join(meant))
    return known[meant[0] if meant else one_of(run, known, what="run")]


def _has_model(folder: Path) -> bool:
    return model_file(folder).exists()


def _best(dataset: str) -> Path:
    names = [dataset] if dataset else paths.known_datasets()
    manifests = {name: manifest for name in names if (manifest := _manifest(name, asked=bool(dataset)))}
    found = {name: ranked_runs(each) for name, each in manifests.items() if dataset or not each.part_of}
    found = {name: ranked for name, ranked in found.items() if ranked}
    if not found:
        on = f" on {dataset}" if dataset else ""
        raise UserError(f"there is no finished run{on} yet: `make heads DATA=...` first")
    if len(found) > 1:
        raise UserError(f"there are runs on {', '.join(found)}: say which data set with DATA=, or which run with RUN=")
    return next(iter(found.values()))[0].folder


def _manifest(name: str, *, asked: bool) -> Manifest | None:
    """Of a data set. None where it is damaged and nobody asked for this one: then the others are still there.

    Raises:
        UserError: it was asked for and is damaged, or there is none.
    """
    try:
        return Manifest.load(paths.manifest_file(name))
    except UserError as error:
        if asked:
            raise
        print(f"left out: {error}")
        return None
