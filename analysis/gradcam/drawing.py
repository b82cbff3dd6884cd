"""The images of a split that a run scored -> pictures of where it sees the evidence, and the checks of them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.gradcam import faithfulness, overlays
from analysis.gradcam.faithfulness import mean_interval
from analysis.gradcam.findings import KINDS, SHEET, TABLE, ExplainedImage
from analysis.gradcam.heatmaps import Explained
from analysis.gradcam.options import PREDICTED, GradcamConfig
from analysis.gradcam.seams import on_seams, seam_bands, seam_shares, seams_of
from analysis.gradcam.selection import select
from analysis.judge.calibrate import Calibration, calibration_of
from cache import paths, runs
from cache.atomic import write_bytes
from cache.errors import UserError
from data.manifest import LABELS, Manifest
from extract.loading import batches
from finetune.detectors.detector import NETWORK_PREFIX
from finetune.detectors.image_scorer import open_detector
from heads.predictions import Predictions, predictions_file, read_predictions

CHECKED = 16  # images for the checks of any data, drawn by chance
SEAMS = 40  # at most, of the sample's fakes
LONGEST = 40  # letters of an image's name in a file name


@dataclass(frozen=True)
class Scored:
    """The images of a split that a run scored, and its detector."""

    explained: Explained
    manifest: Manifest
    found: Predictions
    calibration: Calibration
    config: GradcamConfig

    @classmethod
    def of(cls, judge: Path, config: GradcamConfig) -> "Scored":
        found = read_predictions(predictions_file(judge, config.split))
        scorer = open_detector(judge, device=config.device)  # loaded when it is asked for
        manifest = Manifest.load(scorer.manifest_file).usable
        if found is None or not len(found.scores):
            raise UserError(f"{judge.name} has no scores of the {config.split} split: choose another with SPLIT=...")
        if manifest.key != runs.result(judge)["manifest_key"]:
            raise UserError(f"the images of {manifest.dataset} changed since {judge.name} scored them: run it again")
        calibration = calibration_of(judge)
        return cls(Explained(scorer.detector), manifest, found, calibration, config)

    @cached_property
    def called(self) -> np.ndarray:
        """(N,) text: real or fake."""
        return np.array(LABELS)[(self.found.scores >= self.calibration.threshold).astype(int)]

    def targets(self, chosen: np.ndarray) -> list[str]:
        """The class to explain of each."""
        return [str(each) if self.config.target == PREDICTED else self.config.target for each in self.called[chosen]]

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """Rows of the manifest (k,) int, of images by their numbers (k,)."""
        return self._places[self.found.paths[chosen]].to_numpy()

    @cached_property
    def _places(self) -> pd.Series:
        """Path -> row of the manifest."""
        return pd.Series(np.arange(len(self.manifest)), index=self.manifest.rows.path)

    def pixels(self, chosen: np.ndarray) -> torch.Tensor:
        """(k, side, side, 3) uint8."""
        return next(batches(self.manifest, self.rows(chosen), self.explained.how, size=len(chosen), workers=0)).pixels

    def maps(self, pixels: torch.Tensor, targets: list[str]) -> np.ndarray:
        """(k, side, side)."""
        return self.explained.maps(pixels, targets, method=self.config.method)

    def bands(self, chosen: np.ndarray) -> np.ndarray:
        """Around the seams of some fakes of the sample: (k, side, side) bool."""
        return seam_bands(self.seams_file, list(self.found.paths[chosen]), self.explained.how)

    @property
    def with_seams(self) -> np.ndarray:
        """Numbers of the images whose seam is known."""
        known = seams_of(self.seams_file) if self.manifest.synthetic and self.seams_file.exists() else {}
        return np.flatnonzero([path in known for path in self.found.paths])

    @property
    def seams_file(self) -> Path:
        """Only the built-in sample has one."""
        return self.manifest.root / "seams.json"


@contextmanager
def memory_told() -> Iterator[None]:
    """Raises: UserError where a GPU has not enough of it inside."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of GPU memory while heat maps are made ({error}): give DEVICE=cpu") from error


