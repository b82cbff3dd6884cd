"""Extraction of a backbone's own features by each engine, against its pure forward pass and the plain loop, in one run.

python -m tests.bench.extraction resnet18            or with a number of rounds, and of images, behind it

forward   the same engine, pooling too, on pixels that are in memory already
plain     float32, contiguous, a DataLoader, one np.save at the end
"""

import os
import shutil
import sys
import tempfile
import time
from functools import partial
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
from extract.computing.engines import engine
from extract.computing.machine import batch_of, device_of
from extract.loading import Batch
from extract.networks.backbones import build
from extract.networks.catalogue import preprocess
from extract.options import OPENVINO, TORCH, ExtractConfig
from extract.run import run, specs_of
from tests.bench import rounds

ROUNDS = 5
IMAGES = int(sys.argv[3]) if len(sys.argv) > 3 else 1280  # a round


class Bench:
    """One backbone over 256-pixel JPEGs. Each method returns images per second."""

    def __init__(self, name: str, home: Path) -> None:
        os.environ["DATA_DIR"] = str(home / "data")
        self.home, self.name = home, name
        self.weights = "random" if name == "resnet18" else ""
        self.faces = copies(home / "faces")
        self.manifest = Manifest.load(data_build.run(DataConfig.of(data=str(self.faces))))
        self.network, self.how = build(name, weights=self.weights), preprocess(name)
        self.device = torch.device(device_of("auto"))
        self.batch = batch_of(0, self.device.type)
        self.engines = [TORCH, OPENVINO] if self.device.type == "cpu" else [TORCH]
        os.environ["CACHE_DIR"] = str(home / "cache")
        self.specs = {each: specs_of(self._extracted(each)) for each in self.engines}  # converted, and warm

    def rivals(self) -> dict[str, partial]:
        """What is measured, by name."""
        methods = {"extraction": self.extraction, "forward": self.forward}
        found = {f"{each} {name}": partial(method, each) for each in self.engines for name, method in methods.items()}
        return found | {"plain": partial(self.plain)}

    def extraction(self, engine: str) -> float:
        """`make extract`, without starting Python, building the manifest, or converting the network."""
        shutil.rmtree(self.home / "cache" / "features")
        shutil.rmtree(self.home / "runs")
        return runs.result(self._extracted(engine))["rate"]

    def _extracted(self, engine: str) -> Path:
        os.environ["RUNS_DIR"] = str(self.home / "runs")
        return run(ExtractConfig.of(data=str(self.faces), backbone=self.name, weights=self.weights, engine=engine))

    def forward(self, word: str) -> float:
        network = engine(self.network, self.specs[word], self.device, batch=self.batch)
        pixels = torch.randint(0, 256, (self.batch, self.how.crop, self.how.crop, 3), dtype=torch.uint8)
        batch = Batch(pixels.to(self.device), self.batch)
        network(batch)
        steps = -(-len(self.manifest) // self.batch)
        start = time.perf_counter()
        for _ in range(steps):
            network(batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return steps * self.batch / (time.perf_counter() - start)

    def plain(self) -> float:
        taps = tuple(spec.tap for spec in self.specs[TORCH])
        module = self.network.tapped(taps).to(self.device, memory_format=torch.contiguous_format)
        start = time.perf_counter()
        parts = []
        with torch.no_grad():
            for pixels in DataLoader(Images(self.manifest, self.how), batch_size=32, num_workers=2):
                tapped = module(pixels.to(self.device))
                pooled = [moment for x in tapped for moment in (x.mean((2, 3)), x.std((2, 3)))]
                parts.append(torch.cat(pooled, dim=1).cpu().numpy())
        np.save(self.home / "plain.npy", np.concatenate(parts))
        return len(self.manifest) / (time.perf_counter() - start)


def copies(folder: Path) -> Path:
    """IMAGES files from the built-in sample; a byte behind the end of a JPEG makes another digest of it."""
    manifest = Manifest.load(data_build.run(DataConfig()))
    rows = manifest.rows.sample(frac=1, random_state=0)  # both classes, however few are taken
    for index in range(IMAGES):
        row = rows.iloc[index % len(rows)]
        target = folder / row.label / f"{index}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((manifest.root / row.path).read_bytes() + str(index).encode())
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


def main(name: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(name, Path(home))
        computes = ", ".join(specs[0].compute for specs in bench.specs.values())
        print(f"{name}, {len(bench.specs[TORCH])} taps avgstd, {bench.how.crop} px, {computes} on {bench.device}, "
              f"{len(bench.manifest)} images a round:")  # fmt: skip
        found = rounds(bench.rivals(), count=count, unit="img/s")
    for each in bench.engines:
        rate = found[f"{each} extraction"]
        print(f"  {each}: extraction / forward = {rate / found[f'{each} forward']:.2f}, "
              f"/ plain = {rate / found['plain']:.2f}, / torch's = {rate / found['torch extraction']:.2f}")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["resnet18"], int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
