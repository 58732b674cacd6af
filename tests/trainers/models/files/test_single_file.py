"""Checkpoints in the original layout, written by an independent name map, loaded without a network."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.pairs import seldom_but
from tests.tiny import FAMILIES, tiny_single_file
from tests.trainers.models.ldm_names import single_file
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.files.source import starter_folder
from trainers.models.images import decode_latents, encode_images
from trainers.models.load import load_model, probe_prediction

pytestmark = pytest.mark.slow


def load(path, **settings):
    return load_model(Base(model=str(path), **settings), torch.float32, "cpu")


@pytest.mark.parametrize("family", seldom_but(("sd2-v", "sdxl"), FAMILIES))
def test_same_network_as_the_folder(family, tiny_trees, tiny_models, tmp_path):
    path = tiny_single_file(family, tmp_path / "my base.safetensors")
    model, folder = load(path), tiny_models[family]
    assert (model.family, model.prediction) == (folder.family, folder.prediction)
    assert (model.title, model.source) == ("my base", str(path))
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.resolution == {"sd1": 512, "sd2": 512, "sd2-v": 768, "sdxl": 1024}[family]
    assert model.stride == 16

    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    t, sizes = torch.tensor([20, 900]), [(64, 64), (80, 72)]
    outputs = []
    for each in (model, folder):
        text = each.encode(["a cat", "two dogs"], clip_skip=2)
        out = each.predict(latents, t, text, each.time_ids(sizes, [(0, 0)] * 2, sizes))
        pixels = decode_latents(each, latents)
        outputs.append((text.context, out, pixels, encode_images(each, pixels)[0]))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    for network in (model.denoiser, model.vae, *model.text_encoders):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("family", "storage"),
    seldom_but([("sd2", "int8")], [("sd2", "int8"), ("sd1", "nf4"), ("sdxl", "nf4"), ("sdxl", "int8")]),
)
def test_a_packed_base_is_read_tensor_by_tensor_with_the_same_numbers(
    family, storage, tiny_trees, tmp_path, monkeypatch
):
    path, settings = tiny_single_file(family, tmp_path / "b.safetensors"), {"storage": storage}
    base = Base(model=str(path), **settings)
    with monkeypatch.context() as patch:
        patch.setattr("trainers.models.load.unread_checkpoint", lambda *_given: None)
        whole = load_model(base, torch.bfloat16, "cpu")
    monkeypatch.setattr("diffusers.loaders.FromSingleFileMixin.from_single_file", None)
    model = load_model(base, torch.bfloat16, "cpu")
    networks = zip(*((each.denoiser, each.vae, *each.text_encoders) for each in (model, whole)), strict=True)
    for found, wanted in networks:
        ours, theirs = ({**each.state_dict(), **dict(each.named_buffers())} for each in (found, wanted))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
        assert all(tensor.dtype == theirs[name].dtype for name, tensor in ours.items())
        assert not found.training and not any(parameter.requires_grad for parameter in found.parameters())
    assert (model.resolution, model.prediction, model.sha256) == (whole.resolution, whole.prediction, whole.sha256)


@pytest.mark.parametrize("family", seldom_but(("sd2",), ("sd2", "sdxl")))
def test_bf16(family, tiny_trees, tmp_path):
    model = load_model(Base(model=str(tiny_single_file(family, tmp_path / "b.safetensors"))), torch.bfloat16, "cpu")
    assert {p.dtype for p in model.denoiser.parameters()} == {torch.bfloat16}
    assert {p.dtype for encoder in model.text_encoders for p in encoder.parameters()} == {torch.bfloat16}
    # The VAE comes straight from the file, not through bf16.
    stored = load_file(tmp_path / "b.safetensors")["first_stage_model.decoder.conv_in.weight"]
    assert torch.equal(model.vae.decoder.conv_in.weight, stored)


def test_early_names_of_the_text_encoder(tiny_trees, tiny_models, tmp_path):
    tensors = load_file(tiny_single_file("sd1", tmp_path / "b.safetensors"))
    old = {name.replace("transformer.text_model.", "transformer."): tensor for name, tensor in tensors.items()}
    assert old.keys() != tensors.keys()
    save_file(old, tmp_path / "old.safetensors", {"modelspec.prediction_type": "epsilon"})
    context = load(tmp_path / "old.safetensors").encode(["a cat"]).context
    assert torch.equal(context, tiny_models["sd1"].encode(["a cat"]).context)
    del old["cond_stage_model.transformer.encoder.layers.1.mlp.fc1.weight"]
    save_file(old, tmp_path / "older.safetensors")
    with pytest.raises(VelaturaError, match=r"lacks 1 tensors of the text encoder such as encoder.layers.1.mlp.fc1"):
        load(tmp_path / "older.safetensors")


MISSING = [
    ("model.diffusion_model.middle_block.0.in_layers.2.weight", "unet"),
    ("first_stage_model.decoder.norm_out.bias", "vae"),
    ("conditioner.embedders.0.transformer.text_model.final_layer_norm.bias", "text_encoder"),
    ("conditioner.embedders.1.model.transformer.resblocks.1.mlp.c_fc.bias", "text_encoder_2"),
]


@pytest.mark.parametrize(("drop", "part"), seldom_but((MISSING[3],), MISSING))
def test_missing_tensor(drop, part, tiny_trees, tmp_path):
    tensors = load_file(tiny_single_file("sdxl", tmp_path / "b.safetensors"))
    del tensors[drop]
    save_file(tensors, tmp_path / "b.safetensors")
    for storage in ("full", "int8"):
        with pytest.raises(VelaturaError, match=rf"b.safetensors lacks (1 )?tensors of the {part}\b[^_]"):
            load(tmp_path / "b.safetensors", storage=storage)


def test_weights_of_another_size(tmp_path):
    # Without the tiny trees, the file meets the configs of the real size.
    with pytest.raises(VelaturaError, match=r"cannot load b.safetensors"):
        load(tiny_single_file("sd1", tmp_path / "b.safetensors"))


def test_family_override_is_checked(tiny_trees, tmp_path):
    path = tiny_single_file("sd1", tmp_path / "b.safetensors")
    with pytest.raises(VelaturaError, match=r"base.family = sd2, but b.safetensors holds Stable Diffusion 1"):
        load(path, family="sd2")
    assert load(path, family="sd1").family.name == "sd1"
    with pytest.raises(VelaturaError, match=r"base.parts has no effect on Stable Diffusion 1, whose files hold all"):
        load(path, parts=("ae.safetensors",))


def test_marker_keys_and_override(tiny_trees, tmp_path):
    path = tiny_single_file("sdxl", tmp_path / "b.safetensors", metadata={})
    tensors = load_file(path) | {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    save_file(tensors, path)
    model = load(path)
    assert model.prediction == "v_prediction"
    assert model.schedule.zero_terminal_snr
    assert load(path, prediction="epsilon").prediction == "epsilon"
    assert not load(path, zero_terminal_snr="off").schedule.zero_terminal_snr


@pytest.fixture(scope="module")
def starter_file(tmp_path_factory):
    """The starter, a trained network, as a single file that says nothing about itself."""
    folder = starter_folder()
    parts = {part: load_file(next((folder / part).glob("*.safetensors"))) for part in ("unet", "vae", "text_encoder")}
    path = tmp_path_factory.mktemp("single") / "small.safetensors"
    save_file({name: t.contiguous() for name, t in single_file(parts, {0, 1}, layers=1).items()}, path)
    return path


def test_silent_file_is_probed(starter_file, starter, monkeypatch, tmp_path):
    (tmp_path / "sd1").symlink_to(starter_folder())
    monkeypatch.setattr("trainers.models.files.configs.CONFIGS", tmp_path)
    model = load(starter_file)
    assert model.prediction == "v_prediction"
    text = model.encode(["cat face"])
    assert torch.equal(text.context, starter.encode(["cat face"]).context)
    latents, t = torch.ones(1, 4, 16, 16), torch.tensor([500])
    assert torch.equal(model.predict(latents, t, text), starter.predict(latents, t, text))


class Noise(torch.nn.Module):
    """The same network saying the noise instead of v: ε = √ᾱ v + √(1 − ᾱ) x_t."""

    def __init__(self, unet, schedule):
        super().__init__()
        self.unet, self.schedule, self.dtype, self.config = unet, schedule, unet.dtype, unet.config

    def forward(self, latents, t, **text):
        (velocity,) = self.unet(latents, t, **text)
        abar = self.schedule.alphas_cumprod[t].float()[:, None, None, None]
        return (abar.sqrt() * velocity + (1 - abar).sqrt() * latents,)


def test_probe_on_a_trained_network(starter):
    assert probe_prediction(starter) == "v_prediction"
    assert probe_prediction(replace(starter, denoiser=Noise(starter.denoiser, starter.schedule))) == "epsilon"
