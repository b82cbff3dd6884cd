"""Which backbone, tap and pooling carries the signal: the inputs of all sweeps, judged on the same images."""

import pandas as pd

from analysis.found.sweeps import Sweep
from analysis.judge.evaluate import auc_intervals
from analysis.page.pictures import charts
from analysis.page.pictures.charts import Bar, Picture
from heads.predictions import ABOUT


def inputs_picture(sweeps: list[Sweep]) -> Picture | None:
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
        charts.bars(bars, xlabel="validation AUC", title="Which features carry the signal"),
        f"Validation AUC of the best convex head on each of {len(bars)} choices of inputs; highest: {found}",
        f"Best convex head on each feature alone (filled) and on several together (hatched), on {len(together)} "
        "held-out images with 95 % intervals over groups. The penalty was chosen on the same images.",
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
