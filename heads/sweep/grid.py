"""The grid: which heads a sweep trains, as a named grid, a JSON file, or JSON itself.

A list of objects, one for each family, or one object alone; a setting may have one value or a list of them, and all
combinations are taken:

    [{"family": "linear", "lr": [1e-3, 1e-2], "weight_decay": [0.01, 0.1]}, {"family": "svm-rbf", "C": [1, 10]}]

With `samples` that many combinations are drawn instead (seeded), and a setting may be a range:

    [{"family": "mlp", "samples": 40, "hidden": [64, [128, 32]], "lr": {"low": 1e-4, "high": 1e-2, "log": true}}]
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from cache.errors import UserError, shown
from heads.families import Family, meant_by
from heads.given import read_given

MOST_HEADS = 10_000  # of a grid: all are named in every table, and each is trained for every fold and seed
WORDS = ("family", "samples", "seed")  # of a block, beside the settings of its family
UNSEEN = "unseen"  # the grid of CHOOSE=mean or worst, where GRID does not say
GRIDS = {
    "default": [
        {"family": "linear", "lr": [1e-4, 3e-4, 1e-3, 3e-3], "weight_decay": [0.1, 1.0, 10.0]},
        {"family": "mlp", "hidden": [32, 128], "lr": [1e-3, 3e-3], "weight_decay": [1.0, 10.0], "dropout": [0.0, 0.5]},
        {"family": "logistic", "penalty": [1e-4, 1e-3, 1e-2, 0.1, 1.0]},
        {"family": "ridge", "penalty": [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]},
    ],
    "convex": [
        {"family": "logistic", "penalty": [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]},
        {"family": "ridge", "penalty": [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]},
    ],
    # For generators that were never seen: what leans on the known ones, what does not, and both.
    UNSEEN: [
        {"family": "ridge", "penalty": [100.0, 1e3, 3e3, 1e4, 1e5]},
        {"family": "discriminant", "penalty": [0.1, 0.3, 1.0, 3.0]},
        {"family": "blend", "penalty": [300.0, 1e3, 3e3, 1e4], "whitening": [0.03, 0.1, 0.3, 1.0]},
    ],
    "tail": [
        {"family": "tail", "lr": 3e-3, "body_lr": 0.3, "weight_decay": 0.05, "dropout": 0.2, "epochs": 8},
        {"family": "logistic", "penalty": [1e-3, 1e-2, 0.1]},
        {"family": "ridge", "penalty": [10.0, 100.0, 1e3, 1e4]},
    ],
    # The Wide ResNet-50-2 notebook: layer4, average pooling, dropout, two logits, on 1024x14x14 maps of layer3.
    # Its L1 term carried no gradient; this one does.
    "wrn50-2-layer4": [
        {"family": "tail", "lr": 1e-3, "body_lr": 1.0, "optimiser": "adam", "weight_decay": 0.1, "l1": 0.001,
         "dropout": 0.5, "loss": "ce", "schedule": "constant", "batch": 120, "epochs": 10, "curve_every": 10},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Range:
    """Values from low to high; log: evenly by their logarithm."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Only whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @classmethod
    def of(cls, name: str, value: dict) -> "Range":
        """From JSON. Raises: UserError if it is none."""
        low, high, log = value.get("low"), value.get("high"), value.get("log", False)
        right = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        right = right and isinstance(log, bool) and not set(value) - {"low", "high", "log"}
        # From one end of the floats to the other is further than a float can say.
        if not right or not low < high or not math.isfinite(high - low) or (log and low <= 0):
            raise UserError(
                f'{name} = {shown(value)}: expected a range like {{"low": 1e-4, "high": 1e-2, "log": true}}'
            )
        return cls(low, high, log)


def read_grid(text: str, *, epochs: int = 0, batch: int = 0) -> list[Family]:
    """The heads that a grid describes, each once, in its order.

    Args:
        text: a name in GRIDS, a file, or JSON beginning with '['; '' is the default grid.
        epochs, batch: of heads that do not say and whose family takes them so (Family.from_options), 0 = its own.

    Raises:
        UserError: no such file, no JSON, an unknown family or setting, a value out of its limits, nothing at all, more
            than MOST_HEADS.
    """
    where, blocks = _blocks(text)
    _refuse_too_many(where, blocks)
    defaults = {name: value for name, value in (("epochs", epochs), ("batch", batch)) if value}
    configs = []
    for number, block in enumerate(blocks):
        try:
            configs += _expand(block, defaults, number)
        except UserError as error:
            raise UserError(f"{where}, block {number + 1}: {error}") from error
    if not configs:
        raise UserError(f"{where}: the grid holds no heads")
    return list(dict.fromkeys(configs))


