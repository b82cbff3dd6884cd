"""What was tried and how it trained: data in, matplotlib Figure out, in the colours of `charts`."""

import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from analysis.page.pictures.charts import BLUE, CYCLE, ORANGE, SIZE
from heads.sweep.leaderboard import CURVE

PALE = "#C9CED3"
TICKS = 8  # values of a hyperparameter that still get a place each; more are drawn on a scale


@dataclass(frozen=True)
class Dot:
    """A value with its spread (nan = unknown) and whether it is the one to look at."""

    name: str
    value: float
    spread: float
    chosen: bool


@dataclass(frozen=True)
class Line:
    """y (P,) over x (P,)."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Strip:
    """One hyperparameter: the value that each setting (P,) has of it, its y (P,) and its family (P,)."""

    name: str
    values: list[float] | list[str]
    y: np.ndarray
    families: np.ndarray


@dataclass(frozen=True)
class Track:
    """One member's or detector's training: everything (P,), over epochs. kept: the row that was kept."""

    epoch: np.ndarray
    train_loss: np.ndarray
    val_loss: np.ndarray
    val_auc: np.ndarray
    kept: int

    @classmethod
    def read(cls, rows: pd.DataFrame, kept: int) -> "Track":
        """From the rows of curves.csv or metrics.csv."""
        return cls(*(rows[name].to_numpy(float) for name in CURVE), kept)


def dots(rows: list[Dot], *, xlabel: str, title: str) -> Figure:
    """One value a row with its spread as a bar, its name above it, so that long names fit a narrow page."""
    figure = Figure(figsize=(SIZE[0], 0.5 * len(rows) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    for at, row in enumerate(rows):
        colour = ORANGE if row.chosen else BLUE
        spread = row.spread if np.isfinite(row.spread) else None
        axes.errorbar(row.value, at, xerr=spread, color=colour, marker="D" if row.chosen else "o", capsize=3)
        axes.text(0.01, at - 0.15, "\n".join(textwrap.wrap(row.name, 74)[:2]), fontsize=8, va="bottom",
                  transform=axes.get_yaxis_transform(), fontweight="bold" if row.chosen else "normal")  # fmt: skip
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.7, -0.8), yticks=[])
    axes.margins(x=0.08)
    axes.grid(axis="x", alpha=0.3)
    figure.suptitle(title, fontsize=11)
    return figure


def heat_map(values: np.ndarray, rows: list[str], columns: list[str], *, tried: np.ndarray,
             marked: tuple[int, int] | None, labels: tuple[str, str], title: str) -> Figure:  # fmt: skip
    """values (R, C), nan where there is none: diverged where tried (R, C), else empty. labels: of y and x."""
    figure = Figure(figsize=(max(SIZE[0], 0.62 * len(columns) + 1.4), 0.5 * len(rows) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.3f}" if np.isfinite(value) else "diverged" if tried[row, column] else ""
        pale = np.isfinite(value) and sum(image.cmap(image.norm(value))[:3]) < 1.4
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if pale else "black")
    if marked:
        axes.add_patch(Rectangle((marked[1] - 0.5, marked[0] - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=3))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(ylabel=labels[0], xlabel=labels[1])
    axes.set_title(title, fontsize=11)
    return figure


def scatter(x: np.ndarray, y: np.ndarray, value: np.ndarray, *, marked: tuple[float, float],
            labels: tuple[str, str, str], title: str) -> Figure:  # fmt: skip
    """Points coloured by value (P,), the marked one in a ring. labels: of x, y and value."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    order = np.argsort(value)  # the best on top
    shown = axes.scatter(x[order], y[order], c=value[order], cmap="viridis", s=44, edgecolor="black", linewidth=0.4)
    axes.scatter(*marked, s=150, facecolor="none", edgecolor=ORANGE, linewidth=2.4)
    figure.colorbar(shown, label=labels[2])
    axes.set(xlabel=labels[0], ylabel=labels[1], xscale=_scale(x), yscale=_scale(y))
    axes.set_title(title, fontsize=11)
    return figure


def lines(drawn: list[Line], *, xlabel: str, ylabel: str, title: str) -> Figure:
    """Lines over a logarithmic x, with the highest point of each marked."""
    figure = Figure(figsize=(SIZE[0], 3.4), layout="constrained")
    axes = figure.add_subplot()
    for line, colour, marker in zip(drawn, CYCLE, "osD^vP*", strict=False):
        axes.plot(line.x, line.y, color=colour, marker=marker, markersize=4, label=line.name)
        best = int(np.argmax(line.y))
        axes.plot(line.x[best], line.y[best], color=colour, marker=marker, markersize=10)
        axes.annotate(f"{line.y[best]:.3f}", (line.x[best], line.y[best]), (0, 8), textcoords="offset points",
                      ha="center", fontsize=9)  # fmt: skip
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log")
    axes.margins(y=0.15)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    axes.set_title(title, fontsize=11)
    return figure


