"""How models do: data in, matplotlib Figure out. Colours of Okabe and Ito, which the colour-blind can tell apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import ConfusionMatrixDisplay, DetCurveDisplay, PrecisionRecallDisplay, RocCurveDisplay

from analysis.judge.intervals import Interval

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
CYCLE = [BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
SIZE = (5.0, 4.2)  # inches
LONGEST = 32  # letters of a name that still leave room for its bar beside it


@dataclass(frozen=True)
class Picture:
    """A figure under its file name, its message in words for those who do not see it, and a caption for all.

    figure: or the PNG of one that was drawn before.
    """

    name: str
    figure: Figure | Path
    alt: str
    caption: str


@dataclass(frozen=True)
class Bar:
    """An AUC with its interval. kind: what its colour stands for; several: drawn hatched."""

    name: str
    interval: Interval
    kind: str
    several: bool


@dataclass(frozen=True)
class Place:
    """What one thing reaches in each panel, side by side. kind: what its colour stands for."""

    name: str
    kind: str
    found: tuple[Interval, ...]


@dataclass(frozen=True)
class Curve:
    """A line of a plot: its name in the legend, x (P,) and y (P,)."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Bins:
    """Points of a reliability curve: mean probability (K,), and the share of each that came true."""

    name: str
    probability: np.ndarray
    shares: list[Interval]


@dataclass(frozen=True)
class Panel:
    """One perturbation: strengths in words, mildest first, and for each model a line of intervals over them."""

    title: str
    strengths: list[str]
    lines: dict[str, list[Interval]]


@dataclass(frozen=True)
class Tile:
    """An image (H, W, 3) uint8 with a caption; wrong: whether the caption tells of a mistake."""

    pixels: np.ndarray
    caption: str
    wrong: bool


def confusion(counts: list[list[int]], *, title: str) -> Figure:
    """A 2x2 matrix of counts with the rate within each true class. Rows true, columns called; real before fake."""
    matrix = np.array(counts)
    rates = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    figure, axes = _square()
    drawn = ConfusionMatrixDisplay(rates, display_labels=["real", "fake"])
    drawn.plot(ax=axes, cmap="Blues", colorbar=False, im_kw={"vmin": 0, "vmax": 1}, text_kw={"fontsize": 14})
    for text, count, rate in zip(drawn.text_.flat, matrix.flat, rates.flat, strict=True):
        text.set_text(f"{count}\n{100 * rate:.1f} %")
    axes.set_xticklabels(["called real", "called fake"])
    axes.set(xlabel="", ylabel="", title=title)
    return figure


def roc(curves: list[Curve], *, title: str) -> Figure:
    """ROC curves with the diagonal of chance; x false positive rates, y true positive rates."""
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    for curve, line in _lines(curves):
        RocCurveDisplay(fpr=curve.x, tpr=curve.y).plot(axes, curve_kwargs=line)
    axes.set(xlabel="false positive rate (real called fake)", ylabel="true positive rate (fake found)", title=title)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def precision_recall(curves: list[Curve], *, share: float, title: str) -> Figure:
    """Precision y over recall x; share: of fake images, which guessing would reach."""
    figure, axes = _square()
    axes.axhline(share, color=GREY, linestyle=":", label="chance")
    for curve, line in _lines(curves):
        PrecisionRecallDisplay(precision=curve.y, recall=curve.x).plot(axes, curve_kwargs=line)
    axes.set(xlabel="recall (fake found)", ylabel="precision (of those called fake)", ylim=(0, 1.03), title=title)
    axes.set_aspect("auto")
    axes.legend(loc="lower left", fontsize=8)
    return figure


def det(curves: list[Curve], *, title: str) -> Figure:
    """Detection error trade-off (Martin et al. 1997): both error rates, x of real and y of fake images, on normal
    deviate scales."""
    figure, axes = _square()
    for curve, line in _lines(curves):
        DetCurveDisplay(fpr=curve.x, fnr=curve.y).plot(axes, **line)
    low, high = norm.ppf([0.0007, 0.97])
    axes.plot([low, high], [low, high], color=GREY, linestyle=":", label="equal error rates")
    axes.set(xlabel="real called fake", ylabel="fake called real", xlim=(low, high), ylim=(low, high), title=title)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize=8)
    return figure


def reliability(curves: list[Bins], *, title: str) -> Figure:
    """How often images of a probability were fake."""
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as often as said")
    for curve, colour, marker in zip(curves, (BLUE, ORANGE), "os", strict=False):
        value, low, high = np.array([[each.value, each.low, each.high] for each in curve.shares]).T
        axes.errorbar(curve.probability, value, yerr=np.maximum(0, [value - low, high - value]), color=colour,
                      marker=marker, linewidth=1.2, capsize=2, label=curve.name)  # fmt: skip
    axes.set(xlabel="probability of fake", ylabel="share that was fake", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03),
             title=title)  # fmt: skip
    axes.legend(loc="upper left", fontsize=8)
    return figure


def panels(drawn: list[Panel], *, ylabel: str, title: str) -> Figure:
    """A panel for each perturbation, all on one scale, with intervals as bands."""
    rows = -(-len(drawn) // 2)
    figure = Figure(figsize=(1.7 * SIZE[0], 1.9 * rows + 1.0), layout="constrained")
    grid = figure.subplots(rows, 2, sharey=True, squeeze=False).ravel()
    for axes, panel in zip(grid, drawn, strict=False):
        at = np.arange(len(panel.strengths))
        for (name, line), colour, marker in zip(panel.lines.items(), CYCLE, "osD^vP*", strict=False):
            axes.plot(at, [each.value for each in line], color=colour, marker=marker, markersize=4, label=name)
            axes.fill_between(at, [each.low for each in line], [each.high for each in line], color=colour, alpha=0.15,
                              linewidth=0)  # fmt: skip
        axes.axhline(0.5, color=GREY, linestyle=":", linewidth=0.8)
        axes.set_xticks(at, panel.strengths, fontsize=8)
        axes.set_title(panel.title, fontsize=9)
        axes.tick_params(axis="y", labelsize=8, labelleft=True)
        axes.grid(alpha=0.3)
    for axes in grid[len(drawn) :]:
        axes.remove()
    figure.supylabel(ylabel, fontsize=9)
    figure.suptitle(title, fontsize=11)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(2, len(labels)), fontsize=8)
    return figure


