"""The atlas: each layer, pooling and normalisation alone, on validation and on generators that were left out."""

import pandas as pd

from analysis.found.sweeps import Sweep
from analysis.judge.intervals import Interval
from analysis.page.pictures import charts
from analysis.page.pictures.charts import Picture, Place
from data.manifest import Manifest
from heads.families import FAMILIES
from heads.families.base import PLAIN
from heads.sweep.leaderboard import UNSEEN


def atlas_picture(sweep: Sweep, manifest: Manifest) -> Picture | None:
    """The best convex head on each feature alone; None where no generator was left out, or there is one feature."""
    rows = _alone(sweep)
    if not sweep.result.unseen_auc or len(rows) < 2:
        return None
    drawn = [Place(row["inputs"], row["norm"], _intervals(row, sweep, manifest)) for row in rows.to_dict("records")]
    best = [max(drawn, key=lambda each, at=at: each.found[at].value) for at in (0, 1)]
    said = [f"{each.name} ({each.kind}) {each.found[at].value:.3f}" for at, each in enumerate(best)]
    return Picture(
        "atlas",
        charts.places(drawn, panels=("validation AUC", "mean AUC on generators left out"), title="Layers and norms"),
        f"AUC of {len(drawn)} inputs; highest on validation: {said[0]}; on generators left out: {said[1]}",
        f"The best convex head on each feature alone, by its validation AUC; colours: what is done to each vector "
        f"before its columns are standardised. Highest on validation: {said[0]}; on generators left out: {said[1]}. "
        "Intervals (95 %) are those of normally distributed scores of as many images.",
    )


def _alone(sweep: Sweep) -> pd.DataFrame:
    """A row of the leaderboard for each single feature and norm, in the network's order."""
    convex = [name for name, kind in FAMILIES.items() if kind.scouts]
    found = sweep.finite[sweep.finite.family.isin(convex)]
    found = found.assign(norm=found["norm"].fillna(PLAIN) if "norm" in found else PLAIN)
    singles = [name for name in sweep.result.offered if name != "all" and not name.startswith(("up to ", "all of "))]
    found = found[found.inputs.isin(singles)]
    best = found.loc[found.groupby(["inputs", "norm"]).val_auc.idxmax()]
    order = best.inputs.map({name: number for number, name in enumerate(singles)})
    return best.assign(order=order).sort_values(["order", "norm"])


def _intervals(row: dict, sweep: Sweep, manifest: Manifest) -> tuple[Interval, Interval]:
    """On validation, and the mean over generators, each judged by a share of the real images."""
    val, taken = manifest.split == "val", manifest.split != "test"
    names = list(sweep.result.unseen_auc)
    reals = int((taken & ~manifest.fake).sum()) // len(names)
    of_each = [(row[UNSEEN + name], reals, int((taken & (manifest.generator == name)).sum())) for name in names]
    on_val = (row["val_auc"], int((val & ~manifest.fake).sum()), int((val & manifest.fake).sum()))
    return Interval.of_areas([on_val]), Interval.of_areas(of_each)
