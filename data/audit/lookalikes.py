"""Which images may be copies of one another, by their thumbnails alone; never all pairs.

A hash as the perceptual one of Zauner (2010): the signs of the 63 lowest frequencies (DCT) of a 16 x 16 thumbnail. Two
things differ. Frequencies are told from those of the mean image, because faces in the same place have most signs in
common; and hashes of parts of an image, and of its mirror image, are made from the same thumbnail, so that a copy that
was cropped or flipped meets the part that it shows.

Hashes meet in bands (multi-index hashing; Norouzi et al. 2012), each of as many bits as it takes to tell so many images
apart, and cut anew from shuffled bits a few times: what shares a band is compared, by all bits and then by the
frequencies themselves.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data.thumbnails import SIDE

LOW = 8  # frequencies along each side
BITS = LOW * LOW - 1  # of a hash
SHUFFLES = 5  # of its bits, each cut into as many bands as fit
MORE_BITS = 3  # of a band, beyond those that number the images
CROWDED = 32  # images of one band that each image is compared with; a crowd hangs together by them
FAR = 14  # bits of 63 in which a hash may differ; those of two images differ in 32 in the middle
ALIKE = 0.9  # correlation of the frequencies; of copies .94 and more, of the two most alike of 3 489 faces .86 mostly
BLANK = 2.0  # standard deviation in grey levels; what has less shows nothing to compare
PRIOR = 50  # images that what is known of photographs counts for, beside those that are there
AT_ONCE = 500_000  # pairs
BLOCK = 50_000  # pairs whose frequencies are compared at once


@dataclass(frozen=True)
class Part:
    """A window of an image, its side as a share of the image's, and where it lies between left and right, top and
    bottom (0..1)."""

    share: float = 1.0
    x: float = 0.5
    y: float = 0.5


PARTS = (Part(), Part(0.95), Part(0.9), *(Part(0.9, x, y) for x in (0.1, 0.9) for y in (0.1, 0.9)))
SIDES = [(number, mirrored) for number in range(len(PARTS)) for mirrored in (False, True)]


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be copies, the most alike first: image `whole` looks like a part of image `other`.

    whole, other: (K,) int64 row numbers. part: (K,) int64 of PARTS. mirrored: (K,) bool. alike: (K,) float32,
    correlation.
    """

    whole: np.ndarray
    other: np.ndarray
    part: np.ndarray
    mirrored: np.ndarray
    alike: np.ndarray

    def __len__(self) -> int:
        return len(self.whole)

    def chosen(self, rows: np.ndarray) -> "Candidates":
        return Candidates(*(each[rows] for each in vars(self).values()))


def candidates(grey: np.ndarray, groups: np.ndarray | None = None) -> Candidates:
    """Each pair once, as the part by which it is most alike. grey: (N, 16, 16) uint8.

    Args:
        groups: (N,) int64; two images of one are no pair. None: every image is a group.
    """
    shown = np.flatnonzero(grey.std(axis=(1, 2)) >= BLANK)
    groups = np.arange(len(grey)) if groups is None else groups
    found = list(_found(grey[shown].astype(np.float32), groups[shown])) if len(shown) > 1 else []
    if not found:
        return Candidates(*(np.empty(0, kind) for kind in (np.int64, np.int64, np.int64, bool, np.float32)))
    whole, other, part, mirrored, alike = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((other, whole, -alike))
    pair = np.sort(np.stack([whole, other], axis=1), axis=1)[order]
    first = np.sort(np.unique(pair[:, 0] * len(shown) + pair[:, 1], return_index=True)[1])
    every = Candidates(shown[whole], shown[other], part, mirrored, alike)
    return every.chosen(order[first])


