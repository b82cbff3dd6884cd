"""What the convex heads of each fold are fitted on."""

from functools import cached_property

import numpy as np
import torch

from heads.fitting.principal import ByColumns, ByRows, Principal, Sums, sums_of
from heads.fitting.task import SomeRows, Task
from heads.folds import stratified

FAIR = 4096  # rows whose heads' scores are asked for that did not see them: two numbers are fitted to these
FEWEST = 500  # of them in each class, where it has as many
LARGEST = 256  # rows of a group that are left out together
INNER = 3  # parts of the rows that heads are fitted without where nothing says it in closed form


class Training:
    """The training rows of a fold, N of them.

    principal: the rows; its sums are first those of the real rows of each inner part, then of the fake ones. fake: (N,)
    bool. groups: (N,) int64; rows of one group are no evidence for one another. inner: (k, N) bool, every row in one
    part, groups kept together; one part where a class has too few groups for more.
    """

    def __init__(self, principal: Principal, fake: np.ndarray, groups: np.ndarray, inner: np.ndarray) -> None:
        self.principal, self.fake, self.groups, self.inner = principal, fake, groups, inner

    @cached_property
    def targets(self) -> torch.Tensor:
        """-1 of real and 1 of fake rows, (N,) float64."""
        return torch.from_numpy(np.where(self.fake, 1.0, -1.0)).to(self.principal.device)

    @cached_property
    def pull(self) -> torch.Tensor:
        """What the targets less their mean say of each axis, (r, 1)."""
        return self.principal.gather((self.targets - self.targets.mean())[:, None])

    @cached_property
    def fair(self) -> np.ndarray:
        """Rows (M,), growing, by which scores become logits: all, or a draw of their groups."""
        return np.sort(np.concatenate([block.ravel() for block in self.blocks]))

    @cached_property
    def blocks(self) -> list[np.ndarray]:
        """The same rows (G, s) as groups of one size each, which are left out together, LARGEST rows at most."""
        order = np.argsort(self.groups, kind="stable")
        _, first, counts = np.unique(self.groups[order], return_index=True, return_counts=True)
        rank = np.arange(len(order)) - np.repeat(first, counts)  # within its group
        starts = np.flatnonzero(rank % LARGEST == 0)
        sizes = np.diff(np.append(starts, len(order)))
        drawn = self._drawn(order, starts, sizes)
        return [order[starts[drawn & (sizes == size)][:, None] + np.arange(size)] for size in np.unique(sizes[drawn])]

    def _drawn(self, order: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Which blocks of rows count: (B,) bool."""
        rows, rarer = len(order), min(self.fake.sum(), (~self.fake).sum())
        share = max(FAIR / rows, FEWEST / rarer)
        drawn = np.random.default_rng(0).permutation(len(starts)) < share * len(starts)
        fake = self.fake[order[np.repeat(drawn, sizes)]]
        return drawn if 0 < fake.sum() < len(fake) else np.ones(len(starts), bool)


class Trainings:
    """Of each fold. What folds share is read and added up once: a fold has all rows but those that it leaves out.

    apart: each class is looked at by itself, too.
    """

    def __init__(self, task: Task, *, apart: bool) -> None:
        self.task, self.apart = task, apart
        self.images = task.folds.rows
        self.fake, self.groups = self._each_view(task.fake.cpu().numpy()), self._each_view(task.folds.groups)
        self.inner = inner_parts(self.fake, self.groups) if apart else np.ones((1, len(self.fake)), bool)

    def of(self, fold: int) -> Training:
        rows, (mean, std) = self.task.training(fold), (each.double() for each in self.task.moments(fold))
        trained = self.task.folds.trained[fold]
        mine = self._each_view(trained)
        fake, groups, inner = self.fake[mine], self.groups[mine], self.inner[:, mine]
        if (np.stack([inner @ fake, inner @ ~fake]) > 0).sum(axis=1).min() < 2:  # a class that other folds have more of
            inner = np.ones((1, len(rows)), bool)
        if rows.columns > len(rows):
            principal = ByRows(rows, mean, std, _of_each_class(fake, inner) if self.apart else [])
        else:
            sums = self._sums(trained[self.images], merged=len(inner) == 1)
            principal = ByColumns(rows, mean, std, self._point, sums)
        return Training(principal, fake, groups, inner)

    @cached_property
    def _point(self) -> torch.Tensor:
        """(D,), near the mean of every fold: sums of squares lose nothing to rounding."""
        return self.task.centre.double()

    def _sums(self, trained: np.ndarray, *, merged: bool) -> list[Sums]:
        """Of the images (n,) bool that a fold trains on, less that point; of each part, or of each class, where they
        are looked at apart.
        """
        if trained.all() or 2 * trained.sum() < len(trained):
            sums = self._added(trained)
        else:
            sums = [every.without(left) for every, left in zip(self._every, self._added(~trained), strict=True)]
        if merged and self.apart:
            half = len(sums) // 2
            return [sum(each[1:], each[0]) for each in (sums[:half], sums[half:])]
        return sums

    @cached_property
    def _every(self) -> list[Sums]:
        return self._added(np.ones(len(self.images), bool))

    def _added(self, chosen: np.ndarray) -> list[Sums]:
        """Of some images, (n,) bool."""
        masks = _of_each_class(self.fake, self.inner) if self.apart else list(self.inner)
        mine = np.tile(chosen, self.task.stream.views)
        rows = SomeRows(self.task.stream, self.images[chosen], self.task.stream.views)
        return sums_of(rows, self._point, [mask[mine] for mask in masks], self.task.device)

    def _each_view(self, of_images: np.ndarray) -> np.ndarray:
        """Of the manifest's images (n,) -> of the rows."""
        return np.tile(of_images[self.images], self.task.stream.views)


def inner_parts(fake: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(k, N) bool, as Training.inner."""
    fits = min(INNER, *(len(np.unique(groups[label])) for label in (fake, ~fake)))
    return stratified(fake, groups, fits, many=0) if fits > 1 else np.ones((1, len(fake)), bool)


def _of_each_class(fake: np.ndarray, inner: np.ndarray) -> list[np.ndarray]:
    """Masks (N,): the real rows of each part, then the fake ones of each."""
    return [part & label for label in (~fake, fake) for part in inner]
