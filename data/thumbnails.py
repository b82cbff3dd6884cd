"""A grey thumbnail of every image: what near copies are looked for by, and what the smallest of pictures gives away.

thumbnails.bin holds 288 bytes an image, the sha256 of its file and 16 x 16 grey levels, by digest; its last line,
#thumbnails <version> <sha256 of all before>, says that it is as it was written.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cache.atomic import write_bytes
from data.disk import BadImageError, read_file

VERSION = 1  # of how an image becomes a thumbnail: with another one all files are read again
SIDE = 16  # pixels
FILE = "thumbnails.bin"
ROW = np.dtype([("digest", "u1", 32), ("grey", "u1", (SIDE, SIDE))])


@dataclass(frozen=True)
class Thumbnails:
    """rows: (M,) of ROW, each image once, in the order of their digests."""

    rows: np.ndarray

    @classmethod
    def of(cls, digests: Iterable[str], written: Iterable[str]) -> "Thumbnails":
        """Of digests in hex and what `written` made; images without a thumbnail are left out."""
        pairs = {bytes.fromhex(digest): base64.b64decode(text) for digest, text in zip(digests, written, strict=True)
                 if text}  # fmt: skip
        return cls(np.frombuffer(b"".join(digest + pairs[digest] for digest in sorted(pairs)), ROW))

    @classmethod
    def load(cls, folder: Path) -> "Thumbnails":
        """Those in the folder of a data set; none where there are none, or they are not as they were written."""
        try:
            body, _, last = read_file(folder / FILE)[0].rpartition(b"#")
        except BadImageError:
            return cls(np.empty(0, ROW))
        whole = last.decode(errors="replace").strip() == _seal(body) and len(body) % ROW.itemsize == 0
        return cls(np.frombuffer(body if whole else b"", ROW))

    def __len__(self) -> int:
        return len(self.rows)

    def __add__(self, other: "Thumbnails") -> "Thumbnails":
        both = np.concatenate([self.rows, other.rows])
        return Thumbnails(both[np.unique(_names(both), return_index=True)[1]])

    def save(self, folder: Path) -> None:
        """Write them into the folder of a data set."""
        body = self.rows.tobytes()
        write_bytes(folder / FILE, body, f"#{_seal(body)}\n".encode())

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Row numbers of images, digests (N, 32) uint8 -> (N,) int64, -1 where there is no thumbnail."""
        wanted = np.ascontiguousarray(digests).view("V32").ravel()
        if not len(self):
            return np.full(len(wanted), -1)
        known = _names(self.rows)
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[at] == wanted, at, -1)

    def written(self) -> dict[str, str]:
        """Digest in hex -> the thumbnail as text."""
        return {row["digest"].tobytes().hex(): base64.b64encode(row["grey"].tobytes()).decode() for row in self.rows}


def written(grey: Image.Image) -> str:
    """The thumbnail of a grey image as text."""
    small = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    return base64.b64encode(small.tobytes()).decode()


def _names(rows: np.ndarray) -> np.ndarray:
    """(M,) of 32 bytes each, which can be compared and sorted."""
    return np.ascontiguousarray(rows["digest"]).view("V32").ravel()


def _seal(body: bytes) -> str:
    return f"thumbnails {VERSION} {hashlib.sha256(body).hexdigest()}"
