"""The finished runs on a data set as it is now -> models with what they reached, the best first."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

from analysis.found.changed_images import Perturbed, read_perturbed
from analysis.found.other_data import Other, read_other, scored_elsewhere
from analysis.found.sweeps import Sweep, read_sweep
from analysis.found.trainings import Training, read_training, trainings_on
from analysis.judge.calibrate import Calibration, calibrate
from analysis.judge.evaluate import Evaluation, evaluate
from analysis.judge.per_group import ByGroup, by_group
from cache import runs
from cache.errors import UserError
from data.manifest import Manifest
from finetune.training_result import finished
from heads.predictions import Predictions, predictions_file, read_predictions
from heads.sweep.sweep_result import VERSION, SweepResult


@dataclass(frozen=True)
class Run:
    """A finished sweep or training, whose saved scores are read once.

    scored: what was read so far, by split.
    """

    folder: Path
    made: Sweep | Training
    scored: dict[str, Predictions | None] = field(default_factory=dict, kw_only=True, repr=False, compare=False)

    @property
    def run(self) -> str:
        """Its name."""
        return self.folder.name

    def predictions(self, split: str) -> Predictions | None:
        """None where the split was not scored."""
        if split not in self.scored:
            self.scored[split] = read_predictions(predictions_file(self.folder, split))
        return self.scored[split]


@dataclass(frozen=True)
class Model(Run):
    """The chosen head of a sweep, or a fine-tuned detector, with what it reached.

    test: None where no test image was scored; of one class alone it has no AUC. other: by data set.
    perturbed: None where it was not tried. by_group: None where no images belong together.
    """

    calibration: Calibration
    val: Evaluation
    test: Evaluation | None
    other: dict[str, Other]
    perturbed: Perturbed | None
    by_group: ByGroup | None = None

    @property
    def title(self) -> str:
        """Network and head, or network and recipe."""
        return f"{self.made.title}: {self.made.name}"

    @property
    def split(self) -> str:
        """What `evaluation` is of: test, or val where no test image was scored."""
        return "test" if self.test else "val"

    @property
    def evaluation(self) -> Evaluation:
        """What it reached on the test split, or on validation where there is none."""
        return self.test or self.val


def find_models(manifest: Manifest) -> list[Model]:
    """The best first, as `ranked_runs` has them.

    Raises:
        UserError: there is none.
    """
    ranked = ranked_runs(manifest)
    if not ranked:
        raise UserError(f"no finished run on {manifest.dataset} as it is now: run `make heads DATA=...` first")
    elsewhere = scored_elsewhere([each.folder for each in ranked])
    return [_model(each, elsewhere[each.folder.name]) for each in ranked]


def ranked_runs(manifest: Manifest) -> list[Run]:
    """The finished runs on a data set as it is now, the best first.

    By AUC on the validation images that all of them judged; of equals, heads before detectors.
    """
    made = _with_predictions(_sweeps(manifest) | _trainings(manifest))
    found = [Run(folder, each) for folder, each in made.items()]
    aucs = comparable_aucs(found) or [run.made.result.val_auc for run in found] if found else []
    return [run for _, run in sorted(zip(aucs, found, strict=True), key=lambda each: -each[0])]


def comparable_aucs(found: list[Run]) -> list[float] | None:
    """Validation AUC of every run on the images that all of them judged; None where those are of one class."""
    judged = [run.predictions("val") for run in found]
    scores = pd.concat([pd.Series(each.scores, each.paths) for each in judged], axis=1, join="inner")
    fake = pd.Series(judged[0].fake, judged[0].paths)[scores.index]
    if fake.nunique() < 2:
        return None
    return [float(roc_auc_score(fake, scores.iloc[:, number])) for number in range(len(found))]


def of_stage(models: list[Model], stage: str) -> list[Model]:
    """In the same order."""
    return [model for model in models if model.made.stage == stage]


def _sweeps(manifest: Manifest) -> dict[Path, Sweep | Training]:
    """Run folder -> sweep, of all that this version of the program made."""
    found = {}
    for folder, record in runs.find(Sweep.stage):
        if record.get("version") != VERSION:
            _say_left_out(folder)
        elif (record["dataset"], record["manifest_key"]) == (manifest.dataset, manifest.key):
            found[folder] = read_sweep(folder, record.into(SweepResult))
    return found


def _trainings(manifest: Manifest) -> dict[Path, Sweep | Training]:
    """Run folder -> training, of all that this version of the program made."""
    readable = dict(finished())
    for folder, _ in runs.find(Training.stage):
        if folder not in readable:
            _say_left_out(folder)
    return {folder: read_training(folder, result) for folder, result in trainings_on(manifest)}


def _with_predictions(made: dict[Path, Sweep | Training]) -> dict[Path, Sweep | Training]:
    """A run that lost them cannot be judged."""
    for folder in made:
        if not predictions_file(folder, "val").exists():
            print(f"report: {folder} has no {predictions_file(folder, 'val').name} and is left out; delete the folder "
                  "and make the run again")  # fmt: skip
    return {folder: each for folder, each in made.items() if predictions_file(folder, "val").exists()}


def _say_left_out(folder: Path) -> None:
    print(f"report: {folder.name} was made by another version of the program and is left out")


def _model(run: Run, elsewhere: list[Path]) -> Model:
    judged = run.predictions("val")
    calibration = calibrate(judged.scores, judged.fake)
    val, test = (_evaluation(run.predictions(split), calibration) for split in ("val", "test"))
    others = (read_other(path, calibration, judged) for path in elsewhere)
    other = {each.result.dataset: each for each in others}
    groups = by_group(judged, run.predictions("test"))
    perturbed = read_perturbed(run.folder, calibration)
    return Model(run.folder, run.made, calibration, val, test, other, perturbed, groups, scored=run.scored)


def _evaluation(found: Predictions | None, calibration: Calibration) -> Evaluation | None:
    """None where nothing of the split was scored."""
    if found is None or not len(found.scores):
        return None
    return evaluate(found.scores, found.fake, found.groups, calibration=calibration)
