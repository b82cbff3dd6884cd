"""Which images `make gradcam` shows: those that a run is most sure of, right or wrong, and least sure of."""

import numpy as np

from analysis.gradcam.findings import KINDS


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