def _blocks(text: str) -> tuple[str, list[dict]]:
    """What to call the grid in messages, and its blocks."""
    if text in ("", *GRIDS):
        return f"grid {text or 'default'}", GRIDS[text or "default"]
    otherwise = f", and no grid of that name ({', '.join(GRIDS)})"
    begins = "{" if text.lstrip().startswith("{") else "["  # an object alone is a grid of one family
    where, given = read_given(text, begins=begins, option="GRID", otherwise=otherwise)
    blocks = [given] if isinstance(given, dict) else given
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UserError(f'{where}: expected a list of objects like {{"family": "linear", "lr": [0.001]}}')
    return where, blocks


def _refuse_too_many(where: str, blocks: list[dict]) -> None:
    """Counted before any is made."""
    total = sum(map(_size, blocks))
    if total > MOST_HEADS:
        raise UserError(
            f"{where} describes {shown(total)} heads, and a sweep takes {MOST_HEADS}: list fewer values, or give "
            "`samples`, so that some combinations are drawn"
        )


def _size(block: dict) -> int:
    """Of a block, in heads; what it does not say properly is told when it is expanded."""
    samples = block.get("samples", 0)
    values = [value for name, value in block.items() if name not in WORDS and isinstance(value, list)]
    return samples if isinstance(samples, int) and samples else math.prod(map(len, values))


def _expand(block: dict, defaults: dict, number: int) -> Iterator[Family]:
    word = str(block.get("family", ""))
    settings = {name: value for name, value in block.items() if name not in WORDS}
    kind = meant_by(word)
    kind.refuse_settings(word, settings)
    given = {name: value for name, value in defaults.items() if name in kind.from_options}
    for values in _combinations(settings, block, number):
        yield kind.from_grid(word, {**given, **values})


def _combinations(settings: dict, block: dict, number: int) -> Iterator[dict[str, Any]]:
    """Every combination of the listed values, or `samples` drawn ones."""
    for name, value in settings.items():
        _check_values(name, value)
    samples, seed = _whole(block, "samples"), _whole(block, "seed")
    if samples:
        rng = np.random.default_rng([seed, number])
        for _ in range(samples):
            yield {name: _drawn(value, name, rng) for name, value in settings.items()}
        return
    ranges = [name for name, value in settings.items() if isinstance(value, dict)]
    if ranges:
        raise UserError(f"{', '.join(ranges)}: a range is drawn from, so the block needs samples")
    for values in product(*(value if isinstance(value, list) else [value] for value in settings.values())):
        yield dict(zip(settings, values, strict=True))


def _whole(block: dict, name: str) -> int:
    value = block.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError(f"{name} = {shown(value)}: expected a whole number")
    return value


def _check_values(name: str, value: Any) -> None:
    """Raises: UserError unless it is a range, a value or a list of values, each of them plain or a list of plain ones.

    Plain are numbers, texts, true, false and null.
    """
    if isinstance(value, dict):
        Range.of(name, value)
    elif isinstance(value, list):
        if not value:
            raise UserError(f"{name} = []: nothing to choose from")
        plain = [inner for each in value for inner in (each if isinstance(each, list) else [each])]
        if any(isinstance(inner, list | dict) for inner in plain):
            raise UserError(f"{name} = {shown(value)}: expected values, or lists of values, and no more brackets")


def _drawn(value: Any, name: str, rng: np.random.Generator) -> Any:
    if isinstance(value, list):
        return value[rng.integers(len(value))]
    if not isinstance(value, dict):
        return value
    span = Range.of(name, value)
    drawn = (
        math.exp(rng.uniform(math.log(span.low), math.log(span.high))) if span.log else rng.uniform(span.low, span.high)
    )
    return round(drawn) if span.whole else float(f"{drawn:.4g}")
