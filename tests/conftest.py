"""Every test lives in a world of its own: empty cache, data and runs folders, and small images drawn from a seed."""

import base64
import io
import os
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import cache, lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from threadpoolctl import threadpool_limits

# Tensors are small here: threads that wait for one another cost more than they bring, many times over on busy cores.
torch.set_num_threads(1)
threadpool_limits(1)  # of NumPy's and SciPy's products
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="  # as PNG


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    """Artefact folders below tmp_path, and no torchrun."""
    for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@lru_cache(maxsize=6)
def drawn(build: Callable, name: str, size: int, _entry: object) -> torch.nn.Module:
    """A network as it comes from the seed of random weights; the largest has a block a stage, which says as much."""
    import timm

    shallow = partial(timm.create_model, layers=(1, 1, 1, 1))
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        if name == "wide_resnet50_2":
            patch.setattr(timm, "create_model", shallow)
        return build(name, size)


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    """Each is drawn once, and copied: drawing takes longer than most of what tests do with it."""
    if backbones := sys.modules.get("extract.networks.backbones"):
        build = backbones._module

        def copied(name: str, size: int) -> torch.nn.Module:
            entry = backbones.entry(name)
            plugin = entry.module and not entry.module.startswith("extract.")
            return build(name, size) if plugin else deepcopy(drawn(build, name, size, entry))

        monkeypatch.setattr(backbones, "_module", copied)


@pytest.fixture
def undrawn(monkeypatch):
    without_pictures(monkeypatch)


def without_pictures(patch: pytest.MonkeyPatch) -> None:
    """Every picture of a page is a pixel: putting them on paper takes most of a page's time."""
    from matplotlib.figure import Figure

    pixel = base64.b64decode(PIXEL)
    patch.setattr(Figure, "savefig", lambda _, file, **how: file.write(pixel))


def picture(seed: int, *, fake: bool, side: int = 64) -> Image.Image:
    """A seeded picture; fakes carry a checkerboard, so that heads have something to find."""
    rng = np.random.default_rng(seed)
    base = np.asarray(Image.fromarray(rng.integers(40, 216, (4, 4, 3), dtype=np.uint8)).resize((side, side)), float)
    pixels = base + rng.normal(0, 6, base.shape)
    if fake:
        pixels[::2, ::2] += 14
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@cache
def face(seed: int, *, fake: bool, side: int) -> bytes:
    """A seeded picture as a file."""
    return jpeg(picture(seed, fake=fake, side=side))


def jpeg(image: Image.Image, quality: int = 92) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_faces(folder: Path, count: int, *, side: int = 64, start: int = 0) -> Path:
    """`count` JPEGs in folder/real and folder/fake, half each; returns folder."""
    for index in range(start, start + count):
        label = ("real", "fake")[index % 2]
        path = folder / label / f"{index:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(face(index, fake=label == "fake", side=side))
    return folder


@pytest.fixture
def faces(tmp_path) -> Path:
    """60 small faces as class folders."""
    return write_faces(tmp_path / "faces", 60)


@pytest.fixture
def elsewhere(faces, tmp_path) -> Path:
    """40 other faces, and one that `faces` holds too."""
    folder = write_faces(tmp_path / "elsewhere", 40, start=100)
    (folder / "real" / "known.jpg").write_bytes((faces / "real" / "0000.jpg").read_bytes())
    return folder


def kept_faces(home: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`count` faces that no test changes, in home/few: what is cached of them serves all, runs are each test's own."""
    for name in ("CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(name, str(home / name.lower()))
    return home / "few" if (home / "few").exists() else write_faces(home / "few", count)


@pytest.fixture
def few(tmp_path_factory, monkeypatch) -> Path:
    """48 small faces, never to be changed."""
    return kept_faces(tmp_path_factory.getbasetemp() / "kept48", 48, monkeypatch)
