"""Pooled extraction against the pure forward pass and against the plain loop most people write, in one run.

python -m tests.bench.extraction resnet18

forward   the same network, batch and precision on pixels that are in memory already
plain     float32, contiguous, a DataLoader, one np.save at the end
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cache import runs
from data import build as data_build
from data.images import decode
from data.manifest import Manifest
from data.options import DataConfig
from data.preprocess import to_input
from extract.backbones import build
from extract.catalogue import preprocess
from extract.forward import forward, frozen
from extract.machine import CPU_BATCH, GPU_BATCH, compute_of, device_of
from extract.options import ExtractConfig
from extract.run import run
from tests.bench import rounds

TAPS = {"resnet18": "layer4", "tf_efficientnet_lite0": "blocks.6"}
ROUNDS = 5
IMAGES = 1280


class Bench:
    """One backbone over 256-pixel JPEGs. Each method returns images per second."""

    def __init__(self, name: str, home: Path) -> None:
        os.environ["DATA_DIR"] = str(home / "data")
        self.home, self.name, self.tap = home, name, TAPS[name]
        self.weights = "random" if name == "resnet18" else ""
        self.faces = copies(home / "faces")
        self.manifest = Manifest.load(data_build.run(DataConfig.of(data=str(self.faces))))
        self.network, self.how = build(name, weights=self.weights), preprocess(name)
        self.device = torch.device(device_of("auto"))
        self.compute = compute_of("auto", device_of("auto"))
        self.batch = CPU_BATCH if self.device.type == "cpu" else GPU_BATCH
        self.tries = 0

    def extraction(self) -> float:
        """`make extract`, without starting Python and without building the manifest."""
        self.tries += 1
        os.environ["CACHE_DIR"] = str(self.home / f"cache{self.tries}")
        os.environ["RUNS_DIR"] = str(self.home / f"runs{self.tries}")
        folder = run(
            ExtractConfig.of(
                data=str(self.faces), backbone=self.name, weights=self.weights, features=f"{self.tap}:avgstd"
            )
        )
        return runs.result(folder)["rate"]

    def forward(self) -> float:
        module = frozen(self.network, (self.tap,), self.how, self.device)
        pixels = torch.randint(0, 256, (self.batch, self.how.crop, self.how.crop, 3), dtype=torch.uint8)
        pixels = pixels.to(self.device)
        forward(module, pixels, self.compute)
        steps = -(-len(self.manifest) // self.batch)
        start = time.perf_counter()
        for _ in range(steps):
            forward(module, pixels, self.compute)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return steps * self.batch / (time.perf_counter() - start)

    def plain(self) -> float:
        module = self.network.tapped((self.tap,)).to(self.device, memory_format=torch.contiguous_format)
        start = time.perf_counter()
        parts = []
        with torch.no_grad():
            for pixels in DataLoader(Images(self.manifest, self.how), batch_size=32, num_workers=2):
                tapped = module(pixels.to(self.device))[0]
                parts.append(torch.cat([tapped.mean((2, 3)), tapped.std((2, 3))], dim=1).cpu().numpy())
        np.save(self.home / "plain.npy", np.concatenate(parts))
        return len(self.manifest) / (time.perf_counter() - start)


def copies(folder: Path) -> Path:
    """IMAGES files from the built-in sample; a byte behind the end of a JPEG makes another digest of it."""
    root = Manifest.load(data_build.run(DataConfig())).root
    files = sorted(root.rglob("*.jpg"))
    for index in range(IMAGES):
        source = files[index % len(files)]
        target = folder / source.parent.name / f"{index}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes() + str(index).encode())
    return folder


class Images(Dataset):
    """The plain loop's data set."""

    def __init__(self, manifest: Manifest, how) -> None:
        self.files = [manifest.root / path for path in manifest.rows.path]
        self.how = how

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels = torch.tensor(to_input(decode(self.files[index].read_bytes())[0], self.how))
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.how.mean, self.how.std))
        return (pixels.permute(2, 0, 1).contiguous().float() / 255 - mean) / std


def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(name, Path(home))
        print(f"{name} {bench.tap}:avgstd, {bench.how.crop} px, {bench.compute} on {bench.device}, "
              f"{len(bench.manifest)} images a round:")  # fmt: skip
        rivals = {"extraction": bench.extraction, "forward": bench.forward, "plain": bench.plain}
        found = rounds(rivals, count=ROUNDS, unit="img/s")
    print(f"  extraction / forward = {found['extraction'] / found['forward']:.2f} (target .90), "
          f"extraction / plain = {found['extraction'] / found['plain']:.2f} (target 2.5 for resnet18)")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "resnet18")
