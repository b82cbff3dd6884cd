"""The grid: which heads a sweep trains.

A JSON file holds a list of objects; every value may be one value or a list, and all combinations are taken:

    [{"family": "linear", "lr": [1e-3, 1e-2], "weight_decay": [0.01, 0.1]}, {"family": "ridge", "penalty": [1, 10]}]
"""

import json
from dataclasses import fields
from itertools import product
from pathlib import Path

from cache.errors import UserError, one_of
from heads.models import HeadConfig

USED = {
    "linear": ("lr", "weight_decay"),
    "mlp": ("hidden", "lr", "weight_decay"),
    "ridge": ("penalty",),
    "logistic": ("penalty",),
}
TRAINED = ("linear", "mlp")
DEFAULT_GRID = [
    {"family": "linear", "lr": [3e-4, 1e-3, 3e-3, 1e-2], "weight_decay": [0.01, 0.1, 1.0, 10.0]},
    {"family": "mlp", "hidden": [32, 128], "lr": [3e-4, 1e-3, 3e-3], "weight_decay": [0.1, 1.0, 10.0]},
    {"family": "logistic", "penalty": [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]},
    {"family": "ridge", "penalty": [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]},
]


def read_grid(path: str, *, seeds: int) -> list[HeadConfig]:
    """The heads of a grid file, or of the default grid when `path` is empty; trained families once a seed.

    Raises:
        UserError: no file, no JSON, an unknown family or name, a value that is no number, nothing at all.
    """
    blocks = _read(path) if path else DEFAULT_GRID
    configs = [config for block in blocks for config in _expand(block, seeds, path or "the default grid")]
    if not configs:
        raise UserError(f"{path}: the grid holds no heads")
    return list(dict.fromkeys(configs))


def _read(path: str) -> list[dict]:
    try:
        blocks = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise UserError(f"GRID={path}: no such file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"GRID={path} is not JSON: {error}") from error
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UserError(f'GRID={path}: expected a list of objects like {{"family": "linear", "lr": [0.001]}}')
    return blocks


def _expand(block: dict, seeds: int, where: str) -> list[HeadConfig]:
    family = one_of(str(block.get("family", "")), USED, what=f"family in {where}")
    types = {field.name: field.type for field in fields(HeadConfig)}
    choices = {}
    for name, value in block.items():
        if name != "family":
            one_of(name, USED[family], what=f"setting of {family} in {where}")
            choices[name] = [
                _number(each, name, types[name], where) for each in (value if isinstance(value, list) else [value])
            ]
    missing = [name for name in USED[family] if not choices.get(name)]
    if missing:
        raise UserError(f"{where}: {family} needs {', '.join(missing)}")
    choices["seed"] = list(range(seeds)) if family in TRAINED else [0]
    return [HeadConfig(family, **dict(zip(choices, values, strict=True))) for values in product(*choices.values())]


def _number(value: object, name: str, kind: type, where: str) -> float | int:
    right = isinstance(value, int | float) and not isinstance(value, bool) and (kind is float or value == int(value))
    if not right or value < 0 or (value == 0 and name != "weight_decay"):
        raise UserError(f"{where}: {name} = {value!r}; expected a {'whole ' if kind is int else ''}number above 0")
    return kind(value)
