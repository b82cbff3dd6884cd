"""What a detector's file says of it, read without its weights."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cache import checkpoint
from cache.errors import UserError, one_of
from cache.features import Preprocess
from cache.records import from_plain
from extract.options import COMPUTE
from heads.head_file import HeadRecord, refuse_large


@dataclass(frozen=True)
class NetworkRecord:
    """What rebuilds a NetworkDetector.

    own: one of finetune.detectors.networks, not of extract.networks.backbones. unit: with a UnitLinear at its end.
    """

    network: str
    own: bool
    preprocess: Preprocess
    outputs: int
    dropout: float
    compute: str
    unit: bool = False

    @classmethod
    def from_json(cls, record: dict) -> "NetworkRecord":
        """Raises: UserError where it is no such record."""
        made = from_plain(cls, record)
        refuse_large(made.preprocess)
        one_of(made.compute, COMPUTE, what="compute")
        if made.own:
            from finetune.detectors.networks import NETWORKS  # seconds to import, and most networks are none of these

            one_of(made.network, NETWORKS, what="network")
        if made.outputs not in (1, 2) or not 0 <= made.dropout < 1:
            raise UserError(f"outputs = {made.outputs}, dropout = {made.dropout}: expected 1 or 2 outputs and a share")
        return made


@dataclass(frozen=True)
class DetectorRecord:
    """built_from: a cached head's record, or a network's. made: what a person wants to know of its training."""

    built_from: HeadRecord | NetworkRecord
    made: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict:
        if isinstance(self.built_from, HeadRecord):
            return {"head": self.built_from.to_json(), "made": self.made}
        return {"network": asdict(self.built_from), "made": self.made}

    @classmethod
    def from_json(cls, record: dict) -> "DetectorRecord":
        """Raises: UserError where it is no such record."""
        kind = HeadRecord if "head" in record else NetworkRecord
        name = "head" if kind is HeadRecord else "network"
        if record.keys() != {name, "made"} or not isinstance(record["made"], dict):
            raise UserError(f"a detector's record has {name} and made, this one {', '.join(record) or 'nothing'}")
        from_plain(
            _Trained, {each: record["made"][each] for each in _Trained.__annotations__ if each in record["made"]}
        )
        return cls(kind.from_json(record[name]), record["made"])


@dataclass(frozen=True)
class _Trained:
    """What the program itself reads of a detector's training."""

    epoch: int = 0
    val_auc: float = 0.0
    val_loss: float = 0.0
    run: str = ""
    manifest_key: str = ""


def read_record(path: Path) -> DetectorRecord:
    """Only the record, without its tensors. Raises: UserError as load_detector, but for damage in tensors."""
    return described(path, checkpoint.read_record(path))


def checked_record(path: Path) -> DetectorRecord:
    """The record of a file that is whole: all of it is read. Raises: UserError as load_detector."""
    return described(path, checkpoint.load_weights(path)[1])


def described(path: Path, found: dict) -> DetectorRecord:
    """The record that was found in a file. Raises: UserError where it is none of a detector."""
    try:
        return DetectorRecord.from_json(found)
    except UserError as error:
        raise UserError(f"{path} is no detector of this program: {error}") from error
