"""What was cut out -> the tables of the new data set, which `make data` takes."""

from collections.abc import Mapping

import pandas as pd

from data.crop import crops_log
from data.manifest import COLUMNS, STATISTICS, Manifest

CSVS = {"train": "train.csv", "val": "valid.csv", "test": "test.csv"}
LEFT_OUT = "left_out.csv"
CARRIED = ("label", "split", "group", "generator")
SOURCE_DIGEST = "source_digest"
OWN = ("source", SOURCE_DIGEST, "face", "faces", "face_score", "face_box", "angle", "outside")


def tables(manifest: Manifest, known: Mapping[str, crops_log.Image]) -> dict[str, pd.DataFrame]:
    """By the name of its CSV the table of each split that has faces.

    A face has label, split, group and generator of the image that it comes from, and its further columns. The group of
    an image that is in none is the image itself, so that the faces of one photograph stay in one split.
    """
    rows = [row for each in manifest.rows.to_dict("records") for row in _rows(each, known)]
    table = pd.DataFrame(rows)
    if not len(table):
        return {}
    return {CSVS[split]: part for split, part in table.groupby("split", sort=False)}


def left_out(manifest: Manifest, known: Mapping[str, crops_log.Image]) -> pd.DataFrame:
    """path, label, split, status, reason of every image without a face in the tables."""
    rows = []
    for path, label, split, status, note in zip(
        *(manifest.rows[name] for name in ("path", "label", "split", "status", "note")), strict=True
    ):
        image = known.get(path)
        if image is None or not image.faces:
            why = (image.status, image.reason) if image and status == "ok" else (status, note)
            rows.append((path, label, split, *why))
    return pd.DataFrame(rows, columns=["path", "label", "split", "status", "reason"])


def _rows(source: dict, known: Mapping[str, crops_log.Image]) -> list[dict]:
    image = known.get(source["path"])
    if image is None or source["status"] != "ok":
        return []
    carried = {name: source[name] for name in CARRIED if name in source}
    further = {name: value for name, value in source.items() if name not in (*COLUMNS, *STATISTICS, *CARRIED, *OWN)}
    about = {"source": source["path"], SOURCE_DIGEST: source["digest"], "faces": len(image.faces)}
    return [{"path": face.path, **carried, **about, "face": number, "face_score": face.face_score,
             "face_box": face.face_box, "angle": face.angle, "outside": face.outside, **further}
            for number, face in enumerate(image.faces, start=1)]  # fmt: skip
