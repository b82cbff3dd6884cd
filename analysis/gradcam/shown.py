"""Which images `make gradcam` shows, and what its folder says of them and of their maps."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from analysis.gradcam.faithfulness import Road, Sanity
from analysis.gradcam.seams import Seams
from analysis.judge.intervals import Interval
from cache import runs

KINDS = {"right": "Right and most sure", "wrong": "Wrong and most sure", "unsure": "Least sure"}
METHODS_IN_WORDS = {
    "auto": "HiResCAM, the kin of Grad-CAM that also sees deviations over space",
    "hirescam": "HiResCAM", "layercam": "LayerCAM", "gradcam": "Grad-CAM",
}  # fmt: skip
SHEET, TABLE = "sheet.png", "maps.csv"


@dataclass(frozen=True)
class Shown:
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
class HeatMaps:
    """A finished folder of runs/gradcam. zero: how many of the shown maps hold nothing. layers: what is explained.

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
    shown: list[Shown]

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
            f"the maps moved elsewhere it is {self.road.control.value:.1f}."
        )

    @property
    def findings(self) -> list[str]:
        """What the checks found, in sentences."""
        zero = (
            [f"{self.zero} of {len(self.shown)} maps hold nothing: no place speaks for the class."] if self.zero else []
        )
        return zero + [each.sentence for each in (self.road, *self.sanity, self.seams) if each]


def read_heat_maps(folder: Path) -> HeatMaps:
    """Of a complete folder."""
    result = runs.result(folder)
    known = {each.name: result[each.name] for each in fields(HeatMaps) if each.name in result}
    text = {"path": str, "digest": str, "file": str}
    table = runs.read_table(folder / TABLE, text, dtype=text, keep_default_na=False,
                            na_values={"seam_share": [""], "seam_chance": [""]})  # fmt: skip
    centre = result["centre"] and Interval(**result["centre"])
    return HeatMaps(folder=folder, shown=[Shown(**row) for row in table.to_dict("records")], **known | {
        "centre": centre,
        "road": _with_intervals(Road, result["road"]), "sanity": [Sanity(**each) for each in result["sanity"]],
        "seams": result["seams"] and _with_intervals(Seams, result["seams"]),
    })  # fmt: skip


def select(scores: np.ndarray, fake: np.ndarray, threshold: float, count: int) -> dict[str, list[int]]:
    """Which of N scored images to show, `count` in all where there are as many: kind -> their numbers, none twice.

    Surest is who is farthest from the threshold; right and wrong ones are taken from the two classes by turns. A kind
    that has too few leaves its places to the next.
    """
    distance = np.abs(scores - threshold)
    right = (scores >= threshold) == fake
    ranked = {
        "wrong": _by_turns(np.flatnonzero(~right), -distance, fake), "unsure": np.argsort(distance, kind="stable"),
        "right": _by_turns(np.flatnonzero(right), -distance, fake),
    }  # fmt: skip
    found: dict[str, list[int]] = {kind: [] for kind in KINDS}
    taken: set[int] = set()
    for kind, kinds_left in [("wrong", 3), ("unsure", 2), ("right", 1), ("unsure", 1)]:  # the last fills up
        room = -(-(count - len(taken)) // kinds_left)
        new = [int(each) for each in ranked[kind] if each not in taken][:room]
        found[kind] += new
        taken.update(new)
    return found


def _by_turns(numbers: np.ndarray, order: np.ndarray, fake: np.ndarray) -> list[int]:
    """Real and fake ones by turns, each in the order of `order` (N,)."""
    ordered = numbers[np.argsort(order[numbers], kind="stable")]
    place = np.empty(len(ordered), int)
    for kind in (True, False):
        mine = fake[ordered] == kind
        place[mine] = np.arange(mine.sum())
    return ordered[np.argsort(place, kind="stable")].tolist()


def _with_intervals(record: type, values: dict):
    return record(**{name: Interval(**each) if isinstance(each, dict) else each for name, each in values.items()})
