"""What was typed to make everything that a page stands on."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from analysis.found.models import Model
from cache import runs

ABOUT = "environment.json"
STAGES = ("data", "extract", "heads", "finetune", "analysis")
FLAG = re.compile(r"--(?P<name>[a-z_]+)(=(?P<value>.*))?", re.DOTALL)


def command(environment: dict) -> str:
    """What to type to do again what a run's environment.json tells of: `make report DATA=faces` of
    `analysis --data=faces`, and `python -m` of what make does not know.
    """
    module, *flags = shlex.split(environment["command"])
    given = [FLAG.fullmatch(each) for each in flags]
    if module.split(".")[0] not in STAGES or not all(given):
        return f".venv/bin/python -m {environment['command']}"
    target = "report" if module == "analysis" else module.rpartition(".")[2]
    words = [f"{each['name'].upper()}={shlex.quote('1' if each['value'] is None else each['value'])}" for each in given]
    return " ".join(["make", target, *words])


def commands(models: Iterable[Model], folders: Iterable[Path | None], *, last: str) -> list[str]:
    """Each once, the earliest first, and `last` at the end: models, what was scored with them, further folders."""
    made = [model.folder for model in models]
    made += [each.folder for model in models for each in (*model.other.values(), model.perturbed) if each]
    known = {folder / ABOUT for folder in (*made, *folders) if folder and (folder / ABOUT).exists()}
    typed = [command(runs.read_json(path)) for path in sorted(known, key=lambda path: path.stat().st_mtime_ns)]
    return [*(each for each in dict.fromkeys(typed) if each != last), last]
