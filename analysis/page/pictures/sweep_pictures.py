"""What a sweep tried and what mattered, in pictures; those that have something to show. Validation only."""

from dataclasses import fields
from numbers import Real

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.api.typing import SeriesGroupBy

from analysis.found.sentences import quoted
from analysis.found.sweeps import Sweep, leaders, trained_families
from analysis.page.pictures import training_charts as charts
from analysis.page.pictures.charts import Picture
from analysis.page.pictures.training_charts import Dot, Line, Strip, Track
from heads.families import FAMILIES


def sweep_pictures(sweep: Sweep) -> list[Picture]:
    """Those that have something to show."""
    made = (_leaders(sweep), _landscape(sweep), _penalties(sweep), _slices(sweep), _training(sweep))
    return [picture for picture in made if picture]


def _leaders(sweep: Sweep) -> Picture:
    rows = leaders(sweep)
    dots = [Dot(f"{row.head} on {row.inputs}", row.val_auc, row.val_auc_std, row.chosen) for row in rows.itertuples()]
    chosen = rows[rows.chosen].iloc[0]
    spread = f" ± {chosen.val_auc_std:.4f}" if np.isfinite(chosen.val_auc_std) else ""
    alt = (
        f"Validation AUC of {len(rows)} leading settings from {rows.val_auc.max():.4f} to {rows.val_auc.min():.4f}; "
        f"chosen: {chosen['head']} on {chosen.inputs} with {chosen.val_auc:.4f}{spread}"
    )
    caption = "The best setting of each family on each choice of inputs, and the next best. The chosen one is orange."
    if np.isfinite(rows.val_auc_std).any():
        caption += " Bars: standard deviation over folds and seeds."
    return Picture(
        "leaders",
        charts.dots(dots, xlabel="validation AUC, mean over members", title="Leading settings"),
        alt,
        caption,
    )


def _landscape(sweep: Sweep) -> Picture | None:
    """Learning rate and weight decay of the family that tried most pairs of them."""
    varied = [
        rows for _, rows in sweep.trained.groupby("family")
        if min(rows.lr.nunique(), rows.weight_decay.nunique()) > 1 and np.isfinite(rows.val_auc).any()
    ]  # fmt: skip
    if not varied:
        return None
    rows = max(varied, key=lambda rows: rows.groupby(["lr", "weight_decay"]).ngroups)
    family = rows.family.iloc[0]
    chosen = rows[sweep.is_chosen[rows.index]]
    best = chosen.iloc[0] if len(chosen) else rows.loc[rows.val_auc.idxmax()]
    title = f"Learning rate and weight decay of {family} heads"
    alt = (
        f"Validation AUC of {len(rows)} {family} settings by learning rate and weight decay, from "
        f"{rows.val_auc.min():.3f} to {rows.val_auc.max():.3f}; marked: {best.val_auc:.3f} at learning rate "
        f"{best.lr:g}, weight decay {best.weight_decay:g}"
    )
    which = "chosen setting" if len(chosen) else f"best {family} setting"
    cells = rows.groupby(["weight_decay", "lr"]).val_auc
    full = cells.ngroups >= rows.lr.nunique() * rows.weight_decay.nunique() / 2
    figure = _heat_map(cells, best, title) if full else _points(rows, best, title)
    caption = f"Validation AUC{', the best over all other hyperparameters' if full else ''}. Orange: the {which}."
    return Picture("landscape", figure, alt, caption)


def _heat_map(cells: SeriesGroupBy, best: pd.Series, title: str) -> Figure:
    """AUCs by weight decay and learning rate, where a grid of both was tried."""
    values, tried = cells.max().unstack(), cells.size().unstack()
    marked = values.index.get_loc(best.weight_decay), values.columns.get_loc(best.lr)
    names = [[f"{each:g}" for each in axis] for axis in (values.index, values.columns)]
    return charts.heat_map(values.to_numpy(), *names, tried=tried.notna().to_numpy(), marked=marked,
                            labels=("weight decay", "learning rate"), title=title)  # fmt: skip


def _points(rows: pd.DataFrame, best: pd.Series, title: str) -> Figure:
    """Learning rate and weight decay of settings that were drawn at random: points, no grid."""
    finite = rows[np.isfinite(rows.val_auc)]
    x, y, value = (finite[name].to_numpy() for name in ("lr", "weight_decay", "val_auc"))
    labels = ("learning rate", "weight decay", "validation AUC")
    return charts.scatter(x, y, value, marked=(best.lr, best.weight_decay), labels=labels, title=title)


