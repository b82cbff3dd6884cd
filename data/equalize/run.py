"""`make equalize`: DATA -> the same images as square JPEGs of one size and quality, with their manifest.

    python -m data.equalize --data=path --out=folder --size=256 --quality=90

OUT/ holds  images/...       a JPEG for each usable image, under its own path
            manifest.csv     path, label, split, group, generator, further columns of a CSV, and source: the sha256 of
                             the file that it was made from; written last
            equalized.json   size and quality
            equalized.log    what was written so far; it goes when the manifest is written

The middle square of an image is scaled to SIZE (Lanczos) and written in three channels without what else the file
held: camera, colour profile, comments. Grey images stay grey. What is there already is not written again.
"""

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cache.atomic import append_line, read_lines, remove, replacing, write_bytes, write_json
from cache.errors import UserError
from cache.progress import Progress
from data.build import run as build
from data.disk import BadImageError, read_file
from data.equalize.options import EqualizeConfig
from data.images import opened
from data.manifest import COLUMNS, STATISTICS, Manifest
from data.probing import cores

VERSION = 1  # of how an image is written: another one begins a folder of its own
SMALLER = 0.05  # share of a class that is enlarged at most where no size is given
UNEQUAL = 0.05  # by which the shares of two classes may differ before it is said
MADE_SMALLER = 2  # thirds of its side at which nothing is seen of an image's blocks any more
MANIFEST, ABOUT, LOG = "manifest.csv", "equalized.json", "equalized.log"


@dataclass(frozen=True)
class Equalized:
    """How all images of a folder are stored."""

    size: int
    quality: int
    version: int = VERSION


def run(config: EqualizeConfig) -> Path:
    """Write what is not there yet; the new manifest.

    Raises:
        UserError: as data.build.run; OUT holds the images themselves, or others; an image changed since it was listed.
    """
    manifest = Manifest.load(build(config.source))
    out = Path(config.out).expanduser()
    _refuse_own_folder(out, manifest.root)
    rows = manifest.rows[manifest.rows.status == "ok"].reset_index(drop=True)
    how = _settled(config, rows, out)
    made = _described(manifest, rows)
    done = _done(out)
    left = [row for row in range(len(made)) if done.get(made.path[row]) != made.source[row]
            or not (out / made.path[row]).exists()]  # fmt: skip
    if left:
        _write(manifest.root, rows.path[left].tolist(), made.iloc[left], out, how)
    if left or not _holds(out / MANIFEST, made):
        with replacing(out / MANIFEST) as temporary:
            made.to_csv(temporary, index=False)
        print(f"equalize {manifest.dataset}: {len(made)} images of {how.size} x {how.size} pixels, JPEG {how.quality}"
              f" -> {out / MANIFEST}")  # fmt: skip
        for sentence in _left(rows, how):
            print(f"  {sentence}")
        print(f"  which shortcuts are left: make audit DATA={out / MANIFEST}")
    remove(out / LOG)
    return out / MANIFEST


def _refuse_own_folder(out: Path, root: Path) -> None:
    there, images = out.resolve(), root.resolve()
    if there == images or there.is_relative_to(images) or images.is_relative_to(there):
        raise UserError(f"OUT={out}: the images themselves are in {images}; choose a folder beside it")


def _settled(config: EqualizeConfig, rows: pd.DataFrame, out: Path) -> Equalized:
    """How images are stored; said in OUT, where nothing else may be."""
    size = config.size or int(_sides(rows).groupby(rows.label).quantile(SMALLER, interpolation="lower").min())
    how = Equalized(size, config.quality)
    if (out / ABOUT).exists():
        found = json.loads((out / ABOUT).read_text())
        if found != asdict(how):
            raise UserError(f"OUT={out} holds images stored as {found}, not as {asdict(how)}: choose another folder")
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"OUT={out} is not empty, and not of `make equalize`: choose another folder")
    else:
        write_json(out / ABOUT, how)
    return how


