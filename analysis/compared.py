"""Models and inputs side by side, always on the same images: a sweep with folds judges more of them than one without.

Which model is best; what fine-tuning brought; which backbone, tap and pooling carries the signal.
"""

from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

from analysis import figures
from analysis.evaluate import Interval, auc_difference, auc_intervals
from analysis.figures import Bar, Picture
from analysis.predictions import predictions_file
from analysis.sweeps import Sweep

ABOUT = ["digest", "label", "group"]  # columns of scores-inputs.csv that are no scores


def comparable_aucs(folders: list[Path]) -> list[float] | None:
    """Validation AUC of every run on the images that all of them judged; None where those are of one class."""
    tables = [pd.read_csv(predictions_file(folder, "val")).set_index("path") for folder in folders]
    scores = pd.concat([table.score for table in tables], axis=1, join="inner")
    fake = tables[0].label[scores.index] == "fake"
    if fake.nunique() < 2:
        return None
    return [float(roc_auc_score(fake, scores.iloc[:, number])) for number in range(len(folders))]


def auc_gain(before: Path, after: Path) -> Interval:
    """How far the test AUC of one run is above another's; both folders hold predictions of the same test split."""
    tables = [
        pd.read_csv(predictions_file(folder, "test"), dtype={"group": str}, keep_default_na=False).set_index("path")
        for folder in (before, after)
    ]
    scores = pd.concat([table.score for table in tables], axis=1, join="inner")
    about = tables[0].loc[scores.index]
    return auc_difference(scores.to_numpy(float), (about.label == "fake").to_numpy(), about.group.to_numpy())


def compared_inputs(sweeps: list[Sweep]) -> Picture | None:
    """AUC that the best convex head reaches on each choice of inputs of every backbone, on the images common to all."""
    columns = _columns(sweeps)
    if not columns:
        return None
    together = pd.concat([column.rename(name) for name, (_, column) in columns.items()], axis=1, join="inner")
    about = pd.concat([sweep.scores for sweep in sweeps]).groupby(level=0)[["label", "group"]].first()
    about = about.loc[together.index]
    intervals = auc_intervals(together.to_numpy(float), (about.label == "fake").to_numpy(), about.group.to_numpy())
    bars = [
        Bar(name, interval, kind, several=_order(name) > 0)
        for (name, (kind, _)), interval in zip(columns.items(), intervals, strict=True)
    ]
    best = max(bars, key=lambda bar: bar.interval.value)
    alone = max((bar for bar in bars if not bar.several), key=lambda bar: bar.interval.value, default=best)
    found = ", ".join(
        f"{bar.name} {bar.interval.value:.3f} [{bar.interval.low:.3f}, {bar.interval.high:.3f}]"
        for bar in dict.fromkeys((best, alone))
    )
    return Picture(
        "inputs",
        figures.bars(bars, xlabel="validation AUC", title="Which features carry the signal"),
        f"Validation AUC of the best convex head on each of {len(bars)} choices of inputs; highest: {found}",
        f"Best convex head on each feature alone (filled) and on several together (hatched), on {len(together)} "
        "held-out images with 95 % bootstrap intervals over groups. The penalty was chosen on the same images.",
    )


def _columns(sweeps: list[Sweep]) -> dict[str, tuple[str, pd.Series]]:
    """Name -> backbone and held-out scores of each choice of inputs; of two of one name the better model's."""
    several = len({sweep.result.backbone for sweep in sweeps}) > 1 or "+" in sweeps[0].result.backbone
    mixed = len({sweep.result.random_weights for sweep in sweeps}) > 1
    found: dict[str, tuple[str, pd.Series]] = {}
    for sweep in sweeps:
        random = " (random weights)" if mixed and sweep.result.random_weights else ""
        for choice in sorted(sweep.scores.columns.difference(ABOUT, sort=False), key=_order):
            name = _full_name(choice, sweep.result.backbone) if several else choice
            kind = _bare(name).partition("/")[0] if several else sweep.result.backbone
            found.setdefault(name + random, (kind + random, sweep.scores[choice]))
    return found


def _full_name(name: str, backbone: str) -> str:
    """With the backbone, spelled as a sweep over several backbones spells it."""
    if name == "all":
        return f"all of {backbone}"
    if "+" in backbone:
        return name
    return f"up to {backbone}/{_bare(name)}" if name.startswith("up to ") else f"{backbone}/{name}"


def _bare(name: str) -> str:
    return name.removeprefix("up to ").removeprefix("all of ")


def _order(name: str) -> int:
    """Features alone first, then the first few together, then all."""
    return 2 if name == "all" or name.startswith("all of ") else int(name.startswith("up to "))
