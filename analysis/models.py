"""The finished runs on a data set as it is now -> models with what they reached, the best first."""

from dataclasses import dataclass
from pathlib import Path

from analysis.compared import comparable_aucs
from analysis.evaluate import Evaluation, Predictions, choose_threshold, evaluate, predictions_file, read_predictions
from analysis.other import Other, read_other, scored_elsewhere
from analysis.sweeps import Sweep, how_chosen, read_sweep
from analysis.trainings import Training, how_trained, read_training, trainings_on
from cache import runs
from cache.errors import UserError
from data.manifest import Manifest
from finetune.outcome import finished
from heads.outcome import VERSION, SweepResult


@dataclass(frozen=True)
class Model:
    """The chosen head of a sweep, or a fine-tuned detector, with what it reached.

    test: None where no test images of both classes were scored. other: by data set.
    """

    folder: Path
    made: Sweep | Training
    val: Evaluation
    test: Evaluation | None
    other: dict[str, Other]

    @property
    def run(self) -> str:
        return self.folder.name

    @property
    def shown(self) -> Evaluation:
        """What the page shows most of: the test split, or validation where there is none."""
        return self.test or self.val

    @property
    def how_chosen(self) -> str:
        """In words."""
        return how_chosen(self.made) if isinstance(self.made, Sweep) else how_trained(self.made)

    def predictions(self, split: str) -> Predictions | None:
        """None where the split was not scored."""
        return read_predictions(predictions_file(self.folder, split))


def find_models(manifest: Manifest) -> list[Model]:
    """The best first: by AUC on the validation images that all of them judged; of equals, heads before detectors.

    Raises:
        UserError: there is none.
    """
    made = _sweeps(manifest) | _trainings(manifest)
    if not made:
        raise UserError(f"no finished run on {manifest.dataset} as it is now: run `make heads DATA=...` first")
    elsewhere = scored_elsewhere([folder.name for folder in made])
    models = [_model(folder, each, elsewhere[folder.name]) for folder, each in made.items()]
    aucs = comparable_aucs(list(made)) or [model.val.metrics["auc"].value for model in models]
    ranked = sorted(zip(aucs, models, strict=True), key=lambda each: -each[0])
    return [model for _, model in ranked]


def of_stage(models: list[Model], stage: str) -> list[Model]:
    """In the same order."""
    return [model for model in models if model.made.stage == stage]


def _sweeps(manifest: Manifest) -> dict[Path, Sweep | Training]:
    """By run folder."""
    found = {}
    for folder in runs.complete_runs(Sweep.stage):
        record = runs.result(folder)
        if record.get("version") != VERSION:
            _say_left_out(folder)
        elif (record["dataset"], record["manifest_key"]) == (manifest.dataset, manifest.key):
            found[folder] = read_sweep(folder, SweepResult(**record))
    return found


def _trainings(manifest: Manifest) -> dict[Path, Sweep | Training]:
    """By run folder."""
    readable = dict(finished())
    for folder in runs.complete_runs(Training.stage):
        if folder not in readable:
            _say_left_out(folder)
    return {folder: read_training(folder, result) for folder, result in trainings_on(manifest)}


def _say_left_out(folder: Path) -> None:
    print(f"report: {folder.name} was made by another version of the program and is left out")


def _model(folder: Path, made: Sweep | Training, elsewhere: list[Path]) -> Model:
    val, test = (read_predictions(predictions_file(folder, split)) for split in ("val", "test"))
    threshold = choose_threshold(val.scores, val.fake)
    two_classes = test is not None and 0 < test.fake.sum() < len(test.fake)
    evaluated = [
        evaluate(each.scores, each.fake, each.groups, threshold=threshold) if each else None
        for each in (val, test if two_classes else None)
    ]
    other = {each.result.dataset: each for each in (read_other(path, threshold) for path in elsewhere)}
    return Model(folder, made, *evaluated, other)
