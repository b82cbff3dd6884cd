"""What a finished folder of `make gradcam` says: its images with their maps, and how far the maps can be believed."""

from dataclasses import dataclass, fields
from pathlib import Path

from analysis.gradcam.options import PREDICTED
from analysis.judge.intervals import Interval
from cache import runs
from heads.predictions import validation_digest

KINDS = {"right": "Right and most sure", "wrong": "Wrong and most sure", "unsure": "Least sure"}
METHODS_IN_WORDS = {
    "auto": "HiResCAM, the kin of Grad-CAM that also sees deviations over space",
    "hirescam": "HiResCAM", "layercam": "LayerCAM", "gradcam": "Grad-CAM",
}  # fmt: skip
SHEET, TABLE = "sheet.png", "maps.csv"
STAGE = "gradcam"
VERSION = 3  # of result.json
DEPENDS_LITTLE = 0.5  # a mean rank correlation with the maps of shuffled weights from which on a map is not trusted
FEW = 5  # maps, below which they pass nothing
PARTS = {"head": "the head's weights", "all": "all weights"}


@dataclass(frozen=True)
class ExplainedImage:
    """A row of maps.csv. kind: of KINDS. probability: of fake, calibrated. target: the class that the map explains.

    map_sum: of the map in 0..1, 0 where nothing speaks for the target. seam_share, seam_chance: of the map's sum and
    of the image on the band around the blending seam, nan where none is known. file: in the run's folder.
    """

    path: str
    digest: str
    label: str
    called: str
    kind: str
    score: float
    probability: float
    target: str
    map_sum: float
    seam_share: float
    seam_chance: float
    file: str

    @property
    def caption(self) -> str:
        """Two lines."""
        nothing = "" if self.map_sum else f", nothing for {self.target}"
        return f"{self.label}, called {self.called}{nothing}\np(fake) {self.probability:.2f}, score {self.score:.1f}"


@dataclass(frozen=True)
class Road:
    """By how many logits the score of the explained class is higher without the least relevant places than without the
    most relevant ones; mean over images and shares. (The library's ROADCombined halves this.)

    maps: of the maps. control: of the same maps moved to another place. gain: the difference image by image; a map
    that says nothing has 0. better: share of the images whose map beats its control. removed: shares of the image.
    """

    images: int
    removed: list[float]
    maps: Interval
    control: Interval
    gain: Interval
    better: float

    @property
    def sentence(self) -> str:
        """For people."""
        shares = " and ".join(f"{100 * each:.0f} %" for each in self.removed)
        found = (
            f"Removal (ROAD, {self.images} images, the mean over {shares} of the places): without the places that the "
            f"maps call most relevant the evidence for what the image was called is {_said(self.maps)} logits weaker "
            f"than without the least relevant ones; with the same maps moved elsewhere it is {_said(self.control)}. "
            f"The maps do better than moved ones in {100 * self.better:.0f} % of the images."
        )
        return found if self.gain.low > 0 else f"{found} On the whole they are no better than that: do not read them."


@dataclass(frozen=True)
class Sanity:
    """Rank correlation of the maps with those of shuffled weights.

    shuffled: of PARTS. images: with a correlation, which a map of one value has not. mean, low, high: over them; None
    where there are none. between: mean over pairs of different images, for comparison.
    """

    shuffled: str
    images: int
    mean: float | None
    low: float | None
    high: float | None
    between: float | None

    @property
    def depends_little(self) -> bool:
        """Whether the maps hardly depend on these weights."""
        return self.mean is not None and self.mean > DEPENDS_LITTLE

    @property
    def sentence(self) -> str:
        """For people."""
        what = f"With {PARTS[self.shuffled]} shuffled"
        if self.mean is None:
            return f"{what} no map is left to compare."
        unlike = "" if self.between is None else f"; maps of different images have {self.between:.2f}"
        verdict = (
            "Failed: the maps hardly depend on these weights, they show the image more than the detector."
            if self.depends_little
            else "Passed: the maps depend on these weights."
            if self.images >= FEW
            else "With so few images that says little."
        )
        return (
            f"{what} the maps' rank correlation with the true ones is {self.mean:.2f} ({self.low:.2f} to "
            f"{self.high:.2f}, {self.images} images{unlike}). {verdict}"
        )


