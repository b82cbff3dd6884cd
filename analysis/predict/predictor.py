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
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from analysis.found.run_option import find_run
from analysis.judge.calibrate import Calibration, Threshold, calibration_of
from analysis.judge.false_alarms import FalseAlarms, of_splits
from analysis.judge.rules import DEFAULT_RULE, given_probability
from analysis.predict.faces import NO_FACE, FaceFinder
from analysis.predict.image_files import contents, upright
from analysis.predict.prediction import Prediction
from cache import runs
from cache.errors import UserError
from data.crop.crop_tables import SOURCE_DIGEST
from data.disk import BadImageError, Named
from data.manifest import SPLITS, Manifest
from data.perturb import COPIES
from data.preprocess import to_input
from data.probing import cores
from extract.options import TORCH
from finetune.detectors.detector import Detector
from finetune.detectors.image_scorer import DetectorScorer, open_detector
from heads.predictions import predictions_file, read_predictions, read_scores

Source = Named | str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class Predictor:
    """A finished run, ready to judge images.

    scorer: what judges. rule: of rules.RULES, or a probability of fake as text. seen: digest of the run's own images ->
    split. copies: whether the copies of data.perturb.COPIES are scored too. finder: of the faces that are judged
    instead of whole images, if so. own: the usable images of its data set; None where they are gone.
    """

    scorer: DetectorScorer
    calibration: Calibration
    rule: str
    seen: dict[str, str]
    copies: bool = False
    finder: FaceFinder | None = None
    own: Manifest | None = None

    @classmethod
    def load(cls, run: str = "", *, data: str = "", device: str = "auto", batch: int = 0, engine: str = TORCH,
             threshold: str | float = DEFAULT_RULE, copies: bool = False, faces: str = "") -> "Predictor":  # fmt: skip
        """run, data: as analysis.found.run_option.find_run takes them. device: auto, cpu, cuda, cuda:1. threshold: a
        rule, or a probability of fake. engine: as of `open_detector`. copies: say of each image whether its verdict
        holds on copies of it too, which is seven times the work. faces: all, or largest: faces are found in the images,
        and each is judged by itself.

        Raises:
            UserError: no such run, or one without what it needs; an unknown rule; a device that is not there.
        """
        return cls.of(find_run(run, dataset=data), device=device, batch=batch, threshold=threshold, engine=engine,
                      copies=copies, faces=faces)  # fmt: skip

    @classmethod
    def of(cls, folder: Path, *, device: str = "auto", batch: int = 0, threshold: str | float = DEFAULT_RULE,
           engine: str = TORCH, copies: bool = False, faces: str = "") -> "Predictor":  # fmt: skip
        """Of the folder of a finished run. Raises: UserError as `load`."""
        given_probability(str(threshold))
        calibration = calibration_of(folder)
        scorer = open_detector(folder, device=device, batch=batch, engine=engine)
        own = _own(scorer.manifest_file)
        return cls(scorer, calibration, str(threshold), _seen(scorer, own), copies, FaceFinder.of(folder, faces), own)

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
        return self.decides.score

    @property
    def decides(self) -> Threshold:
        """What parts real from fake."""
        return self.calibration.named(self.rule)

    @cached_property
    def false_alarms(self) -> dict[str, FalseAlarms]:
        """By split of the run's own data, as far as real images of it were scored."""
        scored = {split: read_predictions(predictions_file(self.folder, split)) for split in ("val", "test")}
        return of_splits(scored, self.threshold)

    def score(self, images: Iterable[Source] | Source) -> list[Prediction]:
        """One Prediction an image, or a face, in their order; a bad file is one with a status and a reason.

        images: paths, PIL images, or RGB arrays (H, W, 3) uint8; one or several.

        Raises:
            UserError: an array of another shape or type; too little memory for the batch.
        """
        one = isinstance(images, Source) and not (isinstance(images, np.ndarray) and images.ndim == 4)
        return list(self.stream([images] if one else list(images)))

    def table(self, images: Iterable[Source] | Source) -> pd.DataFrame:
        """The same as a table, a row an image; its columns are the fields of a Prediction."""
        return pd.DataFrame(
            [asdict(each) for each in self.score(images)], columns=[each.name for each in fields(Prediction)]
        )

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
            return [to_input(image, how) for how in self.detector.preprocesses]

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
        """The one image, and its copies, as the detector takes them in each view."""
        versions = [image, *(each.of(image, of.digest) for each in COPIES if self.copies)]
        return [_Opened(of, [self._views(each, of.digest) for each in versions])]

    def _faces(self, image: Image.Image, of: Prediction) -> list["_Opened"]:
        """The same of each of its faces; where there is none, why it is not judged."""
        found = []
        for number, crop in enumerate(self.finder.crops(image), start=1):
            about = replace(of, face=number, face_score=round(crop.score, 3), face_box=crop.edges)
            found += self._in_view(crop.image, about)
        return found or [_Opened(replace(of, status=NO_FACE, reason=self.finder.why_none))]

    def _views(self, image: Image.Image, digest: str) -> list[list[np.ndarray]]:
        """Of an upright image, each view for each preprocessing."""
        return [[to_input(image, how, digest=digest, draw=draw) for how in self.detector.preprocesses]
                for draw in self.scorer.draws]  # fmt: skip

    def _judged(self, images: list["_Opened"]) -> Iterator[Prediction]:
        versions = [pixels for each in images for pixels in each.versions]
        parts = [self._scores(versions[start : start + self.size]) for start in range(0, len(versions), self.size)]
        scores = iter(np.concatenate(parts) if parts else [])
        for each in images:
            of_image = np.fromiter(islice(scores, len(each.versions)), float)
            yield self._verdict(each.prediction, of_image) if len(of_image) else each.prediction

    def _verdict(self, of: Prediction, scores: np.ndarray) -> Prediction:
        """scores (1,) of the image, or (1 + copies,) with those of its copies."""
        if not np.isfinite(scores).all():
            return replace(of, status="failed", reason="the network's output for it is not finite")
        decides, score = self.decides, scores[0]
        decision = "fake" if score >= decides.score else "real"
        return replace(
            of, score=float(score), probability=float(self.calibration.probability(score)), decision=decision,
            threshold=decides.probability, rule=decides.rule, uncertain=bool(decides.uncertain(score)),
            **_flips((scores >= decides.score) != (score >= decides.score)),
        )  # fmt: skip

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
    """versions: the image and its copies, of each the pixels of each view for each preprocessing; none where there is
    no image.
    """

    prediction: Prediction
    versions: Sequence[list[list[np.ndarray]]] = ()


def _flips(flipped: np.ndarray) -> dict[str, int | str]:
    """flipped (1 + copies,): which versions of an image are called otherwise than the first, the image itself."""
    if len(flipped) == 1:
        return {}
    by = [copy.words for copy, one in zip(COPIES, flipped[1:], strict=True) if one]
    return {"copies": len(COPIES), "flips": len(by), "flipped_by": "; ".join(by)}


def _seen(scorer: DetectorScorer, own: Manifest | None) -> dict[str, str]:
    """Digest -> split of the run's own images: of its data set or, where that has changed since, of what it scored."""
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