def draw(scored: Scored, folder: Path) -> int:
    """Write the pictures and maps.csv; how many maps hold nothing."""
    kinds = select(scored.found.scores, scored.found.fake, scored.calibration.threshold, scored.config.num_samples)
    chosen = np.array([each for numbers in kinds.values() for each in numbers])
    pixels, targets = scored.pixels(chosen), scored.targets(chosen)
    maps = scored.maps(pixels, targets)
    explained = list(_explained(scored, kinds, targets, maps))
    tiles: dict[str, list[overlays.Tile]] = {name: [] for name in KINDS.values()}
    for each, image, heat in zip(explained, pixels.numpy(), maps, strict=True):
        write_bytes(folder / each.file, overlays.side_by_side(image, heat))
        tiles[KINDS[each.kind]].append(overlays.Tile(image, heat, each.caption, each.label != each.called))
    runs.write_table(folder / TABLE, pd.DataFrame([asdict(each) for each in explained]))
    write_bytes(folder / SHEET, _sheet(tiles, scored))
    return int(sum(not each.map_sum for each in explained))


def _sheet(tiles: dict[str, list[overlays.Tile]], scored: Scored) -> bytes:
    config, buffer = scored.config, io.BytesIO()
    of = "the class that it was called" if config.target == PREDICTED else config.target
    legend = f"evidence for {of}, relative to the image: 0 = none or least, 1 = most"
    title = f"Where the evidence lies: {scored.manifest.dataset}, {config.split} split"
    overlays.sheet(tiles, title=title, legend=legend).savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _explained(
    scored: Scored, kinds: dict[str, list[int]], targets: list[str], maps: np.ndarray
) -> Iterator[ExplainedImage]:
    found, digests = scored.found, scored.manifest.rows.digest.to_numpy()
    numbered = [(kind, n, at) for kind, numbers in kinds.items() for n, at in enumerate(numbers, start=1)]
    with_seams = set(scored.with_seams.tolist())
    for (kind, number, at), target, heat in zip(numbered, targets, maps, strict=True):
        one = np.array([at])
        band = scored.bands(one) if at in with_seams else None
        yield ExplainedImage(
            path=found.paths[at], digest=digests[scored.rows(one)[0]], label=LABELS[int(found.fake[at])],
            called=str(scored.called[at]), kind=kind, score=float(found.scores[at]),
            probability=float(scored.calibration.probability(found.scores[one])[0]), target=target,
            map_sum=float(heat.sum(dtype=np.float64)),
            seam_share=np.nan if band is None else float(seam_shares(heat[None], band)[0]),
            seam_chance=np.nan if band is None else float(band.mean()),
            file=f"{kind}-{number:02d}-{paths.safe(Path(found.paths[at]).stem)[:LONGEST]}.png",
        )  # fmt: skip


def checked(scored: Scored) -> dict:
    """road, sanity and seams, as JSON-able values."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(scored.found.scores))[:CHECKED]
    pixels, targets = scored.pixels(chosen), scored.targets(chosen)
    maps = scored.maps(pixels, targets)
    road = faithfulness.road(scored.explained, pixels, maps, targets, groups=scored.found.groups[chosen])
    sanity = faithfulness.randomisation(scored.explained, pixels, maps, targets, method=scored.config.method)
    return {
        "layers": [NETWORK_PREFIX.sub("", f"{name}.").removesuffix(".") for name in scored.explained.layers],
        "centre": _centre(maps, scored.found.groups[chosen]),
        "road": asdict(road),
        "sanity": [asdict(each) for each in sanity],
        "seams": _seams(scored),
    }


def _centre(maps: np.ndarray, groups: np.ndarray) -> dict | None:
    """How much of the evidence lies in the middle of the images, both sides halved."""
    side = maps.shape[1]
    middle = np.zeros_like(maps, bool)
    middle[:, side // 4 : side - side // 4, side // 4 : side - side // 4] = True
    shares = seam_shares(maps, middle)
    known = np.isfinite(shares)
    return asdict(mean_interval(shares[known], groups[known])) if known.any() else None


def _seams(scored: Scored) -> dict | None:
    """How much of the evidence for fake lies on the seams of the sample's fakes."""
    chosen = scored.with_seams[:SEAMS]
    if not len(chosen):
        return None
    maps = scored.maps(scored.pixels(chosen), [LABELS[1]] * len(chosen))
    found = on_seams(maps, scored.bands(chosen))
    return asdict(found) if found else None
