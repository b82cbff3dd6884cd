"""runs/other/* -> what each model reaches on other data sets, with all that its own validation data fixed."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from analysis.judge.calibrate import Calibration
from analysis.judge.evaluate import Evaluation, evaluate
from analysis.judge.intervals import Interval
from analysis.judge.per_group import GroupFigures, group_calibration, has_groups, judge_groups
from cache import paths, runs
from data.audit.examined import audit_of
from data.manifest import Manifest
from heads.elsewhere import OTHER, OTHER_VERSION, OtherResult
from heads.predictions import Predictions, read_predictions, validation_digest

PLAINLY = 0.05  # balanced accuracy; what a threshold loses below this is left to the tables


@dataclass(frozen=True)
class Other:
    """One model on one other data set. groups: None where no images of it belong together."""

    result: OtherResult
    evaluation: Evaluation
    groups: GroupFigures | None = None
    folder: Path | None = None

    @property
    def auc(self) -> Interval | None:
        """None where only one class was scored."""
        return self.evaluation.metrics.get("auc")

    @property
    def within_reach(self) -> float:
        """Balanced accuracy where both classes are called wrongly equally often: what the same scores allow."""
        return 1 - self.evaluation.metrics["eer"].value

    @property
    def is_off(self) -> bool:
        """Whether the threshold plainly does not carry over: its balanced accuracy is far below what is within reach.

        The intervals must be apart too, because one placed on a few images beats any other by chance.
        """
        if not self.auc:
            return False
        reached, error = (self.evaluation.metrics[name] for name in ("balanced_accuracy", "eer"))
        return reached.value < self.within_reach - PLAINLY and reached.high < 1 - error.high


@dataclass(frozen=True)
class OtherData:
    """A column of the tables. real, fake: images scored."""

    result: OtherResult
    real: int
    fake: int

    @property
    def dataset(self) -> str:
        return self.result.dataset

    @property
    def name(self) -> str:
        return f"{self.result.dataset}{' (synthetic)' if self.result.synthetic else ''}"

    @cached_property
    def warnings(self) -> list[str]:
        """What its own audit warns of: shortcuts between two classes, so nothing where one was scored."""
        manifest = Manifest.load(paths.manifest_file(self.result.dataset))
        return audit_of(manifest).warnings if self.real and self.fake else []


def scored_elsewhere(folders: Collection[Path]) -> dict[str, list[Path]]:
    """Run folders -> run name -> its finished folders of runs/other, by data set.

    What was scored of another data set than there is now, or by another run of the name, is stale: it is left out, and
    a line says so.
    """
    digests = {folder.name: validation_digest(folder) for folder in folders}
    finished = _finished(digests)
    keys = {dataset: _present_key(dataset) for dataset in {result.dataset for _, result in finished}}
    found: dict[str, dict[str, Path]] = {name: {} for name in digests}
    stale: dict[tuple[str, str], bool] = {}
    for folder, result in finished:
        same_data = result.manifest_key == keys[result.dataset]
        if same_data and result.scored == digests[result.run]:
            found[result.run][result.dataset] = folder
        else:
            stale[result.dataset, result.run] = same_data
    _say_stale(stale, found)
    return {name: [by_dataset[each] for each in sorted(by_dataset)] for name, by_dataset in found.items()}


def read_other(folder: Path, calibration: Calibration, val: Predictions) -> Other:
    """Figures of a finished folder of runs/other; val: what the model said of its own validation images."""
    found = read_predictions(folder / "predictions.csv")
    evaluation = evaluate(found.scores, found.fake, found.groups, calibration=calibration)
    groups = judge_groups(found, group_calibration(val)) if has_groups(found) else None
    return Other(runs.result(folder).into(OtherResult), evaluation, groups, folder)


def other_data(scored: Iterable[Other]) -> list[OtherData]:
    """Every other data set that some model was scored on, by name."""
    found = {each.result.dataset: OtherData(each.result, *map(sum, each.evaluation.confusion)) for each in scored}
    return [found[name] for name in sorted(found)]


def _finished(names: Collection[str]) -> list[tuple[Path, OtherResult]]:
    """Folders of runs/other that this version of the program made of some of the runs."""
    found = []
    for folder, record in runs.find(OTHER):
        if record.get("run") in names and record.get("version") != OTHER_VERSION:
            print(f"report: {folder.name} was made by another version of the program and is left out")
        elif record.get("run") in names:
            found.append((folder, record.into(OtherResult)))
    return found


def _present_key(dataset: str) -> str:
    """Of the manifest as it is now; empty where there is none any more."""
    path = paths.manifest_file(dataset)
    return Manifest.load(path).key if path.exists() else ""


def _say_stale(stale: dict[tuple[str, str], bool], fresh: dict[str, dict[str, Path]]) -> None:
    """One line for each data set that changed, or whose models did, unless it was scored anew since.

    stale: data set and run -> whether the data are the same, so that it is the run that changed.
    """
    lost = [(dataset, same_data) for (dataset, run), same_data in sorted(stale.items()) if dataset not in fresh[run]]
    for (dataset, same_data), count in Counter(lost).items():
        models = "one model" if count == 1 else f"{count} models"
        changed = f"{dataset} has changed since {models} scored it"
        if same_data:
            changed = f"{models} changed after scoring {dataset}"
        print(f"report: {changed}; left out until EVAL scores it anew")
