"""`make data`: DATA -> manifest + audit.

    python -m data --data=path

The folder data/<dataset>/ gets manifest.csv with manifest.json, audit.json, probes.csv and made.json. What is there and
cannot be read is made anew.
"""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from cache import paths
from cache.atomic import remove_leftovers, write_json
from cache.errors import UserError, counted
from cache.key import plain
from data import made, splits
from data.audit.copies import find_copies
from data.audit.examined import Audit, examine
from data.audit.leaks import drop_leaks, refuse_leaks
from data.joined import join
from data.labels import classes_of, one_means
from data.layouts import list_images
from data.layouts.base import Csvs, Listing, Source
from data.manifest import BLACK_DIGEST, COLUMNS, STATISTICS, Manifest
from data.options import SAMPLE, DataConfig
from data.probes import are_as_listed, is_left, probe_all
from data.sample import draw_sample
from data.thumbnails import Thumbnails

FEW = 5  # kinds of ignored files that are named on the console


def run(config: DataConfig) -> Path:
    """Write the manifest of config.data and return its path.

    Raises:
        UserError: see `list_images`; leaks; bad images under --bad_images=fail; the name stands for other data.
    """
    path = paths.manifest_file(config.dataset)
    remove_leftovers(path.parent)
    if config.sets:
        return _run_joined(config, path)
    if config.data == SAMPLE:
        draw_sample(paths.sample_dir())
    if os.path.realpath(config.source) == os.path.realpath(path):
        return path
    listing = list_images(_source(config))
    inputs = made.inputs_of(listing, config)
    kept, label = path.with_name("probes.csv"), f"data {config.dataset}"
    if not (config.rehash or is_left(kept)) and made.is_made(path.parent, inputs):
        return path
    saved = _saved(path, config.dataset)
    _refuse_other_data(saved, listing.root, path.parent)
    probes = probe_all(listing, kept, rehash=config.rehash, label=label)
    rows, salt = _join(listing, probes, config.group, saved)
    manifest = Manifest(config.dataset, listing.root, config.data == SAMPLE, _settle_bad_images(rows, config), salt)
    _settle_leaks(manifest, saved, path, config, ignored=listing.ignored, outside=listing.outside)
    if are_as_listed(probes, listing):
        made.keep(path.parent, inputs)
    return path


def reached(path: Path) -> str:
    """What a manifest holds, by the audit beside it; '' where there is none, as beside a manifest of one's own."""
    try:
        audit = path.with_name("audit.json")
        found = json.loads(audit.read_bytes())
        warnings, left_out = len(found["warnings"]), sum(found["left_out"].values())
        said = " and ".join([counted(warnings, "warning")] * bool(warnings)
                            + [f"{counted(left_out, 'image')} left out"] * bool(left_out))  # fmt: skip
        more = f"\n  {said}: {audit} has them, and make audit DATA={found['dataset']} shows them" if said else ""
        return f"data {found['dataset']}: complete: {_counted(found['counts'])} -> {path}{more}"
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""


def _source(config: DataConfig) -> Source:
    csvs = Csvs(config.train_csv, config.valid_csv, config.test_csv)
    return Source(config.source, config.root, csvs, classes_of(config.classes), one_means(config.labels))


def _run_joined(config: DataConfig, path: Path) -> Path:
    """The manifests of several sets as one; each has its own too."""
    manifest = join(config.dataset, [Manifest.load(run(each)) for each in config.sets])
    saved = _saved(path, config.dataset)
    _refuse_other_data(saved, manifest.root, path.parent)
    folders = [paths.manifest_file(each.dataset).parent for each in config.sets]
    sum(map(Thumbnails.load, folders[1:]), Thumbnails.load(folders[0])).save(path.parent)
    _settle_leaks(manifest, saved, path, config)
    return path


def _saved(path: Path, dataset: str) -> Manifest | None:
    """What an earlier run left; None where there is nothing, or nothing that can be read."""
    try:
        return Manifest.load(path)
    except UserError as error:
        if path.exists():
            print(f"data {dataset}: {error}")
        return None


def _refuse_other_data(saved: Manifest | None, root: Path, folder: Path) -> None:
    if saved and saved.root != root and saved.root.exists():
        raise UserError(
            f"the name {saved.dataset!r} already stands for the images in {saved.root}, not {root}: "
            f"choose another with NAME=..., or delete {folder} if that data set is no longer needed"
        )


