"""A user's mistake, told in one message: what, where, expected and found, and the command that cures it."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something only the user can put right. The command line prints its text and no traceback."""


def one_of(word: str, choices: Iterable[str], *, what: str) -> str:
    """Return `word` if it is among `choices`; otherwise say what it could have meant.

    Raises:
        UserError: names the nearest choices and all of them when there are few.
    """
    choices = list(choices)
    if word in choices:
        return word
    near = get_close_matches(word, choices, n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    known = f" Known: {', '.join(choices)}." if 0 < len(choices) <= 30 else ""
    raise UserError(f"unknown {what} {word!r}{meant or '.'}{known}")
