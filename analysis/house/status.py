"""`make status`: what there is, how large it is, what it reached, and what a rerun would do. On one screen.

python -m analysis.house.status
"""

import shutil
from collections import defaultdict
from pathlib import Path

from analysis.house.inventory import TRAINED, Cache, DataSet, Run, all_runs, caches, data_sets, in_words, size_of
from analysis.house.options import StatusConfig
from cache import paths
from cache.command import main
from cache.errors import printable
from data.labels import SPLITS

SHOWN = 3  # runs of a stage on a data set, the best ones
LONGEST = 60  # characters of a damage


def run(config: StatusConfig) -> None:
    """Print data sets, features, runs and disk."""
    sets, found = data_sets(), all_runs()
    blocks = [_of_data(sets), _of_features(caches(sets)), *_of_runs(found, sets, shown=0 if config.all else SHOWN)]
    print("\n\n".join(["\n".join(block) for block in blocks if block] + [_of_disk()]))


def _of_data(sets: list[DataSet]) -> list[str]:
    if not sets:
        return [f"no data set in {paths.data_dir()} yet: make data DATA=..."]
    lines = [("data", "images", *SPLITS, "where")]
    for each in sets:
        if not each.manifest:
            lines.append((each.name, "damaged", *[""] * len(SPLITS), "`make data` makes its manifest anew"))
            continue
        counts = each.manifest.usable.rows.split.value_counts()
        in_splits = (str(counts.get(split, 0)) for split in SPLITS)
        lines.append((each.name, str(len(each.manifest)), *in_splits, _where(each)))
    return _table(lines)


def _where(each: DataSet) -> str:
    kind = " (synthetic)" if each.manifest.synthetic else ""
    kind += f" (part of {each.manifest.part_of})" if each.manifest.part_of else ""
    if not each.manifest.root.is_dir():
        return f"{each.manifest.root}, which is gone"
    if each.gone:
        return f"{each.manifest.root}: {each.gone} of the {len(each.looked_at)} that were looked for are gone"
    return f"{each.manifest.root}{kind}"


def _of_features(found: list[Cache]) -> list[str]:
    if not found:
        return []
    alike: dict[tuple[str, str], list[Cache]] = defaultdict(list)
    for each in found:
        used = f"damaged: {each.damage[:LONGEST]}..." if each.damage else ", ".join(each.used_by)
        alike[_backbone(each.folder), used or "no manifest: `make prune`"].append(each)
    lines = [("features", "folders", "images", "size", "used by")]
    for (backbone, used), group in alike.items():
        images = max(len(each.digests) for each in group)
        lines.append((backbone, str(len(group)), str(images), in_words(sum(each.size for each in group)), used))
    return _table(lines)


def _backbone(folder: Path) -> str:
    """The readable part of a folder's name: all before tap, pooling and key."""
    return folder.name.rsplit("-", 3)[0]


def _of_runs(found: list[Run], sets: list[DataSet], *, shown: int) -> list[list[str]]:
    keys = {each.name: each.manifest.key for each in sets if each.manifest}
    trained = sorted((each for each in found if each.stage in TRAINED), key=_rank)
    smoke = {each.dataset for each in trained if each.record and each.record.get("smoke")}  # its sweep is of it too
    lines, count = [("runs", "val AUC", "size", "state")], defaultdict(int)
    for each in trained:
        count[each.stage, each.dataset] += 1
        if not shown or each.record is None or (
            count[each.stage, each.dataset] <= shown and each.dataset not in smoke
        ):  # fmt: skip
            auc = "" if each.val_auc is None else f"{each.val_auc:.4f}"
            lines.append((f"{each.stage}/{each.name}", auc, in_words(each.size), each.state(keys)[: 2 * LONGEST]))
    left = len(trained) - len(lines) + 1
    more = [f"  and {left} more: make status ALL=1, or {paths.registry_file().with_suffix('.csv')}"] if left else []
    runs = [*_table(lines), *more] if trained else ["no run yet: make heads DATA=..."]
    return [runs, _of_others([each for each in found if each.stage not in TRAINED])]


def _rank(each: Run) -> tuple:
    return each.stage, each.dataset, -(each.val_auc or 0), each.name


def _of_others(found: list[Run]) -> list[str]:
    """What other stages left, a line a stage."""
    stages: dict[str, list[Run]] = defaultdict(list)
    for each in found:
        stages[each.stage].append(each)
    if not stages:
        return []
    lines = [("what runs led to", "folders", "size")]
    return _table(lines + [(stage, str(len(group)), in_words(sum(each.size for each in group)))
                           for stage, group in stages.items()])  # fmt: skip


def _of_disk() -> str:
    homes = {"cache": paths.cache_dir(), "data": paths.data_dir(), "runs": paths.runs_dir()}
    sizes = ", ".join(f"{name} {in_words(size_of(home))}" for name, home in homes.items())
    there = next(each for each in (paths.runs_dir(), *paths.runs_dir().resolve().parents) if each.exists())
    return f"disk: {sizes}; free where runs are: {in_words(shutil.disk_usage(there).free)}"


def _table(lines: list[tuple[str, ...]]) -> list[str]:
    """Columns one under the other, numbers to the right; the first line is the head."""
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]) - 1)]
    return ["  ".join([printable(line[0]).ljust(widths[0]), *(cell.rjust(width) for cell, width in
            zip(line[1:-1], widths[1:], strict=True)), printable(line[-1])]).rstrip() for line in lines]  # fmt: skip


if __name__ == "__main__":
    main(StatusConfig, "analysis.house.status:run", command="python -m analysis.house.status")
