"""probes.csv: what reading each file told, kept so that a second run over an unchanged folder reads none of them again.

Its last line, #probes <version> <sha256 of all lines before>, says that it is as it was written: digests stand in it,
so one that was cut or changed is not believed, and the files are read again.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from cache.atomic import write_bytes
from cache.progress import Progress
from data.disk import BadImageError, read_file
from data.images import Probe, probe
from data.manifest import STATISTICS

VERSION = 1  # of what is told of a file: with another one all files are read again
CHUNK = 2048  # files probed between two looks at the clock
KEEP_EVERY = 60.0  # seconds of probing that a kill can lose at most


def probe_all(root: Path, paths: Sequence[str], kept: Path, *, rehash: bool, label: str) -> pd.DataFrame:
    """A row of Probe for each path, indexed by path; unchanged files (size and mtime) come from the CSV `kept`."""
    known = _read(kept, label)
    unchanged = set() if rehash else _unchanged(root, paths, known)
    todo = [path for path in paths if path not in unchanged]
    if todo:
        known = _probe(root, todo, known, kept, label)
    return known.loc[paths]


def _probe(root: Path, todo: list[str], known: pd.DataFrame, kept: Path, label: str) -> pd.DataFrame:
    fresh: list[Probe] = []
    with Progress(label, len(todo)) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        saved = 0.0
        for start in range(0, len(todo), CHUNK):
            fresh += pool.map(lambda path: probe(root, path), todo[start : start + CHUNK])
            progress.advance(len(todo[start : start + CHUNK]))
            if progress.seconds - saved > KEEP_EVERY:
                saved = progress.seconds
                _write(kept, _merged(known, fresh))
    known = _merged(known, fresh)
    _write(kept, known)
    return known


def _merged(known: pd.DataFrame, fresh: list[Probe]) -> pd.DataFrame:
    new = pd.DataFrame([asdict(each) for each in fresh]).set_index("path")
    return pd.concat([known.drop(new.index, errors="ignore"), new]) if len(known) else new


def _read(path: Path, label: str) -> pd.DataFrame:
    """What is known, indexed by path; nothing where the file is not there or not as it was written."""
    text = {name: str for name in ("path", "digest", "status", "note", "format")}
    blank = {name: [""] for name in STATISTICS}
    try:
        table, _, last = read_file(path)[0].rpartition(b"#")
        if last.decode(errors="replace").strip() == _seal(table):
            return pd.read_csv(io.BytesIO(table), dtype=text, keep_default_na=False, na_values=blank).set_index("path")
        why = "is not as it was written, or by another version of the program"
    except BadImageError as error:
        why = "" if error.status == "missing" else str(error)
    if why:
        print(f"{label}: {path} {why}: all files are read again")
    return pd.DataFrame(columns=[each.name for each in fields(Probe)]).set_index("path")


def _write(path: Path, probes: pd.DataFrame) -> None:
    table = probes.to_csv().encode()
    write_bytes(path, table, f"#{_seal(table)}\n".encode())


def _seal(table: bytes) -> str:
    return f"probes {VERSION} {hashlib.sha256(table).hexdigest()}"


def _unchanged(root: Path, paths: Sequence[str], known: pd.DataFrame) -> set[str]:
    stamps = dict(zip(known.index, zip(known.bytes, known.mtime_ns, strict=True), strict=True))
    return {path for path in paths if path in stamps and _stamp(root / path) == stamps[path]}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
