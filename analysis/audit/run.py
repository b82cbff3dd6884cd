"""`make audit`: one data set or several -> what is wrong with each, and what they share.

    python -m analysis.audit --data="faces others"

runs/audit/<a>+<b>/ holds index.html with its tables as CSV and its pictures, and summary.json. Manifests are made
where they are missing. With finished heads on a data set, the labels that these contradict most are shown too: run
`make heads DATA=... FOLDS=5` first, so that every image was judged by heads that did not see it. With features that an
extraction left near copies are looked for by these too.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from analysis.audit.contradicted import Labels, contradicted
from analysis.audit.neighbours import copies_by_features
from analysis.audit.options import AuditCommand
from analysis.found.commands import command
from analysis.page.html import PAGE, write_page
from analysis.page.pictures import charts
from analysis.page.pictures.charts import Picture, Tile
from analysis.page.pictures.copies_picture import copies_picture
from analysis.page.pictures.gallery import COLUMNS, thumbnail
from analysis.page.run_tables import data_tables
from analysis.page.tables import Table
from cache import paths
from cache.atomic import write_json
from cache.environment import describe_environment
from data.audit.copies import Search, find_copies
from data.audit.examined import Audit, Copies, audit_of, described
from data.audit.shortcuts import CONTENT_LIMIT, LIMIT
from data.build import run as build
from data.joined import join
from data.manifest import Manifest
from data.thumbnails import Thumbnails

TEMPLATE = "audit.html.j2"


@dataclass(frozen=True)
class Audited:
    """A data set, what was found in it, and whose labels are in doubt.

    more: near copies that cached features find, but for those that `audit` shows; None where nothing is cached.
    """

    manifest: Manifest
    audit: Audit
    labels: Labels | None
    more: Copies | None


@dataclass(frozen=True)
class Shared:
    """What data sets share: files with the same bytes, and near copies by the pair of sets. root: of the paths."""

    same: int
    between: dict[str, int]
    copies: Copies
    root: Path


def run(config: AuditCommand) -> Path:
    """Write the page and say what is on it; its folder. Raises: UserError as data.build.run."""
    found = []
    for one in config.each_data():
        manifest = Manifest.load(build(one))
        audit = audit_of(manifest)
        found.append(Audited(manifest, audit, contradicted(manifest.usable), _more(manifest, audit.copies)))
    shared = _shared([each.manifest for each in found]) if len(found) > 1 else None
    folder = paths.run_dir("audit", "+".join(each.manifest.dataset for each in found))
    write_json(folder / "summary.json", _summary(found, shared))
    tables = {each.manifest.dataset: _tables(each) for each in found}
    pictures = {each.manifest.dataset: _pictures(each) if config.faces else [] for each in found}
    apart = copies_picture(shared.copies, shared.root) if shared and config.faces else []
    write_page(
        folder, TEMPLATE, tables=[table for each in tables.values() for table in each],
        pictures=[picture for each in (*pictures.values(), apart) for picture in each], keep=(), found=found,
        shared=shared, shortcut_limit=LIMIT, content_limit=CONTENT_LIMIT,
        environment=(made_by := describe_environment()), again=command(made_by),
    )  # fmt: skip
    for sentence in _sentences(found, shared):
        print(sentence)
    print(f"audit -> {folder / PAGE}")
    return folder


def _more(manifest: Manifest, known: Copies | None) -> Copies | None:
    """Near copies by cached features, without those that are known."""
    found = copies_by_features(manifest)
    if found is None:
        return None
    names, shown = manifest.rows.path, {frozenset((each.first, each.second)) for each in known.shown} if known else {}
    further = [each for each in found if frozenset((names[each.first], names[each.second])) not in shown]
    return described(manifest.rows, further, Search(len(manifest), further))


def _shared(manifests: list[Manifest]) -> Shared:
    """Each set stands for a split of its own, so that what is in two sets counts as what is in two splits."""
    sets = [replace(each, rows=each.usable.rows.assign(split=each.dataset)) for each in manifests]
    joined = join("+".join(each.dataset for each in manifests), sets)
    folders = [paths.manifest_file(each.dataset).parent for each in manifests]
    search = find_copies(joined, sum(map(Thumbnails.load, folders[1:]), Thumbnails.load(folders[0])))
    every = [*(copies_by_features(joined) or []), *search.copies]
    pairs = {frozenset((each.first, each.second)): each for each in every}
    across = [each for each in pairs.values()
              if joined.rows.split[each.first] != joined.rows.split[each.second]]  # fmt: skip
    between: dict[str, int] = {}
    for each in across:
        pair = " and ".join(sorted((joined.rows.split[each.first], joined.rows.split[each.second])))
        between[pair] = between.get(pair, 0) + 1
    found = described(joined.rows, across, search)
    copies = replace(found, shown=[replace(each, across=each.across.replace("split", "set")) for each in found.shown])
    same = int((joined.rows.groupby("digest").split.nunique() > 1).sum())
    return Shared(same, between, copies, joined.root)


def _tables(each: Audited) -> list[Table]:
    """Named by the data set, because a page can have several."""
    named = [replace(table, name=f"{each.manifest.dataset}-{table.name}")
             for table in data_tables(each.manifest, each.audit)]  # fmt: skip
    labels = [asdict(one) for one in each.labels.shown] if each.labels else []
    more = [asdict(one) for one in each.more.shown] if each.more else []
    return [*named, Table(f"{each.manifest.dataset}-labels", labels), Table(f"{each.manifest.dataset}-more", more)]


def _pictures(each: Audited) -> list[Picture]:
    made = copies_picture(each.audit.copies, each.manifest.root)
    made += [replace(one, name="more") for one in copies_picture(each.more, each.manifest.root)]
    if each.labels and each.labels.shown:
        tiles = [Tile(thumbnail(each.manifest.root / one.path), f"called {one.label}\np = {one.probability:.3f}", True)
                 for one in each.labels.shown]  # fmt: skip
        made.append(Picture(
            "labels", charts.tiles(tiles, columns=COLUMNS, title="labels that are contradicted most"),
            f"The {len(tiles)} images whose labels are contradicted most, of {each.labels.doubtful} in doubt",
            "p is the probability that the label is right, by heads that did not see the image. A label may be wrong, "
            "or the image hard.",
        ))  # fmt: skip
    return [replace(picture, name=f"{each.manifest.dataset}-{picture.name}") for picture in made]


def _sentences(found: list[Audited], shared: Shared | None) -> list[str]:
    """What is on the page, one screen of it."""
    lines = []
    for each in found:
        lines.append(f"{each.manifest.dataset}: {verdict(each)}")
        lines += [f"  {warning}" for warning in each.audit.warnings]
        if each.more and each.more.pairs:
            lines.append(f"  Near copies by cached features: {each.more.pairs} pairs more, {each.more.across_splits} "
                         f"of them in two splits, {each.more.across_labels} under both labels")  # fmt: skip
        if each.labels and each.labels.doubtful:
            lines.append(
                f"  Labels: {each.labels.doubtful} of {each.labels.images} are contradicted by {each.labels.run}"
            )
    if shared:
        lines.append(f"Files that stand in two sets, byte for byte: {shared.same}")
        lines += [f"Near copies between {pair}: {count}" for pair, count in shared.between.items()]
    return lines


def verdict(each: Audited) -> str:
    """In a word."""
    return f"{len(each.audit.warnings)} warnings" if each.audit.warnings else "nothing to warn of"


def _summary(found: list[Audited], shared: Shared | None) -> dict:
    sets = {each.manifest.dataset: {"audit": asdict(each.audit), "labels": each.labels and asdict(each.labels),
                                    "more": each.more and asdict(each.more)} for each in found}  # fmt: skip
    return {
        "sets": sets,
        "shared": {**asdict(shared), "root": str(shared.root)} if shared else None,
    }  # fmt: skip
