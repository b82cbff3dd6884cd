"""The user's own modules, which add to the registries of this program without a change to its files.

    make heads PLUGINS="my_family my_metric"      my_family.py and my_metric.py in the working directory

A plugin is imported before a command reads its options (its `--help` does without), and registers what it adds: a
family of heads, a metric, a backbone, a perturbation, a data layout.
"""

import importlib
import os
from pathlib import Path
from traceback import extract_tb

from cache.errors import UserError

VARIABLE = "PLUGINS"  # of the environment


def import_plugins() -> None:
    """Import the modules that PLUGINS names, in its order.

    Raises:
        UserError: a module that is not there, or that fails.
    """
    for name in os.environ.get(VARIABLE, "").split():
        try:
            importlib.import_module(name)
        except Exception as error:  # a plugin may raise anything
            raise UserError(f"{VARIABLE}: {_reason(name, error)}, or leave {name} out of {VARIABLE}") from error


def _reason(name: str, error: Exception) -> str:
    """Why a plugin cannot be imported, and what cures it."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        file = error.name.replace(".", "/") + ".py"
        return f"no module {error.name!r} in {Path.cwd()}, PYTHONPATH or the installed packages: put {file} there"
    at = extract_tb(error.__traceback__)[-1]
    return f"{name} fails with {type(error).__name__} in {at.filename}, line {at.lineno}: {error}. Mend it"
