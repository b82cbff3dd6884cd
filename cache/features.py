"""THE FORMAT: what a cached feature is, and one shard of them written, opened and checked.

A feature is fully determined by HOW it was made (`FeatureSpec`) and from WHAT (sha256 of the image file).
A shard is an immutable HDF5 file of rows that share one spec:

    userblock            512 bytes: frame checksum (32 hex digits), place and length of the rows in bytes, zeros
    features  (N, ...)   float16 or float32, little-endian, contiguous: mapped, never parsed, when read
    digests   (N, 32)    uint8, sha256 of each row's image file
    checksums (N,)       uint64, xxh3 of each row's bytes seeded with the row's digest
    attribute "spec"     canonical JSON of the FeatureSpec

The frame is every byte of the file but the rows themselves. It is checked when a shard is opened and each row
when it is read, so that any changed byte is an error before it is a number, at the price of reading only what
is asked for. The frame is checked before HDF5 sees it, because a changed byte can send HDF5 into an endless loop.
Seeding a row's checksum with its digest also catches rows that changed places.

Contiguous, because mapped rows come at memory speed: `python -m tests.bench.store` compares the layouts.
"""

import hashlib
import io
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import xxhash

from cache import paths
from cache.atomic import write_bytes
from cache.errors import UserError
from cache.key import canonical, differences, key
from cache.mapping import mapped
from cache.records import from_plain

FORMAT_VERSION = 1
USERBLOCK = 512  # bytes, the smallest that HDF5 allows
DIGEST_BYTES = 32


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes the network's input; data.preprocess carries it out.

    resize: shorter side in pixels before the crop, 0 = no resize. crop: side of the centre crop in pixels.
    mean, std: of the network's input, for RGB in 0..1.
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class FeatureSpec:
    """HOW features are made. Everything that changes the numbers is here, nothing else is.

    weights: sha256 of the weight file's bytes, or `random:` and the sha256 of the tensors.
    pooling: map, avg, avgstd or cls. view: 0 = evaluation preprocess, k = k-th seeded augmentation.
    augmentation: name of the policy that augments views 1..k; of view 0 that of a perturbation, or empty.
    compute, stored: dtype of the forward pass, with the engine before it where that is not torch (`openvino-bf16`), and
        of the rows.
    channels_last, prefix_tokens: how the tap is laid out, as cache.pooling.pool takes them.
    """

    backbone: str
    weights: str
    tap: str
    pooling: str
    preprocess: Preprocess
    compute: str
    stored: str
    view: int = 0
    augmentation: str = ""
    channels_last: bool = False
    prefix_tokens: int = 0
    format_version: int = FORMAT_VERSION

    @property
    def key(self) -> str:
        return key(self)

    @property
    def feature(self) -> str:
        """Its name as FEATURES takes it: `layer3:avg`."""
        return f"{self.tap}:{self.pooling}"

    @property
    def folder(self) -> Path:
        """Where its shards are. The readable part is decoration; the key is the truth."""
        return paths.features_dir() / paths.safe(f"{self.backbone}-{self.tap}-{self.pooling}-{self.key}")

    @property
    def random_weights(self) -> bool:
        return self.weights.startswith("random:")

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> "FeatureSpec":
        """Raises: UserError naming a field that does not fit."""
        return from_plain(cls, record)


class DamagedShard(UserError):
    """Bytes of a shard are not the ones that were written."""

    def __init__(self, path: Path, reason: str):
        super().__init__(
            f"damaged shard {path}: {reason}. It must not be used: delete the file and run the same "
            "`make extract` again (only its rows are recomputed); `make verify` checks all shards."
        )


class RemovedShard(UserError):
    """A shard that was listed is gone: its rows are in a merged one, or somebody removed it."""


def write_shard(spec: FeatureSpec, digests: np.ndarray, features: np.ndarray) -> Path:
    """Write rows as one shard of `spec` and return its path, which depends on the digests alone.

    Args:
        digests: (N, 32) uint8.
        features: (N, ...) of spec.stored.

    Raises:
        UserError: a value is not finite, or the disk is full. Nothing is written then.
    """
    features = np.ascontiguousarray(features, dtype=np.dtype(spec.stored).newbyteorder("<"))
    _refuse_non_finite(spec, digests, features)
    image = _hdf5(spec, digests, features)
    start = _features_offset(image)
    place = f"{USERBLOCK + start} {features.nbytes}".encode()
    frame = _frame_checksum(place, image[:start], image[start + features.nbytes :])
    path = spec.folder / f"{hashlib.sha256(digests.tobytes()).hexdigest()[:16]}.h5"
    write_bytes(path, (frame + b" " + place).ljust(USERBLOCK, b"\0"), image)
    return path