def _sides(rows: pd.DataFrame) -> pd.Series:
    """The shorter side of each image in pixels."""
    return rows[["width", "height"]].min(axis=1)


def _left(rows: pd.DataFrame, how: Equalized) -> list[str]:
    """What is seen of how images were stored before, where it is not alike in both classes; the audit measures neither.

    A JPEG that is not scaled keeps the 8 x 8 blocks of its first compression below those of the second.
    """
    found = {
        f"enlarged, which blurs: SIZE={int(_sides(rows).min())} enlarges none": _sides(rows) < how.size,
        f"JPEGs of {how.size} pixels before, whose blocks are still seen: SIZE={max(MADE_SMALLER * how.size // 3, 16)} "
        "hides them": (_sides(rows) == how.size) & (rows.format == "JPEG"),
    }  # fmt: skip
    shares = {what: some.groupby(rows.label).mean() for what, some in found.items()}
    return [f"{' and '.join(f'{100 * share:.0f} % of the {label}' for label, share in each.items())} images were {what}"
            for what, each in shares.items() if each.max() - each.min() > UNEQUAL]  # fmt: skip


def _described(manifest: Manifest, rows: pd.DataFrame) -> pd.DataFrame:
    """The new manifest. An image that is a group of its own stays one."""
    alone = rows.group == rows.digest
    further = [name for name in rows if name not in (*COLUMNS, *STATISTICS, "source")]
    made = pd.DataFrame({
        "path": "images/" + rows.path + np.where(rows.path.str.lower().str.endswith((".jpg", ".jpeg")), "", ".jpg"),
        "label": rows.label, "split": rows.split, "group": rows.group.mask(alone & ~rows.digest.duplicated(False), ""),
        "source": rows.digest,
    })  # fmt: skip
    twice = made.path[made.path.duplicated()]
    if len(twice):
        raise UserError(f"{manifest.dataset}: two images would be written to {twice.iloc[0]}: rename one of them")
    return pd.concat([made, rows[further]], axis=1)


def _done(out: Path) -> dict[str, str]:
    """Path -> sha256 of the file that it was made from, of all that is written."""
    lines = [line.partition(" ") for line in read_lines(out / LOG)]
    done = {path: digest for digest, _, path in lines}
    if (out / MANIFEST).exists():
        table = pd.read_csv(out / MANIFEST, dtype=str, keep_default_na=False)
        done = dict(zip(table.path, table.source, strict=True)) | done
    return done


def _holds(path: Path, made: pd.DataFrame) -> bool:
    return path.exists() and path.read_bytes() == made.to_csv(index=False).encode()


def _write(root: Path, sources: list[str], made: pd.DataFrame, out: Path, how: Equalized) -> None:
    with Progress(f"equalize {out.name}", len(made)) as progress, ThreadPoolExecutor(cores()) as pool:
        try:
            jobs = zip(sources, made.path, made.source, strict=True)
            for path, digest in pool.map(partial(_one, root, out, how), *zip(*jobs, strict=True)):
                append_line(out / LOG, f"{digest} {path}")
                progress.advance(1)
        finally:
            pool.shutdown(cancel_futures=True)


def _one(root: Path, out: Path, how: Equalized, source: str, path: str, digest: str) -> tuple[str, str]:
    try:
        content, _ = read_file(root / source)
        if hashlib.sha256(content).hexdigest() != digest:
            raise UserError(f"{root / source} has changed since it was listed: run again")
        write_bytes(out / path, stored(content, how))
    except BadImageError as error:
        raise UserError(f"{root / source} cannot be read any more ({error}): run again") from error
    return path, digest


def stored(content: bytes, how: Equalized) -> bytes:
    """An image file as one that is stored like all others."""
    buffer = io.BytesIO()
    with opened(content) as found:
        image = found.image
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        image.resize((how.size, how.size), Image.Resampling.LANCZOS, box).save(buffer, "JPEG", quality=how.quality)
    return buffer.getvalue()