def tiles(drawn: list[Tile], *, columns: int, title: str) -> Figure:
    """Images in a grid; a mistake has an orange frame and a cross, so that it does not hang on colour."""
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.95 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, tile in zip(grid, drawn, strict=False):
        axes.imshow(tile.pixels)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(
            f"{'✗ ' if tile.wrong else ''}{tile.caption}", fontsize=7.5, color=ORANGE if tile.wrong else "black",
            parse_math=False,  # a file may be called $x$
        )  # fmt: skip
        for spine in axes.spines.values():
            spine.set(visible=tile.wrong, color=ORANGE, linewidth=3)
    for axes in grid[len(drawn) :]:
        axes.remove()
    figure.suptitle(title, fontsize=11)
    return figure


def scores(values: np.ndarray, fake: np.ndarray, threshold: float, *, title: str) -> Figure:
    """Histogram of the scores of both classes with the threshold."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    bins = np.linspace(values.min(), values.max() + 1e-9, 31)
    axes.hist(values[~fake], bins, color=BLUE, alpha=0.65, label="real")
    axes.hist(values[fake], bins, color=ORANGE, alpha=0.65, label="fake", hatch="//", edgecolor="white", linewidth=0)
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axes.set(xlabel="score (logit of fake)", ylabel="images", title=title)
    axes.legend(fontsize=8)
    return figure


def bars(drawn: list[Bar], *, xlabel: str, title: str) -> Figure:
    """AUCs with their intervals, from chance on; a colour for each kind. Long names stand above their bars."""
    above = max(len(bar.name) for bar in drawn) > LONGEST
    figure = Figure(figsize=(SIZE[0], (0.45 if above else 0.3) * len(drawn) + 1.5), layout="constrained")
    axes = figure.add_subplot()
    kinds = list(dict.fromkeys(bar.kind for bar in drawn))
    for at, bar in enumerate(drawn):
        colour, interval = CYCLE[kinds.index(bar.kind) % len(CYCLE)], bar.interval
        axes.barh(at, interval.value - 0.5, left=0.5, height=0.4 if above else 0.8, edgecolor=colour,
                  color="white" if bar.several else colour, hatch="////" if bar.several else None)  # fmt: skip
        axes.plot([interval.low, interval.high], [at, at], color="black", linewidth=1.4)
        axes.text(max(interval.high, 0.5) + 0.01, at, f"{interval.value:.3f}", va="center", fontsize=8)
        if above:
            axes.text(0.01, at - 0.25, bar.name, fontsize=8, va="bottom", transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(drawn)), ["" if above else bar.name for bar in drawn], fontsize=8)
    lowest = min(bar.interval.low for bar in drawn)
    axes.set(xlabel=xlabel, ylim=(len(drawn) - 0.4, -0.6), xlim=(min(0.5, lowest - 0.02), 1.1))
    axes.set_xticks([tick for tick in np.arange(0, 1.01, 0.1) if tick >= min(0.5, lowest)])
    axes.axvline(0.5, color=GREY, linewidth=0.8)
    figure.suptitle(title, fontsize=11)
    return figure


def places(drawn: list[Place], *, panels: tuple[str, ...], title: str) -> Figure:
    """Points with intervals, a row for each name in every panel, kinds beside one another in it."""
    names, kinds = (list(dict.fromkeys(getattr(each, what) for each in drawn)) for what in ("name", "kind"))
    height = (0.16 + 0.12 * len(kinds)) * len(names) + 1.4
    figure = Figure(figsize=(1.7 * SIZE[0], height), layout="constrained")
    for number, axes in enumerate(figure.subplots(1, len(panels), sharey=True, squeeze=False).ravel()):
        for kind, colour, marker in zip(kinds, CYCLE, "osD^vP*", strict=False):
            mine = [each for each in drawn if each.kind == kind]
            at = [names.index(each.name) + 0.22 * (kinds.index(kind) - (len(kinds) - 1) / 2) for each in mine]
            value, low, high = np.array([[i.value, i.low, i.high] for i in (each.found[number] for each in mine)]).T
            axes.errorbar(value, at, xerr=np.maximum(0, [value - low, high - value]), color=colour, marker=marker,
                          markersize=4, linestyle="none", linewidth=1.2, capsize=2, label=kind)  # fmt: skip
        axes.axvline(0.5, color=GREY, linestyle=":", linewidth=0.8)
        axes.set(xlabel=panels[number], ylim=(len(names) - 0.4, -0.6))
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.grid(alpha=0.3, axis="x")
    figure.suptitle(title, fontsize=11)
    if len(kinds) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(kinds), fontsize=8)
    return figure


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.add_subplot()


def _lines(curves: list[Curve]) -> Iterator[tuple[Curve, dict[str, Any]]]:
    """Each with how it is drawn, the first heaviest."""
    for number, curve in enumerate(curves):
        colour, width = CYCLE[number % len(CYCLE)], 1.2 if number else 2.4
        yield curve, {"color": colour, "linewidth": width, "label": curve.name}
