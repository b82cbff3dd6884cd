"""A frozen dataclass from what JSON says of it: every field there, none more, each of the type that the class says."""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from cache.errors import UserError, shown

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
Kind = TypeVar("Kind")
Makers = Mapping[type, Callable[[Any], Any]]


def from_plain(kind: type[Kind], record: Any, *, makers: Makers | None = None, where: str = "") -> Kind:
    """The dataclass that `record` describes. Values stay as they are, so that the key of the record does not change.

    Args:
        makers: type of a field -> what makes one of JSON, for types that are no plain dataclasses.
        where: what the record is called in messages.

    Raises:
        UserError: naming the field that is missing, unknown or of another type.
    """
    if not isinstance(record, Mapping):
        raise UserError(f"{where or kind.__name__} = {shown(record)}: expected an object")
    names, needed = _fields(kind)
    before = f"{where}." if where else ""
    for what, found in (("lacks", needed - record.keys()), ("has an unknown", record.keys() - names.keys())):
        if found:
            raise UserError(f"{where or kind.__name__} {what} {', '.join(sorted(map(str, found)))}")
    return kind(**{name: _fitting(names[name], each, before + name, makers or {}) for name, each in record.items()})


@cache
def _fields(kind: type) -> tuple[dict[str, Any], set[str]]:
    """Name -> type of every field, and the names of those without a default."""
    hints = get_type_hints(kind)
    needed = {each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING}
    return {each.name: hints[each.name] for each in fields(kind)}, needed


def _fitting(wanted: Any, value: Any, name: str, makers: Makers) -> Any:
    """`value` as the type that is wanted, lists as tuples where those are."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return value
    if wanted in makers:
        return makers[wanted](value)
    if origin in (Union, types.UnionType):
        return None if value is None else _fitting(next(each for each in inner if each is not type(None)), value, name,
                                                   makers)  # fmt: skip
    if is_dataclass(wanted):
        return from_plain(wanted, value, makers=makers, where=name)
    if origin in (list, tuple) and isinstance(value, list | tuple):
        return origin(_fitting(each, part, name, makers) for each, part in _paired(inner, value, name))
    if origin is dict and isinstance(value, dict):
        return {key: _fitting(inner[1], each, f"{name}.{key}", makers) for key, each in value.items()}
    if origin or not isinstance(value, (int, float) if wanted is float else wanted) or _is_bool(value, wanted):
        raise UserError(f"{name} = {shown(value)}: expected {WORDS.get(wanted, f'a {(origin or wanted).__name__}')}")
    return value


def _paired(inner: tuple, values: list | tuple, name: str) -> zip:
    """Each value with its type: of list[X], tuple[X, ...] or tuple[X, Y]."""
    kinds = inner if len(inner) > 1 and inner[1] is not Ellipsis else inner[:1] * len(values)
    if len(kinds) != len(values):
        raise UserError(f"{name} = {shown(values)}: expected {len(kinds)} values")
    return zip(kinds, values, strict=True)


def _is_bool(value: Any, wanted: Any) -> bool:
    """Whether True or False stands where a number is wanted: Python takes them for numbers."""
    return isinstance(value, bool) and wanted is not bool
