"""Near copies: images that show the same though their files differ, because one was scaled, encoded again, flipped,
cropped by a tenth or made brighter.

Candidates come from thumbnails (data.audit.lookalikes). Both files of each are then opened and compared: the detail of
64 x 64 grey levels, from about 2 to 8 pixels wide, which two faces in the same place do not share.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from data.audit.lookalikes import PARTS, Candidates, candidates, window
from data.disk import BadImageError, read_file
from data.images import opened
from data.manifest import Manifest
from data.probing import cores
from data.thumbnails import Thumbnails

SEEN = 64  # pixels along a side of what is compared
FINE, COARSE = 1.0, 3.0  # pixels, of the blurs between which detail lies
SHIFT = 2  # pixels by which a crop may lie elsewhere than its candidate says
SAME = 0.9  # correlation of detail
MOST = 20_000  # candidates that are opened, the most alike first
TOGETHER = 128  # candidates in memory at once
FLAT = 1e-3  # grey levels of detail, below which there is none


@dataclass(frozen=True)
class Copy:
    """first, second: row numbers of two images that show the same, the first whole. mirrored: one is the mirror image.

    part: share of the second's side that the first shows. alike: correlation of their detail.
    """

    first: int
    second: int
    mirrored: bool
    part: float
    alike: float


@dataclass(frozen=True)
class Search:
    """looked: images with a thumbnail. copies: the most alike first. left: candidates that nobody opened."""

    looked: int
    copies: list[Copy]
    left: int = 0


def find_copies(manifest: Manifest, thumbnails: Thumbnails) -> Search:
    """Near copies among the images of a manifest; images of the same bytes count as one, its first row.

    Images of one group may look alike, and are not compared: a group stays in one split. A file that is gone or was
    changed since is no copy of anything.
    """
    usable = np.flatnonzero(manifest.rows.status == "ok")
    rows = usable[~manifest.rows.digest.iloc[usable].duplicated()]
    at = thumbnails.find(manifest.digests[rows])
    rows, at = rows[at >= 0], at[at >= 0]
    known = manifest.rows.iloc[rows]
    found = _gravest(candidates(thumbnails.rows["grey"][at], pd.factorize(known.group)[0]), known)
    paths = [manifest.root / path for path in manifest.rows.path.to_numpy(object)[rows]]
    copies = confirmed(found.chosen(np.arange(min(len(found), MOST))), paths)
    copies = [Copy(int(rows[each.first]), int(rows[each.second]), each.mirrored, each.part, each.alike)
              for each in copies]  # fmt: skip
    return Search(len(rows), copies, max(0, len(found) - MOST))


def families(groups: pd.Series, copies: Iterable[Copy]) -> np.ndarray:
    """A number for each row, the same for rows of one group, and of groups that near copies connect: (N,) int64."""
    of_group = pd.factorize(groups)[0]
    links = np.array([(each.first, each.second) for each in copies], np.int64).reshape(-1, 2)
    if not len(links):
        return of_group
    from scipy.sparse import coo_array  # where there are copies alone: it takes a quarter of a second
    from scipy.sparse.csgraph import connected_components

    first, second = of_group[links].T
    count = int(of_group.max()) + 1
    return connected_components(coo_array((np.ones(len(links)), (first, second)), (count, count)))[1].astype(np.int64)[
        of_group
    ]


def _gravest(found: Candidates, rows: pd.DataFrame) -> Candidates:
    """Pairs of two splits or labels first."""
    kinds = pd.factorize(rows.split + " " + rows.label)[0]
    return found.chosen(np.argsort(kinds[found.whole] == kinds[found.other], kind="stable"))


def confirmed(found: Candidates, paths: list[Path]) -> list[Copy]:
    """Those whose files show the same, a few in memory at once."""
    portions = (np.arange(start, min(start + TOGETHER, len(found))) for start in range(0, len(found), TOGETHER))
    return [each for part in portions for each in _confirmed(found.chosen(part), paths)]


def _confirmed(found: Candidates, paths: list[Path]) -> Iterator[Copy]:
    needed = np.unique(np.concatenate([found.whole, found.other]))
    with ThreadPoolExecutor(cores()) as pool:
        seen = dict(zip(needed.tolist(), pool.map(_seen, (paths[row] for row in needed)), strict=True))
    pairs = zip(found.whole.tolist(), found.other.tolist(), found.part.tolist(), found.mirrored.tolist(), strict=True)
    for whole, other, part, mirrored in pairs:
        if seen[whole] is not None and seen[other] is not None:
            alike = same_detail(seen[whole], seen[other], part=part, mirrored=mirrored)
            if alike >= SAME:
                yield Copy(whole, other, mirrored, PARTS[part].share, round(alike, 4))


def _seen(path: Path) -> np.ndarray | None:
    """(64, 64) float32 grey levels of a file; None where it cannot be read any more."""
    try:
        with opened(read_file(path)[0]) as found:
            small = found.image.convert("L").resize((SEEN, SEEN), Image.Resampling.BOX)
    except BadImageError:
        return None
    return np.asarray(small, np.float32)


def same_detail(whole: np.ndarray, other: np.ndarray, *, part: int, mirrored: bool) -> float:
    """Correlation of the detail of two images of (64, 64), at the shift at which it is highest.

    Args:
        part: of PARTS, that of `other` to compare with; mirrored: `other` is turned round first.
    """
    down, across = (window(SEEN, PARTS[part].share, place) for place in (PARTS[part].y, PARTS[part].x))
    shown = down @ (other[:, ::-1] if mirrored else other) @ across.T
    inner = _detail(shown)[SHIFT : SEEN - SHIFT, SHIFT : SEEN - SHIFT]
    views = np.lib.stride_tricks.sliding_window_view(_detail(whole), inner.shape).reshape(-1, inner.size)
    views = views - views.mean(axis=1, keepdims=True)
    inner = inner.ravel() - inner.mean()
    lengths = np.linalg.norm(views, axis=1) * np.linalg.norm(inner)
    return float((views @ inner / np.maximum(lengths, inner.size * FLAT**2)).max())


def _detail(grey: np.ndarray) -> np.ndarray:
    """What a fine blur leaves and a coarse one takes away."""
    return _FINE @ grey @ _FINE.T - _COARSE @ grey @ _COARSE.T


def _blur(sigma: float) -> np.ndarray:
    """(64, 64): a Gaussian over a line of pixels, each row of sum 1."""
    at = np.arange(SEEN)
    weights = np.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


_FINE, _COARSE = _blur(FINE), _blur(COARSE)
