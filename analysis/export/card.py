"""The model card of an exported run (Mitchell et al. 2019, arXiv:1810.03993), as Markdown from its own figures."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.export.onnx_graph import Parity
from analysis.found.models import Model, find_models
from analysis.found.sentences import drifts, how_made
from analysis.judge.calibrate import Calibration
from analysis.judge.evaluate import Evaluation
from analysis.judge.intervals import Interval
from analysis.judge.metrics import METRICS, Metric
from analysis.judge.rules import DEFAULT_RULE, RULES
from cache import runs
from cache.environment import describe_environment
from cache.errors import UserError
from cache.features import Preprocess
from cache.key import file_digest
from data.audit import Audit, examine
from data.manifest import Manifest
from finetune.scorer import model_file

TEMPLATE = "card.md.j2"
FIRST = ("auc", "accuracy", "balanced_accuracy", "accuracy_real", "accuracy_fake")  # rows of the table; others follow
FEW_TEST_IMAGES = 1000  # below which the card says that they are few


@dataclass(frozen=True)
class Figures:
    """What a run reached and on what data; missing: why that cannot be said, in words, where both are None."""

    model: Model | None
    audit: Audit | None
    missing: str = ""


def card(folder: Path, calibration: Calibration, how: Preprocess, parity: Parity, digest: str) -> str:
    """README.md of an export.

    Args:
        folder: of the run. parity: of the graph with the detector. digest: sha256 of model.onnx.
    """
    figures, made_file = _figures_of(folder), model_file(folder)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made, result = runs.read_json(folder / "environment.json"), runs.result(folder)
    return environment.get_template(TEMPLATE).render(
        run=folder.name, result=dict(result), network=result.get("network") or result["backbone"],
        model=figures.model, audit=figures.audit, missing=figures.missing,
        columns=_columns(figures.model), metrics=_metrics(figures.model),
        how_made=how_made(figures.model.made) if figures.model else "",
        drifts=drifts(figures.model) if figures.model else [],
        written=_written,
        calibration=calibration, rule=DEFAULT_RULE, rules=RULES, how=how, parity=parity, few=FEW_TEST_IMAGES, made=made,
        exported=describe_environment(), scorings=runs.test_scorings(result["dataset"]),
        digests={"model.onnx": digest, made_file.name: file_digest(made_file)},
    )  # fmt: skip


def _figures_of(folder: Path) -> Figures:
    """The only place that asks the other parts of the analysis for figures."""
    try:
        manifest = Manifest.load(Path(runs.read_json(folder / "config.json")["manifest"]))
        found = {each.folder.resolve(): each for each in find_models(manifest)}
        return Figures(found[folder.resolve()], examine(manifest))
    except KeyError:
        return Figures(None, None, "the data set has changed since the run, or it only tried that everything runs")
    except UserError as error:
        return Figures(None, None, str(error))


def _columns(model: Model | None) -> dict[str, Evaluation]:
    """Validation, test, and every other data set that was scored."""
    if model is None:
        return {}
    own = {"validation": model.val, "test": model.test}
    other = {f"other data: {name}": each.evaluation for name, each in model.other.items()}
    return {name: each for name, each in (own | other).items() if each}


def _metrics(model: Model | None) -> list[Metric]:
    """Those first that are asked for first."""
    found = {name for each in _columns(model).values() for name in each.metrics}
    return [METRICS[name] for name in dict.fromkeys((*FIRST, *METRICS)) if name in found]


def _written(interval: Interval | None, digits: int) -> str:
    if interval is None:
        return "–"
    value, low, high = (f"{each:.{digits}f}" for each in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"
