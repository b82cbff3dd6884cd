"""The model card of an exported run (Mitchell et al. 2019, arXiv:1810.03993), as Markdown from its own figures.

Its header is what programs read: huggingface_hub builds and checks it, offline. The text is this project's own, because
the library's template leaves most of its sections to be filled in by hand.
"""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.export.onnx_graph import Parity
from analysis.found.models import Model, find_models
from analysis.found.sentences import caveats, drifts, how_made
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
from data.audit.examined import Audit, audit_of
from data.manifest import Manifest
from finetune.detectors.image_scorer import model_file

TEMPLATE = "card.md.j2"
TASK = "image-classification"
# Metrics of the header, which are the first rows of the table.
FIRST = ("auc", "accuracy", "balanced_accuracy", "accuracy_real", "accuracy_fake")
FEW_TEST_IMAGES = 1000  # below which the card says that they are few


@dataclass(frozen=True)
class Column:
    """A column of the table: what a run reached on the images of a data set's split."""

    title: str
    dataset: str
    split: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Figures:
    """What a run reached and on what data; missing: why that cannot be said, in words, where both are None."""

    model: Model | None
    audit: Audit | None
    missing: str = ""

    @property
    def columns(self) -> list[Column]:
        """Validation, test, and every other data set that was scored."""
        if self.model is None:
            return []
        own = {"validation": self.model.val, "test": self.model.test}
        made = [Column(split, self.audit.dataset, split, each) for split, each in own.items() if each]
        return made + [
            Column(f"other data: {name}", name, "all", each.evaluation) for name, each in self.model.other.items()
        ]


def card(folder: Path, calibration: Calibration, how: Preprocess, parity: Parity, digest: str) -> str:
    """README.md of an export.

    Args:
        folder: of the run. parity: of the graph with the detector. digest: sha256 of model.onnx.
    """
    figures, made_file, result = _figures_of(folder), model_file(folder), runs.result(folder)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template(TEMPLATE).render(
        run=folder.name, result=dict(result), network=result.get("network") or result["backbone"],
        model=figures.model, audit=figures.audit, missing=figures.missing,
        columns=figures.columns, metrics=_metrics(figures.columns), written=_written,
        how_made=" ".join([how_made(figures.model.made), *caveats(figures.model.made)]) if figures.model else "",
        drifts=drifts(figures.model) if figures.model else [],
        calibration=calibration, rule=DEFAULT_RULE, rules=RULES, how=how, parity=parity, few=FEW_TEST_IMAGES,
        made=runs.read_json(folder / "environment.json"), exported=describe_environment(),
        scorings=runs.test_scorings(result["dataset"]),
        digests={"model.onnx": digest, made_file.name: file_digest(made_file)},
    )  # fmt: skip
    return str(ModelCard(f"---\n{_header(folder.name, figures.columns).to_yaml()}\n---\n\n{text}"))


def _header(name: str, columns: list[Column]) -> ModelCardData:
    results = [
        EvalResult(
            task_type=TASK, dataset_type=each.dataset, dataset_name=each.dataset, dataset_split=each.split,
            metric_type=metric.name, metric_name=metric.label, metric_value=each.evaluation.metrics[metric.name].value,
        )
        for each in columns for metric in map(METRICS.get, FIRST) if metric.name in each.evaluation.metrics
    ]  # fmt: skip
    about = {"library_name": "onnx", "pipeline_tag": TASK, "tags": ["real-or-fake-faces"]}
    return ModelCardData(model_name=name, eval_results=results or None, **about)


def _figures_of(folder: Path) -> Figures:
    """The only place that asks the other parts of the analysis for figures."""
    try:
        manifest = Manifest.load(Path(runs.read_json(folder / "config.json")["manifest"]))
        found = {each.folder.resolve(): each for each in find_models(manifest)}
        return Figures(found[folder.resolve()], audit_of(manifest))
    except KeyError:
        return Figures(None, None, "the data set has changed since the run, or it only tried that everything runs")
    except UserError as error:
        return Figures(None, None, str(error))


def _metrics(columns: list[Column]) -> list[Metric]:
    """Those that some column has, those first that are asked for first."""
    found = {name for each in columns for name in each.evaluation.metrics}
    return [METRICS[name] for name in dict.fromkeys((*FIRST, *METRICS)) if name in found]


def _written(interval: Interval | None, digits: int) -> str:
    if interval is None:
        return "–"
    value, low, high = (f"{each:.{digits}f}" for each in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"
