"""Everything below the artefact folders as records: data sets, caches, runs. Nothing here imports a network."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cache import paths, runs
from cache.errors import UserError, one_of
from cache.features import DIGEST_BYTES, RemovedShard, open_shard, shard_paths
from cache.packing import STAGES
from cache.runs import DamagedRun
from data.manifest import Manifest

LOOKED_AT = 200  # images of a data set that are looked for, evenly spread
TRAINED = ("heads", "finetune")  # stages whose runs have a figure


@dataclass(frozen=True)
class DataSet:
    """A data set with a manifest. damage: why that cannot be read, '' where it can; then manifest is there."""

    name: str
    manifest: Manifest | None
    damage: str = ""

    @cached_property
    def gone(self) -> int:
        """Of at most LOOKED_AT images, evenly spread over the manifest, those that are not where it says."""
        return sum(not (self.manifest.root / path).is_file() for path in self.looked_at)

    @property
    def looked_at(self) -> list[str]:
        """Their paths."""
        rows = self.manifest.rows.path
        return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, LOOKED_AT).astype(int))].tolist() if len(rows) else []


@dataclass(frozen=True)
class Cache:
    """Features of one spec. digests (N, 32): of their images, () where a shard is damaged. used_by: data sets."""

    folder: Path
    size: int
    digests: np.ndarray
    used_by: tuple[str, ...]
    damage: str = ""


@dataclass(frozen=True)
class Run:
    """A run folder. record: its result.json, None where it is not complete, or damaged."""

    stage: str
    folder: Path
    size: int
    record: dict | None
    damage: str = ""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def dataset(self) -> str:
        """As it says itself; of one that is not finished unknown, ''."""
        return str((self.record or {}).get("dataset", ""))

    @property
    def val_auc(self) -> float | None:
        found = (self.record or {}).get("val_auc")
        return float(found) if isinstance(found, int | float) else None

    @property
    def is_running(self) -> bool:
        """Whether a process is at work in it."""
        return runs.in_use(self.folder)

    def state(self, keys: dict[str, str]) -> str:
        """What there is, and what the same command would do.

        Args:
            keys: of the manifests as they are now, by data set.
        """
        if self.damage:
            return self.damage
        if self.is_running:
            return "running"
        if self.record is None:
            return "stopped: a rerun goes on from what is kept"
        made_of, now = self.record.get("manifest_key"), keys.get(self.dataset)
        if made_of and now is None:
            return "complete; its data set is gone"
        if made_of and made_of != now:
            return "complete; of data as they were: a rerun makes a new one"
        return "complete: a rerun has nothing to do"


def data_sets() -> list[DataSet]:
    """Every data set with a manifest, by name."""
    found = []
    for name in paths.known_datasets():
        try:
            found.append(DataSet(name, Manifest.load(paths.manifest_file(name))))
        except UserError as error:
            found.append(DataSet(name, None, str(error)))
    return found


def caches(sets: Iterable[DataSet]) -> list[Cache]:
    """Every folder of features, and which of the data sets have an image in it."""
    known = {each.name: _as_keys(each.manifest.digests) for each in sets if each.manifest}
    folders = sorted(path for path in paths.features_dir().glob("*/") if path.is_dir())
    return [_cache(folder, known) for folder in folders]


def _cache(folder: Path, known: dict[str, np.ndarray]) -> Cache:
    try:
        digests = [open_shard(path).digests for path in shard_paths(folder)]
    except RemovedShard:  # merged meanwhile
        return _cache(folder, known)
    except UserError as error:
        return Cache(folder, size_of(folder), np.empty((0, DIGEST_BYTES), np.uint8), (), str(error))
    rows = np.concatenate(digests) if digests else np.empty((0, DIGEST_BYTES), np.uint8)
    mine = _as_keys(rows)
    users = tuple(name for name, keys in known.items() if np.isin(mine, keys).any())
    return Cache(folder, size_of(folder), rows, users)


def all_runs(stages: Iterable[str] = STAGES) -> list[Run]:
    """Every run folder of the stages, by stage and name."""
    return [_run(stage, folder) for stage in stages
            for folder in sorted((paths.runs_dir() / stage).glob("[!.]*/")) if folder.is_dir()]  # fmt: skip


def _run(stage: str, folder: Path) -> Run:
    if not runs.is_complete(folder):
        return Run(stage, folder, size_of(folder), None)
    try:
        return Run(stage, folder, size_of(folder), runs.result(folder))
    except DamagedRun as error:
        return Run(stage, folder, size_of(folder), None, str(error))


def find_any(run: str) -> Path:
    """The folder that RUN names: a folder, or the name of a finished run of any stage, or a part that one name has.

    Raises:
        UserError: none, or several.
    """
    if Path(run).expanduser().is_dir():
        return Path(run).expanduser()
    known = {folder.name: folder for stage in STAGES for folder in runs.complete_runs(stage)}
    if not known:
        raise UserError(f"RUN={run}: there is no finished run in {paths.runs_dir()} yet")
    meant = [run] if run in known else [name for name in known if run in name]
    if len(meant) > 1:
        raise UserError(f"RUN={run} could be any of {len(meant)} runs; name one of them:\n  " + "\n  ".join(meant))
    return known[meant[0] if meant else one_of(run, known, what="run")]


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what goes meanwhile counts nothing. Links are not followed."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        with os.scandir(path) as entries:
            return sum(size_of(Path(entry.path)) if entry.is_dir(follow_symlinks=False)
                       else entry.stat(follow_symlinks=False).st_size for entry in entries)  # fmt: skip
    except OSError:
        return 0


def in_words(size: int) -> str:
    """Bytes as a person reads them: 12 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _as_keys(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}")[:, 0]
