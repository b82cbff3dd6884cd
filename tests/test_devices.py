"""Where things are computed and in which numbers, as far as a machine without a GPU can tell."""

from dataclasses import dataclass, field

import pytest
import torch

from analysis import report
from cache.paths import ROOT
from extract import compute
from finetune import run as finetune
from finetune import scorer, start, tune
from heads import run as heads
from tests.test_laws import FILES


@dataclass
class Recorder:
    """Stands for a tensor; remembers how it was moved."""

    pinned: bool
    calls: list[tuple] = field(default_factory=list)

    def is_pinned(self) -> bool:
        return self.pinned

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "Recorder":
        self.calls.append((device.type, non_blocking))
        return self


@pytest.mark.parametrize(
    ("device", "pinned", "by_itself"),
    [("cuda", True, True), ("cuda", False, False), ("mps", True, False), ("mps", False, False), ("cpu", False, False)],
)
def test_only_pinned_memory_is_copied_to_cuda_without_waiting(device, pinned, by_itself):
    tensor = Recorder(pinned)
    compute.moved(tensor, torch.device(device))
    assert tensor.calls == [(device, by_itself)]


def test_one_function_copies_without_waiting_and_float64_is_made_on_the_cpu():
    text = {str(path.relative_to(ROOT)): path.read_text() for path in FILES}
    assert [name for name, each in text.items() if "non_blocking" in each] == ["extract/compute.py"]
    assert not [name for name, each in text.items() if ".double().cpu()" in each]


@pytest.mark.parametrize(("found", "trains_on"), [("mps", "cpu"), ("cpu", "cpu"), ("cuda:1", "cuda:1")])
def test_one_rule_says_what_trains_and_scores(found, trains_on, monkeypatch):
    monkeypatch.setattr(compute, "device_of", lambda word: torch.device(found))
    assert str(compute.training_device("auto")) == trains_on
    for module in (heads, finetune, start, scorer, tune, report):
        assert module.training_device is compute.training_device
        assert not hasattr(module, "device_of")


def test_float32_is_multiplied_in_float32():
    """A GPU's convolutions go through TF32, unless the program says otherwise where it says what it computes in."""
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
