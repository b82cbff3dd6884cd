"""The words of classes and splits: what files, tables and options say, and what people call the same."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from cache.errors import UserError, one_of

LABELS = ("real", "fake")
SPLITS = ("train", "val", "test")

# In names of folders and in tables, REAL as real. Numbers, words of splits and IDLE words may stand beside them:
# 0_real, training_fake, AI-generated images.
CLASS_NAMES = {
    "real": ("real", "reals", "authentic", "bonafide", "genuine", "natural", "nature", "original", "originals",
             "pristine"),
    "fake": ("fake", "fakes", "ai", "aigc", "deepfake", "deepfakes", "forged", "generated", "manipulated", "synthesis",
             "synthesized", "synthetic", "tampered"),
}  # fmt: skip
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("valid", "val", "validation", "validate", "dev"),
    "test": ("test", "testing"),
}
IDLE = {"image", "images", "img", "imgs", "face", "faces", "frame", "frames", "picture", "pictures", "sequences"}
CLASS_WORDS = {word: label for label, words in CLASS_NAMES.items() for word in words}
SPLIT_WORDS = {word: split for split, words in SPLIT_NAMES.items() for word in words}
WRITTEN = 'CLASSES="real=a,b fake=c"'


@dataclass(frozen=True)
class Classes:
    """Which class a name stands for: the user's own words, and for a class without any those of the table above.

    own: word in small letters -> class.
    """

    own: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: str) -> str:
        """real, fake, or '' where the name says neither."""
        word = name.strip().lower()
        label = self.own.get(word) or _by_table(word)
        return label if word in self.own or label not in self.own.values() else ""

    def several(self, label: str) -> bool:
        """Whether the user named several kinds of a class, each of which then has a name of its own."""
        return list(self.own.values()).count(label) > 1

    def refuse_unused(self, names: set[str], what: str) -> None:
        """Raises: UserError where a word of the user's is none of `names`."""
        for word in self.own:
            one_of(word, sorted(name.strip().lower() for name in names), what=f"name in CLASSES ({what})")


def classes_of(text: str) -> Classes:
    """What CLASSES="real=a,b fake=c" says. Raises: UserError."""
    return Classes({word: label for word, label in _pairs(text, "CLASSES", WRITTEN)})


def one_means(text: str) -> str:
    """The class that the number 1 stands for by LABELS="fake=1", '' where nothing is given. Raises: UserError."""
    written = 'LABELS="fake=1" or LABELS="real=1"'
    pairs = _pairs(text, "LABELS", written)
    said = {label if number == "1" else _other(label) for number, label in pairs}
    if len(said) > 1 or any(number not in ("0", "1") for number, _ in pairs):
        raise UserError(f"LABELS={text}: expected {written}; other words and numbers are named by {WRITTEN}")
    return said.pop() if said else ""


def split_in(name: str) -> str:
    """The split that a name has beside its class, as training_real has; '' where it has none."""
    return next((SPLIT_WORDS[word] for word in _parts(name.lower()) if word in SPLIT_WORDS), "")


def guessed(name: str) -> str:
    """The class that any word of a name speaks of, for a proposal; '' where none does or both are."""
    said = {CLASS_WORDS[word] for word in _parts(name.lower()) if word in CLASS_WORDS}
    return said.pop() if len(said) == 1 else ""


def _other(label: str) -> str:
    return LABELS[1 - LABELS.index(label)]


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[\W_]+", name) if part]


@cache
def _by_table(name: str) -> str:
    words = [part for part in _parts(name) if not (part.isdigit() or part in SPLIT_WORDS or part in IDLE)]
    said = {CLASS_WORDS.get(word, "") for word in words}
    return said.pop() if len(said) == 1 else ""


def _pairs(text: str, option: str, written: str) -> list[tuple[str, str]]:
    """(word, class) of every word of "class=word,word class=word"."""
    pairs = []
    for part in re.split(r"\s+(?=\w+\s*=)", text.strip()) if text.strip() else []:
        label, equals, words = (each.strip() for each in part.partition("="))
        if label.lower() not in LABELS or not equals:
            raise UserError(f"{option}={text}: expected {written}")
        pairs += [(word.strip().lower(), label.lower()) for word in words.split(",")]
    words = [word for word, _ in pairs]
    if "" in words or len(set(words)) < len(words):
        raise UserError(f"{option}={text}: a word is missing, or stands there twice; expected {written}")
    return pairs
