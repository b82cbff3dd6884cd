"""What the sentences of the page need to know and no table holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analysis.found.commands import command, commands
from analysis.found.comparisons import auc_gain
from analysis.found.models import Model
from analysis.found.other_data import OtherData, other_data
from analysis.found.sentences import caveats, chosen_by, drifts, how_made
from analysis.found.sweep_seconds import sweep_seconds
from analysis.found.sweeps import Sweep
from analysis.judge.bootstrap import FEWEST_GROUPS, too_few
from analysis.judge.false_alarms import error_free_needed, false_alarms
from analysis.judge.intervals import Interval
from analysis.judge.rules import DEFAULT_RULE, RULES
from analysis.page.contents import Contents
from cache import runs
from cache.environment import describe_environment
from data import splits
from data.audit.examined import Audit
from data.audit.shortcuts import CONTENT_LIMIT, LIMIT, TOGETHER
from data.manifest import Manifest
from data.perturb import COPIES

SIGNED = 0.01  # false alarms that people would sign
FEW_REALS = 100  # below, 1 % of them is less than one


@dataclass(frozen=True)
class Gain:
    """What fine-tuning changed on the test split. before: the cached head that `after` started from."""

    before: Model
    after: Model
    difference: Interval


def template_values(contents: Contents) -> Mapping[str, Any]:
    """What the words of the page need beside tables and pictures."""
    distinct = contents.manifest.usable.rows.digest.nunique()
    seconds = sweep_seconds(contents.models, contents.extractions, distinct=distinct)
    first, environment = next(iter(contents.perturbed.values()), None), describe_environment()
    models, best, heat = contents.models, contents.best, contents.heat
    others = other_data(each for model in models for each in model.other.values())
    scorings = runs.test_scorings(contents.manifest.dataset)
    next_best = next(iter(contents.comparisons), None)
    return {
        "manifest": contents.manifest, "audit": contents.audit, "models": models, "best": best,
        "evaluation": best.evaluation, "split": "test" if best.test else "validation", "sweeps": contents.sweeps,
        "gain": _gain(contents), "other_data": others, "perturbed": first.result if first else None,
        "elsewhere": [(each, best.other[each.dataset]) for each in others if each.dataset in best.other],
        "scorings": scorings, "scored_more": scorings > _own_scorings(models), "too_small": contents.slices.too_small,
        "unseen": contents.unseen, "unseen_by_detector": contents.unseen_by_detector,
        "carries_over": contents.carries_over, "by_group": best.by_group, "next_best": next_best,
        "next_best_title": next((each.title for each in models if next_best and each.run == next_best.second), ""),
        "heat": heat, "no_heat": contents.config.no_heat_maps, "environment": environment,
        "again": commands(models, [heat.folder] if heat else [], last=command(environment)),
        "sections": _sections(contents, others), "few_images": _few_images(contents),
        **_of_data(contents.manifest, contents.audit), **_of_model(best, seconds),
    }  # fmt: skip


def _own_scorings(models: list[Model]) -> int:
    """How often the test split was scored for the models that are shown: each, and its perturbed copies."""
    return sum(bool(each.test) + bool(each.perturbed) for each in models)


def _sections(contents: Contents, others: list[OtherData]) -> dict[str, str]:
    """Anchor -> title, as far as they are on the page."""
    known = {
        "data": ("Data and audit", True), "models": ("Models", True), "chosen": ("The chosen model", True),
        "slices": ("Slices", True), "groups": ("Groups", contents.best.by_group),
        "generators": ("Generators", contents.on_generators), "elsewhere": ("Other data", others),
        "perturbed": ("Perturbations", contents.perturbed), "heat": ("Heat maps", contents.heat),
        "images": ("Images", contents.config.faces), "sweep": ("The sweep", contents.sweeps),
        "finetune": ("Fine-tuning", contents.trainings), "cost": ("Cost", True), "made": ("How it was made", True),
        "words": ("Words", True),
    }  # fmt: skip
    return {anchor: title for anchor, (title, there) in known.items() if there}


def _few_images(contents: Contents) -> list[str]:
    """What is to be said of small splits: with folds all images chose, however few val has."""
    found = splits.warnings(contents.audit.counts)
    return [each for split, each in found.items() if split == "test" or not contents.best.made.crosses]


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


def where_band(model: Model) -> str:
    """On which side of the threshold the uncertain scores lie."""
    (low, high), threshold = model.calibration.band, model.calibration.threshold
    sides = {"below": low < threshold, "above": threshold < high}
    return " and ".join(side for side, there in sides.items() if there)


def _of_data(manifest: Manifest, audit: Audit) -> dict[str, Any]:
    """kinds of files; the strongest shortcut and the limit for warnings; images black by choice."""
    return {
        "kinds": _kinds(manifest), "black": int((manifest.rows.status == "black").sum()),
        "made_by_generators": _generators(manifest), "copies": [each.words for each in COPIES],
        "shortcut_limit": LIMIT, "content_limit": CONTENT_LIMIT, "shortcut": _shortcut(audit),
    }  # fmt: skip


def _shortcut(audit: Audit) -> str:
    """What the strongest trivial thing reaches, in words; '' where none was tried."""
    if not audit.shortcuts:
        return ""
    name, auc = max(audit.shortcuts.items(), key=lambda each: each[1])
    what = "file size, sharpness and others together reach" if name == TOGETHER else f"{name} alone reaches"
    return f"{what} AUC {auc:.2f} without a look at the faces"


def _of_model(best: Model, seconds: float | None) -> dict[str, Any]:
    """Where its threshold and band lie and what they do, and what it cost."""
    val, judged = best.predictions("val"), best.predictions(best.split)
    reals = int((~val.fake).sum())
    made = runs.read_json(best.folder / "environment.json")
    return {
        "how_made": how_made(best.made), "caveats": caveats(best.made),
        "chosen_by": chosen_by(best.made) if isinstance(best.made, Sweep) else "", "drifts": drifts(best),
        "decided": decided_wrongly(best),
        "fake_share": val.fake.mean(),
        "few_reals": reals if reals < FEW_REALS else 0,
        "few_groups": FEWEST_GROUPS if too_few(judged.fake, judged.groups) else 0,
        "probability_at_threshold": best.calibration.probability(best.calibration.threshold),
        "band": tuple(map(best.calibration.probability, best.calibration.band)), "where_band": where_band(best),
        "false_alarms": false_alarms(judged, best.calibration.threshold, split=best.split),
        "error_free": error_free_needed(SIGNED), "rule_meaning": RULES[DEFAULT_RULE].meaning,
        "cost_of_best": _cost(best, seconds), "trained_in": made,
        "written": datetime.now().strftime("%Y-%m-%d"),
    }  # fmt: skip


def _generators(manifest: Manifest) -> str:
    """Who made the fakes, so that nobody takes figures of one generator for figures of all."""
    rows = manifest.usable.rows
    names = sorted(set(manifest.usable.generator[(rows.label == "fake").to_numpy()]) - {""})
    if not names:
        return "Nothing is known of what made the fakes; figures say nothing of other generators."
    if len(names) == 1:
        return f"All fakes that are named are of {names[0]}: figures say nothing of other generators."
    return f"The fakes are of {len(names)} generators ({', '.join(names)}); figures say nothing of others."


def _kinds(manifest: Manifest) -> str:
    """What the files are: the commonest sizes and formats."""
    rows = manifest.rows[manifest.rows.status == "ok"]
    sizes = (rows.width.astype(str) + "x" + rows.height.astype(str) + " " + rows.format).value_counts()
    if len(sizes) == 1:
        return f"all {sizes.index[0]}"
    common = [f"{100 * count / len(rows):.0f} % {what}" for what, count in sizes.head(3).items()]
    return ", ".join(common) + (f", and {len(sizes) - 3} more" if len(sizes) > 3 else "")


def _cost(best: Model, seconds: float | None) -> str:
    """seconds: of the best sweep and its extraction, which the best model need not come from."""
    of_sweep = best.made.stage == Sweep.stage
    if seconds and of_sweep:
        return f"extraction and sweep together took {seconds:.0f} s"
    return f"{'the sweep' if of_sweep else 'fine-tuning'} took {best.made.result.seconds:.0f} s"
