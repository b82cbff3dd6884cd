"""Images per second of fine-tuning against a plain PyTorch loop: the same network, batch, number type and images.

    python -m tests.bench.finetune [network] [images]

The plain loop is what a tutorial has: a DataLoader with two workers over Pillow images, flips and random windows of
224 pixels, zero_grad, forward, backward, AdamW over every parameter. Ours does all that a run does, checkpoints,
averaged weights and clipping included, on the same synthetic images and also with every parameter unfrozen; rates are
of training alone, without validation, in both.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from cache import paths
from data import build as data_build
from data.augment import Augmentation
from data.manifest import Manifest
from data.options import DataConfig
from extract.computing.compute import computing_in
from extract.computing.machine import device_of
from extract.networks.backbones import build
from extract.networks.catalogue import preprocess
from finetune.detectors.detector_file import network_detector
from finetune.detectors.detector_record import DetectorRecord, NetworkRecord
from finetune.recipes import Recipe
from finetune.training.job import Job
from finetune.training.loop import Training
from finetune.training.team import Team
from tests.bench import rounds
from tests.conftest import write_faces

BATCH, WINDOW = 32, 224
RECIPE = Recipe(start="pretrained", epochs=1, batch=BATCH, ema=0.99, clip=1.0,
                augmentation=Augmentation(flip=0.5, window=WINDOW / 256))  # fmt: skip


def detector_of(name: str) -> tuple[torch.nn.Module, NetworkRecord]:
    how = preprocess(name, size=256)
    record = NetworkRecord(name, False, how, outputs=1, dropout=0.0, compute="fp32")
    return network_detector(record, build(name, weights="random").module).requires_grad_(True), record


def ours(name: str, manifest: Manifest) -> float:
    """Images a second."""
    device = torch.device(device_of("auto"))
    detector, record = detector_of(name)
    detector = detector.to(device, memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), manifest, RECIPE, DetectorRecord(record), made_from={})
        return Training(job, detector, Team(str(device))).run([])[0].images_per_second


def plain(name: str, manifest: Manifest) -> float:
    """Images a second."""
    device = torch.device(device_of("auto"))
    detector, _ = detector_of(name)
    detector = detector.to(device, memory_format=torch.channels_last).train()
    how = transforms.Compose(
        [transforms.RandomHorizontalFlip(), transforms.RandomCrop(WINDOW), transforms.PILToTensor()]
    )
    loader = DataLoader(
        ImageFolder(str(manifest.root), how), batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True
    )
    optimiser = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    precision = detector.train_in("auto", device)
    start, count = time.perf_counter(), 0
    for pixels, labels in loader:
        optimiser.zero_grad()
        with computing_in(precision, device):
            logits = detector(pixels.permute(0, 2, 3, 1).to(device))
        binary_cross_entropy_with_logits(logits, labels.float().to(device)).backward()
        optimiser.step()
        count += len(labels)
    return count / (time.perf_counter() - start)


def main(name: str, images: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATA_DIR"] = str(Path(folder) / "data")
        faces = write_faces(Path(folder) / "faces", images, side=256)
        data_build.run(DataConfig.of(data=str(faces)))
        manifest = Manifest.load(paths.manifest_file("faces"))
        print(f"{name}: {images} images of 256 pixels, windows of {WINDOW}, batches of {BATCH}")
        found = rounds({"ours": lambda: ours(name, manifest), "plain loop": lambda: plain(name, manifest)},
                       count=5, unit="img/s")  # fmt: skip
        print(f"  ours / plain = {found['ours'] / found['plain loop']:.2f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tf_efficientnet_lite0", int(sys.argv[2]) if len(sys.argv) > 2 else 384)
