"""Data in, matplotlib Figure out. Colours of Okabe and Ito, which the colour-blind can tell apart."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
CYCLE = [BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
SIZE = (5.0, 4.2)  # inches


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


def features(names: list[str], val_auc: list[float], *, title: str) -> Figure:
    """Best validation AUC that a convex head reaches on each feature alone (blue) and on several together."""
    figure = Figure(figsize=(SIZE[0], max(2.0, 0.34 * len(names) + 1)), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(
        range(len(names)), val_auc, color=[BLUE if ":" in name and " " not in name else ORANGE for name in names]
    )
    axes.bar_label(bars, [f"{value:.3f}" for value in val_auc], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="validation AUC", xlim=(0.5, 1.06), title=title)
    return figure
