"""A user's mistake, told in one message: what, where, expected and found, and the command that cures it."""

import math
import re
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr

LONGEST = 80  # letters or digits of a value in a message
SECRETS = re.compile(
    r"(://[^\s:/@]*:)[^@]*(?:@\S*)?(?=@)"  # of a URL: from behind the user to the last @ of the word
    r"|([?&][^\s=&]*(?:pass|pwd|token|secret)[^\s=&]*=)[^\s&'\"]+",  # its parameters that are named like a secret
    re.IGNORECASE,
)

# What a terminal obeys and does not show (line ends and tabs are harmless), and bytes of names that are no UTF-8.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

# What other programs call a setting.
ALIASES = {
    "learning_rate": "lr", "batch_size": "batch", "optimizer": "optimiser", "wd": "weight_decay", "alpha": "penalty",
    "num_epochs": "epochs", "n_epochs": "epochs", "hidden_size": "hidden", "model": "backbone", "path": "data",
}  # fmt: skip


class UserError(Exception):
    """Something only the user can put right. The command line prints its text and no traceback."""


class _Short(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = LONGEST

    def repr_int(self, x: int, level: int) -> str:
        """Python itself refuses to write out thousands of digits."""
        digits = int(abs(x).bit_length() * math.log10(2)) + 1
        return repr(x) if digits <= LONGEST else f"<a whole number of about {digits} digits>"


def shown(value: object) -> str:
    """A value in a message, cut where it is long: what a user hands over may be a megabyte."""
    text = _Short().repr(value)
    return text if len(text) <= 2 * LONGEST else f"{text[:LONGEST]}..."


def masked(text: str) -> str:
    """A text without the passwords of the URLs in it, for whatever is printed or kept."""
    return SECRETS.sub(lambda found: f"{found[1] or found[2]}***", text)


def counted(count: int, what: str) -> str:
    """`1 fold`, `2 folds`."""
    return f"{count} {what}{'s' * (count != 1)}"


def printable(text: str) -> str:
    """`text` with what would command a terminal, or cannot be encoded, spelt out: \\x1b, \\udcff."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_of(word: str, choices: Iterable[str], *, what: str, where: str = "") -> str:
    """Return `word` if it is among `choices`; otherwise say what it could have meant.

    Raises:
        UserError: names the nearest choices and all of them when there are few.
    """
    choices = list(choices)
    if word in choices:
        return word
    near = (
        [ALIASES[word]] if ALIASES.get(word) in choices else get_close_matches(word[:LONGEST], choices, n=3, cutoff=0.5)
    )
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    known = f" Known: {', '.join(choices)}." if 0 < len(choices) <= 30 else ""
    raise UserError(f"unknown {what} {shown(word)}{where}{meant or '.'}{known}")
