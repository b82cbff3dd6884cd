"""Words, numbers and folders -> real or fake, and the splits and generators that folders name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cache.errors import UserError, one_of, shown
from data.labels import LABELS, SPLIT_WORDS, Classes, classes_of, one_means

FIELDS = ("image", "label", "split", "group", "generator")  # what COLUMNS can name
NUMBER = re.compile(r"[+-]?\d+(\.0*)?")


class BadLabelError(ValueError):
    """What is said of an image that cannot be labelled; its text is the reason."""


@dataclass(frozen=True)
class Place:
    """What folders and file names say of what lies below them; '' = nothing."""

    split: str = ""
    label: str = ""
    generator: str = ""

    def within(self, above: "Place") -> "Place":
        """This one, filled up with what is said further above.

        Raises:
            BadLabelError: they contradict each other.
        """
        label = agreed(self.label, above.label)
        generator = (self.generator or above.generator) if label == "fake" else ""
        return Place(self.split or above.split, label, generator)


@dataclass(frozen=True)
class Meaning:
    """classes: what words and folders mean. one: the class that the number 1 stands for, '' = nobody said."""

    classes: Classes
    one: str

    @classmethod
    def of(cls, labels: str, classes: str) -> "Meaning":
        """labels: as LABELS has it, classes: as CLASSES does. Raises: UserError where they cannot be understood."""
        return cls(classes_of(classes), one_means(labels))

    def label(self, value: object) -> str:
        """real or fake; '' of nothing.

        Raises:
            BadLabelError: a word or a number that nobody explained. UserError: numbers, and none is explained.
        """
        text = "" if value is None else str(value).strip()
        label = self.classes.of(text)
        if label or not text:
            return label
        if not NUMBER.fullmatch(text):
            raise BadLabelError(f"label {shown(value)} is neither real nor fake; CLASSES says what a word means")
        if not self.one:
            raise UserError(
                f'the labels are numbers without names ({shown(value)}): say what they mean with LABELS="fake=1" or '
                'LABELS="real=1"'
            )
        number = int(float(text))
        if number not in (0, 1):
            raise BadLabelError(f"label {shown(value)} is neither 0 nor 1; CLASSES says what further numbers mean")
        return self.one if number else LABELS[1 - LABELS.index(self.one)]

    def place(self, folders: Sequence[str]) -> Place:
        """What folders say, from the outermost to the innermost: a split, a class, and the folder in fake as generator.

        Raises:
            BadLabelError: they name both classes.
        """
        labels = [self.classes.of(each) for each in folders]
        label = agreed(*labels)
        split = next((SPLIT_WORDS[each.lower()] for each in folders if each.lower() in SPLIT_WORDS), "")
        below = folders[labels.index(label) + 1 :] if label == "fake" else []
        return Place(split, label, next((each for each in below if each.lower() not in SPLIT_WORDS), ""))


def agreed(*labels: str) -> str:
    """The label that all give who give one; '' where nobody does. Raises: BadLabelError for two."""
    said = sorted(set(labels) - {""})
    if len(said) > 1:
        raise BadLabelError("it is called real in one place and fake in another")
    return said[0] if said else ""


def split_of(value: object) -> str:
    """train, val or test; '' of nothing. Raises: BadLabelError for another word."""
    text = "" if value is None else str(value).strip().lower()
    if text and text not in SPLIT_WORDS:
        raise BadLabelError(f"split {shown(value)}: expected train, val or test")
    return SPLIT_WORDS.get(text, "")


def columns_of(columns: str) -> dict[str, str]:
    """What COLUMNS says: a word of FIELDS -> the name of the column. Raises: UserError where it says something else."""
    pairs = [part.partition("=")[::2] for part in columns.split()]
    for name, column in pairs:
        one_of(name, FIELDS, what="field in COLUMNS")
        if not column:
            raise UserError(f'COLUMNS={columns}: expected pairs such as "image=picture label=kind"')
    return dict(pairs)
