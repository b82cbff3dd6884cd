"""Images -> what a finished run says of each: score, calibrated probability, decision, and whether it is a close call.

    from analysis.predict.predictor import Predictor
    for each in Predictor.load("run").score(["face.jpg", pil_image, array]):
        print(each.path, each.probability, each.decision)

Images go the way of training: the same decoding, preprocessing and views, and batches of one size that are filled up
with black (extract.loading.Batch says why), so that a score is the one that the run saved for the same image, and does
not depend on which others came with it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from analysis.found.run_option import find_run
from analysis.judge.calibrate import Calibration, calibration_of
from analysis.judge.rules import DEFAULT_RULE, RULES
from analysis.predict.faces import NO_FACE, FaceFinder
from analysis.predict.image_files import contents, upright
from analysis.predict.prediction import Prediction
from cache import runs
from cache.errors import UserError, one_of
from cache.features import Preprocess
from data.crop.crop_tables import SOURCE_DIGEST
from data.disk import BadImageError, Named
from data.manifest import SPLITS, Manifest
from data.preprocess import of_view, to_input
from data.probing import cores
from extract.options import TORCH
from finetune.detectors.detector import Detector
from finetune.detectors.image_scorer import DetectorScorer, open_detector
from heads.predictions import predictions_file, read_scores

Source = Named | str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class Predictor:
    """A finished run, ready to judge images.

    scorer: what judges. rule: of rules.RULES. seen: digest of the run's own images -> split. finder: of the faces that
    are judged instead of whole images, if so.
    """

    scorer: DetectorScorer
    calibration: Calibration
    rule: str
    seen: dict[str, str]
    finder: FaceFinder | None = None

    @classmethod
    def load(cls, run: str = "", *, data: str = "", device: str = "auto", batch: int = 0,
             threshold: str = DEFAULT_RULE, engine: str = TORCH, faces: str = "") -> "Predictor":  # fmt: skip
        """run, data: as analysis.found.run_option.find_run takes them. device: auto, cpu, cuda, cuda:1. engine: as of
        `open_detector`. faces: all, or largest: faces are found in the images, and each is judged by itself.

        Raises:
            UserError: no such run, or one without what it needs; an unknown rule; a device that is not there.
        """
        return cls.of(find_run(run, dataset=data), device=device, batch=batch, threshold=threshold, engine=engine,
                      faces=faces)  # fmt: skip

    @classmethod
    def of(cls, folder: Path, *, device: str = "auto", batch: int = 0, threshold: str = DEFAULT_RULE,
           engine: str = TORCH, faces: str = "") -> "Predictor":  # fmt: skip
        """Of the folder of a finished run. Raises: UserError as `load`."""
        one_of(threshold, RULES, what="THRESHOLD")
        calibration = calibration_of(folder)
        scorer = open_detector(folder, device=device, batch=batch, engine=engine)
        return cls(scorer, calibration, threshold, _seen(scorer), FaceFinder.of(folder, faces))

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.scorer.folder

    @property
    def detector(self) -> Detector:
        return self.scorer.detector

    @property
    def size(self) -> int:
        """Images in a forward pass."""
        return self.scorer.size

    @property
    def threshold(self) -> float:
        """Logit; a score at or above it is called fake."""
        return self.calibration.thresholds[self.rule]

    def score(self, images: Iterable[Source] | Source) -> list[Prediction]:
        """One Prediction an image, or a face, in their order; a bad file is one with a status and a reason.

        images: paths, PIL images, or RGB arrays (H, W, 3) uint8; one or several.

        Raises:
            UserError: an array of another shape or type; too little memory for the batch.
        """
        one = isinstance(images, Source) and not (isinstance(images, np.ndarray) and images.ndim == 4)
        return list(self.stream([images] if one else list(images)))

    def stream(self, images: Sequence[Source]) -> Iterator[Prediction]:
        """The same one after another; no more than two batches of images are in memory."""
        starts = range(0, len(images), self.size)
        ahead = 0 if self.scorer.device == "cpu" else 1  # beside a CPU's forward it would be in the way
        with ThreadPoolExecutor(cores()) as pool:
            waiting: deque[list[Future[list[_Opened]]]] = deque()
            for start in starts:
                waiting.append([pool.submit(self._open, each) for each in images[start : start + self.size]])
                if len(waiting) > ahead:
                    yield from self._judged([one for each in waiting.popleft() for one in each.result()])
            for part in waiting:
                yield from self._judged([one for each in part for one in each.result()])

    def inputs(self, source: Source, face: int | None = None) -> list[np.ndarray]:
        """What the detector takes of an image in the evaluation view: (side, side, 3) uint8 for each preprocessing.

        Args:
            face: which of its faces, the largest is 1; None = the whole image.

        Raises:
            BadImageError: it cannot be read.
        """
        with upright(contents(source)[0]) as (image, _):
            if self.finder and face:
                image = list(self.finder.crops(image))[face - 1].image
            return [_input(image, how, "", 0) for how in self.detector.preprocesses]

    def _open(self, source: Source) -> list["_Opened"]:
        path = source.path if isinstance(source, Named) else str(source) if isinstance(source, str | Path) else ""
        if isinstance(source, Named) and source.status:
            return [_Opened(Prediction(path, status=source.status, reason=source.reason))]
        digest = ""
        try:
            content, digest = contents(source)
            with upright(content) as (image, note):
                whole = Prediction(path, digest, note=note, seen=self.seen.get(digest, ""))
                return self._in_view(image, whole) if self.finder is None else self._faces(image, whole)
        except BadImageError as error:
            return [_Opened(Prediction(path, digest, error.status, str(error)))]

    def _in_view(self, image: Image.Image, of: Prediction) -> list["_Opened"]:
        """The one image, as the detector takes it in each view."""
        return [_Opened(of, [[_input(image, how, of.digest, view) for how in self.detector.preprocesses]
                             for view in range(self.scorer.views)])]  # fmt: skip

    def _faces(self, image: Image.Image, of: Prediction) -> list["_Opened"]:
        """The same of each of its faces; where there is none, why it is not judged."""
        found = []
        for number, crop in enumerate(self.finder.crops(image), start=1):
            about = replace(of, face=number, face_score=round(crop.score, 3), face_box=crop.edges)
            found += self._in_view(crop.image, about)
        return found or [_Opened(replace(of, status=NO_FACE, reason=self.finder.why_none))]

    def _judged(self, images: list["_Opened"]) -> Iterator[Prediction]:
        """Of any number of images, as many at once as the detector takes."""
        for start in range(0, len(images), self.size):
            yield from self._of_one_batch(images[start : start + self.size])

    def _of_one_batch(self, images: list["_Opened"]) -> Iterator[Prediction]:
        good = [each.pixels for each in images if each.pixels]
        scores = self._scores(good) if good else np.zeros(0)
        judged = zip(scores, self.calibration.probability(scores), self.calibration.uncertain(scores), strict=True)
        for each in images:
            yield self._verdict(each.prediction, *next(judged)) if each.pixels else each.prediction

    def _verdict(self, of: Prediction, score: float, probability: float, uncertain: bool) -> Prediction:
        if not np.isfinite(score):
            return replace(of, status="failed", reason="the network's output for it is not finite")
        decision = "fake" if score >= self.threshold else "real"
        return replace(of, score=float(score), probability=float(probability), decision=decision,
                       uncertain=bool(uncertain))  # fmt: skip

    @torch.inference_mode()
    def _scores(self, images: list[list[list[np.ndarray]]]) -> np.ndarray:
        """Logits (k,) float64 of k <= size images, each a list of views and each of those one array a preprocessing."""
        try:
            judge = self.scorer.judge
            views = [judge(*map(self._batch, zip(*view, strict=True))) for view in zip(*images, strict=True)]
        except torch.OutOfMemoryError as error:
            raise UserError(f"out of memory with {self.size} images at once: lower BATCH") from error
        return np.mean([view[: len(images)].cpu().double().numpy() for view in views], axis=0)

    def _batch(self, pixels: tuple[np.ndarray, ...]) -> torch.Tensor:
        full = torch.zeros(self.size, *pixels[0].shape, dtype=torch.uint8)
        full[: len(pixels)] = torch.from_numpy(np.stack(pixels))
        return full.to(self.scorer.device)


@dataclass(frozen=True)
class _Opened:
    """pixels: of each view, for each preprocessing; None where there is no image."""

    prediction: Prediction
    pixels: list[list[np.ndarray]] | None = None


def _input(image: Image.Image, how: Preprocess, digest: str, view: int) -> np.ndarray:
    return to_input(image, how, digest=digest, draw=of_view(view))


def _seen(scorer: DetectorScorer) -> dict[str, str]:
    """Digest -> split of the run's own images: of its data set or, where that has changed since, of what it scored."""
    own = _own(scorer.manifest_file)
    if own and own.key == runs.result(scorer.folder)["manifest_key"]:
        known = own.rows[[name for name in ("digest", SOURCE_DIGEST) if name in own.rows]]  # faces, and whose they are
        return {digest: split for name in known for digest, split in zip(known[name], own.rows.split, strict=True)}
    files = {split: predictions_file(scorer.folder, split) for split in SPLITS}
    tables = {split: read_scores(file).digest for split, file in files.items() if file.exists()}
    return {digest: split for split, digests in tables.items() for digest in digests}


def _own(path: Path) -> Manifest | None:
    """The usable rows of a run's data set as it is now; None where it is gone or damaged."""
    if not path.exists():
        return None
    try:
        return Manifest.load(path).usable
    except UserError as error:
        print(f"predict: what the run has seen is known from its scores, because {error}")
        return None
