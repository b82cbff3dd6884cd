"""`make forget`: every trace of an image in data, features and runs, listed, and removed after a yes.

python -m analysis.house.forget --image=path-or-sha256 --yes

An image is known by the sha256 of its file. With it go its copies under other names and the faces that `make crop` cut
out of it. Whole shards go, because rows are not taken out of one, and whole runs: what scored the image, shows it, or
may have been trained on it. The same commands make features and runs again, without it. The image's own file goes last,
so that a run of this command that was stopped finds the rest.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.house.consent import list_and_ask
from analysis.house.inventory import DataSet, Run, all_runs, data_sets
from analysis.house.options import ForgetConfig
from cache import paths
from cache.atomic import remove, remove_folder
from cache.command import main
from cache.errors import UserError, counted
from cache.features import open_shard, shard_paths
from cache.key import file_digest
from cache.packing import STAGES
from data.manifest import BLACK_DIGEST, Manifest

DIGEST = re.compile("[0-9a-f]{64}")
OF_A_MANIFEST = ("audit.json", "made.json", "probes.csv", "probes.log", "thumbnails.bin")  # that `make data` makes anew
PAGES = ("report", "audit")  # stages whose folders are called as their data sets, joined by +
SHOWS = (*PAGES, "gradcam")  # stages that show pictures of the data set
TRAINED = ("heads", "finetune", "unseen", "tune", "export", "predict")  # stages whose runs stand on what was trained
READ_AT_ONCE = 1 << 24  # bytes of a file that is searched


@dataclass(frozen=True)
class Traces:
    """digests: of the image and what was cut out of it. rows: data set -> its rows with one of them."""

    digests: frozenset[str]
    rows: dict[str, np.ndarray]
    sets: tuple[DataSet, ...]

    @cached_property
    def files(self) -> list[Path]:
        """The images themselves, as far as they are there."""
        found = (each.manifest.root / path for each in self.sets if each.name in self.rows
                 for path in each.manifest.rows.path[self.rows[each.name]])  # fmt: skip
        return sorted({path for path in found if path.is_file()})

    @cached_property
    def shards(self) -> list[Path]:
        wanted = {bytes.fromhex(each) for each in self.digests}
        return [path for folder in sorted(paths.features_dir().glob("[!.]*/")) for path in shard_paths(folder)
                if wanted & {row.tobytes() for row in open_shard(path).digests}]  # fmt: skip

    @cached_property
    def runs(self) -> list[Run]:
        """Those that name the image, show pictures of its data set, or may have been trained on it."""
        words = tuple({*self.digests, *self._names})
        return [each for each in all_runs((*STAGES, "audit")) if self._of_its_set(each) or _says(each.folder, words)]

    @property
    def best(self) -> list[Path]:
        """The best detectors of its data sets."""
        return [path for path in map(paths.best_file, self.rows) if path.exists()]

    @property
    def _names(self) -> Iterator[str]:
        """Its paths as tables have them; one without a folder would be found in too much."""
        for each in self.sets:
            if each.name in self.rows:
                yield from each.manifest.rows.path[self.rows[each.name]]

    def _of_its_set(self, run: Run) -> bool:
        if run.stage in PAGES:
            return not {run.name, *run.name.split("+")}.isdisjoint(self.rows)
        named = run.dataset or next((name for name in self.rows if run.name.startswith(f"{name}-")), "")
        return named in self.rows and run.stage in (*SHOWS, *TRAINED)


def run(config: ForgetConfig) -> None:
    """List, ask, remove, and look once more.

    Raises:
        UserError: nothing is known of the image; a process works in a run that must go; something is left.
    """
    traces = _traces(config.image)
    lines = list(_lines(traces))
    if not list_and_ask(lines, what=f"{len(lines)} places that hold traces of it, to be removed", yes=config.yes):
        return
    _refuse_running(traces)
    for each in traces.runs:
        remove_folder(each.folder)
    for path in (*traces.best, *traces.shards):
        remove(path)
    for each in traces.sets:
        if each.name in traces.rows:
            _without(each, traces.rows[each.name])
    for path in traces.files:
        remove(path)
    if left := _search(traces.digests):
        raise UserError(f"IMAGE={config.image}: {len(left)} traces are there again, first {left[0]}: a process wrote "
                        "them meanwhile. Run the same command again")  # fmt: skip
    print("Removed. A CSV or an archive of yours that lists or holds the image still does, and so do backups and "
          "copies of pages: see PRIVACY_AND_CONSENT.md")  # fmt: skip


def _traces(image: str) -> Traces:
    """Raises: UserError where no manifest, shard or file is about it, or a manifest cannot be read."""
    sets = tuple(data_sets())
    if damaged := [each for each in sets if each.damage]:
        raise UserError(f"whether {damaged[0].name} holds the image is not known: {damaged[0].damage}")
    digests = _with_crops(_digest(image, sets), sets)
    rows = {each.name: found for each in sets if len(found := _rows_of(each.manifest, digests))}
    traces = Traces(digests, rows, sets)
    if not (rows or traces.shards or traces.runs):
        raise UserError(f"IMAGE={image}: no manifest, feature or run here knows it (sha256 {min(digests)})")
    return traces


def _digest(image: str, sets: tuple[DataSet, ...]) -> str:
    """Of a file that is there, or as a manifest has it. Raises: UserError where neither is so."""
    if DIGEST.fullmatch(image.lower()):
        return image.lower()
    path = Path(image).expanduser()
    if path.is_file():
        return file_digest(path)
    tables = [(each.manifest.root, each.manifest.rows) for each in sets]
    named = {digest for root, rows in tables for path, digest in zip(rows.path, rows.digest, strict=True)
             if image in (path, str(root / path))}  # fmt: skip
    found = named - {BLACK_DIGEST}
    if len(found) == 1:
        return found.pop()
    what = f"{len(found)} images have this path in their data sets" if found else "no such file, and in no manifest"
    raise UserError(f"IMAGE={image}: {what}: give the sha256 that the manifest has")


def _with_crops(digest: str, sets: tuple[DataSet, ...]) -> frozenset[str]:
    """And the digests of what names it as its source."""
    rows = (each.manifest.rows for each in sets)
    cut = (each.digest[each.source_digest == digest] for each in rows if "source_digest" in each)
    return frozenset({digest, *(one for some in cut for one in some)})


def _rows_of(manifest: Manifest, digests: frozenset[str]) -> np.ndarray:
    return np.flatnonzero(manifest.rows.digest.isin(digests))


def _lines(traces: Traces) -> Iterator[str]:
    yield from (f"{path}: the image" for path in traces.files)
    for name, rows in traces.rows.items():
        yield f"{paths.manifest_file(name)}: {counted(len(rows), 'row')}; {', '.join(OF_A_MANIFEST)} beside it"
    yield from (f"{each.folder}: {_why(each)}" for each in traces.runs)
    yield from (f"{path}: a detector that may have been trained on it" for path in traces.best)
    if traces.shards:
        kinds = len({path.parent for path in traces.shards})
        yield (f"{paths.features_dir()}: {len(traces.shards)} shards of {kinds} kinds of features, with rows of other "
               "images that are computed again")  # fmt: skip


def _why(run: Run) -> str:
    if run.stage in SHOWS:
        return "shows images of its data set"
    return "stands on what was trained on its data set" if run.stage in TRAINED else "names it"


def _refuse_running(traces: Traces) -> None:
    for each in traces.runs:
        if each.is_running:
            raise UserError(f"{each.folder} is being written at this moment: nothing was removed. Stop that first")


def _without(each: DataSet, rows: np.ndarray) -> None:
    """The manifest without some rows; what else `make data` left goes, and comes back without them."""
    file = paths.manifest_file(each.name)
    for name in OF_A_MANIFEST:
        if file.with_name(name).exists():
            remove(file.with_name(name))
    replace(each.manifest, rows=each.manifest.rows.drop(index=rows).reset_index(drop=True)).save(file)


def _search(digests: frozenset[str]) -> list[Path]:
    """Files below data/ and runs/ that still say one of the digests, and shards with one."""
    homes = (paths.data_dir(), paths.runs_dir())
    said = [path for home in homes for path in sorted(home.rglob("*")) if path.is_file() and _holds(path, (*digests,))]
    return said + Traces(digests, {}, ()).shards


def _says(folder: Path, words: tuple[str, ...]) -> bool:
    return any(_holds(path, words) for path in sorted(folder.rglob("*")) if path.is_file())


def _holds(path: Path, words: tuple[str, ...]) -> bool:
    """Whether a file has one of the words in it, as text or in a page; read piece by piece."""
    wanted, longest = [each.encode() for each in words], max(map(len, words)) * 4
    with path.open("rb") as file:
        tail = b""
        while part := file.read(READ_AT_ONCE):
            if any(each in tail + part for each in wanted):
                return True
            tail = part[-longest:]
    return False


if __name__ == "__main__":
    main(ForgetConfig, "analysis.house.forget:run", command="python -m analysis.house.forget")
