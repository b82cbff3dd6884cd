"""What is about to go is listed first, and goes after a yes: YES=1, or an answer on a terminal."""

import sys
from collections.abc import Sequence

from cache.errors import printable

SHOWN = 40  # lines of a list


def list_and_ask(lines: Sequence[str], *, what: str, yes: bool) -> bool:
    """Print what would go; whether it may. Where nobody can be asked, a line says how to say yes."""
    for line in lines[:SHOWN]:
        print(f"  {printable(line)}")
    if len(lines) > SHOWN:
        print(f"  and {len(lines) - SHOWN} more")
    print(what, flush=True)
    if yes:
        return True
    if not sys.stdin or not sys.stdin.isatty():
        print("Nothing was changed: the same command with YES=1 does it.")
        return False
    try:
        answer = input("Go on? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("Nothing was changed.")
    return False