def strips(panels: list[Strip], *, ylabel: str, title: str) -> Figure:
    """A panel for each hyperparameter with every setting as a point, coloured by family; y is shared."""
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(SIZE[0], 2.1 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, 2, sharey=True, squeeze=False).ravel()
    families = list(dict.fromkeys(family for panel in panels for family in panel.families))
    for axes, panel in zip(grid, panels, strict=False):
        _strip(axes, panel, families)
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.supylabel(ylabel, fontsize=9)
    figure.suptitle(title, fontsize=11)
    handles = [Line2D([], [], color=CYCLE[at % len(CYCLE)], marker="o", label=name) for at, name in enumerate(families)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def tracks(pale: list[Track], bold: list[Track], *, title: str) -> Figure:
    """Validation AUC above losses: many pale, some bold with their training loss and the epoch kept."""
    figure = Figure(figsize=(SIZE[0], 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, name in ((above, "val_auc"), (below, "val_loss")):
        axes.add_collection(LineCollection([_points(track, name) for track in pale], color=PALE, linewidth=0.7))
        for number, track in enumerate(bold):
            points, labels = _points(track, name), ("", "") if number else ("validation", "epoch kept")
            axes.plot(*points.T, color=ORANGE, linewidth=1.4, label=labels[0])
            axes.plot(*points[track.kept], color="black", marker="o", markersize=4, linestyle="", label=labels[1],
                      clip_on=bool(pale), zorder=3)  # fmt: skip
    for number, track in enumerate(bold):
        below.plot(*_points(track, "train_loss").T, color=BLUE, linewidth=1.2, linestyle="--",
                   label="" if number else "training")  # fmt: skip
    _frame(above, [*pale, *bold], ("val_auc",), (10 if pale else 0, 100))
    _frame(below, [*pale, *bold], ("val_loss", "train_loss"), (0, 97 if pale else 100))
    above.set(ylabel="validation AUC")
    below.set(xlabel="epoch", ylabel="loss")
    below.legend(fontsize=8)
    above.set_title(title, fontsize=11)
    return figure


def _strip(axes: Axes, panel: Strip, families: list[str]) -> None:
    """Families side by side at each value, so that none hides another; a line joins the best at each value."""
    places, ticks = _places(panel.values)
    for family in dict.fromkeys(panel.families):
        colour = CYCLE[families.index(family) % len(CYCLE)]
        here = panel.families == family
        shift = 0.16 * (families.index(family) - (len(families) - 1) / 2) if ticks else 0
        x, y = places[here] + shift, panel.y[here]
        axes.plot(x, y, color=colour, marker="o", markersize=4, linestyle="", alpha=0.6)
        if ticks:
            at = np.unique(x)
            axes.plot(at, [y[x == each].max() for each in at], color=colour, linewidth=1.2)
    if ticks:
        axes.set_xticks(range(len(ticks)), ticks, fontsize=8)
        axes.set_xlim(-0.5, len(ticks) - 0.5)
    else:
        axes.set_xscale(_scale(places))
    axes.tick_params(axis="y", labelsize=8, labelleft=True)
    axes.set_title(panel.name, fontsize=9)
    axes.grid(axis="y", alpha=0.3)


def _places(values: list[float] | list[str]) -> tuple[np.ndarray, list[str]]:
    """Where each value goes, and the ticks: one for each of a few values, none for many numbers."""
    distinct = sorted(set(values), key=_in_order)
    if len(distinct) > TICKS and not isinstance(distinct[0], str):
        return np.array(values), []
    ticks = [each if isinstance(each, str) else f"{each:g}" for each in distinct]
    return np.array([distinct.index(each) for each in values], float), ticks


def _in_order(value: float | str) -> float | list[str]:
    """Sorts widths by their numbers: 32 before 128 before 128, 32."""
    return [part.zfill(9) for part in value.split(", ")] if isinstance(value, str) else value


def _points(track: Track, name: str) -> np.ndarray:
    """(P, 2)."""
    return np.column_stack([track.epoch, getattr(track, name)])


def _frame(axes: Axes, drawn: list[Track], names: tuple[str, ...], percent: tuple[float, float]) -> None:
    """Show what lies between two percentiles, so that of many a few wild ones do not flatten all others."""
    y = np.concatenate([getattr(track, name) for track in drawn for name in names])
    low, high = np.percentile(y[np.isfinite(y)], percent)
    room = 0.05 * (high - low) or 0.01
    epochs = np.concatenate([track.epoch for track in drawn])
    axes.set(ylim=(low - room, high + room), xlim=(epochs.min(), epochs.max()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def _scale(values: np.ndarray) -> str:
    """Logarithmic for positive values over more than a decade."""
    return "log" if values.min() > 0 and values.max() > 10 * values.min() else "linear"
