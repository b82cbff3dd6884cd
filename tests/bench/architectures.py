"""What of the pipeline works with which architecture: `python -m tests.bench.architectures` -> ARCHITECTURES.md.

Each runs with random weights on a few small images, as small as it takes them: its own features are extracted, it is
cut at one of its taps and put together again, a head on it takes a step of fine-tuning, a heat map is drawn, and the
detector is exported to ONNX and run. What is refused stands there in the words of the refusal; an error in other words
stands there with its class. Behind the command may stand names, or steps, that alone are run; other cells stay.
"""

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from analysis.export.onnx_graph import measured_parity, to_onnx
from analysis.gradcam.heatmaps import heat_maps
from cache.errors import UserError
from extract.networks.backbones import Backbone, build
from extract.networks.catalogue import default_features, entry
from extract.networks.entries import REGISTRY
from extract.options import RANDOM
from finetune.detectors.detector import FeatureDetector
from heads.options import HeadsConfig
from heads.run import run as run_heads
from heads.sweep.sweep_result import HEAD_FILE
from tests.conftest import write_faces

TARGET = Path(__file__).parents[2] / "extract" / "networks" / "ARCHITECTURES.md"
IMAGES = 24
SIDE = 64  # pixels, for networks that take any size
PATCHES = 4  # on a side, for networks that are built for one
LONGEST = 160  # letters of a refusal
STEPS = ("extracted", "cut", "fine-tuned", "heat map", "exported")
HEAD = """# Architectures

What `python -m tests.bench.architectures` found: random weights, a few small images, the features that are kept by
default. *cut*: trunk and tail together are the network, bit by bit. *fine-tuned*: a step of all weights. *exported*: to
ONNX, and run. What is not `yes` is the refusal, cut short; `-` was not reached, or not tried.

| backbone | pixels | extracted | cut | fine-tuned | heat map | exported |
|---|---|---|---|---|---|---|"""
OTHERS = """
    resnet10t resnetv2_18 seresnext26d_32x4d res2net50_14w_8s resnest14d skresnet18 regnety_002 densenet121 dla34
    hrnet_w18_small vgg11_bn inception_v3 xception41 cspdarknet53 ese_vovnet19b_dw repvgg_a0 nf_regnet_b0 hgnet_tiny
    efficientnet_b0 tf_efficientnetv2_b0 mobilenetv3_small_050 mobilenetv4_conv_small ghostnet_050 mnasnet_050
    rexnet_100 lcnet_050 tinynet_e mobileone_s0 starnet_s1 repvit_m0_9 fastvit_t8 convnext_atto convnextv2_atto
    convmixer_768_32 inception_next_atto rdnet_tiny mambaout_femto focalnet_tiny_srf poolformer_s12 caformer_s18
    edgenext_xx_small mobilevit_xxs mobilevitv2_050 efficientvit_b0 efficientvit_m0 efficientformerv2_s0 swiftformer_xs
    nextvit_small coatnet_pico_rw_224 maxvit_tiny_tf_224 levit_128s tiny_vit_5m_224 davit_tiny botnet26t_256
    halonet26t lambda_resnet26t swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 hiera_tiny_224
    pvt_v2_b0 pit_ti_224 visformer_tiny xcit_nano_12_p16_224 cait_xxs24_224 volo_d1_224 crossvit_9_240 coat_tiny
    twins_pcpvt_small mvitv2_tiny gcvit_xxtiny nest_tiny tnt_s_legacy_patch16_224 sequencer2d_s mixer_s32_224
    resmlp_12_224 gmlp_s16_224 vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 deit3_small_patch16_224
    beit_base_patch16_224 flexivit_small samvit_base_patch16_224 vit_relpos_small_patch16_224
    vit_little_patch16_reg4_gap_256 vit_small_patch16_rope_mixed_224 vit_xsmall_patch16_clip_224
    vit_pe_core_tiny_patch16_384 eva02_tiny_patch14_224 vitamin_small_224 naflexvit_base_patch16_gap
""".split()


@dataclass(frozen=True)
class Tried:
    """One architecture on images of `side` pixels. said: a step -> `yes`, or why not."""

    name: str
    side: int
    said: dict[str, str]

    def line(self, before: dict[str, str]) -> str:
        """A row of the table; before: what it said of the steps."""
        cells = {step: "-" for step in STEPS} | before | self.said
        return f"| {' | '.join([f'`{self.name}`', str(self.side), *(cells[step] for step in STEPS)])} |"


def tried(name: str, data: Path, *, steps: tuple[str, ...] = STEPS) -> Tried:
    """Run steps, of which each needs the first, with one architecture on images in class folders."""
    chain, said = Chain(name, data), {}
    for step in steps:
        said[step] = _answer(chain.works[step])
        if chain.folder is None:
            break
    return Tried(name, chain.side, said)


