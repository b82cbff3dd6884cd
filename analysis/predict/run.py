"""`make predict`: images -> a table of what a finished run says of each.

    python -m analysis.predict --images="photos more/*.jpg" --run=name

runs/predict/<run>-<key>/predictions.csv         a line an image, also for those that cannot be scored; for spreadsheets
                         predictions-groups.csv  a line a group, where a manifest in IMAGES has groups
                         predictions.jsonl       the same for programs (JSON Lines), every name as it is
                         predictions-about.json  what judged them, and how many are what
                         heat-0001-face.png      where the evidence lies, of as many images as HEAT_MAPS says

Written at the end, predictions-about.json last: stopped before, there is nothing. The same images under the same run
are not scored again. From Python: analysis.predict.predictor.Predictor.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.found.run_option import chosen_run
from analysis.judge.calibrate import calibration_of
from analysis.predict.faces import NO_FACE, FaceFinder, warning
from analysis.predict.group_verdicts import groups_of, told, write_groups
from analysis.predict.image_files import files_of
from analysis.predict.options import PredictConfig
from analysis.predict.prediction import Prediction
from analysis.predict.spreadsheet import write_for_people
from cache import paths, runs
from cache.atomic import write_bytes, write_json
from cache.environment import describe_environment
from cache.errors import UserError, printable
from cache.key import file_digest, key, plain
from cache.progress import Progress
from data.disk import SKIPPED, Named
from data.perturb import COPIES
from extract.options import TORCH
from finetune.detectors.image_scorer import model_file

if TYPE_CHECKING:
    from analysis.predict.predictor import Predictor

STAGE = "predict"
VERSION = 3  # of the files; in their key, so that a table of another version is made anew
LONGEST = 40  # letters of an image's name in that of its heat map
TABLE, LINES, ABOUT = "predictions.csv", "predictions.jsonl", "predictions-about.json"
PICTURE = re.compile(r"heat-\d{4,}-[\w.+-]*\.png")  # what `_Drawer` calls a heat map: never a path


def run(config: PredictConfig) -> Path:
    """Score the images that config names; the folder with the tables. Does nothing when it has them already.

    Raises:
        UserError: no such run, or no image there.
    """
    files, groups = files_of(config.images), groups_of(config.images)
    judge = chosen_run(config.run)
    identity = _identity(judge, config, files, groups)
    folder = Path(config.out).expanduser() if config.out else paths.run_dir(STAGE, f"{judge.name}-{identity}")
    if _said_of(folder).get("key") != identity:
        from analysis.predict.predictor import Predictor  # with the network, which takes seconds to import

        earlier = _earlier_pictures(folder)
        predictor = Predictor.of(judge, device=config.device, batch=config.batch, threshold=config.threshold,
                                 engine=config.engine, copies=config.scores_copies_of(len(files)),
                                 faces=config.faces)  # fmt: skip
        strange = "" if config.faces else warning(judge, files, predictor.own)
        draw = _Drawer(predictor, config.heat_maps)
        predictions = [replace(draw(each), path=printable(each.path)) for each in _scored(predictor, files)]
        _clear(folder, earlier)
        for name, picture in draw.pictures.items():
            write_bytes(folder / name, picture)
        counts = write_groups(folder, predictions, groups, run=judge, rule=config.threshold)
        closing = _closing(predictions, predictor) + told(counts)
        about = {"key": identity, "closing": closing, "groups": counts, "warning": strange}
        _write(folder, predictions, about | _about(predictor, predictions))
    if strange := _said_of(folder).get("warning"):
        print(f"predict: {strange}")
    print(f"predict: {_said_of(folder)['closing']} -> {folder / TABLE}")
    return folder


def _scored(predictor: "Predictor", files: list[Named]) -> Iterator[Prediction]:
    with Progress("predict", len(files)) as progress:
        for each in predictor.stream(files):
            yield each
            progress.advance(each.face in (None, 1))


class _Drawer:
    """Prediction -> the same, with the name of its heat map if it is among the first `count`.

    pictures: PNGs by name.
    """

    def __init__(self, predictor: "Predictor", count: int) -> None:
        self.predictor, self.count = predictor, count
        self.pictures: dict[str, bytes] = {}
        if count:  # what cannot be explained is refused before anything is scored
            from analysis.gradcam.heatmaps import Explained

            self.explained = Explained(predictor.detector)

    def __call__(self, one: Prediction) -> Prediction:
        if one.status != "ok" or len(self.pictures) == self.count:
            return one
        import torch

        from analysis.gradcam.overlays import side_by_side

        (pixels,) = self.predictor.inputs(one.path, one.face)
        (heat,) = self.explained.maps(torch.tensor(pixels)[None], [one.decision])
        name = f"heat-{len(self.pictures) + 1:04d}-{paths.safe(printable(Path(one.path).stem))[:LONGEST]}.png"
        self.pictures[name] = side_by_side(pixels, heat)
        return replace(one, heat_map=name)


def _identity(judge: Path, config: PredictConfig, files: list[Named], groups: Mapping[str, str]) -> str:
    """What the tables depend on. Files are known by size and date, so that none is read before it is scored."""
    known = [[each.path, each.status, *_stamp(each.path)] for each in files]
    model, calibration = file_digest(model_file(judge)), plain(calibration_of(judge))
    further = ({} if config.engine == TORCH else {"engine": config.engine}) | ({"groups": groups} if groups else {})
    if finder := FaceFinder.of(judge, config.faces):
        further["faces"] = asdict(finder)
    return key({"version": VERSION, "run": judge.name, "model": model, "calibration": calibration, "files": known,
                "rule": config.threshold, "heat_maps": config.heat_maps,
                "copies": config.scores_copies_of(len(files))} | further)  # fmt: skip


def _stamp(path: str) -> tuple[int, int]:
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return about.st_size, about.st_mtime_ns


def _said_of(folder: Path) -> Mapping[str, Any]:
    """ABOUT of the predictions that are there; nothing where there are none of this program."""
    if not (folder / ABOUT).is_file():
        return {}
    try:
        said = json.loads((folder / ABOUT).read_bytes())
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _earlier_pictures(folder: Path) -> list[Path]:
    """The heat maps of the images that were scored into this folder before.

    Whoever hands over a folder may have written anything into its table, and what it names is removed: only what this
    program would have called a heat map, and in this folder, is one.

    Raises:
        UserError: a table that this program did not write.
    """
    if "key" not in _said_of(folder) or not (folder / TABLE).exists():
        return []
    try:
        names = pd.read_csv(folder / TABLE, dtype=str, keep_default_na=False, usecols=["heat_map"]).heat_map
    except (ValueError, OSError) as error:  # pandas' own errors of damaged tables are ValueErrors
        raise UserError(
            f"{folder / TABLE} is not as this program wrote it ({error}): delete it, or give another folder as OUT"
        ) from error
    return [folder / name for name in names if PICTURE.fullmatch(name)]


def _clear(folder: Path, pictures: list[Path]) -> None:
    """Take away what says that the tables of earlier images are there, and their heat maps."""
    if "key" in _said_of(folder):
        (folder / ABOUT).unlink()
        for path in pictures:
            path.unlink(missing_ok=True)


def _about(predictor: "Predictor", predictions: list[Prediction]) -> dict:
    """What judged the images, as JSON-able values."""
    judge, calibration, model = predictor.folder, predictor.calibration, model_file(predictor.folder)
    decides = predictor.decides
    result = runs.result(judge)
    return {
        "run": judge.name, "folder": str(judge), "model": {"file": model.name, "sha256": file_digest(model)},
        "dataset": result["dataset"], "synthetic": result["synthetic"], "random_weights": result["random_weights"],
        "preprocess": [asdict(each) for each in predictor.detector.preprocesses], "views": predictor.scorer.views,
        "compute": predictor.detector.compute, "device": predictor.scorer.device, "engine": predictor.scorer.engine,
        "batch": predictor.size, "faces": asdict(predictor.finder) if predictor.finder else None,
        "score": "logit of fake; from threshold_score on an image is called fake",
        "threshold_score": decides.score, "threshold": decides.probability, "rule": decides.rule,
        "rule_meaning": decides.meaning,
        "probability": "of fake: 1 / (1 + exp(-score / temperature)), fixed on the run's validation images",
        "temperature": calibration.temperature, "uncertain_band": list(decides.band),
        "calibrated_on": calibration.images,
        "false_alarms": {split: asdict(each) for split, each in predictor.false_alarms.items()},
        "copies": [each.name for each in COPIES if predictor.copies], "counts": dict(_counts(predictions)),
        "environment": describe_environment(),
    }  # fmt: skip


def _write(folder: Path, predictions: list[Prediction], about: Mapping[str, Any]) -> None:
    columns = {each.name: [getattr(row, each.name) for row in predictions] for each in fields(Prediction)}
    columns["uncertain"] = ["" if each is None else str(each).lower() for each in columns["uncertain"]]
    write_for_people(folder / TABLE, pd.DataFrame(columns))
    lines = (json.dumps(asdict(each), allow_nan=False).encode() + b"\n" for each in predictions)
    write_bytes(folder / LINES, *lines)
    write_json(folder / ABOUT, about)


def _counts(predictions: Iterable[Prediction]) -> Counter:
    """How many images are what: decisions, or statuses where there is none; uncertain, seen and flipped once more."""
    counts: Counter = Counter()
    for each in predictions:
        counts[each.decision or each.status] += 1
        counts["uncertain"] += bool(each.uncertain)
        counts["trained_on"] += each.seen == "train"
        if each.copies:
            counts["flipped"] += bool(each.flips)
    return counts


def _closing(predictions: list[Prediction], predictor: "Predictor") -> str:
    """One image in a sentence, several in numbers; and what a verdict of fake is worth."""
    result = runs.result(predictor.folder)
    words = {"random weights": result["random_weights"], "trained on synthetic images": result["synthetic"]}
    judge = " ".join([predictor.folder.name, *(f"({word})" for word, holds in words.items() if holds)])
    what = "face" if predictor.finder else "image"
    said = _sentence(predictions[0], judge) if len(predictions) == 1 else _numbers(predictions, judge, what)
    return ". ".join([said, *_worth(predictor)])


def _worth(predictor: "Predictor") -> list[str]:
    """How often real images are called fake at this threshold: on test images, else on those that chose it."""
    known = predictor.false_alarms
    return [known[split].words for split in ("test", "val") if split in known][:1]


def _numbers(predictions: list[Prediction], judge: str, what: str) -> str:
    """what: image or face."""
    counts = _counts(predictions)
    judged = counts["real"] + counts["fake"]
    bad = Counter(each.status for each in predictions if each.status not in ("ok", SKIPPED, NO_FACE))
    reasons = ", ".join(f"{count} {status}" for status, count in sorted(bad.items()))
    more = {
        "of them too close to call": counts["uncertain"],
        f"of them called otherwise on one of {len(COPIES)} copies or more": counts["flipped"],
        "of them it was trained on": counts["trained_on"], "images without a face": counts[NO_FACE],
        f"bad ({reasons})": sum(bad.values()), "skipped, no images by their names": counts[SKIPPED],
    }  # fmt: skip
    first = f"{judged} {what}{'s' * (judged != 1)} judged by {judge}: {counts['fake']} fake, {counts['real']} real"
    return "; ".join([first, *(f"{count} {words}" for words, count in more.items() if count)])


def _sentence(one: Prediction, judge: str) -> str:
    if one.status != "ok":
        return f"{one.path} cannot be judged, it is {one.status}: {one.reason}"
    close = "; too close to call" if one.uncertain else ""
    held = f"; so are its {one.copies} copies" if one.copies else ""
    flips = f"; {one.flips} of {one.copies} copies are not ({one.flipped_by})" if one.flips else held
    known = f"; it is in the {one.seen} split of the run's own data" if one.seen else ""
    return (
        f"{one.path} is called {one.decision} by {judge}: probability of fake {one.probability:.3f}, fake from "
        f"{one.threshold:.3f} on ({one.rule}){flips}{close}{known}"
    )
