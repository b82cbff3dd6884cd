"""The records behind the commands: frozen, checked when made, and composed where one stage takes another's options.

class ExtractConfig(Options):
    data: DataConfig = section(DataConfig)
    backbone: str = option("resnet18", "one or several names")

config = ExtractConfig.of(name="faces", backbone="cvt_13")      options are given by name, wherever they stand
config.data.name, config.but(backbone="resnet18"), config.flat()
"""

import shlex
import types
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from inspect import get_annotations
from typing import Any, Self, get_args

from cache.errors import UserError, one_of, shown


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of the records; text from the command line becomes the field's type.

    A field made with `section` is the record of another stage. Its options count as this record's: all of them stand in
    one row on the command line, and no two have one name.

    Raises:
        UserError: a value does not fit its field's type.
        TypeError: of a class that has two options of one name.
    """

    def __init_subclass__(cls) -> None:
        kinds = {each.name: each.type for each in fields(cls)} | get_annotations(cls)  # inherited ones, and its own
        names = [inner for name, kind in kinds.items() for inner in (kind.names() if _is_section(kind) else [name])]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TypeError(f"{cls.__name__} has several options called {', '.join(twice)}")

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not _is_section(each.type):
                object.__setattr__(self, each.name, _typed(value, each.type, each.name))
            elif not isinstance(value, each.type):
                kind = type(self).__name__
                raise UserError(
                    f"{kind}({each.name}=...): expected a {each.type.__name__}, found {shown(value)}; "
                    f"{kind}.of({each.name}=...) takes every option by its name"
                )

    @classmethod
    def of(cls, **options: Any) -> Self:
        """The record with these options, wherever they stand, and the others at their defaults.

        Raises:
            UserError: no such option, or a value that does not fit.
        """
        for name in options:
            one_of(name, cls.names(), what=f"option of {cls.__name__}")
        return _made(cls, options)

    def but(self, **options: Any) -> Self:
        """This record with these options changed, wherever they stand."""
        return self.of(**{**self.flat(), **options})

    def flat(self) -> dict[str, Any]:
        """Every option by its name, those of the sections among them."""
        values: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            values |= value.flat() if isinstance(value, Options) else {each.name: value}
        return values

    def given(self) -> str:
        """What is not at its default, as make takes it: `DATA=faces FOLDS=5`."""
        default = type(self)().flat()
        changed = {name: value for name, value in self.flat().items() if value != default[name]}
        words = {name: str(int(value) if isinstance(value, bool) else value) for name, value in changed.items()}
        return " ".join(f"{name.upper()}={shlex.quote(word)}" for name, word in words.items())

    @classmethod
    def names(cls) -> list[str]:
        """The names of all options, in the order of `flat`."""
        return [each.name for _, each in flags(cls)]


def option(default: Any, meaning: str) -> Any:
    """A field of an Options record with the sentence that `--help` prints for it."""
    return field(default=default, metadata={"meaning": meaning})


def section(record: type[Options]) -> Any:
    """A field that is another record of options."""
    return field(default_factory=record)


def flags(record: type[Options], stage: str = "") -> Iterator[tuple[str, Field]]:
    """Every option's field, and before it the name of the section that it stands in: `stage` for the record's own."""
    for each in fields(record):
        yield from flags(each.type, each.name) if _is_section(each.type) else [(stage, each)]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Options)


def _made(record: type[Options], options: dict[str, Any]) -> Any:
    """The record with those of `options` that are its own or its sections'."""
    sections = {each.name: _made(each.type, options) for each in fields(record) if _is_section(each.type)}
    return record(**sections, **{each.name: options[each.name] for each in fields(record)
                              if each.name in options and each.name not in sections})  # fmt: skip


def _typed(value: Any, wanted: Any, name: str) -> Any:
    if wanted is bool and value in ("True", "False", "1", "0", "true", "false"):
        return value in ("True", "1", "true")
    number = next((kind for kind in (int, float) if kind in (get_args(wanted) or (wanted,))), None)
    if isinstance(value, str) and number:
        try:
            return number(value)
        except ValueError:
            pass
    allowed = (int, float) if wanted is float else wanted
    if isinstance(allowed, type | tuple | types.UnionType) and not isinstance(value, allowed):
        expected = {int: "a whole number", float: "a number", bool: "1 or 0"}.get(wanted, "text")
        raise UserError(f"{name.upper()}={value} (--{name}): expected {expected}")
    return value