class Chain:
    """The steps with one architecture. works: a step -> what runs it. folder: of the head, once there is one."""

    def __init__(self, name: str, data: Path) -> None:
        self.name, self.data, self.side = name, data, 0
        self.folder: Path | None = None
        done = (self.extracted, self.cut, self.fine_tuned, self.heat_map, self.exported)
        self.works: dict[str, Callable[[], None]] = dict(zip(STEPS, done, strict=True))

    def extracted(self) -> None:
        """On small images, or on the network's own where it refuses those; and a head is trained."""
        known = entry(self.name)
        small = PATCHES * known.patch if known.one_size and known.patch > 1 else SIDE
        try:
            self._extract(small)
        except UserError:
            self._extract(known.crop)

    def _extract(self, side: int) -> None:
        self.side = side
        self.folder = run_heads(HeadsConfig.of(
            data=str(self.data), backbone=self.name, weights=RANDOM, size=side, device="cpu", compute="fp32",
            workers=0, seeds=1, grid='[{"family": "ridge", "penalty": 1.0}]', inputs="all",
        ))  # fmt: skip

    def cut(self) -> None:
        """At the middle of the taps that are kept by default, exactly."""
        backbone = self._backbone()
        taps = list(dict.fromkeys(feature.rpartition(":")[0] for feature in default_features(self.name)))
        trunk, tail = backbone.split(taps[len(taps) // 2])
        images = torch.randn(2, 3, self.side, self.side, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            if not torch.equal(tail(trunk(images)), backbone.module(images)):
                raise AssertionError("trunk and tail are another network")

    def fine_tuned(self) -> None:
        """One step of all weights."""
        detector = self._detector().requires_grad_(True)
        detector.training_mode(frozen_norm=True)
        loss = binary_cross_entropy_with_logits(detector(self._pixels()), torch.tensor([0.0, 1.0]))
        loss.backward()
        torch.optim.SGD(detector.parameters(), lr=1e-4).step()
        gradients = [each.grad for each in detector.trunks.parameters() if each.grad is not None]
        if not gradients or not all(each.isfinite().all() for each in gradients):
            raise AssertionError("no finite gradient reaches the network")

    def heat_map(self) -> None:
        """For both classes."""
        heat_maps(self._detector(), self._pixels(), ["real", "fake"])

    def exported(self) -> None:
        """And run by ONNX Runtime."""
        detector, pixels = self._detector(), self._pixels().numpy()
        measured_parity(to_onnx(detector), detector, pixels, against="images of noise", spread=1.0, threshold=0.0)

    def _backbone(self) -> Backbone:
        return build(self.name, weights=RANDOM, size=self.side)

    def _detector(self) -> FeatureDetector:
        return FeatureDetector.load(self.folder / HEAD_FILE, [self._backbone()])

    def _pixels(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (2, self.side, self.side, 3), generator=generator).byte()


def _answer(work: Callable[[], None]) -> str:
    """`yes`, or the refusal, or the error."""
    try:
        work()
    except UserError as error:
        return _short(str(error))
    except Exception as error:  # noqa: BLE001  whatever a library raises is an entry of the table
        return _short(f"{type(error).__name__}: {error}")
    return "yes"


def _short(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")[:LONGEST]


def main(words: list[str]) -> None:
    """Words are names of backbones or steps; none = all."""
    warnings.simplefilter("ignore")
    steps = (STEPS[0], *(each for each in STEPS[1:] if each in words)) if set(STEPS) & set(words) else STEPS
    with tempfile.TemporaryDirectory() as home:
        faces = write_faces(Path(home) / "faces", IMAGES)
        for name in [each for each in words if each not in STEPS] or [*REGISTRY, *OTHERS]:
            for place in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
                os.environ[place] = str(Path(home) / name / place)
            found = tried(name, faces, steps=steps)
            print(_kept(found), flush=True)
            shutil.rmtree(Path(home) / name, ignore_errors=True)


def _kept(found: Tried) -> str:
    """The row of an architecture, which is in the table then; what was not tried now stays as it was."""
    known = TARGET.read_text().splitlines() if TARGET.exists() else []
    rows = {line.split("`")[1]: line for line in known if line.startswith("| `")}
    cells = rows.get(found.name, "").split("|")[3:-1]
    rows[found.name] = found.line(dict(zip(STEPS, map(str.strip, cells), strict=False)))
    TARGET.write_text("\n".join([HEAD, *(rows[name] for name in (*REGISTRY, *OTHERS) if name in rows), ""]))
    return rows[found.name]


if __name__ == "__main__":
    main(sys.argv[1:])
