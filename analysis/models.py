"""The finished runs on a data set as it is now -> models with what they reached, the best first."""

from dataclasses import dataclass
from pathlib import Path

from analysis.calibrate import Calibration, calibration_of
from analysis.compared import comparable_aucs
from analysis.evaluate import Evaluation, evaluate
from analysis.other import Other, read_other, scored_elsewhere
from analysis.predictions import Predictions, predictions_file, read_predictions
from analysis.sweeps import Sweep, how_chosen, read_sweep
from analysis.trainings import Training, how_trained, read_training, trainings_on
from cache import runs
from cache.errors import UserError
from data.manifest import Manifest
from finetune.outcome import finished
from heads.outcome import VERSION, SweepResult


@dataclass(frozen=True)
class Run:
    """A finished sweep or training."""

    folder: Path
    made: Sweep | Training


@dataclass(frozen=True)
class Model:
    """The chosen head of a sweep, or a fine-tuned detector, with what it reached.

    test: None where no test images of both classes were scored. other: by data set.
    """

    folder: Path
    made: Sweep | Training
    calibration: Calibration
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
    """The best first, as `ranked_runs` has them.

    Raises:
        UserError: there is none.
    """
    ranked = ranked_runs(manifest)
    if not ranked:
        raise UserError(f"no finished run on {manifest.dataset} as it is now: run `make heads DATA=...` first")
    elsewhere = scored_elsewhere([each.folder.name for each in ranked])
    return [_model(each, elsewhere[each.folder.name]) for each in ranked]


def ranked_runs(manifest: Manifest) -> list[Run]:
    """By AUC on the validation images that all of them judged; of equals, heads before detectors."""
    made = _sweeps(manifest) | _trainings(manifest)
    folders = list(made)
    aucs = comparable_aucs(folders) or [made[folder].result.val_auc for folder in folders] if made else []
    ranked = sorted(zip(aucs, folders, strict=True), key=lambda each: -each[0])
    return [Run(folder, made[folder]) for _, folder in ranked]


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


def _model(run: Run, elsewhere: list[Path]) -> Model:
    calibration = calibration_of(run.folder)
    val, test = (read_predictions(predictions_file(run.folder, split)) for split in ("val", "test"))
    two_classes = test is not None and 0 < test.fake.sum() < len(test.fake)
    evaluated = [
        evaluate(each.scores, each.fake, each.groups, threshold=calibration.threshold) if each else None
        for each in (val, test if two_classes else None)
    ]
    other = {each.result.dataset: each for each in (read_other(path, calibration.threshold) for path in elsewhere)}
    return Model(run.folder, run.made, calibration, *evaluated, other)
