"""Heat maps: where the evidence was put on purpose there the map is; on every network; the checks can fail."""

import json
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from analysis.gradcam import drawing, faithfulness
from analysis.gradcam.findings import SHEET, find_heat_maps, read_heat_maps
from analysis.gradcam.heatmaps import BATCH, Explained, heat_maps
from analysis.gradcam.options import METHODS, GradcamConfig
from analysis.gradcam.overlays import overlay
from analysis.gradcam.run import run
from analysis.gradcam.seams import HALF_WIDTH, on_seams, seam_bands, seam_shares
from analysis.gradcam.selection import select
from analysis.options import MOST_HEAT_MAPS
from cache import paths, runs
from cache.errors import UserError
from cache.features import FeatureSpec, Preprocess
from data.manifest import Manifest
from data.sample import SIDE
from extract.networks.backbones import Backbone, build
from extract.networks.catalogue import layout
from extract.networks.weights import Weights
from finetune.detectors.detector import FeatureDetector, NetworkDetector
from finetune.detectors.detector_file import network_detector
from finetune.detectors.detector_record import NetworkRecord
from finetune.detectors.networks import preprocess_for
from heads.families import Tail
from heads.fitting.seeds import seeded
from heads.fitting.stack import Committee, Head, Shape, initial
from heads.fitting.tails import outline
from heads.options import HeadsConfig
from heads.run import run as run_heads
from tests.conftest import picture

pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # of the library's imputer

