"""A trained head on disk: its tensors as safetensors, and in the same file the record that is needed to use it.

head, record = load_head(path)      head(inputs) is the logit of fake, whatever the family
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from cache.checkpoint import load_strictly, load_weights, save_weights
from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from cache.key import differences
from cache.records import from_plain
from cache.settings import LONGEST_SIDE, MOST_VIEWS
from heads.families import Estimator, HeadConfig, Tail, TrainedConfig, from_json
from heads.fitting.estimators import EstimatorHead
from heads.fitting.stack import Committee, Head, Shape
from heads.fitting.task import Fitted

MOST_NUMBERS = 1 << 26  # in one map
# What PyTorch and the networks make of a record that nothing fits.
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class HeadRecord:
    """What a saved head needs to be used: its setting, its inputs in order, and how many members it averages.

    row_shape: (D,) of the pooled features side by side, or the shape of a tail's maps. inputs: of view 0.
    views: it is judged by the mean of its scores over so many views, augmented (but for view 0) by `augmentation`.
    """

    config: HeadConfig
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
        made = from_plain(cls, record, makers={HeadConfig: from_json})
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


def assemble(fitted: list[Fitted], record: HeadRecord) -> Committee:
    """The head whose members these are, in eval mode."""
    if isinstance(record.config, Estimator):
        return _estimators([each.parameters for each in fitted])
    head = empty_head(record)
    head.fill([each.parameters for each in fitted])
    return head.eval().requires_grad_(False)


def save_head(path: Path, head: Committee, record: HeadRecord) -> None:
    save_weights(path, head.state_dict(), record.to_json())


def load_head(path: Path) -> tuple[Committee, HeadRecord]:
    """A Head, TailHead or EstimatorHead in eval mode, and its record.

    Raises:
        UserError: the file is missing, damaged or no head.
    """
    tensors, found = load_weights(path)
    record = _record(path, found)
    try:
        refuse_other_shapes(record, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        if isinstance(record.config, Estimator):
            return EstimatorHead([tensors[f"model{number}"] for number in range(record.members)], tensors), record
        head = empty_head(record)
    except (UserError, *UNFIT) as error:
        raise UserError(f"{path} is no head of this program: {error}") from error
    load_strictly(head, tensors, where=str(path))
    return head.eval().requires_grad_(False), record


def read_record(path: Path) -> HeadRecord:
    """Only the record. Raises: UserError as load_head."""
    return _record(path, load_weights(path)[1])


def refuse_other_shapes(record: HeadRecord, shapes: dict[str, tuple[int, ...]]) -> None:
    """Before room is made for a head: its file must hold the tensors that its record speaks of, and no other ones.

    Args:
        shapes: of all tensors, by name. Of a tail, whose network says what it holds, the members alone are compared.

    Raises:
        UserError: it holds others.
    """
    if isinstance(record.config, Tail):
        expected = {"members": record.members}
        found = {"members": len({name.split(".")[1] for name in shapes if name.startswith("networks.")})}
    elif isinstance(record.config, Estimator):
        models = {name: () for name in shapes if name.startswith("model")}
        expected = _standardisation(record) | {"line": (record.members, 2), "members": record.members}
        found = {name: each for name, each in shapes.items() if name not in models}
        found |= {"members": sum(f"model{number}" in models for number in range(len(models)))}
    else:
        stack = {f"stack.{name}": (record.members, *shape) for name, shape in _shape(record).tensors().items()}
        expected, found = _standardisation(record) | stack, shapes
    refuse_unlike(expected, found)


def refuse_unlike(expected: dict, found: dict) -> None:
    """Raises: UserError for tensors that are not those of the record, with the first few."""
    unlike = differences(expected, found)
    if unlike:
        raise UserError("\n  ".join(["its tensors are not those of its record:", *unlike[:5]]))


def _record(path: Path, found: dict) -> HeadRecord:
    try:
        return HeadRecord.from_json(found)
    except UserError as error:
        raise UserError(f"{path} is no head of this program: {error}") from error


def _estimators(members: list[dict[str, torch.Tensor]]) -> EstimatorHead:
    stacked = {name: torch.stack([each[name] for each in members]) for name in ("mean", "std", "line")}
    return EstimatorHead([each["model"] for each in members], stacked)


def empty_head(record: HeadRecord) -> Committee:
    """A head of the right shape, not yet filled."""
    if isinstance(record.config, Tail):
        from heads.fitting.tails import outline  # imports the backbones, which pooled heads do without

        return outline(record.inputs[0], record.config, record.row_shape, record.members)
    return Head(_shape(record), record.members)


def _shape(record: HeadRecord) -> Shape:
    """Of a member on pooled features."""
    trained = isinstance(record.config, TrainedConfig)
    return Shape.of(record.config, record.row_shape[0]) if trained else Shape(record.row_shape[0])


def _standardisation(record: HeadRecord) -> dict[str, tuple[int, int]]:
    return {name: (record.members, record.row_shape[0]) for name in ("mean", "std")}
