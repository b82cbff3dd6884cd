"""Hostile inputs as hypothesis draws them: real bytes that are changed, and JSON that only looks like a grid, a recipe
or the record of a head.
"""

import copy
import json
from typing import Any

from hypothesis import strategies as st

from finetune.recipes import RECIPES
from heads.sweep.grid import GRIDS

TOKENS = [
    *(b"", b"0", b"-1", b"1e999", b"nan", b"NaN", b"Infinity", b"null", b"true", b"real", b"fake", b"=1+1", b"../x"),
    *(b"\0", b"\n", b"\r", b",", b'"', b"'", b"[", b"{", b"}", b"\xff\xfe", b"\xf0"),
    *(b"[" * 3000, b"9" * 400, b"9" * 5000, b"x" * 5000),
]
NUMBERS = [
    *(0, 1, -1, 2, 3, 7, 0.5, 1e-3, 1e-5),
    *(20_000, 10**6, 10**9, 2**31, 2**63, 10**400, 1e300, -1e300, float("nan"), float("inf")),
]
SANE = 9  # of the numbers
NAMES = [
    *("linear", "mlp", "tail", "ridge", "logistic", "svm-rbf", "knn", "sklearn", "sklearn.svm.SVC", "sklearn.tests"),
    *("os.system", "cosine", "adam", "resnet18", "layer3", "map", "avg", "fp32", "float16", "two-phase", "cnn-fc6"),
]
STRANGE = ["", "a", "\0", "\ud800", "é", "../..", "x" * 5000]
HEADS = [
    *("family", "samples", "seed", "lr", "weight_decay", "l1", "dropout", "epochs", "batch", "patience", "hidden"),
    *("activation", "layer_norm", "schedule", "penalty", "C", "gamma", "n_neighbors", "body_lr", "class_weight"),
]
RECIPE = [
    *("recipe", "start", "network", "size", "head_epochs", "epochs", "trained_from", "optimiser", "lr", "body_lr"),
    *("warmup", "batch", "accumulate", "clip", "ema", "loss", "compile", "best_by", "augmentation", "flip"),
]


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """One to three edits anywhere; small numbers, and so the beginnings of files, come more often."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, 2**40)) % (len(content) + 1)
        content = draw(st.sampled_from(EDITS))(draw, content, at)
    return content


def _bit(draw: st.DrawFn, content: bytes, at: int) -> bytes:
    flipped = (content[at : at + 1] or b"\0")[0] ^ (1 << draw(st.integers(0, 7)))
    return content[:at] + bytes([flipped]) + content[at + 1 :]


def _written(draw: st.DrawFn, content: bytes, at: int) -> bytes:
    new = draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([bytes(8), bytes(4096)])))
    return content[:at] + new + content[at + len(new) :]


def _token(draw: st.DrawFn, content: bytes, at: int) -> bytes:
    return content[:at] + draw(st.sampled_from(TOKENS)) + content[at:]


def _digit(draw: st.DrawFn, content: bytes, at: int) -> bytes:
    """Another figure, and nothing else: what only a checksum finds."""
    found = next((place for place in range(at, len(content)) if content[place : place + 1].isdigit()), None)
    if found is None:
        return content
    return content[:found] + draw(st.sampled_from([b"0", b"1", b"5", b"9"])) + content[found + 1 :]


def _lines(draw: st.DrawFn, content: bytes, at: int) -> bytes:
    """A line left out, or twice there."""
    lines = content.splitlines(keepends=True) or [b""]
    number = at % len(lines)
    return b"".join([*lines[:number], *[lines[number]] * draw(st.sampled_from([0, 2])), *lines[number + 1 :]])


def _moved(draw: st.DrawFn, content: bytes, at: int) -> bytes:
    """A piece left out, twice there, or the end before the beginning."""
    piece, after = content[at : at + draw(st.sampled_from([1, 8, 64, 4096]))], content[at:]
    return draw(
        st.sampled_from([content[:at] + after[len(piece) :], content[:at] + piece + after, after + content[:at]])
    )


def _cut(_: st.DrawFn, content: bytes, at: int) -> bytes:
    return content[:at]


EDITS = [_bit, _bit, _written, _token, _digit, _digit, _lines, _moved, _cut]


def plain() -> st.SearchStrategy:
    """What a setting may be or not."""
    words, numbers = st.sampled_from([*NAMES, *STRANGE]), st.sampled_from(NUMBERS)
    sane = st.one_of(st.sampled_from(NUMBERS[:SANE]), st.floats(1e-6, 10))
    return st.one_of(sane, sane, numbers, words, st.booleans(), st.none(), st.floats(), st.integers())


def value() -> st.SearchStrategy:
    """One of them, several, a range, or an object."""
    lists = st.lists(plain(), max_size=4)
    ranges = st.fixed_dictionaries({"low": plain(), "high": plain()}, optional={"log": plain(), "x": plain()})
    objects = st.dictionaries(st.sampled_from(RECIPE), plain(), max_size=3)
    return st.one_of(plain(), plain(), lists, st.lists(lists, max_size=3), ranges, objects)


def _settings(names: list[str]) -> st.SearchStrategy:
    return st.dictionaries(st.sampled_from([*names, *names, *STRANGE]), value(), max_size=2)


@st.composite
def json_text(draw: st.DrawFn, records: st.SearchStrategy) -> str:
    """JSON, and now and then what is none any more."""
    text = json.dumps(draw(records))
    if draw(st.sampled_from([True, True, True, True, False])):
        return text
    return draw(changed(text.encode())).decode(errors="surrogateescape")


def grids() -> st.SearchStrategy:
    """The program's own with some things changed, and blocks of anything."""
    own = st.sampled_from(sorted(GRIDS)).flatmap(lambda name: altered(GRIDS[name]))
    return json_text(st.one_of(own, own, st.lists(_settings(HEADS), max_size=3)))


def recipes() -> st.SearchStrategy:
    """The program's own with some things changed, and objects of anything."""
    own = st.sampled_from(sorted(RECIPES)).flatmap(lambda name: altered({"recipe": name, **RECIPES[name].to_json()}))
    return json_text(st.one_of(own, own, _settings(RECIPE)))


@st.composite
def altered(draw: st.DrawFn, real: dict | list) -> Any:
    """What JSON holds, with one to three things in it left out or something else."""
    record = copy.deepcopy(real)
    for _ in range(draw(st.integers(1, 3))):
        place = record
        while place:
            name = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[name], dict | list) or draw(st.sampled_from([True, *[False] * 5])):
                _alter(draw, place, name)
                break
            place = place[name]
    return record


def _alter(draw: st.DrawFn, place: Any, name: Any) -> None:
    if draw(st.sampled_from([True, False, False, False])):
        del place[name]
    else:
        place[name] = draw(value())