def _join(listing: Listing, probes: pd.DataFrame, group: str, saved: Manifest | None) -> tuple[pd.DataFrame, int]:
    """Listing and probes as manifest rows, with groups and splits filled in and further columns of a CSV behind.

    And the salt of the splits: that of the saved manifest, as long as it knows any of the groups.
    """
    rows = listing.rows.reset_index(drop=True)
    joined = pd.concat([rows[["path", "label"]], probes.drop(columns="mtime_ns").reset_index(drop=True)], axis=1)
    joined["group"] = _groups(rows, joined, group)
    kept = saved is not None and joined.group.isin(saved.rows.group).any()
    ok = joined.status == "ok"
    salt = saved.salt if kept else splits.salt_for(rows.split[ok], joined.group[ok], rows.label[ok])
    joined["split"] = splits.settled(rows.split, joined.group, salt)
    own = [*COLUMNS, *STATISTICS]
    further = rows[[name for name in rows if name not in (*own, "label_str") and not name.startswith("Unnamed")]]
    return pd.concat([joined[own], further], axis=1), salt


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
        raise UserError(
            f"GROUP={group}: neither a column ({known or 'there are none'}) nor a pattern with one (group)"
            f"{_with_one_group(group)}"
        )
    found = rows.path.str.extract(pattern, expand=False)
    if found.isna().any():
        raise UserError(
            f"GROUP={group}: {int(found.isna().sum())} paths do not match, first {rows.path[found.isna()].iloc[0]}"
        )
    return found


def _with_one_group(pattern: str) -> str:
    """How a pattern with several groups is written with one, as far as that is simple: '' where it is not."""
    first, bracket, rest = pattern.partition("(")
    once = first + bracket + re.sub(r"(?<![\\[])\((?!\?)", "(?:", rest)
    try:
        return f"; did you mean GROUP='{once}'?" if bracket and re.compile(once).groups == 1 else ""
    except re.error:
        return ""


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


def _settle_leaks(manifest: Manifest, saved: Manifest | None, path: Path, config: DataConfig, *,
                  ignored: dict[str, int] | None = None, outside: int = 0) -> None:  # fmt: skip
    """Refuse leaks, or leave out those and near copies; then write what is left, and what was found in it."""
    if config.leaks != "drop":
        refuse_leaks(manifest)
    thumbnails = Thumbnails.load(path.parent)
    search = find_copies(manifest, thumbnails)
    if config.leaks == "drop":
        manifest = replace(manifest, rows=drop_leaks(manifest.rows, search.copies))
        refuse_leaks(manifest)
    if not len(manifest.usable):
        raise UserError(
            f"{manifest.dataset}: not one of {len(manifest)} images can be read; see {path.parent}/probes.csv"
        )
    examined = examine(manifest, thumbnails=thumbnails, search=search, ignored=ignored, outside=outside)
    _save(manifest, examined, saved, path)


def _save(manifest: Manifest, examined: Audit, saved: Manifest | None, path: Path) -> None:
    """Write manifest and audit and say what is in them, unless they are there as they would be written."""
    audited = path.with_name("audit.json")
    same = saved and saved.root == manifest.root and saved.rows.equals(manifest.rows)
    if same and _holds(audited, examined):
        return
    if not same:
        manifest.save(path)
    write_json(audited, examined)
    _say(manifest, examined, path)


def _holds(path: Path, record: Audit) -> bool:
    """Whether a JSON file says exactly this."""
    try:
        return json.loads(path.read_text()) == plain(record)
    except (OSError, ValueError, RecursionError):
        return False


def _say(manifest: Manifest, examined: Audit, path: Path) -> None:
    synthetic = " (synthetic)" if manifest.synthetic else ""
    print(f"data {manifest.dataset}{synthetic}: {_counted(examined.counts)} -> {path}")
    made_by = pd.Series(manifest.generator).value_counts().drop("", errors="ignore").sort_index()
    if len(made_by):
        print(f"  generators: {', '.join(f'{name} {count}' for name, count in made_by.items())}")
    for status, number in examined.left_out.items():
        print(f"  left out, {status}: {number}, first {manifest.rows.path[manifest.rows.status == status].iloc[0]}")
    if examined.ignored:
        most = sorted(examined.ignored.items(), key=lambda pair: -pair[1])
        more = f", and {len(most) - FEW} kinds more in audit.json" if len(most) > FEW else ""
        print(f"  ignored: {', '.join(f'{count} x {what}' for what, count in most[:FEW])}{more}")
    if examined.outside:
        print(f"  {examined.outside} images lie, by links, outside of {manifest.root}")
    for warning in (*examined.warnings, *splits.warnings(examined.counts).values()):
        print(f"  {warning}")


def _counted(counts: dict[str, dict[str, int]]) -> str:
    return ", ".join(f"{split} {each['real']} real {each['fake']} fake" for split, each in counts.items())
