"""`make data`: DATA -> manifest + audit.

    python -m data --data=path

The folder data/<dataset>/ gets manifest.csv with manifest.json, audit.json, and probes.csv: what reading each
file told, kept so that a second run over an unchanged folder reads none of them again.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from cache import paths
from cache.atomic import replacing, write_json
from cache.command import Options, option
from cache.errors import UserError, one_of
from cache.progress import Progress
from data import audit, splits
from data.images import Probe, probe
from data.listing import Csvs, Listing, list_images
from data.manifest import BLACK_DIGEST, COLUMNS, STATISTICS, Manifest
from data.sample import draw_sample

SAMPLE = "sample"
CHUNK = 2048  # files probed between two looks at the clock
KEEP_EVERY = 60.0  # seconds of probing that a kill can lose at most


@dataclass(frozen=True, kw_only=True)
class DataConfig(Options):
    """Build the manifest of a data set and audit it."""

    data: str = option(SAMPLE, "a folder, a manifest CSV, or the word sample")
    name: str = option("", "what to call the data set (default: the folder's name)")
    root: str = option("", "where the paths in the CSVs start, if not below DATA")
    train_csv: str = option("", "CSV of the training split, relative to DATA (default train.csv)")
    valid_csv: str = option("", "CSV of the validation split (default valid.csv)")
    test_csv: str = option("", "CSV of the test split (default test.csv)")
    group: str = option("", "what must not be split: a CSV column, or a pattern with one (group) matched in the path")
    bad_images: str = option("skip", "skip = leave unreadable ones out, black = put a black image, fail = stop")
    leaks: str = option("stop", "the same image in two splits: stop, or drop it from the lesser split")
    rehash: bool = option(False, "read every file again even if size and date are unchanged")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.bad_images, ("skip", "black", "fail"), what="BAD_IMAGES")
        one_of(self.leaks, ("stop", "drop"), what="LEAKS")

    @property
    def dataset(self) -> str:
        """The name under which manifest, runs and report are kept."""
        if self.name or self.data == SAMPLE:
            return self.name or SAMPLE
        path = Path(self.data).expanduser().resolve()
        folder = path.parent if path.name == "manifest.csv" else path
        return "-".join(filter(None, [folder.stem if folder.is_file() else folder.name, Path(self.train_csv).stem]))


def run(config: DataConfig) -> Path:
    """Write the manifest of config.data and return its path.

    Raises:
        UserError: see `list_images`; leaks; bad images under --bad_images=fail; the name stands for other data.
    """
    if config.data == SAMPLE:
        draw_sample(paths.sample_dir())
    source = paths.sample_dir() if config.data == SAMPLE else Path(config.data).expanduser()
    path = paths.manifest_file(config.dataset)
    if source.resolve() == path.resolve():
        return path
    csvs = Csvs(config.train_csv, config.valid_csv, config.test_csv)
    listing = list_images(source, root=config.root, csvs=csvs)
    _refuse_other_data(path, listing.root, config)
    probes = _probe_all(listing, path.parent / "probes.csv", rehash=config.rehash, label=f"data {config.dataset}")
    rows = _settle_bad_images(_join(listing, probes, config.group), config)
    if config.leaks == "drop":
        rows = audit.drop_leaks(rows)
    manifest = Manifest(config.dataset, listing.root, config.data == SAMPLE, rows)
    audit.refuse_leaks(manifest)
    _save(manifest, path)
    return path


def _refuse_other_data(path: Path, root: Path, config: DataConfig) -> None:
    if not path.exists():
        return
    known = Manifest.load(path).root
    if known != root and known.exists():
        raise UserError(
            f"the name {config.dataset!r} already stands for the images in {known}, not {root}: "
            f"choose another with NAME=..., or delete {path.parent} if that data set is no longer needed"
        )


def _probe_all(listing: Listing, kept: Path, *, rehash: bool, label: str) -> pd.DataFrame:
    """Probes of all listed files, indexed by path; unchanged files (size and mtime) come from `kept`."""
    known = _read_probes(kept)
    unchanged = set() if rehash else _unchanged(listing, known)
    todo = [path for path in listing.rows.path if path not in unchanged]
    if todo:
        known = _probe(listing.root, todo, known, kept, label)
    return known.loc[listing.rows.path]


def _probe(root: Path, todo: list[str], known: pd.DataFrame, kept: Path, label: str) -> pd.DataFrame:
    fresh: list[Probe] = []
    with Progress(label, len(todo)) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        saved = 0.0
        for start in range(0, len(todo), CHUNK):
            fresh += pool.map(lambda path: probe(root, path), todo[start : start + CHUNK])
            progress.advance(len(todo[start : start + CHUNK]))
            if progress.seconds - saved > KEEP_EVERY:
                saved = progress.seconds
                _write_probes(kept, _merged(known, fresh))
    known = _merged(known, fresh)
    _write_probes(kept, known)
    return known


def _merged(known: pd.DataFrame, fresh: list[Probe]) -> pd.DataFrame:
    new = pd.DataFrame([asdict(each) for each in fresh]).set_index("path")
    return pd.concat([known.drop(new.index, errors="ignore"), new]) if len(known) else new


def _read_probes(path: Path) -> pd.DataFrame:
    names = [each.name for each in fields(Probe)]
    if not path.exists():
        return pd.DataFrame(columns=names).set_index("path")
    text = {name: str for name in ("path", "digest", "status", "note", "format")}
    blank = {name: [""] for name in STATISTICS}
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=blank).set_index("path")


def _write_probes(path: Path, probes: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        probes.to_csv(temporary)


def _unchanged(listing: Listing, known: pd.DataFrame) -> set[str]:
    stamps = dict(zip(known.index, zip(known.bytes, known.mtime_ns, strict=True), strict=True))
    return {path for path in listing.rows.path if path in stamps and _stamp(listing.root / path) == stamps[path]}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _join(listing: Listing, probes: pd.DataFrame, group: str) -> pd.DataFrame:
    """Listing and probes as manifest rows, with groups and splits filled in and further columns of a CSV behind."""
    rows = listing.rows.reset_index(drop=True)
    joined = pd.concat([rows[["path", "label"]], probes.drop(columns="mtime_ns").reset_index(drop=True)], axis=1)
    joined["group"] = _groups(rows, joined, group)
    given = rows.split.replace("", np.nan)
    joined["split"] = splits.with_validation(
        given.fillna(pd.Series(splits.by_hash(joined.group), index=rows.index)), joined.group
    )
    own = [*COLUMNS, *STATISTICS]
    further = rows[[name for name in rows if name not in (*own, "label_str") and not name.startswith("Unnamed")]]
    return pd.concat([joined[own], further], axis=1)


def _groups(rows: pd.DataFrame, joined: pd.DataFrame, group: str) -> pd.Series:
    """A column, a pattern in the path, or by default the image itself (its digest, so that copies stay together)."""
    column = group or "group"
    if column in rows:
        return rows[column].where(rows[column] != "", joined.digest)
    if not group:
        return joined.digest
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(f"GROUP={group}: not a pattern ({error})") from error
    if pattern.groups != 1:
        known = ", ".join(name for name in rows.columns if name not in ("path", "label", "split"))
        raise UserError(f"GROUP={group}: neither a column ({known or 'there are none'}) nor a pattern with one (group)")
    found = rows.path.str.extract(pattern, expand=False)
    if found.isna().any():
        raise UserError(
            f"GROUP={group}: {int(found.isna().sum())} paths do not match, first {rows.path[found.isna()].iloc[0]}"
        )
    return found


def _settle_bad_images(rows: pd.DataFrame, config: DataConfig) -> pd.DataFrame:
    bad = rows.status != "ok"
    if not bad.any() or config.bad_images == "skip":
        return rows
    if config.bad_images == "fail":
        lines = "\n".join(f"  {row.path}: {row.status} ({row.note})" for row in rows[bad].head(10).itertuples())
        raise UserError(f"{int(bad.sum())} of {len(rows)} images cannot be used, and BAD_IMAGES=fail:\n{lines}")
    rows = rows.copy()
    rows.loc[bad, "note"] = rows.status[bad] + ": " + rows.note[bad]
    rows.loc[bad, ["status", "digest"]] = ["black", BLACK_DIGEST]
    return rows


def _save(manifest: Manifest, path: Path) -> None:
    if not len(manifest.usable):
        raise UserError(
            f"{manifest.dataset}: not one of {len(manifest)} images can be read; see {path.parent}/probes.csv"
        )
    examined = audit.examine(manifest)
    if _is_saved(manifest, path) and (path.parent / "audit.json").exists():
        return
    manifest.save(path)
    write_json(path.parent / "audit.json", examined)
    _say(manifest, examined, path)


def _is_saved(manifest: Manifest, path: Path) -> bool:
    if not path.exists():
        return False
    saved = Manifest.load(path)
    return saved.root == manifest.root and saved.rows.equals(manifest.rows)


def _say(manifest: Manifest, examined: audit.Audit, path: Path) -> None:
    counts = ", ".join(f"{split} {c['real']} real {c['fake']} fake" for split, c in examined.counts.items())
    print(f"data {manifest.dataset}{' (synthetic)' if manifest.synthetic else ''}: {counts} -> {path}")
    for status, number in examined.left_out.items():
        print(f"  left out, {status}: {number}, first {manifest.rows.path[manifest.rows.status == status].iloc[0]}")
    for warning in examined.warnings:
        print(f"  {warning}")
