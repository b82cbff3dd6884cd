"""The command line of every stage: flags -> one frozen record of options, checked before any work -> run.

    python -m extract --data=path --backbone=resnet18

Fire builds the record; wrong names and types are refused here first, because Fire would notice them too late.
"""

import inspect
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import Field
from importlib import import_module
from itertools import groupby, pairwise
from types import ModuleType
from typing import Any, TypeVar

import fire
from fire.decorators import SetParseFn

from cache.errors import UserError, one_of, printable
from cache.options import Options, flags
from cache.plugins import import_plugins
from cache.progress import Plain

Record = TypeVar("Record", bound=Options)
LOST_WORKER = re.compile(r"DataLoader worker \(pid.*\) (is killed|exited)")  # as torch says it


def main(record: type[Options], run: str, *, command: str) -> None:
    """Parse sys.argv into `record`, call `run` with it, and turn a user's mistake into one line and exit status 1.

    Of what was complete already its module's function `reached`, if there is one, says what the folder holds that `run`
    returned; and `comes_next`, if there is one, which command follows.

    Args:
        run: module:function, imported behind the options: the libraries of a stage take seconds, which nobody waits for
            who asked for help or mistyped a flag.
    """
    try:
        if {"--help", "-h", "help"} & set(sys.argv[1:]):
            print(usage(record, command))
            return
        with redirect_stdout(Plain(sys.stdout)):
            import_plugins()
            config = parse(record, sys.argv[1:], command)
            module, _, function = run.partition(":")
            stage = import_module(module)
            made = called(getattr(stage, function), config)
            _tell(made if isinstance(made, list) else [made], config, stage)
        sys.stdout.flush()
    except UserError as error:
        sys.exit(printable(f"{command}: {error}"))
    except KeyboardInterrupt:
        print(
            f"\n{command}: stopped. Finished work is kept; the same command goes on from there.",
            file=sys.stderr,
        )
        sys.exit(130)
    except BrokenPipeError:  # whoever read what is printed has gone, as `| head` does; Python would flush once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def called(run: Callable[[Record], Any], config: Record) -> Any:
    """What a stage returns.

    Raises:
        UserError: a process that decodes for it died. torch says so from a signal, that is wherever the stage happens
            to be, hence here and not where images are loaded.
    """
    try:
        return run(config)
    except RuntimeError as error:
        if not LOST_WORKER.match(str(error)):
            raise
        raise UserError(
            "a process that decodes images was killed, perhaps for want of memory. What is finished is kept: run the "
            "same command again; WORKERS=0 decodes in threads, which takes the least memory"
        ) from error


def _tell(made: list[Any], config: Options, stage: ModuleType) -> None:
    """What is complete, where it was not said when it was finished, and what comes next; of several processes of one
    command the first tells it."""
    if os.environ.get("RANK", "0") != "0" or not (hasattr(stage, "reached") or hasattr(stage, "comes_next")):
        return
    from cache import runs  # with pandas, which whoever asks for help does without

    quiet = not sys.stdout.written
    for each in made if hasattr(stage, "reached") else []:
        if (quiet or (runs.is_complete(each) and each not in runs.finished_here)) and (line := stage.reached(each)):
            print(line)
    if hasattr(stage, "comes_next") and all(map(runs.is_complete, made)):
        print(f"next: {stage.comes_next(config)}")


def parse(record: type[Record], arguments: list[str], command: str) -> Record:
    """The record that `arguments` (`--name=value` or `--name value`) describe.

    Raises:
        UserError: an unknown flag, a stray word, a value of the wrong type.
    """
    names = record.names()
    for before, argument in pairwise(["--=", *arguments]):
        if argument.startswith("--"):
            given = argument[2:].split("=")[0].replace("-", "_")
            one_of(given if given in names else given.removeprefix("no"), names, what=f"flag of {command}")
        elif not before.startswith("--") or "=" in before:
            raise UserError(f"stray word {argument!r}; options are written --name=value. See {command} --help")
    return fire.Fire(SetParseFn(str)(_from_flags(record)), command=arguments, name=command, serialize=lambda _: None)


def usage(record: type[Options], command: str) -> str:
    """The help text: every flag with its default and meaning, those of each stage together."""
    document = (record.__doc__ or "").strip().split("\n\n")[0]
    width = max((len(_written(each)) for _, each in flags(record)), default=0)
    lines = [document, "", f"{command} [options]"]
    for stage, pairs in groupby(flags(record, command.rpartition(" ")[2]), key=lambda pair: pair[0]):
        lines += ["", f"{stage}:"]
        lines += [f"  {_written(each):<{width}}  {each.metadata.get('meaning', '')}" for _, each in pairs]
    return "\n".join(lines)


def _written(flag: Field) -> str:
    """A flag as `--help` writes it, at its default."""
    return f"--{flag.name}={flag.default}"


def _from_flags(record: type[Options]) -> Callable[..., Options]:
    """What makes the record, as Fire can read it: a function of all flags."""

    def make(**options: Any) -> Options:
        return record.of(**options)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(each.name, keyword, default=each.default) for _, each in flags(record)]
    make.__signature__ = inspect.Signature(parameters)
    return make
