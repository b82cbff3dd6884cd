"""A trained head on disk: its tensors as safetensors, and in the same file the record that is needed to use it.

head, record = load_head(path)      head(inputs) is the logit of fake, whatever the family
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from cache.checkpoint import load_strictly, load_weights, save_weights
from cache.errors import UserError
from cache.features import FeatureSpec
from heads.estimators import EstimatorHead
from heads.families import Estimator, HeadConfig, Tail, TrainedConfig, from_json
from heads.models import Committee, Head, Shape
from heads.task import Fitted


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
        """Raises: KeyError, TypeError or UserError where it is no such record."""
        inputs = [FeatureSpec.from_json(spec) for spec in record["inputs"]]
        shape, config = tuple(record["row_shape"]), from_json(record["config"])
        return cls(config, inputs, shape, record["members"], record["views"], record["augmentation"])


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
        UserError: the file is missing or is no head.
    """
    tensors, found = load_weights(path)
    try:
        record = HeadRecord.from_json(found)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is no head of this program: its record lacks {error}") from error
    if isinstance(record.config, Estimator):
        return EstimatorHead([tensors[f"model{n}"] for n in range(record.members)], tensors), record
    head = empty_head(record)
    load_strictly(head, tensors, where=str(path))
    return head.eval().requires_grad_(False), record


def _estimators(members: list[dict[str, torch.Tensor]]) -> EstimatorHead:
    stacked = {name: torch.stack([each[name] for each in members]) for name in ("mean", "std", "line")}
    return EstimatorHead([each["model"] for each in members], stacked)


def empty_head(record: HeadRecord) -> Committee:
    """A head of the right shape, not yet filled."""
    if isinstance(record.config, Tail):
        from heads.tail import outline  # imports the backbones, which pooled heads do without

        return outline(record.inputs[0], record.config, record.row_shape, record.members)
    trained = isinstance(record.config, TrainedConfig)
    shape = Shape.of(record.config, record.row_shape[0]) if trained else Shape(record.row_shape[0])
    return Head(shape, record.members)
