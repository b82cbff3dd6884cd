"""Where things are computed and in which numbers, as far as a machine without a GPU can tell."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from analysis import report
from cache import environment
from cache.paths import ROOT
from extract.computing import compute, machine
from finetune import run as finetune
from finetune import start
from finetune.detectors import image_scorer
from finetune.tune import run as tune
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
    assert [name for name, each in text.items() if "non_blocking" in each] == ["extract/computing/compute.py"]
    assert not [name for name, each in text.items() if ".double().cpu()" in each]


@pytest.mark.parametrize(("found", "trains_on"), [("mps", "cpu"), ("cpu", "cpu"), ("cuda:1", "cuda:1")])
def test_one_rule_says_what_trains_and_scores(found, trains_on, monkeypatch):
    monkeypatch.setattr(machine, "device_of", lambda word: found)
    assert machine.training_device("auto") == trains_on
    for module in (heads, finetune, start, image_scorer, tune, report):
        assert module.training_device is machine.training_device
        assert not hasattr(module, "device_of")


def test_the_machine_says_what_torch_says_without_it(monkeypatch):
    """Keys of features hold the number type: two answers would be two keys."""
    native = any(torch.cpu.get_capabilities().get(flag) for flag in ("avx512_bf16", "amx_bf16"))
    assert machine.compute_of("auto", "cpu") == ("bf16" if native else "fp32")
    assert machine.device_of("auto") == ("cuda:0" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(machine, "may_accelerate", lambda: True)
    monkeypatch.setattr(machine, "CPUINFO", Path("/nowhere"))
    assert machine.compute_of("auto", "cpu") == ("bf16" if native else "fp32")
    assert machine.device_of("auto") == ("cuda:0" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("flags", "compute"),
    [("fpu avx512f avx512_bf16", "bf16"), ("fpu amx_bf16 amx_tile", "bf16"), ("fpu avx512f avx512_fp16", "fp32")],
)
def test_flags_of_the_cpu_say_whether_bfloat16_pays(flags, compute, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvmx flags\t: avx512_bf16\nflags\t\t: {flags}\n")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert machine.compute_of("auto", "cpu") == compute
    assert machine.compute_of("fp16", "cpu") == "fp16"


@pytest.mark.parametrize(("driver", "expected"), [("nvidia0", True), ("kfd", True), ("null", False)])
def test_a_driver_tells_of_an_accelerator(driver, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "DEVICES", tmp_path)
    monkeypatch.setattr("sys.platform", "linux")
    (tmp_path / driver).touch()
    assert environment.may_accelerate() == expected


def test_float32_is_multiplied_in_float32():
    """A GPU's convolutions go through TF32, unless the program says otherwise where it says what it computes in."""
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
