"""The JSON lists of DeepfakeBench: FaceForensics++.json, Celeb-DF-v2.json and the others of its dataset_json/.

    {"FF-DF": {"FF-real": {"train": {"c23": {"033": {"label": "FF-real", "frames": ["FaceForensics++/.../0.png"]}}},
                           "val": ..., "test": ...},
               "FF-DF": ...}}

data set -> label -> split -> compression, where there are several -> video -> frames. The label is a fake image's
generator, its video the group. https://github.com/SCLBD/DeepfakeBench, preprocessing/rearrange.py
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from cache.errors import UserError, shown
from data.labels import CLASS_WORDS, LABELS, SPLIT_WORDS, SPLITS, WRITTEN, guessed
from data.layouts.base import Listing, Source
from data.layouts.csv_file import read_list
from data.layouts.roots import common_root, first_there, none_there, paths_below, with_slashes

OF_FACEFORENSICS = "ff-"  # whose fakes are called FF-DF, FF-F2F, FF-FS, FF-NT and FF-FH
COMPRESSIONS = ("raw", "c0", "c23", "c40")
DEEPEST = 8  # records in one another
BELOW = ("", "rgb", "datasets", "datasets/rgb")  # where DeepfakeBench keeps images, from a folder above its lists
COLUMNS = ("path", "word", "split", "group", "generator", "compression")
AGAIN = "further mention of a frame, of a video that the list has in several splits"


def listing(source: Source) -> Listing | None:
    """The frames of a JSON list. None where DATA is none.

    Raises:
        UserError: another JSON file, a label of neither class, frames that are not there.
    """
    if source.data.suffix.lower() != ".json" or not source.data.is_file():
        return None
    if source.one:
        raise UserError(f"LABELS says what numbers mean, and the labels in {source.data} are words: leave it out")
    rows = pd.DataFrame(list(_frames(_read(source.data), source)), columns=COLUMNS)
    if not len(rows):
        raise UserError(f'{source.data}: expected a list of DeepfakeBench; found no video with "label" and "frames"')
    rows["label"] = rows.word.map({word: _label(word, source) for word in rows.word.unique()})
    source.classes.refuse_unused(set(rows.word), f"labels of {source.data}")
    rows["generator"] = rows.generator.where(rows.label == "fake", "")
    if not rows.compression.any():
        rows = rows.drop(columns="compression")
    rows["path"] = with_slashes(rows.path)
    rows, again = _in_one_split(rows.drop(columns="word"))
    root = _root(rows.path, source)
    return Listing(root.resolve(), rows.assign(path=paths_below(root, rows.path, source.data)), again)


def _read(path: Path) -> dict:
    try:
        found = json.loads(read_list(path, "list"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected a list of DeepfakeBench, data set -> label -> split -> video; it is none")
    return found


def _frames(found: dict, source: Source) -> Iterator[tuple[str, str, str, str, str, str]]:
    """path, label as it is written, split, group, generator and compression of every frame."""
    for names, video in _videos(found, ()):
        frames, word = video["frames"], video.get("label")
        texts = [word, *frames] if isinstance(frames, list) else [frames, None]
        if not all(isinstance(each, str) for each in texts):
            where = " > ".join(names)
            raise UserError(f"{source.data}: {where}: expected a label and a list of paths, found {shown(video)}")
        split = next((SPLIT_WORDS[name.lower()] for name in names if name.lower() in SPLIT_WORDS), "")
        compression = next((name for name in names if name in COMPRESSIONS), "")
        plain = word.lower() in CLASS_WORDS and len(names) > 1  # "fake" of Deepfakes: the name is what made it
        kind, name = names[1] if plain else word, names[-1]
        for frame in frames:
            video_name = PurePosixPath(frame.replace("\\", "/")).parent.name if name.lower() in SPLIT_WORDS else name
            yield frame, word, split, f"{kind}/{video_name}", kind, compression


def _videos(node: dict[str, Any], names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every record with frames, and the names on the way to it. A list may have such a record in place of a split."""
    if "frames" in node:
        yield names, node
    for name, inner in node.items():
        if isinstance(inner, dict) and len(names) < DEEPEST:
            yield from _videos(inner, (*names, name))


def _label(word: str, source: Source) -> str:
    """real or fake, of FF-real, CelebDFv2_real, DFDCP_FakeA, FF-F2F."""
    small = word.lower()
    said = {label for label in LABELS if label in small}
    if not said and small.startswith(OF_FACEFORENSICS):
        said = {"fake"}
    label = source.classes.of(word) or (said.pop() if len(said) == 1 else guessed(word))
    if not label:
        raise UserError(f"{source.data}: the label {word!r} names no class: say which it is with {WRITTEN}")
    return label


def _in_one_split(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Every frame once. Some lists have a video in several splits: it counts for test, else val, and not for training.

    Where no video is for training alone these splits part nothing, and the hash of the video does.
    """
    rank = rows.split.map({"": 0, **{split: number for number, split in enumerate(SPLITS)}})
    splits = rows.groupby("group").split.transform("nunique")
    several = splits > 1
    for_training = ((splits == 1) & (rows.split == "train")).any()
    best = rank.groupby(rows.group).transform("max").map(dict(enumerate(SPLITS)))
    rows = rows.assign(split=rows.split.mask(several, best if for_training else ""))
    once = rows.drop_duplicates(["path", "group"], ignore_index=True)
    return (once, {AGAIN: len(rows) - len(once)}) if several.any() else (rows, {})


def _root(paths: pd.Series, source: Source) -> Path:
    if source.root:
        places = [Path(source.root)]
    else:
        above = [source.data.parent.resolve(), *source.data.resolve().parents[1:4]]
        places = [common_root(paths)] if common_root(paths) else [each / name for each in above for name in BELOW]
    found = first_there(places, paths)
    if not found:
        raise none_there(paths, places, source.data)
    return found
