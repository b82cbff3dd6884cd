"""probes.csv: what reading each file told, kept so that a second run over an unchanged folder reads none of them again.

Its last line, #probes <version> <sha256 of all lines before>, says that it is as it was written: digests stand in it,
so one that was cut or changed is not believed, and the files are read again. Thumbnails lie beside it in a file of
their own, and what has lost its own is read again too.

While files are read, what they tell goes to probes.log, a line for KEEP of them behind its own sha256, because writing
the whole table each time takes longer the longer it is. A run that was killed goes on from there.
"""

import hashlib
import io
import json
from contextlib import closing
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from cache.atomic import append_line, read_lines, write_bytes
from cache.progress import Progress
from data.disk import BadImageError, read_file
from data.images import Probe
from data.layouts.base import Listing
from data.manifest import STATISTICS
from data.probing import probed
from data.thumbnails import Thumbnails

VERSION = 1  # of what is told of a file: with another one all files are read again
KEEP = 512  # files in a line of the log, which is what a kill loses at most


def probe_all(listing: Listing, kept: Path, *, rehash: bool, label: str) -> pd.DataFrame:
    """A row of Probe for each path, indexed by path; unchanged files (size and mtime) come from the CSV `kept` and the
    thumbnails beside it."""
    log = kept.with_suffix(".log")
    known = _merged(_read(kept, label), _logged(log))
    todo = list(listing.rows.path[np.full(len(listing.rows), True) if rehash else _changed(listing, known)])
    if todo:
        known = _merged(known, _probe(listing.root, todo, log, label))
    if todo or log.exists():
        _write(kept, known)
        log.unlink(missing_ok=True)
    return known.loc[listing.rows.path]


def is_left(kept: Path) -> bool:
    """Whether a run that was stopped has left what is not in `kept`."""
    return kept.with_suffix(".log").exists()


def are_as_listed(probes: pd.DataFrame, listing: Listing) -> bool:
    """Whether every file was read as it was listed; one that could not be read, or changed in between, was not."""
    return bool((_stamps(probes) == listing.stamps).all())


def _probe(root: Path, todo: list[str], log: Path, label: str) -> list[Probe]:
    """What the files tell, in their order, and into the log as it comes."""
    fresh: list[Probe] = []
    with Progress(label, len(todo)) as progress, closing(probed(root, todo)) as coming:
        while some := list(islice(coming, KEEP)):
            append_line(log, _line(some))
            fresh += some
            progress.advance(len(some))
    return fresh


def _line(probes: list[Probe]) -> str:
    told = json.dumps([list(vars(each).values()) for each in probes], separators=(",", ":"))
    return f"{_seal(told.encode())} {told}"


def _logged(log: Path) -> list[Probe]:
    """What a run that was stopped has left; of a file that stands there twice what was told last."""
    return [Probe(*each) for line in read_lines(log) for each in _told(line)]


def _told(line: str) -> list[list]:
    """Nothing of a line that is not as it was written."""
    start = line.find("[")
    told = line[start:]
    return json.loads(told) if line[: max(start, 0)] == f"{_seal(told.encode())} " else []


def _merged(known: pd.DataFrame, fresh: list[Probe]) -> pd.DataFrame:
    """`known` with what is new in place of what is old."""
    if not fresh:
        return known
    new = pd.DataFrame([vars(each) for each in {each.path: each for each in fresh}.values()]).set_index("path")
    return pd.concat([known.drop(new.index, errors="ignore"), new]) if len(known) else new


def _read(path: Path, label: str) -> pd.DataFrame:
    """What is known, indexed by path; nothing where the file is not there or not as it was written."""
    text = {name: str for name in ("path", "digest", "status", "note", "format")}
    blank = {name: [""] for name in STATISTICS}
    try:
        table, _, last = read_file(path)[0].rpartition(b"#")
        if last.decode(errors="replace").strip() == _seal(table):
            known = pd.read_csv(io.BytesIO(table), dtype=text, keep_default_na=False, na_values=blank).set_index("path")
            thumbnails = Thumbnails.load(path.parent).written()
            return known.assign(thumbnail=[thumbnails.get(digest, "") for digest in known.digest])
        why = "is not as it was written, or by another version of the program"
    except BadImageError as error:
        why = "" if error.status == "missing" else str(error)
    if why:
        print(f"{label}: {path} {why}: all files are read again")
    return pd.DataFrame(columns=[each.name for each in fields(Probe)]).set_index("path")


def _write(path: Path, probes: pd.DataFrame) -> None:
    """The CSV last: where it is not there, all files are read again."""
    Thumbnails.of(probes.digest, probes.thumbnail).save(path.parent)
    table = probes.drop(columns="thumbnail").to_csv().encode()
    write_bytes(path, table, f"#{_seal(table)}\n".encode())


def _seal(table: bytes) -> str:
    return f"probes {VERSION} {hashlib.sha256(table).hexdigest()}"


def _changed(listing: Listing, known: pd.DataFrame) -> np.ndarray:
    """(N,) bool: the files that are not known, of another size or date, or that have lost their thumbnail."""
    at = known.index.get_indexer(listing.rows.path)
    changed = at < 0
    lacking = ((known.status == "ok") & (known.thumbnail == "")).to_numpy()
    there = at[~changed]
    changed[~changed] = (_stamps(known)[there] != listing.stamps[~changed]).any(axis=1) | lacking[there]
    return changed


def _stamps(probes: pd.DataFrame) -> np.ndarray:
    """(N, 2) int64, as those of a listing."""
    return probes[["bytes", "mtime_ns"]].to_numpy(np.int64)
