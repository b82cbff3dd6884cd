"""`make crop`: the faces of a data set, cut out and written as a data set of their own.

    python -m data.crop --data=photos --out=faces

The folder OUT gets
    images/<path of the source>-<n>.png   the n-th largest face of an image
    train.csv, valid.csv, test.csv        path, label, split, group and generator as those of the source, and the face
    left_out.csv                          the images without a face and those that cannot be read, with the reason
    crop.json, crops.log, complete.json   how it was done, what became of each image, and that all of them are done

PNG, because it loses nothing: a JPEG would lay its own traces over those that tell real from fake. Stopped anywhere,
the same command goes on; what is there is not made again, and what an image left that is gone is removed.
"""

import hashlib
import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

import pandas as pd

from cache.atomic import locked, remove, remove_leftovers, write_bytes, write_json
from cache.progress import Progress
from data import build
from data.crop import crop_folder, crops_log
from data.crop.crop_folder import COMPLETE, LOCK, SETTINGS, VERSION, Settings
from data.crop.crop_tables import CSVS, LEFT_OUT
from data.crop.cutting import Crop, crops
from data.crop.options import ALL, CropConfig
from data.disk import BadImageError, read_file
from data.images import opened
from data.manifest import Manifest
from data.probing import cores

NO_FACE = "no face"
AHEAD = 4  # images for each core that are under way or wait to be written down
PNG_LEVEL = 4  # of zlib; 9 takes several times as long for a few per cent

Log = dict[str, crops_log.Image]  # by the source's path


def run(config: CropConfig) -> Path:
    """Cut the faces out of a data set; the folder with them. Does nothing where they are there.

    Raises:
        UserError: as `data.build.run`; OUT holds something else; not one face was found.
    """
    manifest = Manifest.load(build.run(config.data))
    out = Path(config.out).expanduser()
    settings = Settings(VERSION, str(manifest.root), config.faces, config.cutting)
    crop_folder.refuse(out, settings)
    with locked(out / LOCK):
        inputs, there = crop_folder.inputs_of(manifest, settings), crop_folder.complete(out)
        known = crops_log.read(out)
        if not there or there.inputs != inputs or not all(crop_folder.is_there(out, each) for each in known.values()):
            remove(out / COMPLETE)
            remove_leftovers(out)
            write_json(out / SETTINGS, settings)
            crop_folder.close(out, manifest, _filled(out, manifest, settings, known), inputs)
    print(f"crop {config.data.dataset}: {_said(out)}")
    return out


def _filled(out: Path, manifest: Manifest, settings: Settings, known: Log) -> Log:
    """What became of every image of the manifest that can be opened: what is known, and what was lacking."""
    rows = manifest.rows[manifest.rows.status == "ok"]
    digests = dict(zip(rows.path, rows.digest, strict=True))
    for path in [path for path, image in known.items() if digests.get(path) != image.digest]:
        for face in known.pop(path).faces:
            remove(out / face.path)
    todo = [path for path in digests if path not in known or not crop_folder.is_there(out, known[path])]
    work = partial(_cropped, out, manifest.root, settings)
    with Progress(f"crop {manifest.dataset}", len(todo)) as progress:
        for image in _in_turn(work, [(path, digests[path]) for path in todo]):
            crops_log.append(out, image)
            known[image.path] = image
            progress.advance(1)
    crops_log.write(out, (known[path] for path in digests))
    return known


def _in_turn(work: partial, todo: list[tuple[str, str]]) -> Iterator[crops_log.Image]:
    """What `work` makes of each, on every core: the network, Pillow and zlib leave Python to others."""
    with ThreadPoolExecutor(cores()) as pool:
        coming = iter(todo)
        waiting: deque[Future] = deque(pool.submit(work, *each) for each in islice(coming, AHEAD * cores()))
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(work, *each) for each in islice(coming, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _cropped(out: Path, root: Path, settings: Settings, path: str, digest: str) -> crops_log.Image:
    """Write the faces of an image; never raises for a bad one."""
    try:
        content, _ = read_file(root / path)
        if hashlib.sha256(content).hexdigest() != digest:
            raise BadImageError("changed", "the file has changed since its manifest was made: run again")
        with opened(content) as read:
            found = list(crops(read.image, settings.cutting, every=settings.faces == ALL))
    except BadImageError as error:
        return crops_log.Image(path, digest, [], error.status, str(error))
    if not found:
        return crops_log.Image(path, digest, [], NO_FACE, f"no face of a score of {settings.cutting.least} or more")
    return crops_log.Image(path, digest, [_written(out, path, number, crop) for number, crop in enumerate(found, 1)])


def _written(out: Path, path: str, number: int, crop: Crop) -> crops_log.Found:
    inside = "/".join(part for part in PurePosixPath(path).parts if part not in ("/", ".."))
    name, buffer = f"images/{inside}-{number}.png", io.BytesIO()
    crop.image.save(buffer, "PNG", compress_level=PNG_LEVEL)
    write_bytes(out / name, buffer.getvalue())
    return crops_log.Found(name, round(crop.score, 3), crop.edges, round(crop.angle, 1), round(crop.outside, 3))


def _said(out: Path) -> str:
    """What is in OUT; of what was left out how much of each class, because there may be a bias in it."""
    there, missing = crop_folder.complete(out), pd.read_csv(out / LEFT_OUT, dtype=str, keep_default_na=False)
    classes = ", ".join(f"{count} {label}" for label, count in missing.label.value_counts(sort=False).items())
    first = f"; {len(missing)} left out ({classes}), first {missing.path[0]}: {missing.status[0]}" if classes else ""
    csv = next(name for name in CSVS.values() if name in there.tables)
    data = out if csv == CSVS["train"] else out / csv
    return f"{there.faces} faces of {there.images} images{first} -> make data DATA={data}"
