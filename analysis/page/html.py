"""A page and all that lies beside it: pictures as PNG and SVG, tables as CSV, one HTML file that needs none of them."""

import base64
import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import rc_context

from analysis.page.pictures.charts import Picture
from analysis.page.tables import Table, command, interval
from cache.atomic import copy, write_bytes, write_text

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "index.html"
DPI = 130


def write_page(folder: Path, template: str, *, tables: Iterable[Table], pictures: Iterable[Picture],
               keep: Iterable[str], **context: Any) -> None:  # fmt: skip
    """Render a template of TEMPLATES to `folder`/index.html; what an earlier page left there goes.

    The template finds tables that have rows, and pictures, by name in `t` and `p`, and the pictures' data URIs in
    `images`.

    Args:
        keep: names of further files in the folder that belong to this page.
    """
    t = {each.name: each for each in tables if each.rows}
    p = {each.name: each for each in pictures}
    images = {name: _saved(each, folder) for name, each in p.items()}
    for each in t.values():
        each.save(folder)
    write_text(folder / PAGE, _templates().get_template(template).render(t=t, p=p, images=images, **context))
    _remove_others(
        folder, {PAGE, *keep, *(f"{name}.csv" for name in t), *(f"{n}.{end}" for n in p for end in ("png", "svg"))}
    )


@cache
def _templates() -> Environment:
    """Kept, because it keeps each template that it has compiled."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, lstrip_blocks=True
    )  # a line ends in a blank, so that no sentence runs into that of the next line
    environment.filters |= {"interval": interval, "command": command}
    return environment


def _saved(picture: Picture, folder: Path) -> str:
    """Write PNG and SVG, or copy the PNG; the PNG as a data URI, so that the page needs no second file."""
    if isinstance(picture.figure, Path):
        copy(picture.figure, folder / f"{picture.name}.png")
        return _data_uri(picture.figure.read_bytes())
    with rc_context({"svg.hashsalt": picture.name}):  # the same figure gives the same file
        png = _written(picture, folder, "png")
        picture.figure.set_layout_engine("none")  # it is laid out now
        _written(picture, folder, "svg")
    return _data_uri(png)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _written(picture: Picture, folder: Path, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {}
    picture.figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
    write_bytes(folder / f"{picture.name}.{kind}", buffer.getvalue())
    return buffer.getvalue()


def _remove_others(folder: Path, names: set[str]) -> None:
    """Files of an earlier page, which this one does not have."""
    for path in folder.glob("[!.]*.*"):  # hidden ones are being written by another process
        if path.name not in names and path.suffix in (".png", ".svg", ".csv"):
            path.unlink(missing_ok=True)
