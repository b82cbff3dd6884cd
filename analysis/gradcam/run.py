"""`make gradcam`: a finished run -> pictures of where it sees the evidence, and how far they can be believed.

    python -m analysis.gradcam --run=name --num_samples=12 --target=predicted --split=test

runs/gradcam/<run>-<key>/   sheet.png                   all images, each beside itself with its map
                            <kind>-<number>-<name>.png  one of them
                            maps.csv                    what each is, was called, and how much its map holds
                            result.json                 the checks of analysis.gradcam.faithfulness; written last

Shown are a third each of the images that the run is most sure of and right, most sure of and wrong, and least sure of,
by its saved scores of the split and its threshold fixed on validation. The maps are those of the evaluation view, also
where scores are means over several. From Python: heatmaps.heat_maps, and findings.read_heat_maps.
"""

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.found.run_option import chosen_run
from analysis.gradcam import faithfulness, overlays
from analysis.gradcam.faithfulness import mean_interval
from analysis.gradcam.findings import KINDS, SHEET, STAGE, TABLE, VERSION, ExplainedImage, read_heat_maps
from analysis.gradcam.heatmaps import Explained
from analysis.gradcam.options import PREDICTED, GradcamConfig
from analysis.gradcam.seams import on_seams, seam_bands, seam_shares
from analysis.gradcam.selection import select
from analysis.judge.calibrate import Calibration, calibration_of
from cache import paths, runs
from cache.atomic import write_bytes
from cache.errors import UserError
from cache.key import file_digest, key
from data.manifest import LABELS, Manifest
from extract.loading import batches
from finetune.detector import NETWORK_PREFIX
from finetune.image_scorer import open_detector
from heads.predictions import Predictions, predictions_file, read_predictions, validation_digest

CHECKED = 16  # images for the checks of any data, drawn by chance
SEAMS = 40  # at most, of the sample's fakes
LONGEST = 40  # letters of an image's name in a file name


def run(config: GradcamConfig) -> Path:
    """Draw and check; the folder. Does nothing when it is complete.

    Raises:
        UserError: no such run; it did not score the split, or its data changed since; a head of scikit-learn.
    """
    judge = chosen_run(config.run)
    folder = paths.run_dir(STAGE, f"{judge.name}-{_identity(judge, config)}")
    if not runs.is_complete(folder):
        scored = _Scored.of(judge, config)
        runs.begin(folder, config.flat() | {"run": str(judge)})
        zero = _draw(scored, folder)
        runs.log(folder, f"gradcam: drew {config.num_samples} of {len(scored.found.scores)} images, now the checks")
        runs.finish(folder, _about(judge, config) | {"zero": zero} | _checked(scored))
        for sentence in read_heat_maps(folder).findings:
            runs.log(folder, f"gradcam: {sentence}")
    print(f"gradcam {judge.name}: {config.split} -> {folder / SHEET}")
    return folder


@dataclass(frozen=True)
class _Scored:
    """The images of a split that a run scored, and its detector."""

    explained: Explained
    manifest: Manifest
    found: Predictions
    calibration: Calibration
    config: GradcamConfig

    @classmethod
    def of(cls, judge: Path, config: GradcamConfig) -> "_Scored":
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
        known = self.manifest.synthetic and self.seams_file.exists()
        return np.flatnonzero(self.found.fake) if known else np.zeros(0, int)

    @property
    def seams_file(self) -> Path:
        """Only the built-in sample has one."""
        return self.manifest.root / "seams.json"


def _draw(scored: _Scored, folder: Path) -> int:
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


def _sheet(tiles: dict[str, list[overlays.Tile]], scored: _Scored) -> bytes:
    config, buffer = scored.config, io.BytesIO()
    of = "the class that it was called" if config.target == PREDICTED else config.target
    legend = f"evidence for {of}, relative to the image: 0 = none or least, 1 = most"
    title = f"Where the evidence lies: {scored.manifest.dataset}, {config.split} split"
    overlays.sheet(tiles, title=title, legend=legend).savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _explained(
    scored: _Scored, kinds: dict[str, list[int]], targets: list[str], maps: np.ndarray
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


def _checked(scored: _Scored) -> dict:
    """road, sanity and seams, as JSON-able values."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(scored.found.scores))[:CHECKED]
    pixels, targets = scored.pixels(chosen), scored.targets(chosen)
    maps = scored.maps(pixels, targets)
    road = faithfulness.road(scored.explained, pixels, maps, targets, groups=scored.found.groups[chosen])
    sanity = faithfulness.randomisation(scored.explained, pixels, maps, targets, method=scored.config.method)
    return {
        "layers": [NETWORK_PREFIX.sub("", f"{name}.").removesuffix(".") for name in scored.explained.layers],
        "centre": _centre(maps),
        "road": asdict(road),
        "sanity": [asdict(each) for each in sanity],
        "seams": _seams(scored),
    }


def _centre(maps: np.ndarray) -> dict | None:
    """How much of the evidence lies in the middle of the images, both sides halved."""
    side = maps.shape[1]
    middle = np.zeros_like(maps, bool)
    middle[:, side // 4 : side - side // 4, side // 4 : side - side // 4] = True
    shares = seam_shares(maps, middle)
    shares = shares[np.isfinite(shares)]
    return asdict(mean_interval(shares)) if len(shares) else None


def _seams(scored: _Scored) -> dict | None:
    """How much of the evidence for fake lies on the seams of the sample's fakes."""
    chosen = scored.with_seams[:SEAMS]
    if not len(chosen):
        return None
    maps = scored.maps(scored.pixels(chosen), [LABELS[1]] * len(chosen))
    found = on_seams(maps, scored.bands(chosen))
    return asdict(found) if found else None


def _about(judge: Path, config: GradcamConfig) -> dict:
    """What result.json says of the run."""
    result = runs.result(judge)
    return {
        "run": judge.name, "scored": validation_digest(judge),
        "dataset": result["dataset"], "synthetic": result["synthetic"],
        "random_weights": result["random_weights"], "split": config.split, "target": config.target,
        "method": config.method, "version": VERSION,
    }  # fmt: skip


def _identity(judge: Path, config: GradcamConfig) -> str:
    """What the pictures depend on: the run by what it scored, and what was asked for."""
    scored = {split: file_digest(file) for split in ("val", config.split)
              if (file := predictions_file(judge, split)).exists()}  # fmt: skip
    asked = {"target": config.target, "split": config.split, "method": config.method, "count": config.num_samples}
    return key({"run": judge.name, "scores": scored, "version": VERSION} | asked)
