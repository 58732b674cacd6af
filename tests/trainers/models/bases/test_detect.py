"""What a base is, read off names, shapes, metadata and configs; and what is refused, with its reason."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.tiny import FAMILIES, tiny_single_file
from trainers.errors import VelaturaError
from trainers.models.bases.detect import (
    detect_family,
    family_of_file,
)
from trainers.models.files.header import Header, read_header
from trainers.models.files.source import starter_folder
from trainers.models.prediction import detect_prediction, prediction_of_config, prediction_of_output

UNET = "model.diffusion_model."
SD1 = {
    UNET + "input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.quant_conv.weight": (8, 8, 1, 1),
    "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,),
}


def family_of(shapes):
    return family_of_file(Header(shapes, {}), "some.safetensors").name


@pytest.mark.parametrize("family", FAMILIES)
def test_family_of_tiny_bases(family, tiny_bases, tmp_path):
    expected = family.removesuffix("-v")
    assert detect_family(tiny_bases[family]).name == expected
    assert detect_family(tiny_single_file(family, tmp_path / "b.safetensors")).name == expected


def test_family_of_the_starter():
    assert detect_family(starter_folder()).name == "sd1"


@pytest.mark.parametrize(
    ("unet", "family"),
    [
        ({"cross_attention_dim": 768}, "sd1"),
        ({"cross_attention_dim": 1024}, "sd2"),
        ({"cross_attention_dim": 768, "use_linear_projection": True}, "sd1"),
        ({"cross_attention_dim": 1024, "use_linear_projection": True}, "sd2"),
        ({"cross_attention_dim": 2048, "addition_embed_type": "text_time", "use_linear_projection": True}, "sdxl"),
        ({"cross_attention_dim": 192}, "sd1"),
        ({"cross_attention_dim": 192, "use_linear_projection": True}, "sd2"),
        ({"cross_attention_dim": [768, 1024], "use_linear_projection": False}, "sd1"),
    ],
)
def test_family_of_a_folder_by_its_unet(unet, family, tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"in_channels": 4, **unet}))
    assert detect_family(tmp_path).name == family


def test_family_by_text_encoder():
    body = {key: shape for key, shape in SD1.items() if not key.startswith("cond_stage")}
    assert family_of(SD1) == "sd1"
    assert family_of({**body, "cond_stage_model.transformer.final_layer_norm.weight": (768,)}) == "sd1"
    assert family_of({**body, "cond_stage_model.model.ln_final.weight": (1024,)}) == "sd2"
    both = {
        "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (768,),
        "conditioner.embedders.1.model.ln_final.weight": (1280,),
    }
    assert family_of({**body, **both}) == "sdxl"


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": (8, 64)}, "is a style"),
        ({"unet.mid_block.attentions.0.proj_in.lora_A.weight": (8, 64)}, "is a style"),
        ({"lora_unet_x.hada_w1_a": (8, 64)}, "is a style"),
        ({"lora_unet_x.lokr_w1": (8, 8)}, "is a style"),
        ({"emb_params": (4, 768)}, "is a style"),
        ({**SD1, "edm_mean": (1, 4, 1, 1)}, "is Playground 2.5, which Velatura does not train; the nearest"),
        ({**SD1, "conditioner.embedders.0.model.ln_final.weight": (1280,)}, "is Stable Diffusion XL Refiner"),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "is ControlNet, which does not make images"),
        ({**SD1, UNET + "input_blocks.0.0.weight": (320, 9, 3, 3)}, "inpainting or editing model .* 9 input channels"),
        ({"down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3)}, r"only part of a base \(a UNet\)"),
        ({"input_blocks.0.0.weight": (320, 4, 3, 3)}, r"only part of a base \(a UNet\)"),
        ({"first_stage_model.quant_conv.weight": (8, 8, 1, 1)}, "holds no Stable Diffusion checkpoint"),
        ({key: shape for key, shape in SD1.items() if "first_stage" not in key}, "has no VAE inside"),
        ({key: shape for key, shape in SD1.items() if "cond_stage" not in key}, "has no text encoder inside"),
        ({}, "holds no Stable Diffusion checkpoint"),
    ],
)
def test_refused_files(shapes, reason):
    with pytest.raises(VelaturaError, match=f"some.safetensors .*{reason}"):
        family_of(shapes)


def test_a_folder_of_an_unknown_kind_is_refused_by_its_class(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "BrandNewPipeline"}')
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text("{}")
    with pytest.raises(VelaturaError, match=r"holds BrandNewPipeline.*; supported bases are"):
        detect_family(tmp_path)


def test_inpainting_folder(tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text('{"in_channels": 9, "cross_attention_dim": 768}')
    with pytest.raises(VelaturaError, match="9 input channels instead of 4"):
        detect_family(tmp_path)


def test_a_unet_may_have_other_latents(tmp_path):
    (tmp_path / "unet").mkdir()
    config = {"in_channels": 8, "out_channels": 8, "cross_attention_dim": 192}
    (tmp_path / "unet" / "config.json").write_text(json.dumps(config))
    assert detect_family(tmp_path).name == "sd1"


def test_broken_config(tmp_path):
    (tmp_path / "unet").mkdir()
    with pytest.raises(VelaturaError, match=r"has no unet/config.json"):
        detect_family(tmp_path)
    for content in ("{", "[1]"):
        (tmp_path / "unet" / "config.json").write_text(content)
        with pytest.raises(VelaturaError, match=r"config\.json"):
            detect_family(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "keys", "expected"),
    [
        ({}, (), None),
        ({"modelspec.prediction_type": "v"}, (), "v_prediction"),
        ({"modelspec.prediction_type": "epsilon"}, ("v_pred",), "epsilon"),
        ({"modelspec.prediction_type": "?"}, ("v_pred",), "v_prediction"),
        ({}, ("v_pred", "ztsnr"), "v_prediction"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, (), "v_prediction"),
        ({"modelspec.architecture": "stable-diffusion-v2-512"}, (), "epsilon"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base"}, (), None),
    ],
)
def test_prediction_of_a_file(metadata, keys, expected):
    assert detect_prediction(Header(dict.fromkeys(keys, (0,)), metadata)) == expected


def test_prediction_of_a_scheduler_config():
    assert prediction_of_config({"prediction_type": "v_prediction"}) == "v_prediction"
    assert prediction_of_config({"prediction_type": "epsilon"}) == "epsilon"
    assert prediction_of_config({}) is None
    with pytest.raises(VelaturaError, match="'flow_prediction'; supported are"):
        prediction_of_config({"prediction_type": "flow_prediction"})


@given(mean=st.floats(-2, 2), spread=st.floats(0.05, 2), seed=st.integers(0, 1000))
@settings(max_examples=40)
def test_probe_on_the_best_possible_network(mean, spread, seed):
    """For data N(μ, s²) the best prediction at the last timestep is known in closed form, for ε and for v."""
    abar = 0.0046602  # ᾱ at t = 999 in Stable Diffusion
    a, sigma = math.sqrt(abar), math.sqrt(1 - abar)
    noisy = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    clean = mean + a * spread**2 / (a**2 * spread**2 + sigma**2) * (noisy - a * mean)
    # A real network guesses an image, not a constant; its guess has nothing to do with the noise.
    clean = clean + torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(seed + 10_000))
    noise = (noisy - a * clean) / sigma
    assert prediction_of_output(noisy, noise) == "epsilon"
    assert prediction_of_output(noisy, a * noise - sigma * clean) == "v_prediction"


def test_reading_stops_at_the_header(tmp_path):
    save_file({"a.lora_down.weight": torch.ones(2, 3)}, tmp_path / "a.safetensors", {"ss_x": "1"})
    header = read_header(tmp_path / "a.safetensors")
    assert header.shapes == {"a.lora_down.weight": (2, 3)}
    assert header.metadata == {"ss_x": "1"}


def safetensors_bytes(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def one_tensor(also: dict[str, Any] | None = None, **changed: Any) -> bytes:
    """A file of one number, with something changed in its header, or a second tensor there."""
    header = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changed}}
    return safetensors_bytes(json.dumps(header | ({"b": also} if also else {})).encode(), b"1234")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"just some text, and more of it than eight bytes", "is not a .safetensors file"),
        (b"PK\x03\x04" + b"\0" * 100, "is not a .safetensors file"),
        (b"\x02", "is not a .safetensors file"),
        (safetensors_bytes(b"not json at all"), "header is invalid"),
        (safetensors_bytes(b"[1, 2]"), "header is invalid"),
        (safetensors_bytes(b'{"a": 3}'), "header is invalid"),
        (safetensors_bytes(b'{"a": {"shape": "x", "data_offsets": [0, 4]}}'), "header is invalid"),
        (safetensors_bytes(b"\xff\xfe{}"), "header is invalid"),
        (safetensors_bytes(b"[" * 200_000), "header is invalid"),
        (safetensors_bytes(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', b"1234"), "is truncated"),
        (one_tensor(shape=[-1]), "a would be larger than the file"),
        (one_tensor(shape=[2**62, 2**62, 0]), "a would be larger than the file"),
        (one_tensor(shape=[10**15]), "a would be larger than the file"),
        (one_tensor(shape=[0.5, 2]), "header is invalid"),
        (one_tensor(shape=[True]), "header is invalid"),
        (one_tensor(data_offsets=[0, "4"]), "header is invalid"),
        (one_tensor(data_offsets=[-4, 0]), "is truncated"),
        (one_tensor(data_offsets=[-4, 4]), "bytes that do not fit its shape"),
        (one_tensor(data_offsets=[2, 4]), "bytes that do not fit its shape"),
        (one_tensor(dtype="F16"), "bytes that do not fit its shape"),
        (one_tensor(also={"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}), "gives b bytes that do not fit"),
        ((2**60).to_bytes(8, "little") + b"{}" * 50, "is not a .safetensors file"),
    ],
)
def test_damaged_files(content, reason, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(VelaturaError, match=f"x.safetensors.*{reason}"):
        read_header(path)


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_are_refused_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(VelaturaError) as caught:
        family_of_file(read_header(path), path.name)
    assert "\n" not in str(caught.value)