HOW = Preprocess(64, 64, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SMALL = {
    "backbone": "resnet18", "weights": "random", "size": 64, "device": "cpu", "workers": 0, "compute": "fp32",
    "features": "layer1:avgstd layer2:avgstd", "inputs": "all", "seeds": 1,
    "grid": '[{"family": "ridge", "penalty": 1.0}]',
}  # fmt: skip
FEATURES = {
    "tf_efficientnet_lite0": ("blocks.1:avgstd", "blocks.5:avg"),
    "wide_resnet50_2": ("layer3:map",),
    "resnet18": ("layer2:avgstd", "layer3:avg"),
    "cvt_13": ("stages.0:avgstd", "stages.1:map", "stages.2:avgstd"),
}
BOTH = ["real", "fake"]


def pixels(count: int, side: int = 64) -> torch.Tensor:
    images = [np.asarray(picture(seed, fake=seed % 2 == 1, side=side)) for seed in range(count)]
    return torch.from_numpy(np.stack(images))


def spec_of(backbone: Backbone, feature: str, **more) -> FeatureSpec:
    tap, pooling = feature.split(":")
    known = {"preprocess": HOW, "compute": "bf16", "stored": "float16"}
    return FeatureSpec(backbone.name, backbone.weights.identity, tap, pooling, **known | more)


class Everything(Committee):
    """Says what it reads."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


def pooled_detector(
    backbone: Backbone, specs: list[FeatureSpec], weight: torch.Tensor | None = None
) -> FeatureDetector:
    """Two members with weights of chance, or one whose weights (D,) are given."""
    with torch.no_grad():
        columns = FeatureDetector([backbone], Everything(0), specs)(
            torch.zeros(1, specs[0].preprocess.crop, specs[0].preprocess.crop, 3)
        ).shape[1]
    shape, members = Shape(columns), 2 if weight is None else 1
    head = Head(shape, members)
    tensors = (
        initial(shape, list(range(members))) if weight is None else {"weight": weight[None], "bias": torch.zeros(1)}
    )
    head.load_state_dict({f"stack.{name}": tensor for name, tensor in tensors.items()}, strict=False)
    return FeatureDetector([backbone], head, specs).eval()


def tiny(name: str = "tiny") -> Backbone:
    """A network whose one channel is the brightness of 4x4 pixels."""
    network = nn.Sequential(OrderedDict(look=nn.Conv2d(3, 1, 4, stride=4), end=nn.Flatten()))
    nn.init.constant_(network.look.weight, 1 / 48)
    nn.init.constant_(network.look.bias, 1.0)
    return Backbone(name, network.eval().requires_grad_(False), Weights("none", "drawn", None))


def corner(count: int = 3) -> torch.Tensor:
    """Black but for a bright square whose lower right corner is the image's."""
    images = torch.zeros(count, 64, 64, 3, dtype=torch.uint8)
    images[:, 48:, 48:] = 220
    return images


def share_in_corner(maps: np.ndarray) -> np.ndarray:
    return maps[:, 44:, 44:].sum(axis=(1, 2)) / maps.sum(axis=(1, 2))


def looks_right(maps: np.ndarray, count: int, side: int = 64) -> None:
    assert maps.shape == (count, side, side)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert (np.ptp(maps, axis=(1, 2)) > 0.5).all()


@pytest.mark.parametrize("name", FEATURES)
def test_every_backbone_with_a_cached_head(name):
    backbone = build(name, weights="random")
    specs = [spec_of(backbone, each, **layout(name)) for each in FEATURES[name]]
    detector = pooled_detector(backbone, specs)
    found = heat_maps(detector, pixels(3), ["fake", "real", "fake"])
    looks_right(found, 3)
    assert [layer.split("tapped.")[1] for layer in Explained(detector).layers] == [spec.tap for spec in specs]
    other = heat_maps(detector, pixels(3), ["real", "fake", "real"])
    assert all(np.corrcoef(one.ravel(), two.ravel())[0, 1] < 0.9 for one, two in zip(found, other, strict=True))
    assert detector.trunks[0].compute == "bf16"  # the detector itself is left as it was
    assert {spec.stored for spec in detector.trunks[0].inputs} == {"float16"}


@pytest.mark.parametrize(("network", "layer"), [
    ("cnn-fc6", "blocks"), ("cnn-dropout", "blocks"), ("resnet18", "layer4"), ("vgg19", "features"),
])  # fmt: skip
def test_networks_from_scratch(network, layer):
    with seeded("cpu", 1):
        record = NetworkRecord(network, True, preprocess_for(96), outputs=2, dropout=0.5, compute="bf16")
        detector = network_detector(record).eval()
    explained = Explained(detector)
    assert list(explained.layers) == [f"network.body.{layer}"]
    found = np.stack([explained.maps(pixels(2, 96), [target] * 2) for target in BOTH])
    assert np.isfinite(found).all()
    assert (found.max(axis=(0, 2, 3)) > 0.5).all()  # with weights of chance an image may speak for one class alone
    assert not np.allclose(*found)


@pytest.mark.parametrize(("name", "side", "layer"), [
    ("cvt_13", 64, "stages.2.inner.layers.9.layernorm_before"), ("vit_tiny_patch16_224", 224, "blocks.11.norm1"),
])  # fmt: skip
def test_a_class_token_is_explained_before_the_last_attention(name, side, layer):
    with seeded("cpu", 1):
        network = build(name, weights="random").module
        how = replace(HOW, resize=side, crop=side)
        detector = NetworkDetector(network, how, outputs=1, dropout=0.0, compute="fp32").eval()
    explained = Explained(detector)
    assert list(explained.layers) == [f"network.body.{layer}"]
    looks_right(explained.maps(pixels(2, side), BOTH), 2, side)


def test_class_tokens_of_blocks_are_explained_before_their_attention():
    backbone = build("vit_tiny_patch16_224", weights="random", size=64)
    specs = [spec_of(backbone, each, prefix_tokens=1) for each in ("blocks.2:cls", "blocks.4:avg", "blocks.6:cls")]
    detector = pooled_detector(backbone, specs)
    layers = [layer.split("tapped.")[1] for layer in Explained(detector).layers]
    assert sorted(layers) == ["blocks.2.norm1", "blocks.4", "blocks.6.norm1"]
    looks_right(heat_maps(detector, pixels(2), BOTH), 2)


def test_maps_with_channels_last_are_turned():
    class Last(nn.Module):
        output_fmt = "NHWC"

        def __init__(self) -> None:
            super().__init__()
            self.look, self.turned = nn.Conv2d(3, 5, 4, stride=4), nn.Identity()

        def forward(self, x):
            return self.turned(self.look(x).permute(0, 2, 3, 1).relu()).mean(dim=(1, 2))

    with seeded("cpu", 0):
        detector = NetworkDetector(Last(), HOW, outputs=1, dropout=0.0, compute="fp32").eval()
    explained = Explained(detector)
    assert list(explained.layers) == ["network.body.turned"]
    found = explained.maps(torch.cat([corner(1), corner(1)]), BOTH)
    assert {each[:40, :40].std() < 1e-6 for each in found} == {True}  # nothing happens there


def test_a_tail_head_is_explained_in_each_of_its_members():
    backbone = build("resnet18", weights="random")
    spec = spec_of(backbone, "layer2:map", preprocess=replace(HOW, resize=128, crop=128))
    with seeded("cpu", 1):
        head = outline(spec, Tail(lr=1e-3), (128, 16, 16), members=2)
        for each in head.networks:
            nn.init.normal_(each.linear.weight)
            nn.init.zeros_(each.linear.bias)
    explained = Explained(FeatureDetector([backbone], head, [spec]).eval())
    layers = dict(explained.layers)
    assert list(layers) == [f"head.networks.{n}.body.layer4" for n in range(2)]
    images = pixels(2, 128)
    called = [BOTH[int(logit > 0)] for logit in explained(explained.prepared(images))[:, 1]]
    found = explained.maps(images, called)  # a sum above 0 has a place above 0
    looks_right(found, 2, 128)
    alone = []
    for name, layer in layers.items():
        explained.layers = {name: layer}
        alone.append(explained.maps(images, called))
    for together, one, two in zip(found, *alone, strict=True):  # the library scales each, so the mean is not theirs
        assert np.corrcoef(together.ravel(), (one + two).ravel())[0, 1] > 0.99
    assert not np.allclose(*alone)


@pytest.mark.parametrize(("feature", "weight"), [("look:avg", [1.0]), ("look:avgstd", [0.0, 1.0])])
def test_the_map_lies_where_the_evidence_was_put(feature, weight):
    """One bright corner in the dark: it alone makes the mean, and the deviation."""
    backbone = tiny()
    detector = pooled_detector(backbone, [spec_of(backbone, feature)], torch.tensor(weight))
    assert (share_in_corner(heat_maps(detector, corner(), ["fake"] * 3)) > 0.95).all()
    small = pooled_detector(backbone, [spec_of(backbone, feature)], 1e-8 * torch.tensor(weight))
    assert (share_in_corner(heat_maps(small, corner(), ["fake"] * 3)) > 0.95).all()  # float16 would swallow it
    against = heat_maps(detector, corner(), ["real"] * 3)
    assert (against[:, 50:, 50:] == 0).all()  # what speaks for fake does not speak for real


def test_every_image_has_the_map_of_its_own_target():
    """Also behind the first few, which are held at once."""
    backbone = tiny()
    explained = Explained(pooled_detector(backbone, [spec_of(backbone, "look:avg")], torch.tensor([1.0])))
    count = BATCH + 3
    targets = ["fake"] * BATCH + ["real", "fake", "real"]
    images = corner(count)
    images[BATCH + 1, 48:, 48:] //= 2
    found = explained.maps(images, targets)
    assert [bool(each[50:, 50:].any()) for each in found] == [target == "fake" for target in targets]
    for number in (0, BATCH, BATCH + 1):
        alone = explained.maps(images[number : number + 1], targets[number : number + 1])
        np.testing.assert_allclose(found[number], alone[0], atol=1e-6)


def test_grad_cam_cannot_see_a_deviation():
    """The gradient of a deviation has the mean 0 and leaves nothing of its channel: why `auto` is not Grad-CAM."""
    backbone = tiny()
    explained = Explained(pooled_detector(backbone, [spec_of(backbone, "look:avgstd")], torch.tensor([0.0, 1.0])))
    seen = []

    def watch(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        output.register_hook(seen.append)

    explained.detector.trunks[0].tapped.look.register_forward_hook(watch)
    explained.maps(corner(1), ["fake"])
    assert abs(float(seen[0].mean())) < 1e-6 * float(seen[0].abs().max())
    blind, sees = (explained.maps(corner(), ["fake"] * 3, method=method) for method in ("gradcam", "hirescam"))
    assert (share_in_corner(sees) > 0.95).all()
    assert (blind == 0).all()


def test_nothing_to_see_is_a_map_of_zeros():
    backbone = tiny()
    detector = pooled_detector(backbone, [spec_of(backbone, "look:avgstd")], torch.zeros(2))
    for method in METHODS:
        assert (heat_maps(detector, corner(), ["fake", "real", "fake"], method=method) == 0).all()
    assert heat_maps(detector, corner(0), []).shape == (0, 64, 64)
    broken = pooled_detector(backbone, [spec_of(backbone, "look:avgstd")], torch.full((2,), torch.inf))
    assert (heat_maps(broken, corner(), ["fake"] * 3) == 0).all()


def test_joined_backbones_with_different_preprocessings_are_refused():
    one, two = tiny("one"), tiny("two")
    specs = [spec_of(one, "look:avg"), spec_of(two, "look:avg", preprocess=replace(HOW, resize=32))]
    with pytest.raises(UserError, match="different preprocessings"):
        heat_maps(FeatureDetector([one, two], Head(Shape(2), 1), specs), corner(), ["fake"] * 3)
    same = FeatureDetector([one, two], Head(Shape(2), 1), [*specs[:1], spec_of(two, "look:avg")])
    same.head.stack.weight.data.fill_(1.0)
    assert (share_in_corner(heat_maps(same, corner(), ["fake"] * 3)) > 0.95).all()


def corner_case() -> tuple[Explained, torch.Tensor, np.ndarray]:
    backbone = tiny()
    explained = Explained(pooled_detector(backbone, [spec_of(backbone, "look:avg")], torch.tensor([5.0])))
    images = (corner(6).float() + torch.rand(6, 64, 64, 3, generator=torch.Generator().manual_seed(0)) * 20).byte()
    return explained, images, explained.maps(images, ["fake"] * 6)


def test_removal_tells_a_true_map_from_its_opposite():
    explained, images, maps = corner_case()
    right = faithfulness.road(explained, images, maps, ["fake"] * 6)
    assert right.gain.low > 0
    assert right.better == 1
    assert right.maps.value > 10 * abs(right.control.value)
    assert "do not read" not in right.sentence
    wrong = faithfulness.road(explained, images, 1 - maps, ["fake"] * 6)
    assert wrong.maps.value == pytest.approx(-right.maps.value, rel=0.2)
    assert "do not read" in wrong.sentence
    assert faithfulness.road(explained, images, maps, ["fake"] * 6) == right


def test_places_of_one_value_are_removed_share_by_share():
    """Three quarters of the map are zero: the library's own cut at 85 % of 1 - map would take all of them."""
    maps = np.zeros((1, 64, 64), np.float32)
    maps[0, :32, :32] = 1
    ranks = faithfulness._ranked(maps, np.random.default_rng(0))
    assert sorted((ranks[0] * 4096).round().astype(int).ravel()) == list(range(4096))
    assert ranks[0, :32, :32].min() > ranks[0, 32:].max()


def test_maps_of_the_same_weights_correlate_and_of_shuffled_ones_less(monkeypatch):
    backbone = build("resnet18", weights="random")
    explained = Explained(pooled_detector(backbone, [spec_of(backbone, "layer2:avgstd")]))
    images, targets = pixels(6), BOTH * 3
    maps = explained.maps(images, targets)
    head, everything = faithfulness.randomisation(explained, images, maps, targets)
    assert (head.shuffled, everything.shuffled, head.images) == ("head", "all", 6)
    assert max(head.mean, everything.mean) < 0.9
    assert -1 <= everything.low <= everything.mean <= everything.high <= 1
    assert head.between < 0.95
    monkeypatch.setattr(faithfulness, "shuffled", lambda explained, part, seed: explained)
    for each in faithfulness.randomisation(explained, images, maps, targets):
        assert each.low == pytest.approx(1)
        assert each.depends_little
        assert "hardly depend" in each.sentence
    nothing = faithfulness.randomisation(explained, images, np.zeros_like(maps), targets)
    assert [(each.images, each.mean) for each in nothing] == [(0, None)] * 2


def test_shuffling_keeps_the_numbers_and_the_original():
    backbone = build("resnet18", weights="random")
    explained = Explained(pooled_detector(backbone, [spec_of(backbone, "layer1:avg")]))
    before = {name: each.clone() for name, each in explained.named_parameters()}
    for part in ("head", "all"):
        after = dict(faithfulness.shuffled(explained, part, seed=0).named_parameters())
        moved = {name for name, each in before.items() if not torch.equal(each, after[name])}
        assert all(
            torch.equal(each.flatten().sort()[0], after[name].flatten().sort()[0]) for name, each in before.items()
        )
        assert any("stack.weight" in name for name in moved)
        assert any("conv1" in name for name in moved) == (part == "all")
    assert all(torch.equal(each, before[name]) for name, each in explained.named_parameters())


def test_seam_shares_by_hand():
    bands = np.zeros((4, 8, 8), bool)
    bands[:, :, :2] = True  # a quarter
    maps = np.zeros((4, 8, 8), np.float32)
    maps[0], maps[1, :, 0], maps[2, :, 5] = 1, 0.3, 0.7
    np.testing.assert_array_equal(seam_shares(maps, bands), [0.25, 1, 0, np.nan])
    found = on_seams(maps, bands)
    assert (found.images, found.zero, found.chance) == (3, 1, 0.25)
    assert found.share.value == pytest.approx(1.25 / 3)
    assert found.gain.value == pytest.approx(1.25 / 3 - 0.25)
    assert on_seams(maps[3:], bands[3:]) is None


def test_a_seam_elsewhere_and_what_is_said_of_seams():
    """Each map lies on its own band alone, or on the next one's alone."""
    bands, maps = np.zeros((3, 8, 8), bool), np.zeros((3, 8, 8), np.float32)
    for number in range(3):
        bands[number, :, 2 * number : 2 * number + 2] = True
        maps[number, :, 2 * number : 2 * number + 2] = 0.5
    own, others = on_seams(maps, bands), on_seams(np.roll(maps, 1, axis=0), bands)
    assert (own.share.value, own.elsewhere, own.chance) == (1, 0, 0.25)
    assert (others.share.value, others.elsewhere) == (0, 1)
    assert "which cover 25.0 % of the image: more than by chance. 0.0 % lies where another" in own.sentence
    assert "which cover 25.0 % of the image: less than by chance. 100.0 % lies" in others.sentence
    even = on_seams(np.ones_like(maps), bands)
    assert "no more than by chance" in even.sentence


def test_the_middle_of_an_image_is_a_quarter_of_it():
    assert drawing._centre(np.ones((2, 8, 8), np.float32), np.array(["a", "b"]))["value"] == 0.25
    assert drawing._centre(np.zeros((2, 8, 8), np.float32), np.array(["a", "b"])) is None


def test_images_that_belong_together_are_one_piece_of_evidence():
    values = np.random.default_rng(0).standard_normal(20)
    copies = np.repeat(values, 5)
    together, apart = (
        faithfulness.mean_interval(copies, np.repeat(np.arange(20), 5)),
        faithfulness.mean_interval(copies),
    )
    assert together.value == apart.value == pytest.approx(values.mean())
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


@pytest.mark.parametrize(("mean", "little"), [(0.49, False), (0.51, True), (None, False)])
def test_maps_that_shuffled_weights_hardly_change_are_not_trusted(mean, little):
    found = faithfulness.Sanity("all", 5, mean, mean, mean, 0.3)
    assert found.depends_little == little
    words = {True: "Failed: the maps hardly depend", False: "Passed"}[little] if mean else "no map is left to compare"
    assert words in found.sentence


def test_a_seam_goes_through_the_preprocess_of_its_image(tmp_path):
    file = tmp_path / "seams.json"
    file.write_text(json.dumps({"seams": {"fake/a.jpg": [68, 48, 188, 208]}}))
    whole = seam_bands(file, ["fake/a.jpg"], replace(HOW, resize=SIDE, crop=SIDE))[0]
    circumference = np.pi * (3 * 140 - np.sqrt((3 * 60 + 80) * (60 + 3 * 80)))  # of semi-axes 60 and 80 (Ramanujan)
    assert whole.sum() == pytest.approx(2 * HALF_WIDTH * circumference, rel=0.02)
    assert whole[128, 68]
    assert not whole[128, 128]
    half = seam_bands(file, ["fake/a.jpg"], replace(HOW, resize=SIDE // 2, crop=SIDE // 2))[0]
    assert (half == whole[::2, ::2]).mean() > 0.97
    cut = seam_bands(file, ["fake/a.jpg"], replace(HOW, resize=SIDE, crop=200))[0]
    np.testing.assert_array_equal(cut, whole[28:228, 28:228])


def test_selection_by_hand():
    scores = np.array([9.0, 8, 1.1, 0.8, -7, -6, -5, 6])
    fake = np.array([True, True, True, False, False, False, True, False])  # threshold 1: the last two are wrong
    assert select(scores, fake, 1.0, 6) == {"right": [0, 4], "wrong": [6, 7], "unsure": [2, 3]}
    assert select(scores, fake, 1.0, 1) == {"right": [], "wrong": [6], "unsure": []}
    everything = select(scores, fake, 1.0, 20)
    assert sorted(each for numbers in everything.values() for each in numbers) == list(range(8))
    few_wrong = select(scores[:6], fake[:6], 1.0, 4)
    assert few_wrong == {"right": [0, 4], "wrong": [], "unsure": [2, 3]}
    assert sum(map(len, select(scores, ~(scores >= 1), 1.0, 6).values())) == 6  # nothing is right
    at = select(np.array([1.0, 1.0, 9.0, -9.0]), np.array([True, False, True, False]), 1.0, 3)
    assert at["wrong"] == [1]  # a score at the threshold is called fake


def test_an_overlay_shows_the_image_where_there_is_no_map():
    image = np.asarray(picture(0, fake=False))
    heat = np.zeros((64, 64), np.float32)
    bare = overlay(image, heat)
    assert (np.ptp(bare, axis=2) == 0).all()
    heat[:8] = 1
    shown = overlay(image, heat)
    np.testing.assert_array_equal(shown[8:], bare[8:])
    assert shown[:8].mean() > bare[:8].mean()
    assert (np.ptp(shown[:8], axis=2) > 30).all()


@pytest.fixture
def sweep(faces):
    return run_heads(HeadsConfig.of(data=str(faces), **SMALL))


def test_a_run_folder_from_the_command(sweep, monkeypatch):
    config = GradcamConfig.of(num_samples=5, device="cpu")
    folder = run(config)
    assert runs.is_complete(folder)
    found = read_heat_maps(folder)
    assert (found.run, found.dataset, found.split, found.random_weights) == (sweep.name, "faces", "test", True)
    assert found.layers == ["layer1", "layer2"]
    assert 0 < found.centre.low <= found.centre.value <= found.centre.high < 1
    assert find_heat_maps(sweep, "test").folder == folder
    assert find_heat_maps(sweep, "val") is None
    table = pd.read_csv(sweep / "predictions-test.csv").set_index("path")
    manifest = Manifest.load(paths.manifest_file("faces")).rows.set_index("path")
    assert len(found.explained) == 5
    for each in found.explained:
        assert (each.score, each.label) == (table.score[each.path], table.label[each.path])
        assert each.digest == manifest.digest[each.path]
        assert each.target == each.called
        assert each.map_sum > 0
        assert np.isnan(each.seam_share)
        assert Image.open(folder / each.file).size == (128, 64)
    assert Image.open(folder / SHEET).width > 500
    assert found.seams is None
    assert len(found.findings) == 3
    assert {"config.json", "environment.json", "log.txt", "maps.csv"} <= {path.name for path in folder.iterdir()}
    monkeypatch.setattr(drawing, "Explained", None)  # whatever is made anew would fail
    assert run(config) == folder
    with pytest.raises(TypeError):
        run(config.but(target="fake"))


def test_the_threshold_of_the_run_decides_what_is_explained(sweep, monkeypatch):
    """Not logit 0: with a threshold at the highest score every image but that one is called real."""
    calibration = drawing.calibration_of(sweep)
    scores = pd.read_csv(sweep / "predictions-test.csv").score
    high = replace(calibration, thresholds={name: scores.max() for name in calibration.thresholds})
    monkeypatch.setattr(drawing, "calibration_of", lambda folder: high)
    shown = read_heat_maps(run(GradcamConfig.of(num_samples=MOST_HEAT_MAPS, device="cpu"))).explained
    assert len(shown) == len(scores)
    assert {each.target for each in shown if each.score < scores.max()} == {"real"}
    assert {each.target for each in shown if each.score == scores.max()} == {"fake"}


def test_what_cannot_be_drawn_is_told(faces, sweep):
    (sweep / "predictions-test.csv").unlink()
    with pytest.raises(UserError, match=r"predictions-test\.csv: it is gone"):
        run(GradcamConfig.of(device="cpu"))
    runs.finish(sweep, runs.result(sweep))
    with pytest.raises(UserError, match="no scores of the test split"):
        run(GradcamConfig.of(device="cpu"))
    for wrong in ({"target": "both"}, {"split": "all"}, {"method": "jet"}, {"num_samples": 0}):
        with pytest.raises(UserError):
            GradcamConfig.of(**wrong)
    other = run_heads(HeadsConfig.of(data=str(faces), **SMALL | {"grid": '[{"family": "lda"}]'}))
    with pytest.raises(UserError, match="a head of scikit-learn passes none"):
        run(GradcamConfig.of(run=str(other), device="cpu"))
