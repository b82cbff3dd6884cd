"""Which converted networks are kept where, and which were refused: known from files alone, without torch or OpenVINO.

A graph is cache/engines/<network>-<key>.safetensors; a network that was not taken leaves the reason in <...>.txt. What
torch.compile makes is nobody's file: that it took a network is <...>.taken.
"""

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cache import paths
from cache.atomic import write_text
from cache.errors import UserError
from cache.features import FeatureSpec
from cache.key import key
from extract.options import COMPILED, OPENVINO

PACKAGES = {OPENVINO: "openvino", COMPILED: "torch"}


class NotTaken(UserError):
    """An engine cannot convert a network, makes another one of it, or has no such number type here."""


@dataclass(frozen=True)
class Conversion:
    """One network as a graph for batches of `batch` images of crop x crop pixels.

    name: the network's. made_from: all else that the graph depends on, JSON-able.
    """

    name: str
    made_from: dict[str, Any]
    batch: int
    crop: int
    engine: str = OPENVINO

    @property
    def file(self) -> Path:
        """Where the graph is kept, or that the network was taken, whether it is there or not."""
        name = key(self.made_from | {"batch": self.batch, self.engine: version(PACKAGES[self.engine])})
        ending = "safetensors" if self.engine == OPENVINO else "taken"
        return paths.engines_dir() / paths.safe(f"{self.name}-{name}.{ending}")

    def take(self) -> None:
        """Keep that the network was taken, where there is no graph to keep."""
        write_text(self.file, "")

    @property
    def refusal(self) -> str:
        """Why the engine did not take the network, or nothing where it did or was never asked."""
        file = self._refusal_file
        return f"{file.read_text().strip()} ({file} keeps that; without it, it is tried again)" if file.exists() else ""

    def refuse(self, reason: str) -> None:
        """Keep why the engine does not take the network."""
        write_text(self._refusal_file, f"{reason}\n")

    @property
    def _refusal_file(self) -> Path:
        return self.file.with_suffix(".txt")


def of_features(specs: list[FeatureSpec], batch: int, *, tensors: str = "", engine: str = OPENVINO,
                device: str = "cpu") -> Conversion:  # fmt: skip
    """The conversion of a backbone for features that differ in tap and pooling only, and in what no graph depends on.

    Args:
        tensors: a checksum of the weights, where they are not those that specs name: a fine-tuned network's.
    """
    compute = specs[0].compute if engine == COMPILED else ""  # OpenVINO's graph is the same for all
    distinct = dict.fromkeys(replace(spec, view=0, augmentation="", compute=compute, stored="") for spec in specs)
    made_from = {"specs": [spec.to_json() for spec in distinct]} | ({"tensors": tensors} if tensors else {})
    made_from |= {"device": device} if engine == COMPILED else {}
    return Conversion(specs[0].backbone, made_from, batch, specs[0].preprocess.crop, engine)
