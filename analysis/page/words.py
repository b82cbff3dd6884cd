"""What the sentences of the page need to know and no table holds."""

from datetime import datetime
from typing import Any

from analysis.found.cost import Saving
from analysis.found.models import Model
from analysis.found.sweeps import Sweep
from analysis.judge.bootstrap import FEWEST_GROUPS, too_few
from analysis.page import results
from cache import runs
from data.audit import SHORTCUT_AUC, Audit
from data.manifest import Manifest

FEW_REALS = 100  # below, 1 % of them is less than one


def of_data(manifest: Manifest, audit: Audit) -> dict[str, Any]:
    """kinds of files; the strongest shortcut and the limit for warnings; how many images are black by choice."""
    return {
        "kinds": _kinds(manifest), "black": int((manifest.rows.status == "black").sum()),
        "shortcut_limit": SHORTCUT_AUC, "strongest": next(iter(audit.shortcuts.items()), None),
    }  # fmt: skip


def of_model(best: Model, saved: Saving | None) -> dict[str, Any]:
    """Where its threshold and band lie and what they do, what it cost, how to make it again."""
    val, shown = best.predictions("val"), best.predictions(best.split)
    reals = int((~val.fake).sum())
    made = runs.read_json(best.folder / "environment.json")
    return {
        "drifts": results.drifts(best), "decided": results.decided(best), "fake_share": val.fake.mean(),
        "few_reals": reals if reals < FEW_REALS else 0,
        "few_groups": FEWEST_GROUPS if too_few(shown.fake, shown.groups) else 0,
        "probability_at_threshold": best.calibration.probability(best.calibration.threshold),
        "band": tuple(map(best.calibration.probability, best.calibration.band)),
        "costs_of_best": _costs(best, saved), "trained_in": made, "made_by": command(made),
        "written": datetime.now().strftime("%Y-%m-%d"),
    }  # fmt: skip


def _kinds(manifest: Manifest) -> str:
    """What the files are: the commonest sizes and formats."""
    rows = manifest.rows[manifest.rows.status == "ok"]
    sizes = (rows.width.astype(str) + "x" + rows.height.astype(str) + " " + rows.format).value_counts()
    if len(sizes) == 1:
        return f"all {sizes.index[0]}"
    shown = [f"{100 * count / len(rows):.0f} % {what}" for what, count in sizes.head(3).items()]
    return ", ".join(shown) + (f", and {len(sizes) - 3} more" if len(sizes) > 3 else "")


def _costs(best: Model, saved: Saving | None) -> list[str]:
    """saved: of the best sweep, which the best model need not come from."""
    of_sweep = best.made.stage == Sweep.stage
    what = "the sweep" if of_sweep else "fine-tuning"
    features = [f"extraction and sweep together took {saved.seconds:.0f} s"] if saved and of_sweep else []
    return features or [f"{what} took {best.made.result.seconds:.0f} s"]


def command(environment: dict) -> str:
    """What to type to do again what a run's environment.json tells of."""
    return f".venv/bin/python -m {environment['command']}"
