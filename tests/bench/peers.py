"""The features of a backbone by other means: runtimes alone on pixels in memory, and a loop as users write it.

    python -m tests.bench.peers [BACKBONE [ROUNDS [IMAGES]]]        IMAGES a round, whole batches

All give mean and deviation of the same taps of the same network, in float32, and as many threads as torch takes. On
pixels in memory, which is the ceiling of what an extraction can reach:

torch eager         the network as timm makes it, poolings written as one does
ONNX Runtime        network and poolings exported by torch.onnx
OpenVINO alone      network and poolings as our graph, one batch after another; or several at once, as it likes best
our engines         what extraction calls

and from files: our extraction, and DINOv2's evaluation loop (ImageFolder, torchvision's transforms, a DataLoader).
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from extract.computing.openvino_graph import _graph, core
from extract.computing.pooled import Pooled, taps_of
from extract.networks.backbones import Normalise
from extract.options import OPENVINO, TORCH
from tests.bench import rounds
from tests.bench.extraction import Bench

ROUNDS = 3
LOOP = "DINOv2's loop"


class Peers(Bench):
    """The rivals of one backbone. Each method returns images per second."""

    def __init__(self, name: str, home: Path) -> None:
        super().__init__(name, home)
        specs = [replace(spec, compute="fp32") for spec in self.specs[TORCH]]
        side = self.how.crop
        self.pixels = torch.randint(0, 256, (self.batch, side, side, 3), dtype=torch.uint8)
        self.pooled = Pooled(self.network.tapped(taps_of(specs)), specs).eval()
        self.eager = torch.nn.Sequential(Normalise(self.how), self.network.tapped(taps_of(specs))).eval()
        self.graph = _graph(self.pooled, self.pixels)
        self.session = self._exported()
        self.sync = self._compiled("LATENCY").create_infer_request()
        self.queue = openvino.AsyncInferQueue(self._compiled("THROUGHPUT"))

    def rivals(self) -> dict[str, partial]:
        """What is measured, by name."""
        in_memory = {
            "torch eager": self._eager,
            "ONNX Runtime": self._onnx,
            "OpenVINO alone": self._openvino,
            "OpenVINO alone, several at once": self._several,
        }
        ours = {f"our engine, {each}": partial(self.forward, each) for each in self.engines}
        files = {f"our extraction, {each}": partial(self.extraction, each) for each in self.engines}
        return {
            **{name: partial(self._rate, one) for name, one in in_memory.items()},
            **ours, **files, LOOP: partial(self._rate, self._loop),
        }  # fmt: skip

    def _rate(self, work: Callable[[int], None]) -> float:
        batches = -(-len(self.manifest) // self.batch)
        start = time.perf_counter()
        work(batches)
        return batches * self.batch / (time.perf_counter() - start)

    def _eager(self, count: int) -> None:
        with torch.inference_mode():
            for _ in range(count):
                moments(self.eager(self.pixels))

    def _onnx(self, count: int) -> None:
        for _ in range(count):
            self.session.run(None, {self.session.get_inputs()[0].name: self.pixels.numpy()})

    def _openvino(self, count: int) -> None:
        for _ in range(count):
            self.sync.infer([self.pixels.numpy()], share_inputs=True)

    def _several(self, count: int) -> None:
        for _ in range(count):
            self.queue.start_async([self.pixels.numpy()], share_inputs=True)
        self.queue.wait_all()

    def _loop(self, _: int) -> None:
        """As dinov2/eval/utils.py has it, but for what moves tensors to a GPU."""
        taps, parts = self.eager[1], []
        transform = v2.Compose([
            v2.Resize(self.how.resize or self.how.crop, interpolation=v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(self.how.crop), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(self.how.mean, self.how.std),
        ])  # fmt: skip
        with torch.inference_mode():
            for samples, _labels in DataLoader(ImageFolder(self.faces, transform), batch_size=64, num_workers=2):
                parts.append(moments(taps(samples)).numpy())
        np.save(self.home / "loop.npy", np.concatenate(parts))

    def _exported(self) -> onnxruntime.InferenceSession:
        program = torch.onnx.export(self.pooled, (self.pixels,), dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        model = program.model_proto.SerializeToString()
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _compiled(self, hint: str) -> openvino.CompiledModel:
        wanted = {"PERFORMANCE_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                  "INFERENCE_PRECISION_HINT": openvino.Type.f32}  # fmt: skip
        return core().compile_model(self.graph, "CPU", wanted)

    def agree(self) -> float:
        """The most that the runtimes' features differ from torch's, as a share of the largest value."""
        with torch.inference_mode():
            expected = [rows.numpy() for rows in self.pooled(self.pixels)]
        onnx = self.session.run(None, {self.session.get_inputs()[0].name: self.pixels.numpy()})
        found = list(self.sync.infer([self.pixels.numpy()]).values())
        return max(
            float(np.abs(ours - theirs).max() / np.abs(ours).max())
            for those in (onnx, found) for ours, theirs in zip(expected, those, strict=True)
        )  # fmt: skip


def moments(tapped: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Mean and deviation of each map, side by side."""
    return torch.cat([moment for x in tapped for moment in (x.mean((2, 3)), x.std((2, 3)))], dim=1)


def main(name: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        bench = Peers(name, Path(home))
        computes = ", ".join(specs[0].compute for specs in bench.specs.values())
        print(f"{name}, {len(bench.specs[TORCH])} taps avgstd, {bench.how.crop} px, peers fp32, ours {computes}, "
              f"batches of {bench.batch}, {len(bench.manifest)} images a round; "
              f"the runtimes differ from torch by {bench.agree():.0e} at most:")  # fmt: skip
        found = rounds(bench.rivals(), count=count, unit="img/s")
    ours = found[f"our extraction, {OPENVINO}"]
    ceiling = max(rate for rival, rate in found.items() if rival.startswith("OpenVINO"))
    print(f"  our extraction by {OPENVINO} / OpenVINO alone at its best = {ours / ceiling:.2f}, "
          f"/ DINOv2's loop = {ours / found[LOOP]:.1f}")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["resnet18"], int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
