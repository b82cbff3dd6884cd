"""What was typed to make everything that a page stands on."""

from collections.abc import Iterable
from pathlib import Path

from analysis.found.models import Model
from cache import runs

ABOUT = "environment.json"


def command(environment: dict) -> str:
    """What to type to do again what a run's environment.json tells of."""
    return f".venv/bin/python -m {environment['command']}"


def commands(models: Iterable[Model], folders: Iterable[Path | None], *, last: str) -> list[str]:
    """Each once, the earliest first, and `last` at the end: models, what was scored with them, further folders."""
    made = [model.folder for model in models]
    made += [each.folder for model in models for each in (*model.other.values(), model.perturbed) if each]
    known = {folder / ABOUT for folder in (*made, *folders) if folder and (folder / ABOUT).exists()}
    typed = [command(runs.read_json(path)) for path in sorted(known, key=lambda path: path.stat().st_mtime_ns)]
    return [*(each for each in dict.fromkeys(typed) if each != last), last]
