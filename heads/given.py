"""JSON that a user hands over: a file, or the JSON itself. Read within limits, so that nonsense costs a sentence.

Grids of heads and recipes come this way. An object that names something twice is refused, and so is what JSON does not
know although Python reads it: NaN, Infinity, and numbers that become infinite.
"""

import json
import math
import os
import re
import stat
from itertools import accumulate
from pathlib import Path
from typing import Any

from cache.errors import UserError, shown

MOST_BYTES = 1_000_000  # a grid of all the heads that a sweep takes is smaller; what is larger is no grid and no recipe
DEEPEST = 8  # brackets in brackets; the deepest that means anything is four: [{"hidden": [[64, 32]]}]
LONGEST = 200  # letters of a word: words end up in messages, tables and the names of heads
MOST_DIGITS = 18  # of a whole number: more do not fit into the 64 bits that they are kept in
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)  # those in texts are skipped with their text


def read_given(text: str, *, begins: str, option: str, otherwise: str = "") -> tuple[str, Any]:
    """What to call it in messages, and what it holds: dicts, lists, text, finite numbers, true, false, null.

    Args:
        begins: the bracket with which JSON begins; any other text is the path of a file. option: GRID or RECIPE.
        otherwise: is said behind "no such file".

    Raises:
        UserError: no such file, no regular one, no JSON, beyond the limits above.
    """
    inline = text.lstrip().startswith(begins)
    where = option if inline else f"{option}={text if text.isprintable() and len(text) <= LONGEST else shown(text)}"
    content = text.encode(errors="replace") if inline else _content(text, where, otherwise)
    if len(content) > MOST_BYTES:
        raise UserError(f"{where} holds more than {MOST_BYTES:,} bytes, which is too long")
    try:
        return where, _parsed(content.decode())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{where} is not JSON: {error}") from error
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _content(text: str, where: str, otherwise: str) -> bytes:
    """Of a regular file, not much more than may be."""
    try:
        path = Path(text).expanduser()
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would wait for ever
            raise UserError(f"{where} is no file{otherwise}")
        with open(path, "rb") as file:
            return file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{where}: no such file{otherwise}") from error
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, NUL in it, the home of nobody
        raise UserError(f"{where} cannot be read ({getattr(error, 'strerror', None) or error}){otherwise}") from error


def _parsed(text: str) -> Any:
    steps = [{"[": 1, "{": 1, "]": -1, "}": -1}.get(each, 0) for each in BRACKETS.findall(text)]
    if max(accumulate(steps), default=0) > DEEPEST:
        raise UserError(f"brackets in brackets, more than {DEEPEST} deep")
    found = json.loads(text, object_pairs_hook=_object, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    _check_words(found)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise UserError(f"{shown(name)} is given twice")
        found[name] = value
    return found


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > MOST_DIGITS:
        raise UserError(f"{shown(digits)[1:-1]}: a whole number has at most {MOST_DIGITS} digits")
    return int(digits)


def _finite(digits: str) -> float:
    if not math.isfinite(float(digits)):
        raise UserError(f"{shown(digits)[1:-1]}: expected a finite number")
    return float(digits)


def _check_words(value: Any) -> None:
    """Raises: UserError for a text, also as a name, that is too long or holds what cannot be printed."""
    if isinstance(value, str) and not (value.isprintable() and len(value) <= LONGEST):
        raise UserError(f"{shown(value)}: expected at most {LONGEST} printable letters")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    for each in value if isinstance(value, list) else []:
        _check_words(each)