def _penalties(sweep: Sweep) -> Picture | None:
    """AUC over the penalty of each convex family, on the chosen inputs if those have convex heads, else at its best."""
    convex = sweep.finite[sweep.finite.family.isin(_penalised_families())]
    here = convex[convex.inputs == sweep.result.inputs]
    rows = here if len(here) else convex
    lines = []
    for family, each in rows.groupby("family"):
        best = each.groupby(each.penalty.astype(float)).val_auc.max()  # text if scikit-learn has a penalty too
        if len(best) > 1:
            lines.append(Line(family, best.index.to_numpy(), best.to_numpy()))
    if not lines:
        return None
    found = "; ".join(f"{line.name} {line.y.max():.3f} at {line.x[line.y.argmax()]:g}" for line in lines)
    where = quoted(sweep.result.inputs) if len(here) else "the best inputs"
    return Picture(
        "penalties",
        charts.lines(lines, xlabel="penalty", ylabel="validation AUC", title="Penalty of the convex heads"),
        f"Validation AUC of convex heads over their penalty, highest: {found}",
        f"Convex heads on {where}. Logistic penalties stand against a mean, ridge penalties against a sum over images, "
        "so the two scales differ.",
    )


def _penalised_families() -> list[str]:
    """Convex ones with a penalty."""
    return [
        name for name, kind in FAMILIES.items() if kind.scouts and "penalty" in {each.name for each in fields(kind)}
    ]


def _slices(sweep: Sweep) -> Picture | None:
    """Every hyperparameter that some trained family tried with several values."""
    trained = trained_families()
    found = sweep.finite[sweep.finite.family.isin(trained)]
    panels, lost = [], {}
    for name in dict.fromkeys(each.name for kind in trained.values() for each in fields(kind)):
        rows = _varied(found, name)
        if len(rows):
            values = [_plain(value) for value in rows[name]]
            panels.append(Strip(name.replace("_", " "), values, rows.val_auc.to_numpy(), rows.family.to_numpy()))
            lost[name] = max(_lost(each, name) for _, each in rows.groupby("family"))
    if not panels:
        return None
    losses = ", ".join(
        f"{name.replace('_', ' ')} {fall:.3f}" for name, fall in sorted(lost.items(), key=lambda x: -x[1])
    )
    return Picture(
        "settings",
        charts.strips(panels, ylabel="validation AUC", title="What each hyperparameter changes"),
        f"Validation AUC of {len(found)} trained settings by hyperparameter; at the worst value the best falls by: "
        f"{losses}",
        f"Each point is a setting, lines join the best at each value. At the worst value the best falls by: {losses}.",
    )


def _varied(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Settings of the families that tried several values of a hyperparameter."""
    if name not in rows:
        return rows[:0]
    return rows[rows.groupby("family")[name].transform("nunique") > 1]


def _lost(rows: pd.DataFrame, name: str) -> float:
    """By how much the best AUC at the worst value is below the best of all; many numbers are taken in quarters."""
    values = rows[name]
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > charts.TICKS:
        values = pd.qcut(values, 4, duplicates="drop")
    best = rows.val_auc.groupby(values, observed=True).max()
    return float(best.max() - best.min())


def _plain(value: float | str) -> float | str:
    """Widths lose their brackets: (128, 32) -> 128, 32."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else str(value).strip("(),")


def _training(sweep: Sweep) -> Picture | None:
    """The curves of all members; bold those of the chosen setting, or of the best trained one."""
    curves = sweep.curves.groupby(["inputs", "head"], sort=False)
    rows = sweep.finite.assign(chosen=sweep.is_chosen).sort_values("chosen", ascending=False, kind="stable")
    names = [which for which in zip(rows.inputs, rows["head"], strict=True) if which in curves.groups]
    if not names or curves.get_group(names[0]).epoch.nunique() < 2:
        return None
    bold, pale = _tracks(curves.get_group(names[0])), _tracks(sweep.curves)
    which = "chosen" if names[0] == (sweep.result.inputs, sweep.result.head) else "best trained"
    top = [(track.val_auc[track.kept], track.epoch[track.kept]) for track in bold]
    best, epoch = (np.mean(each) for each in zip(*top, strict=True))
    return Picture(
        "training",
        charts.tracks(pale, bold, title=f"Training of {len(pale)} heads"),
        f"Validation AUC and loss of {len(pale)} heads over epochs; the {which} setting reaches {best:.3f} at "
        f"epoch {epoch:.1f} on average, and its training loss ends at {bold[0].train_loss[-1]:.3f}",
        f"Grey: every member that was trained by gradient. Orange: the {which} setting, {names[0][1]}, a line for each "
        "fold and seed. Validation loss that rises while training loss falls is overfitting.",
    )


def _tracks(curves: pd.DataFrame) -> list[Track]:
    """One for each member, which keeps the epoch of its highest AUC."""
    members = curves.groupby(["inputs", "head", "fold", "seed"], sort=False)
    return [Track.read(rows, int(rows.val_auc.fillna(-1).argmax())) for _, rows in members]