@dataclass(frozen=True)
class Seams:
    """How much of a fake's map lies on the band around its blending seam.

    share: of the map's sum, mean over images. chance: share of the image that the band covers. gain: share - chance.
    elsewhere: share on the band of the next image, which a map of faces in general would get too. zero: maps without
    a sum, left out. images: the others.
    """

    images: int
    zero: int
    share: Interval
    chance: float
    gain: Interval
    elsewhere: float

    @property
    def sentence(self) -> str:
        """For people."""
        return (
            f"Seams: {100 * self.share.value:.1f} % [{100 * self.share.low:.1f}, {100 * self.share.high:.1f}] of the "
            f"maps' sum lies on the blending seams of {self.images} fakes, which cover {100 * self.chance:.1f} % of "
            f"the image: {self._verdict}. {100 * self.elsewhere:.1f} % lies where another fake has its seam."
        )

    @property
    def _verdict(self) -> str:
        if self.gain.low > 0:
            return "more than by chance"
        return "less than by chance" if self.gain.high < 0 else "no more than by chance"


@dataclass(frozen=True)
class HeatMaps:
    """A finished folder of runs/gradcam. zero: how many of the maps hold nothing. layers: what is explained.

    centre: share of the evidence in the middle quarter of the images; None where there is no evidence.
    """

    folder: Path
    run: str
    dataset: str
    synthetic: bool
    random_weights: bool
    split: str
    target: str
    method: str
    layers: list[str]
    zero: int
    centre: Interval | None
    road: Road
    sanity: list[Sanity]
    seams: Seams | None
    explained: list[ExplainedImage]

    @property
    def sheet(self) -> Path:
        """The picture of all."""
        return self.folder / SHEET

    @property
    def method_in_words(self) -> str:
        """For people."""
        return METHODS_IN_WORDS[self.method]

    @property
    def where(self) -> str:
        """In a sentence."""
        if self.centre is None:
            return "Nowhere: no map holds anything."
        share, low, high = (100 * each for each in (self.centre.value, self.centre.low, self.centre.high))
        return (
            f"{share:.0f} % [{low:.0f}, {high:.0f}] of the evidence lies in the middle of the images (half of the "
            f"width and of the height, so 25 % if it were evenly spread; {self.road.images} images drawn by chance)."
        )

    @property
    def believed(self) -> str:
        """What the checks say, in short."""
        failed = [] if self.road.gain.low > 0 else ["the removal of places"]
        failed += ["shuffled weights"] if any(each.depends_little for each in self.sanity) else []
        failed += ["the known seams"] if self.seams and self.seams.gain.low <= 0 else []
        failed += ["shuffled weights, after which no map was left"] if any(e.mean is None for e in self.sanity) else []
        if failed:
            return f"Read the maps with care: they did not pass the check by {' and that by '.join(failed)}."
        return (
            "The maps passed their checks: taking the places away that they mark lowers the score of what the image "
            f"was called by {self.road.maps.value:.1f} logits more than taking away those that they do not mark; with "
            f"the maps moved elsewhere it is {round(self.road.control.value, 1) + 0.0:.1f}."
        )

    @property
    def findings(self) -> list[str]:
        """What the checks found, in sentences."""
        empty = f"{self.zero} of {len(self.explained)} maps hold nothing: no place speaks for the class."
        if self.zero == len(self.explained):
            return [f"{empty} There is nothing to check."]
        return ([empty] if self.zero else []) + [
            each.sentence for each in (self.road, *self.sanity, self.seams) if each
        ]


def read_heat_maps(folder: Path) -> HeatMaps:
    """What a complete folder holds."""
    result = runs.result(folder)
    known = {each.name: result[each.name] for each in fields(HeatMaps) if each.name in result}
    text = {"path": str, "digest": str, "file": str}
    table = runs.read_table(folder / TABLE, text, dtype=text, keep_default_na=False,
                            na_values={"seam_share": [""], "seam_chance": [""]})  # fmt: skip
    centre = result["centre"] and Interval(**result["centre"])
    return HeatMaps(folder=folder, explained=[ExplainedImage(**row) for row in table.to_dict("records")], **known | {
        "centre": centre,
        "road": _with_intervals(Road, result["road"]), "sanity": [Sanity(**each) for each in result["sanity"]],
        "seams": result["seams"] and _with_intervals(Seams, result["seams"]),
    })  # fmt: skip


def find_heat_maps(run: Path, split: str) -> HeatMaps | None:
    """Those of a finished run that explain what it called the images of a split; the ones of most images.

    None where there are none.
    """
    wanted = {"run": run.name, "scored": validation_digest(run), "split": split, "target": PREDICTED}
    found = [read_heat_maps(folder) for folder, _ in runs.find(STAGE, **wanted, version=VERSION)]
    return max(found, key=lambda each: len(each.explained), default=None)


def _said(interval: Interval) -> str:
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _with_intervals(record: type, values: dict):
    return record(**{name: Interval(**each) if isinstance(each, dict) else each for name, each in values.items()})
