"""How models do: data in, matplotlib Figure out. Colours of Okabe and Ito, which the colour-blind can tell apart."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from analysis.evaluate import Interval

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
CYCLE = [BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
SIZE = (5.0, 4.2)  # inches


@dataclass(frozen=True)
class Picture:
    """A figure under its file name, its message in words for those who do not see it, and a caption for all."""

    name: str
    figure: Figure
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
class Curve:
    """One ROC curve: its name in the legend and both rates."""

    name: str
    false_positive: np.ndarray
    true_positive: np.ndarray


def confusion(counts: list[list[int]], *, title: str) -> Figure:
    """A 2x2 matrix of counts with the rate within each true class. Rows true, columns called; real before fake."""
    matrix = np.array(counts)
    rates = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(rates, cmap="Blues", vmin=0, vmax=1)
    for (row, column), rate in np.ndenumerate(rates):
        axes.text(column, row, f"{matrix[row, column]}\n{100 * rate:.1f} %", ha="center", va="center", fontsize=14,
                  color="white" if rate > 0.55 else "black")  # fmt: skip
    axes.set_xticks([0, 1], ["called real", "called fake"])
    axes.set_yticks([0, 1], ["real", "fake"])
    axes.set_title(title)
    return figure


def roc(curves: list[Curve], *, title: str) -> Figure:
    """ROC curves, the first drawn heaviest, with the diagonal of chance."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    for number, curve in enumerate(curves):
        axes.plot(curve.false_positive, curve.true_positive, color=CYCLE[number % len(CYCLE)],
                  linewidth=2.4 if number == 0 else 1.2, label=curve.name)  # fmt: skip
    axes.set(xlabel="false positive rate (real called fake)", ylabel="true positive rate (fake found)", title=title)
    axes.set_aspect("equal")
    axes.legend(loc="lower right", fontsize=8)
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
    """AUCs with their intervals, from chance on; a colour for each kind."""
    figure = Figure(figsize=(SIZE[0], 0.3 * len(drawn) + 1.5), layout="constrained")
    axes = figure.add_subplot()
    kinds = list(dict.fromkeys(bar.kind for bar in drawn))
    for at, bar in enumerate(drawn):
        colour, interval = CYCLE[kinds.index(bar.kind) % len(CYCLE)], bar.interval
        axes.barh(at, interval.value - 0.5, left=0.5, edgecolor=colour, color="white" if bar.several else colour,
                  hatch="////" if bar.several else None)  # fmt: skip
        axes.plot([interval.low, interval.high], [at, at], color="black", linewidth=1.4)
        axes.text(max(interval.high, 0.5) + 0.01, at, f"{interval.value:.3f}", va="center", fontsize=8)
    axes.set_yticks(range(len(drawn)), [bar.name for bar in drawn], fontsize=8)
    lowest = min(bar.interval.low for bar in drawn)
    axes.set(xlabel=xlabel, ylim=(len(drawn) - 0.4, -0.6), xlim=(min(0.5, lowest - 0.02), 1.1))
    axes.set_xticks([tick for tick in np.arange(0, 1.01, 0.1) if tick >= min(0.5, lowest)])
    axes.axvline(0.5, color=GREY, linewidth=0.8)
    figure.suptitle(title, fontsize=11)
    return figure
