"""A trained head on disk: its tensors as safetensors, and in the same file the record that is needed to use it.

head, record = load_head(path)      head(inputs) is the logit of fake, whatever the family
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cache import checkpoint
from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from cache.records import from_plain
from cache.settings import LONGEST_SIDE, MOST_VIEWS
from heads.families import Family, Fitted, from_json

if TYPE_CHECKING:
    from heads.fitting.stack import Committee

MOST_NUMBERS = 1 << 26  # in one map
# What PyTorch and the networks make of a record that nothing fits.
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class HeadRecord:
    """What a saved head needs to be used: its setting, its inputs in order, and how many members it averages.

    row_shape: (D,) of the pooled features side by side, or the shape of a tail's maps. inputs: of view 0.
    views: it is judged by the mean of its scores over so many views, augmented (but for view 0) by `augmentation`.
    """

    config: Family
    inputs: list[FeatureSpec]
    row_shape: tuple[int, ...]
    members: int = 1
    views: int = 1
    augmentation: str = ""

    def to_json(self) -> dict:
        return {"config": self.config.to_json(), "inputs": [spec.to_json() for spec in self.inputs],
                "row_shape": list(self.row_shape), "members": self.members, "views": self.views,
                "augmentation": self.augmentation}  # fmt: skip

    @classmethod
    def from_json(cls, record: dict) -> "HeadRecord":
        """Raises: UserError where it is no such record, or asks for more than any head does."""
        made = from_plain(cls, record, makers={Family: from_json})
        if not made.inputs or min(made.row_shape, default=0) < 1 or math.prod(made.row_shape) > MOST_NUMBERS:
            raise UserError(f"row_shape = {list(made.row_shape)} of {len(made.inputs)} features")
        if made.members < 1 or not 1 <= made.views <= MOST_VIEWS:
            raise UserError(f"members = {made.members}, views = {made.views}: expected 1 to {MOST_VIEWS} views")
        for spec in made.inputs:
            refuse_large(spec.preprocess)
        return made


def refuse_large(how: Preprocess) -> None:
    """Raises: UserError for images of no size, or so large that a few of them fill the memory."""
    if not (1 <= how.crop <= LONGEST_SIDE and 0 <= how.resize <= 2 * LONGEST_SIDE):
        raise UserError(f"crop = {how.crop}, resize = {how.resize}: expected at most {LONGEST_SIDE} pixels")


def assemble(fitted: list[Fitted], record: HeadRecord) -> "Committee":
    """The head whose members these are, in eval mode."""
    head = record.config.assembled(record, [each.parameters for each in fitted])
    return head.eval().requires_grad_(False)


def save_head(path: Path, head: "Committee", record: HeadRecord) -> None:
    checkpoint.save_weights(path, head.state_dict(), record.to_json())


def load_head(path: Path) -> tuple["Committee", HeadRecord]:
    """A head of any family in eval mode, and its record.

    Raises:
        UserError: the file is missing, damaged or no head.
    """
    tensors, found = checkpoint.load_weights(path)
    record = _record(path, found)
    try:
        record.config.refuse_other_shapes(record, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        head = record.config.loaded(record, tensors)
    except (UserError, *UNFIT) as error:
        raise UserError(f"{path} is no head of this program: {error}") from error
    return head.eval().requires_grad_(False), record


def read_record(path: Path) -> HeadRecord:
    """Only the record, without its tensors. Raises: UserError as load_head, but for damage in tensors."""
    return _record(path, checkpoint.read_record(path))


def _record(path: Path, found: dict) -> HeadRecord:
    try:
        return HeadRecord.from_json(found)
    except UserError as error:
        raise UserError(f"{path} is no head of this program: {error}") from error
