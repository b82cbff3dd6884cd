"""The command line of every stage: flags -> one frozen record of options, checked before any work -> run.

    python -m extract --data=path --backbone=resnet18

Fire builds the record; wrong names and types are refused here first, because Fire would notice them too late.
"""

import sys
import types
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, TypeVar

import fire
from fire.decorators import SetParseFn

from cache.errors import UserError, one_of, printable
from cache.progress import Plain


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of the records behind the commands; text from the command line becomes the field's type.

    Raises:
        UserError: a value does not fit its field's type.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _typed(getattr(self, each.name), each.type, each.name))


def option(default: Any, meaning: str) -> Any:
    """A field of an Options record with the sentence that `--help` prints for it."""
    return field(default=default, metadata={"meaning": meaning})


Record = TypeVar("Record", bound=Options)


def main(record: type[Record], run: Callable[[Record], Any], *, command: str) -> None:
    """Parse sys.argv into `record`, call `run`, and turn a user's mistake into one line and exit status 1."""
    try:
        if {"--help", "-h", "help"} & set(sys.argv[1:]):
            print(usage(record, command))
            return
        with redirect_stdout(Plain(sys.stdout)):
            run(parse(record, sys.argv[1:], command))
    except UserError as error:
        sys.exit(printable(f"{command}: {error}"))
    except KeyboardInterrupt:
        print(
            f"\n{command}: stopped. Finished work is kept; the same command goes on from there.",
            file=sys.stderr,
        )
        sys.exit(130)


def parse(record: type[Record], arguments: list[str], command: str) -> Record:
    """The record that `arguments` (`--name=value` or `--name value`) describe.

    Raises:
        UserError: an unknown flag, a stray word, a value of the wrong type.
    """
    names = [each.name for each in fields(record)]
    for before, argument in pairwise(["--=", *arguments]):
        if argument.startswith("--"):
            given = argument[2:].split("=")[0].replace("-", "_")
            one_of(given if given in names else given.removeprefix("no"), names, what=f"flag of {command}")
        elif not before.startswith("--") or "=" in before:
            raise UserError(f"stray word {argument!r}; options are written --name=value. See {command} --help")
    return fire.Fire(SetParseFn(str)(record), command=arguments, name=command, serialize=lambda _: None)


def usage(record: type[Options], command: str) -> str:
    """The help text: every flag with its default and meaning."""
    document = (record.__doc__ or "").strip().split("\n\n")[0]
    rows = [(f"--{each.name}={each.default}", each.metadata.get("meaning", "")) for each in fields(record)]
    width = max((len(flag) for flag, _ in rows), default=0)
    return "\n".join([document, "", f"{command} [options]", *(f"  {flag:<{width}}  {text}" for flag, text in rows)])


def _typed(value: Any, wanted: Any, name: str) -> Any:
    if wanted is bool and value in ("True", "False", "1", "0", "true", "false"):
        return value in ("True", "1", "true")
    if isinstance(value, str) and wanted in (int, float):
        try:
            return wanted(value)
        except ValueError:
            pass
    allowed = (int, float) if wanted is float else wanted
    if isinstance(allowed, type | tuple | types.UnionType) and not isinstance(value, allowed):
        expected = {int: "a whole number", float: "a number", bool: "True or False"}.get(wanted, "text")
        raise UserError(f"--{name}: expected {expected}, found {value!r}")
    return value