@dataclass(frozen=True)
class Shard:
    """An opened, frame-checked shard. features: (N, ...) mapped read-only; digests (N, 32); checksums (N,)."""

    path: Path
    spec: FeatureSpec
    digests: np.ndarray
    checksums: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.digests)

    def check(self, row: int, content: np.ndarray) -> None:
        """Compare `content`, a copy of `row`, with what was written.

        Raises:
            DamagedShard: the bytes differ.
        """
        if _row_checksum(content, self._seeds[row]) != self.checksums[row]:
            raise DamagedShard(self.path, f"the checksum of row {row} does not match")

    @cached_property
    def _seeds(self) -> list[int]:
        return _seeds(self.digests)


def open_shard(path: Path, expected: FeatureSpec | None = None) -> Shard:
    """Open a shard and check everything but its rows, which `Shard.check` checks one by one.

    Raises:
        DamagedShard: a byte of the frame changed, or it is no shard at all.
        RemovedShard: it is gone.
        UserError: it was made under another format version or another spec than `expected`.
    """
    try:
        rows = _intact_rows(path, mapped(path))
        opened = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise RemovedShard(f"{path} was removed while it was looked for: run `make extract` again") from error
    with opened as file:
        record = json.loads(file.attrs["spec"])
        if record.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{path} has feature format version {record.get('format_version')}, this program reads version "
                f"{FORMAT_VERSION}: run `make extract` again; the old files may then be deleted."
            )
        shape, dtype = file["features"].shape, file["features"].dtype
        shard = Shard(
            path,
            FeatureSpec.from_json(record),
            file["digests"][:],
            file["checksums"][:],
            rows.view(dtype).reshape(shape),
        )
    if expected is not None:
        check_spec(path, expected, shard.spec)
    return shard


def _intact_rows(path: Path, content: np.ndarray) -> np.ndarray:
    """The bytes of a file's rows, once every other byte has been checked.

    Raises:
        DamagedShard: a byte outside the rows changed, or this is no shard.
    """
    header = bytes(content[:USERBLOCK])
    try:
        _, start, length = header.rstrip(b"\0").split(b" ")
        first, end = int(start), int(start) + int(length)
    except ValueError as error:
        raise DamagedShard(path, "it does not begin like a shard") from error
    if not USERBLOCK <= first <= end <= len(content):
        raise DamagedShard(path, "it is shorter than it says")
    place = start + b" " + length
    expected = _frame_checksum(place, content[USERBLOCK:first], content[end:])
    if header != (expected + b" " + place).ljust(USERBLOCK, b"\0"):
        raise DamagedShard(path, "the checksum of its frame does not match")
    return content[first:end]


def check_spec(where: Path, expected: FeatureSpec, found: FeatureSpec) -> None:
    """Raises: UserError naming each differing field with both values."""
    if expected != found:
        lines = "\n  ".join(differences(expected, found))
        raise UserError(
            f"{where} was made under another spec than asked for:\n  {lines}\n"
            f"Run `make extract` with the options you want; features of different specs live side by side. "
            f"If this file was copied there by hand, move it to {found.folder}."
        )


def shard_paths(folder: Path) -> list[Path]:
    """The finished shards of a folder, in a fixed order. Temporary files begin with a dot and are not among them."""
    return sorted(path for path in folder.glob("*.h5") if not path.name.startswith("."))


def shard_sizes(folder: Path) -> dict[Path, int]:
    """The finished shards of a folder with their bytes, in a fixed order. One that is merged meanwhile is left out."""
    sizes = {}
    for path in shard_paths(folder):
        with suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    return sizes


def _hdf5(spec: FeatureSpec, digests: np.ndarray, features: np.ndarray) -> memoryview:
    """The bytes of the file behind its userblock. Built in memory: HDF5 handles a full disk badly."""
    checksums = np.array(
        [_row_checksum(row, seed) for row, seed in zip(features, _seeds(digests), strict=True)], dtype="<u8"
    )
    with h5py.File(io.BytesIO().__repr__(), "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        file.create_dataset("features", data=features)
        file.create_dataset("digests", data=digests)
        file.create_dataset("checksums", data=checksums)
        file.attrs["spec"] = canonical(spec)
        file.flush()
        return memoryview(file.id.get_file_image())


def _features_offset(image: memoryview) -> int:
    with h5py.File(io.BytesIO(image), "r") as file:
        return file["features"].id.get_offset()


def _seeds(digests: np.ndarray) -> list[int]:
    return digests[:, :8].copy().view("<u8")[:, 0].tolist()


def _row_checksum(row: np.ndarray, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(row.data if row.ndim else row.tobytes(), seed)


def _frame_checksum(*parts: bytes | memoryview | np.ndarray) -> bytes:
    hasher = xxhash.xxh3_128()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest().encode()


def _refuse_non_finite(spec: FeatureSpec, digests: np.ndarray, features: np.ndarray) -> None:
    bad = ~np.isfinite(features).reshape(len(features), -1).all(axis=1)
    if bad.any():
        raise UserError(
            f"{spec.backbone} {spec.feature} gave values that are not finite in {spec.stored} for "
            f"{int(bad.sum())} of {len(bad)} images, first the one with sha256 {digests[bad][0].tobytes().hex()}. "
            "Nothing was written: try STORED=float32, or COMPUTE=fp32 if the network itself overflows."
        )