def _found(grey: np.ndarray, groups: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Pairs as the fields of Candidates have them, several times where several parts find them."""
    scale = _Scale.of(_frequencies(grey, *SIDES[0]))
    hashes = np.stack([_hashes(scale.features(_frequencies(grey, *side))) for side in SIDES])
    whole = scale.features(_frequencies(grey, *SIDES[0]))
    for (number, mirrored), (first, other) in zip(SIDES, _met(hashes, groups), strict=True):
        features = scale.features(_frequencies(grey, number, mirrored))
        alike = _alike(whole, features, first, other)
        kept = alike >= ALIKE
        count = int(kept.sum())
        yield first[kept], other[kept], np.full(count, number), np.full(count, mirrored), alike[kept]


def _alike(whole: np.ndarray, features: np.ndarray, first: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlations of rows of one with rows of the other, (K,) float32; a few at a time, as a crowd has many pairs."""
    found = np.empty(len(first), np.float32)
    for start in range(0, len(first), BLOCK):
        some = slice(start, start + BLOCK)
        np.einsum("ij,ij->i", whole[first[some]], features[other[some]], out=found[some])
    return found


def _met(hashes: np.ndarray, groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each side the pairs of a whole image and a side of another that share a band and are at most FAR bits apart.

    Pairs of a group, of which a crowd can have millions, are dropped as they are met.

    hashes: (S, N) uint64 of each side of each image, the whole images first. groups: (N,).
    """
    met = [_Numbers() for _ in hashes]
    images = hashes.shape[1]
    width = min(BITS, max(12, MORE_BITS + int(np.ceil(np.log2(images)))))
    for shuffle in range(SHUFFLES):
        shuffled = _shuffled(hashes, np.random.default_rng(shuffle).permutation(BITS))
        for band in range(BITS // width):
            keys = (shuffled >> np.uint64(band * width)).astype(np.int64) & ((1 << width) - 1)
            order = np.argsort(keys[0], kind="stable")
            starts = np.concatenate([[0], np.cumsum(np.bincount(keys[0], minlength=1 << width))])
            for number, asked in enumerate(keys):
                for first, other in _meetings(order, starts, asked):
                    near = np.bitwise_count(hashes[0, first] ^ hashes[number, other]) <= FAR
                    near &= groups[first] != groups[other]
                    near &= (first < other) | (number > 0)
                    met[number].add(first[near] * images + other[near])
    return [np.divmod(each.distinct(), images) for each in met]


class _Numbers:
    """Numbers, each once: what comes again in every band is dropped before it takes twice as much memory."""

    def __init__(self) -> None:
        self._parts, self._size, self._enough = [np.empty(0, np.int64)], 0, AT_ONCE

    def add(self, fresh: np.ndarray) -> None:
        self._parts.append(fresh)
        self._size += len(fresh)
        if self._size > self._enough:
            self._enough = max(AT_ONCE, 2 * len(self.distinct()))

    def distinct(self) -> np.ndarray:
        """In order."""
        self._parts = [np.unique(np.concatenate(self._parts))]
        self._size = len(self._parts[0])
        return self._parts[0]


def _meetings(order: np.ndarray, starts: np.ndarray, asked: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images of a band, and those that ask for its key: (K,) int64 each, about AT_ONCE of them at a time.

    order: images by their key, (N,). starts: where those of a key start in it. asked: (N,) keys.
    """
    low, counts = starts[asked], np.minimum(starts[asked + 1] - starts[asked], CROWDED)
    rows = np.flatnonzero(counts)
    cuts = np.flatnonzero(np.diff(np.cumsum(counts[rows]) // AT_ONCE)) + 1
    for part in np.split(rows, cuts):
        many = counts[part]
        begin = np.repeat(low[part] - np.cumsum(many) + many, many)
        yield order[begin + np.arange(len(begin))], np.repeat(part, many)


def _hashes(features: np.ndarray) -> np.ndarray:
    """(N, 63) -> (N,) uint64, a bit for each sign."""
    bits = np.packbits(features > 0, axis=1, bitorder="little")
    return np.ascontiguousarray(bits).view(np.uint64).ravel()


def _shuffled(hashes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The bits of each hash in another order."""
    found = np.zeros_like(hashes)
    for at, bit in enumerate(order):
        found |= ((hashes >> np.uint64(bit)) & np.uint64(1)) << np.uint64(at)
    return found


@dataclass(frozen=True)
class _Scale:
    """mean, spread: (63,) of each frequency over the images, and what is known of photographs besides."""

    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, frequencies: np.ndarray) -> "_Scale":
        share = len(frequencies) / (len(frequencies) + PRIOR)
        across, down = np.meshgrid(np.arange(LOW), np.arange(LOW))
        expected = 1 / (across**2 + down**2).ravel()[1:].clip(1)  # power falls with the square (Field 1987)
        expected /= expected.sum()
        variance = share * frequencies.var(axis=0) + (1 - share) * expected
        return cls((share * frequencies.mean(axis=0)).astype(np.float32), np.sqrt(variance).astype(np.float32))

    def features(self, frequencies: np.ndarray) -> np.ndarray:
        """(N, 63) float32 of length 1, all frequencies of like weight."""
        found = (frequencies - self.mean) / self.spread
        return found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-9)


def _frequencies(grey: np.ndarray, part: int, mirrored: bool) -> np.ndarray:
    """The lowest frequencies of one of PARTS of each image, but for its brightness: (N, 63) float32 of length 1."""
    across, down = (WAVES @ window(SIDE, PARTS[part].share, place) for place in (PARTS[part].x, PARTS[part].y))
    across = across[:, ::-1] if mirrored else across
    found = grey.reshape(len(grey), -1) @ np.kron(down, across)[1:].T
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-9)


def window(side: int, share: float, place: float) -> np.ndarray:
    """What takes `side` samples between pixels out of a window of a line of so many: (side, side) float32."""
    at = (np.arange(side) + 0.5) * share + side * (1 - share) * place - 0.5
    left = np.floor(at).astype(int)
    found = np.zeros((side, side), np.float32)
    for row, (pixel, rest) in enumerate(zip(left, at - left, strict=True)):
        found[row, max(pixel, 0)] += 1 - rest
        found[row, min(pixel + 1, side - 1)] += rest
    return found


def _waves() -> np.ndarray:
    """The lowest basis functions of the DCT-II: (8, 16) float32."""
    at = (np.arange(SIDE) + 0.5) * np.pi / SIDE
    found = np.cos(np.outer(np.arange(LOW), at)) * np.sqrt(2 / SIDE)
    found[0] /= np.sqrt(2)
    return found.astype(np.float32)


WAVES = _waves()
