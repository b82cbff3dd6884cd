"""Frozen records of hyperparameters whose values are checked when the record is made."""

import math
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from cache.errors import UserError, one_of, shown

# What a field may be at most that does not say less itself.
LARGEST = {
    float: 1e37,  # float32, in which nearly all of them are used, ends a little beyond
    int: 1_000_000,  # counts: of what fits, and of what anybody could wait for
}

LONGEST_SIDE = 4096  # pixels of an image as a network takes it; of more, a few fill the memory
MOST_VIEWS = 1000  # the evaluation view among them


def setting(default: Any = MISSING, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf,
            choices: tuple[str, ...] = (), later: bool = False) -> Any:  # fmt: skip
    """A field of a Settings record with the values that it may have; without a default it must be given.

    later: it came when there were keys of records without it, which stay: it is in a key where it is not at its
    default. No number is above LARGEST of its type, whatever `most` says.
    """
    limits = {"above": above, "least": least, "most": most, "choices": choices, "later": later}
    return field(default=default, metadata=limits) if default is not MISSING else field(metadata=limits)


@dataclass(frozen=True)
class Settings:
    """Base of the records; each field is made with `setting`.

    Raises:
        UserError: a setting of the wrong type or outside its limits.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _checked(each, getattr(self, each.name)))


def keyed(record: Settings) -> dict[str, Any]:
    """Name -> value of the fields that keys of the record are made of."""
    return {each.name: value for each in fields(record)
            if (value := getattr(record, each.name)) != each.default or not each.metadata.get("later")}  # fmt: skip


def _checked(each: Field, value: Any) -> Any:
    """`value` as the field's type and within its limits."""
    if each.type == tuple[int, ...]:
        widths = value if isinstance(value, list | tuple) else [value]
        return tuple(_number(each, width, int) for width in widths)
    if each.type in (int, float):
        return _number(each, value, each.type)
    if each.type is bool and not isinstance(value, bool):
        raise UserError(f"{each.name} = {shown(value)}: expected true or false")
    if each.type is str and not isinstance(value, str):
        raise UserError(f"{each.name} = {shown(value)}: expected text")
    if each.type is str and each.metadata["choices"]:
        return one_of(value, each.metadata["choices"], what=each.name)
    return value


def _number(each: Field, value: Any, kind: type) -> int | float:
    above, least, most = each.metadata["above"], each.metadata["least"], min(each.metadata["most"], LARGEST[kind])
    right = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared before it is converted: a whole number may be too long for a float.
    right = right and above < value and least <= value <= most and (kind is float or value == int(value))
    if not right:
        bounds = {"above": above, "at least": least, "at most": most}
        said = [f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound)]
        raise UserError(
            f"{each.name} = {shown(value)}: expected a {'whole ' if kind is int else ''}number {', '.join(said)}"
        )
    return kind(value)
