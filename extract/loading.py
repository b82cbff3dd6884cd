"""Manifest rows -> batches of uint8 pixels, decoded beside the network on a GPU and between its passes on a CPU."""

import hashlib
import math
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cache.errors import UserError
from cache.features import Preprocess
from data.augment import Draw
from data.disk import BadImageError, read_file
from data.images import black, opened
from data.manifest import Manifest
from data.perturb import Perturbation
from data.preprocess import to_input
from data.probing import cores

SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps it
SHARED_SHARE = 0.8  # of what is free there that batches may take
AHEAD = 4  # batches that each process may have ready


@dataclass(frozen=True)
class Crew:
    """Processes that decode, each so many batches ahead."""

    processes: int
    ahead: int


@dataclass(frozen=True)
class Batch:
    """pixels: (size, crop, crop, 3) uint8, always the full size; only the first `count` are images.

    A network may pick other arithmetic for another batch size, so the last batch is filled up with black:
    an image's features then do not depend on how many came with it.
    """

    pixels: torch.Tensor
    count: int


def batches(
    manifest: Manifest,
    rows: np.ndarray,
    how: Preprocess,
    *,
    draw: Draw | Perturbation | None = None,
    size: int,
    workers: int,
) -> Iterator[Batch]:
    """Batches of `rows` (k,) in their order.

    Args:
        draw: the augmentation or perturbation, if any.
        workers: processes that decode, as far as their batches have room; 0 = threads of this one, between two
            forward passes.

    Raises:
        UserError: an image is gone or its bytes are not the ones that were hashed.
    """
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    for pixels in loaded(manifest, parts, how, draw=draw, workers=workers):
        count = len(pixels)
        if count < size:
            pixels = torch.cat([pixels, pixels.new_zeros(size - count, *pixels.shape[1:])])
        yield Batch(pixels, count)


def loaded(
    manifest: Manifest, parts: list[np.ndarray], how: Preprocess, *, draw: Draw | Perturbation | None, workers: int
) -> Iterator[torch.Tensor]:
    """For each array of rows their pixels (k, side, side, 3) uint8, as `batches` but of the sizes given."""
    ends = np.cumsum([0, *map(len, parts)])
    positions = [list(range(start, end)) for start, end in pairwise(ends)]
    images = _Pixels(manifest, np.concatenate(parts) if parts else np.zeros(0, int), how, draw)
    crew = fitting_crew(workers, max(map(len, parts), default=0) * 3 * how.crop**2)
    for pixels, problems in _by_processes(images, positions, crew) if crew else _by_threads(images, positions):
        if problems:
            raise UserError(problems[0])
        yield pixels


def default_workers(device: torch.device) -> int:
    """Processes beside a GPU, one a core; none beside a CPU's forward pass.

    There a process that decodes takes a core from one of the network's threads, and the others wait for that one.
    """
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes that torchrun started on this machine
    return 0 if device.type == "cpu" else max(1, cores() // beside - 1)


def fitting_crew(processes: int, batch: int) -> Crew | None:
    """As many of the processes as batches of so many bytes have room for; None where threads have to decode.

    A batch is handed over in shared memory, of which a container has 64 MB unless told otherwise; a process that
    writes past its end is killed.
    """
    if not processes:
        return None
    room = int(SHARED_SHARE * _free_shared()) // max(batch, 1) - 1  # one batch is in use
    fitting = min(processes, room)
    crew = Crew(fitting, min(AHEAD, room // fitting)) if fitting >= min(2, processes) else None
    if crew != Crew(processes, AHEAD):
        _tell(processes, crew, batch)
    return crew


def _free_shared() -> int:
    """Bytes of shared memory that this process may fill; torchrun's ranks share them."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).free // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    except OSError:  # macOS has no such folder, and no such limit
        return sys.maxsize


@cache
def _tell(processes: int, crew: Crew | None, batch: int) -> None:
    """Say once that fewer processes decode than were asked for."""
    fewer = f"{crew.processes} processes, {crew.ahead} batches ahead each," if crew else "threads"
    wanted = math.ceil((processes * AHEAD + 1) * batch / SHARED_SHARE / 1e6)
    print(
        f"images: {_free_shared() / 1e6:.0f} MB are free in {SHARED_MEMORY} and a batch takes {batch / 1e6:.0f} MB: "
        f"{fewer} decode in place of {processes} processes; give it {wanted} MB (docker run --shm-size={wanted}m) or "
        "lower BATCH",
        flush=True,
    )


def _by_threads(images: "_Pixels", positions: list[list[int]]) -> Iterator[tuple[torch.Tensor, list[str]]]:
    with ThreadPoolExecutor(cores()) as pool:
        for part in positions:
            yield _collate(list(pool.map(images.__getitem__, part)))


def _by_processes(
    images: "_Pixels", positions: list[list[int]], crew: Crew
) -> Iterator[tuple[torch.Tensor, list[str]]]:
    yield from DataLoader(
        images, batch_sampler=positions, num_workers=crew.processes, collate_fn=_collate, prefetch_factor=crew.ahead,
        pin_memory=torch.cuda.is_available(),
    )  # fmt: skip


class _Pixels(Dataset):
    """Item i: (pixels, '') or (None, what is wrong). Exceptions would lose their words between processes."""

    def __init__(self, manifest: Manifest, rows: np.ndarray, how: Preprocess, draw: Draw | Perturbation | None) -> None:
        chosen = manifest.rows.iloc[rows]
        self.root, self.how, self.draw = str(manifest.root), how, draw
        # Arrays of fixed-width text, not lists: worker processes then share their pages with the parent.
        self.paths = chosen.path.to_numpy("U")
        self.digests = chosen.digest.to_numpy("U")
        self.black = (chosen.status == "black").to_numpy()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray | None, str]:
        digest = str(self.digests[index])
        if self.black[index]:
            return to_input(black(), self.how, digest=digest, draw=self.draw), ""
        path = os.path.join(self.root, self.paths[index])
        try:
            content, _ = read_file(path)
            if hashlib.sha256(content).hexdigest() != digest:
                return None, f"{path} changed since it was hashed: run `make data` again with REHASH=1"
            with opened(content) as found:
                return to_input(found.image, self.how, digest=digest, draw=self.draw), ""
        except BadImageError as error:
            return None, f"{path} cannot be read any more ({error}): run `make data` again"


def _collate(items: list[tuple[np.ndarray | None, str]]) -> tuple[torch.Tensor, list[str]]:
    problems = [problem for _, problem in items if problem]
    return (torch.empty(0) if problems else torch.from_numpy(np.stack([pixels for pixels, _ in items]))), problems
