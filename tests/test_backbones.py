"""Backbones: the registry, class tokens, sizes, cuts beside constants, and files as publishers write them."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from cache import paths
from cache.errors import UserError
from cache.pooling import pool, pool_in_graph
from extract.networks import overview
from extract.networks.backbones import build
from extract.networks.catalogue import default_features, entry, layout, preprocess
from extract.networks.entries import REGISTRY
from extract.networks.options import BackbonesConfig
from extract.networks.timm_models import outline
from extract.options import ExtractConfig
from extract.run import run, specs_of, tables
from heads.options import HeadsConfig
from tests.conftest import kept_faces
from tests.test_tail import refuse_difference

TIMM = [name for name, known in REGISTRY.items() if known.timm_name]
CHOSEN = {"tf_efficientnet_lite0", "tf_efficientnet_lite2"}  # whose input is not as timm has it, on purpose
PE = "vit_pe_core_tiny_patch16_384"
SMALL = {"device": "cpu", "workers": 0, "compute": "fp32", "weights": "random"}


@pytest.fixture
def few(tmp_path_factory, monkeypatch) -> Path:
    """Fewer faces than a batch."""
    return kept_faces(tmp_path_factory.getbasetemp() / "kept28", 28, monkeypatch)


def images(size: int) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", TIMM)
def test_an_entry_says_what_timm_says(name):
    known, module = REGISTRY[name], outline(REGISTRY[name].timm_name)
    cfg = timm.get_pretrained_cfg(known.timm_name)
    assert known.origin.hub_id == cfg.hf_hub_id
    assert (known.mean, known.std, known.licence) == (cfg.mean, cfg.std, cfg.license)
    assert (known.one_size, known.width) == (bool(cfg.fixed_input_size), module.num_features)
    assert known.prefix_tokens == getattr(module, "num_prefix_tokens", 0)
    assert known.has_class_token == (getattr(module, "cls_token", None) is not None)
    assert name in CHOSEN or known.interpolation == cfg.interpolation
    assert not known.one_size or module.patch_embed.patch_size == (known.patch, known.patch)
    assert {feature.rpartition(":")[0] for feature in known.features} <= dict(module.named_modules()).keys()


def test_the_table_names_every_backbone_and_what_is_at_hand(capsys):
    overview.run(BackbonesConfig())
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert REGISTRY.keys() <= lines.keys()
    assert "at hand" in lines["tf_efficientnet_lite2"]
    assert "cc-by-nc-4.0" in lines["metaclip2_h14"]
    assert "blocks.2:cls,avg" in lines["dinov3_vits16"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("clip", "clip_vit_b32 or clip_vit_b16 or clip_vit_l14"), ("dino", "dinov3_vits16"), ("dinov2", "dinov2_vits14"),
     ("openai/clip-vit-base-patch32", r"clip_vit_b32\?"), ("facebook/dinov2-small", r"dinov2_vits14\?"),
     ("ViT-L/14", r"clip_vit_l14\?"), ("siglip", r"siglip2_so400m\?")],
)  # fmt: skip
def test_what_people_type_is_told_its_name_here(typed, meant):
    with pytest.raises(UserError, match=f"did you mean {meant}"):
        entry(typed)


def test_the_second_pip_package_is_imagenet():
    backbone = build("tf_efficientnet_lite2")
    assert backbone.weights.source == "efficientnet-lite2-9656183e.pth"
    assert backbone.module.bn1.running_var.std() > 0.1


@pytest.mark.parametrize("pooled", [pool, pool_in_graph])
def test_cls_is_the_first_token(pooled):
    tokens = torch.randn(9, 5 + 16, 8)
    assert torch.equal(pooled(tokens, "cls", prefix_tokens=5, channels_last=False), tokens[:, 0])
    for shape, prefix in (((2, 16, 8), 0), ((2, 8, 4, 4), 1), ((2, 8), 1)):
        with pytest.raises(UserError, match="has no class token"):
            pooled(torch.zeros(shape), "cls", prefix_tokens=prefix, channels_last=False)


@pytest.mark.parametrize(
    ("backbone", "feature"),
    [
        ("resnet18", "layer1:cls"),
        ("siglip2_so400m", "blocks.0:cls"),
        ("vit_little_patch16_reg4_gap_256", "blocks.0:cls"),
    ],
)
def test_cls_of_a_network_without_class_token_is_refused(faces, backbone, feature):
    options = ExtractConfig.of(data=str(faces), backbone=backbone, features=feature, **{**SMALL, "weights": ""})
    with pytest.raises(UserError, match=f"{feature}: {backbone} has no class token; .*:avg keeps the mean"):
        run(options.but(weights=__file__))
    assert not paths.features_dir().exists()


def test_one_pass_keeps_class_token_mean_and_deviation(few):
    features = "blocks.1:cls blocks.1:avg blocks.1:avgstd blocks.3:map blocks.3:cls"
    config = ExtractConfig.of(data=str(few), backbone="vit_tiny_patch16_224", size=32, features=features, **SMALL)
    cls, avg, avgstd, kept, last = tables(config)
    maps = kept.X.reshape(-1, 5, 192)
    np.testing.assert_allclose(last.X, maps[:, 0], atol=1e-2)
    np.testing.assert_array_equal(avg.X, avgstd.X[:, :192])
    assert np.abs(cls.X - avg.X).max() > 0.1
    assert specs_of(run(config))[0].preprocess.crop == 32


@pytest.mark.parametrize(
    ("name", "size"),
    [(PE, 48), ("dinov3_vits16", 48), ("eva02_tiny_patch14_224", 42),
     ("vit_small_patch16_rope_mixed_224", 48), ("dinov2_vits14", 42), ("swin_tiny_patch4_window7_224", 64)],
)  # fmt: skip
def test_a_cut_beside_constants_is_exact_at_another_size(name, size):
    network = build(name, weights="random", size=size)
    tap = "layers.1" if "swin" in name else "blocks.3"
    trunk, tail = network.split(tap)
    with torch.inference_mode():
        assert torch.equal(tail(trunk(images(size))), network.module(images(size)))
    assert tail.state_dict().keys() == network.split(tap)[1].state_dict().keys()
    assert tap in network.taps


def test_dinov3_reads_its_class_token():
    network = build("dinov3_vits16", weights="random", size=32)
    with torch.inference_mode():
        tokens = network.module.forward_features(images(32))
        assert torch.equal(network.module(images(32)), tokens[:, 0])


@pytest.mark.parametrize(
    ("backbone", "features", "grid"),
    [(PE, "blocks.9:map", '[{"family": "tail", "lr": 0.001, "epochs": 1, "batch": 16}]'),
     ("dinov3_vits16", "blocks.3:cls blocks.7:avg", '[{"family": "ridge", "penalty": 10}]')],
)  # fmt: skip
def test_parity_of_cache_and_image_with_rotary_embeddings(backbone, features, grid, few):
    """A tail on tokens and a head on class tokens, of a size that is not the network's own."""
    refuse_difference(HeadsConfig.of(
        **SMALL, data=str(few), backbone=backbone, size=32, seeds=1, features=features, grid=grid
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [("clip_vit_l14", 100, r"patches of 14 pixels, and SIZE=100 is no multiple: SIZE=98 or SIZE=112"),
     ("dinov2_vits14", 10, r"no multiple: SIZE=14"), ("vit_tiny_patch16_224", 60, r"SIZE=48 or SIZE=64"),
     ("twins_pcpvt_small", 100, "twins_pcpvt_small takes 224-pixel images only, not SIZE=100")],
)  # fmt: skip
def test_a_size_that_cannot_be_is_refused(name, size, words):
    with pytest.raises(UserError, match=words):
        preprocess(name, size=size)


def test_sizes():
    assert preprocess("dinov2_vitb14").crop == 224
    assert preprocess("vit_base_patch14_dinov2").crop == 518
    assert preprocess("clip_vit_l14", size=336).resize == 336
    assert layout("dinov3_vitl16")["prefix_tokens"] == 5
    assert default_features("clip_vit_l14")[-2:] == ("blocks.23:cls", "blocks.23:avg")


def as_openai(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The image tower of CLIP under OpenAI's names, as in its ViT-B-32.pt."""
    return {f"visual.{name}": tensor for name, tensor in _as_tower(state).items()} | {"logit_scale": torch.ones(())}


def as_pe(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Perception Encoder's image tower under its authors' names."""
    swaps = {
        "attn_pool.latent": "attn_pool.probe", "attn_pool.norm": "attn_pool.layernorm",
        "attn_pool.proj": "attn_pool.attn.out_proj",
    }  # fmt: skip
    named = {}
    for name, tensor in _as_tower({name: each for name, each in state.items() if ".kv." not in name}).items():
        if name.startswith("attn_pool.q."):
            kind = name.rpartition(".")[2]
            name = f"attn_pool.attn.in_proj_{kind}"
            tensor = torch.cat([tensor, state[f"attn_pool.kv.{kind}"]])
        for ours, theirs in swaps.items():
            name = name.replace(ours, theirs)
        named[name] = tensor
    return named


def _as_tower(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    swaps = {
        "patch_embed.proj": "conv1", "norm_pre": "ln_pre", "blocks.": "transformer.resblocks.", ".norm1": ".ln_1",
        ".norm2": ".ln_2", "attn.qkv.": "attn.in_proj_", "attn.proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj", "gamma_1": "ls_1.gamma", "gamma_2": "ls_2.gamma",
    }  # fmt: skip
    named = {}
    for name, tensor in state.items():
        if name == "head.weight":
            named["proj"] = tensor.T.contiguous()
        elif name in ("cls_token", "pos_embed"):
            whole = "class_embedding" if name == "cls_token" else "positional_embedding"
            named[whole] = tensor.flatten() if name == "cls_token" else tensor[0]
        elif name != "head.bias":
            name = name.replace("norm.", "ln_post.", 1) if name.startswith("norm.") else name
            for ours, theirs in swaps.items():
                name = name.replace(ours, theirs)
            named[name] = tensor
    return named


def as_dinov2(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """DINOv2's own .pth: the mask token of its pretraining beside timm's names."""
    return {"mask_token": torch.zeros(1, state["cls_token"].shape[-1]), **state}


def as_dinov3(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """DINOv3's own .pth: registers are storage tokens, the biases of queries, keys and values are there and zero."""
    swaps = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    named = {"mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.ones(16)}
    for name, tensor in state.items():
        for ours, theirs in swaps.items():
            name = name.replace(ours, theirs)
        named[name] = tensor
        if name.endswith("attn.qkv.weight"):
            named[name.replace("weight", "bias")] = torch.zeros(len(tensor))
            named[name.replace("weight", "bias_mask")] = torch.ones(len(tensor))
    return named


@pytest.mark.parametrize(
    ("name", "published", "size"),
    [("vit_xsmall_patch16_clip_224", as_openai, 224), ("vit_xsmall_patch16_clip_224", as_openai, 64),
     (PE, as_pe, 384), (PE, as_pe, 64),
     ("dinov2_vits14", as_dinov2, 224), ("dinov3_vits16", as_dinov3, 64), ("dinov3_vits16", dict, 48)],
)  # fmt: skip
def test_publishers_files_load_at_any_size_as_timm_loads_them(name, published, size, tmp_path):
    timm_name = entry(name).timm_name
    torch.manual_seed(3)
    whole = timm.create_model(timm_name).state_dict()
    whole = {each: torch.zeros_like(t) if each == "head.bias" else t for each, t in whole.items()}
    torch.save(published(whole), tmp_path / "theirs.pth")
    found = build(name, weights=str(tmp_path / "theirs.pth"), size=size).module
    save_file(whole, tmp_path / "timm.safetensors")
    expected = build(name, weights=str(tmp_path / "timm.safetensors"), size=size).module
    with torch.inference_mode():
        assert torch.equal(found(images(size)), expected(images(size)))
    assert torch.equal(expected.blocks[2].mlp.fc1.weight, whole["blocks.2.mlp.fc1.weight"])
    if size == entry(name).crop != 224:
        assert torch.equal(expected.pos_embed, whole["pos_embed"])


def test_a_file_of_another_transformer_is_one_sentence(tmp_path):
    torch.save({"conv1.weight": torch.zeros(2), "attn_pool.attn.in_proj_weight": torch.zeros(())}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=rf"{PE} weights .*x\.pth: .* are not those of Eva"):
        build(PE, weights=str(tmp_path / "x.pth"))
