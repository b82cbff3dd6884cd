"""What the sentences of the page need to know and no table holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analysis.found.comparisons import auc_gain
from analysis.found.models import Model
from analysis.found.other_data import other_data
from analysis.found.savings import Saving, saving
from analysis.found.sentences import drifts, how_made
from analysis.found.sweeps import Sweep
from analysis.judge.bootstrap import FEWEST_GROUPS, too_few
from analysis.judge.intervals import Interval
from analysis.page.contents import Contents
from cache import runs
from cache.environment import describe_environment
from data.audit.findings import Audit
from data.audit.shortcuts import CONTENT_LIMIT, LIMIT
from data.manifest import Manifest

FEW_REALS = 100  # below, 1 % of them is less than one


@dataclass(frozen=True)
class Gain:
    """What fine-tuning changed on the test split. before: the cached head that `after` started from."""

    before: Model
    after: Model
    difference: Interval


def template_values(contents: Contents) -> Mapping[str, Any]:
    """What the words of the page need beside tables and pictures."""
    saved = saving(contents.models, contents.extractions, distinct=contents.manifest.usable.rows.digest.nunique())
    first, environment = next(iter(contents.perturbed.values()), None), describe_environment()
    others = other_data(each for model in contents.models for each in model.other.values())
    return {
        "manifest": contents.manifest, "audit": contents.audit, "models": contents.models, "best": contents.best,
        "evaluation": contents.best.evaluation, "split": "test" if contents.best.test else "validation",
        "sweeps": contents.sweeps, "gain": _gain(contents), "other_data": others, "saved": saved,
        "perturbed": first.result if first else None,
        "scorings": runs.test_scorings(contents.manifest.dataset), "too_small": contents.slices.too_small,
        "unseen": contents.unseen,
        "heat": contents.heat, "no_heat": contents.config.no_heat_maps, "environment": environment,
        "again": command(environment),
        **_of_data(contents.manifest, contents.audit), **_of_model(contents.best, saved),
    }  # fmt: skip


def _gain(contents: Contents) -> Gain | None:
    """What the best fine-tuned detector gained, if its head is on the page too and both have test figures."""
    for after in contents.trainings[:1]:
        before = next((model for model in contents.models if model.run == after.made.result.head_run), None)
        if before and before.test and after.test:
            difference = auc_gain(before, after)
            return Gain(before, after, difference) if difference else None
    return None


def decided_wrongly(model: Model) -> dict[str, float]:
    """Label -> share of its images in `model.split` that lie outside the uncertain band and are called wrongly."""
    found, calibration = model.predictions(model.split), model.calibration
    wrong = ((found.scores >= calibration.threshold) != found.fake) & ~calibration.uncertain(found.scores)
    classes = {"real": ~found.fake, "fake": found.fake}
    return {label: float(wrong[these].mean()) for label, these in classes.items() if these.any()}


def _of_data(manifest: Manifest, audit: Audit) -> dict[str, Any]:
    """kinds of files; the strongest shortcut and the limit for warnings; how many images are black by choice."""
    return {
        "kinds": _kinds(manifest), "black": int((manifest.rows.status == "black").sum()),
        "shortcut_limit": LIMIT, "content_limit": CONTENT_LIMIT, "strongest": next(iter(audit.shortcuts.items()), None),
    }  # fmt: skip


def _of_model(best: Model, saved: Saving | None) -> dict[str, Any]:
    """Where its threshold and band lie and what they do, what it cost, how to make it again."""
    val, judged = best.predictions("val"), best.predictions(best.split)
    reals = int((~val.fake).sum())
    made = runs.read_json(best.folder / "environment.json")
    return {
        "how_made": how_made(best.made), "drifts": drifts(best), "decided": decided_wrongly(best),
        "fake_share": val.fake.mean(),
        "few_reals": reals if reals < FEW_REALS else 0,
        "few_groups": FEWEST_GROUPS if too_few(judged.fake, judged.groups) else 0,
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
    common = [f"{100 * count / len(rows):.0f} % {what}" for what, count in sizes.head(3).items()]
    return ", ".join(common) + (f", and {len(sizes) - 3} more" if len(sizes) > 3 else "")


def _costs(best: Model, saved: Saving | None) -> list[str]:
    """saved: of the best sweep, which the best model need not come from."""
    of_sweep = best.made.stage == Sweep.stage
    what = "the sweep" if of_sweep else "fine-tuning"
    features = [f"extraction and sweep together took {saved.seconds:.0f} s"] if saved and of_sweep else []
    return features or [f"{what} took {best.made.result.seconds:.0f} s"]


def command(environment: dict) -> str:
    """What to type to do again what a run's environment.json tells of."""
    return f".venv/bin/python -m {environment['command']}"
