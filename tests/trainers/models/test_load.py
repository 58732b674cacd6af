"""Folders and the starter: loaded completely, described rightly, overridden where that makes sense."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import FAMILIES, tiny_single_file, tiny_weights
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.files.source import starter_folder
from trainers.models.load import hash_files, load_model, training_size

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def load(path: Path | str, **settings: object):
    return load_model(Base(model=str(path), **settings), torch.float32, "cpu")


@pytest.fixture
def own_sd1(tiny_bases: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bases["sd1"], tmp_path / "own")


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_starter(starter):
    assert (starter.family.name, starter.prediction, starter.starter) == ("sd1", "v_prediction", True)
    assert (starter.source, starter.title) == ("starter", "Velatura starter")
    assert (starter.resolution, starter.stride, starter.vae_factor) == (128, 32, 8)
    weights = starter_folder() / "unet" / "diffusion_pytorch_model.safetensors"
    assert starter.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert starter.schedule.zero_terminal_snr
    stored = load_file(starter_folder() / "text_encoder" / "model.safetensors")
    inside = starter.text_encoders[0].state_dict()
    assert stored.keys() == inside.keys()
    assert all(torch.equal(stored[key].float(), inside[key]) for key in stored)


EXPECTED = {
    "sd1": ("sd1", "epsilon", 1),
    "sd2": ("sd2", "epsilon", 1),
    "sd2-v": ("sd2", "v_prediction", 1),
    "sdxl": ("sdxl", "epsilon", 2),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_folder(family, tiny_models, tiny_bases):
    model = tiny_models[family]
    assert (model.family.name, model.prediction, len(model.text_encoders)) == EXPECTED[family]
    assert (model.resolution, model.stride, model.starter) == (64, 16, False)
    assert (model.source, model.title) == (str(tiny_bases[family]), family)
    assert len(model.tokenizers) == len(model.text_encoders)
    for network in (model.denoiser, model.vae, *model.text_encoders):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_training_size_without_loading(tiny_bases, tiny_models, tmp_path, own_sd1):
    assert training_size("starter") == (128, 32)
    for family, folder in tiny_bases.items():
        assert training_size(str(folder)) == (tiny_models[family].resolution, tiny_models[family].stride) == (64, 16)
    # Single files have the real sizes' configs: UNets with four levels, SDXL with three.
    sizes = {"sd1": (512, 64), "sd2": (512, 64), "sd2-v": (768, 64), "sdxl": (1024, 32)}
    for family, size in sizes.items():
        assert training_size(str(tiny_single_file(family, tmp_path / f"{family}.safetensors"))) == size
    shutil.rmtree(own_sd1 / "unet")
    with pytest.raises(VelaturaError, match="own has no UNet"):
        training_size(str(own_sd1))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_arrives(family, tiny_models):
    model, weights = tiny_models[family], tiny_weights(family)
    networks = {"unet": model.denoiser, "vae": model.vae, "text_encoder": model.text_encoders[0]}
    if family == "sdxl":
        networks["text_encoder_2"] = model.text_encoders[1]
    for part, network in networks.items():
        inside = dict(network.named_parameters())
        assert inside.keys() == weights[part].keys()
        assert all(torch.equal(inside[name], weights[part][name]) for name in inside)


def test_number_format_and_device(tiny_bases):
    model = load_model(Base(model=str(tiny_bases["sd1"])), torch.bfloat16, torch.device("cpu"))
    assert model.dtype == torch.bfloat16
    assert model.device == torch.device("cpu")
    assert {p.dtype for p in model.vae.parameters()} == {torch.float32}


def test_fp16_variant_alone(own_sd1, tiny_models):
    for file in own_sd1.rglob("*.safetensors"):
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    model = load(own_sd1)
    assert torch.equal(model.denoiser.conv_in.weight, tiny_models["sd1"].denoiser.conv_in.weight)
    assert model.sha256 == tiny_models["sd1"].sha256


def test_plain_weights_win_over_a_variant(own_sd1, tiny_models):
    plain = own_sd1 / "unet" / "diffusion_pytorch_model.safetensors"
    zeros = {name: torch.zeros_like(tensor) for name, tensor in load_file(plain).items()}
    save_file(zeros, plain.with_name("diffusion_pytorch_model.fp16.safetensors"), {"format": "pt"})
    model = load(own_sd1)
    assert torch.equal(model.denoiser.conv_in.weight, tiny_models["sd1"].denoiser.conv_in.weight)
    assert model.sha256 == tiny_models["sd1"].sha256


def test_sharded_weights(own_sd1, tiny_models):
    whole = own_sd1 / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    names = sorted(tensors)
    shards = {"diffusion_pytorch_model-00001-of-00002.safetensors": names[::2]}
    shards["diffusion_pytorch_model-00002-of-00002.safetensors"] = names[1::2]
    for shard, inside in shards.items():
        save_file({name: tensors[name] for name in inside}, whole.with_name(shard), {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: shard for shard, inside in shards.items() for name in inside}}
    whole.with_name("diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    whole.unlink()
    model = load(own_sd1)
    assert torch.equal(model.denoiser.conv_out.weight, tiny_models["sd1"].denoiser.conv_out.weight)
    assert model.sha256 == hash_files([whole.with_name(shard) for shard in shards])


def test_hash_is_of_the_bytes_in_order(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"x" * 5_000_000)
    b.write_bytes(b"y")
    assert hash_files([a, b]) == hashlib.sha256(b"x" * 5_000_000 + b"y").hexdigest()


def test_prediction_can_be_set(tiny_bases):
    model = load(tiny_bases["sd2"], prediction="v_prediction")
    assert model.prediction == model.schedule.prediction == "v_prediction"


def test_prediction_of_a_silent_folder_is_probed(tmp_path, starter):
    shutil.copytree(starter_folder(), tmp_path / "silent")
    scheduler = tmp_path / "silent" / "scheduler" / "scheduler_config.json"
    content = json.loads(scheduler.read_text())
    del content["prediction_type"]
    scheduler.write_text(json.dumps(content))
    silent = load(tmp_path / "silent")
    assert silent.prediction == "v_prediction" and "a test of it has found the velocity (v)" in silent.notes[0]


def test_zero_terminal_snr(own_sd1, tiny_bases):
    assert load(tiny_bases["sd2-v"], zero_terminal_snr="on").schedule.zero_terminal_snr
    scheduler = own_sd1 / "scheduler" / "scheduler_config.json"
    edit(scheduler, rescale_betas_zero_snr=True, prediction_type="v_prediction")
    assert load(own_sd1).schedule.zero_terminal_snr
    assert not load(own_sd1, zero_terminal_snr="off").schedule.zero_terminal_snr
    # A network that predicts the noise learns nothing from pure noise.
    edit(scheduler, prediction_type="epsilon")
    assert not load(own_sd1).schedule.zero_terminal_snr
    with pytest.raises(VelaturaError, match="zero_terminal_snr = on needs a base that predicts v"):
        load(own_sd1, zero_terminal_snr="on")


def test_family_can_be_set_where_the_weights_leave_a_choice(tiny_bases):
    assert load(tiny_bases["sd1"], family="sd2").family.name == "sd2"
    with pytest.raises(VelaturaError, match=r"base.family = sdxl, but sd1 holds Stable Diffusion 1 \(sd1\)"):
        load(tiny_bases["sd1"], family="sdxl")
    with pytest.raises(VelaturaError, match=r"base.family = sd1, but sdxl holds"):
        load(tiny_bases["sdxl"], family="sd1")


@pytest.mark.parametrize(
    ("part", "drop"),
    [("unet", "conv_in.bias"), ("text_encoder", "text_model.final_layer_norm.bias"), ("vae", "quant_conv.bias")],
)
def test_missing_tensor(part, drop, own_sd1):
    file = next((own_sd1 / part).glob("*.safetensors"))
    tensors = load_file(file)
    del tensors[drop]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(
        VelaturaError, match=rf"{part} of own lacks 1 tensors such as {drop.removeprefix('text_model.')}"
    ):
        load(own_sd1)


def test_weights_of_another_size(own_sd1):
    edit(own_sd1 / "text_encoder" / "config.json", hidden_size=32)
    with pytest.raises(VelaturaError, match="text_encoder of own"):
        load(own_sd1)
    edit(own_sd1 / "unet" / "config.json", cross_attention_dim=32)
    with pytest.raises(VelaturaError, match="cannot load unet of own"):
        load(own_sd1)


def test_cut_short_weights(own_sd1):
    file = own_sd1 / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(VelaturaError, match="cannot load vae of own"):
        load(own_sd1)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("unet", "own has no UNet"),
        ("vae", "own has no vae"),
        ("text_encoder", "own has no text_encoder"),
        ("tokenizer", "own has no tokenizer folder"),
        ("scheduler", "own has no scheduler/scheduler_config.json"),
    ],
)
def test_missing_part(gone, message, own_sd1):
    shutil.rmtree(own_sd1 / gone)
    with pytest.raises(VelaturaError, match=message):
        load(own_sd1)


def test_unet_folder_without_weights(own_sd1):
    (own_sd1 / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(VelaturaError, match=r"own has no UNet.*no weights were found in unet/"):
        load(own_sd1)


def test_pickled_folder_is_refused(own_sd1):
    file = own_sd1 / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(VelaturaError, match=r"own/unet/diffusion_pytorch_model.bin is a pickle.*convert it"):
        load(own_sd1)


@pytest.fixture
def loud():
    """The libraries' own reporting as a fresh process has it, put back afterwards."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_warning()
        library.enable_progress_bar()
    yield libraries
    for library, (verbosity, bars) in zip(libraries, before, strict=True):
        library.set_verbosity(verbosity)
        (library.enable_progress_bar if bars else library.disable_progress_bar)()


def test_loading_leaves_no_trace(tiny_bases, loud, capfd):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load(tiny_bases["sdxl"])
    assert [(each.get_verbosity(), each.is_progress_bar_enabled()) for each in loud] == [(30, True)] * 2
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.rand(1), expected)


def test_a_base_that_calls_itself_velocity_is_tested(tmp_path, starter):
    folder = tmp_path / "noobai vpred"
    shutil.copytree(starter_folder(), folder)
    edit(folder / "scheduler" / "scheduler_config.json", prediction_type="epsilon", rescale_betas_zero_snr=False)
    wrong = load(folder)
    assert wrong.prediction == wrong.schedule.prediction == "v_prediction"
    assert wrong.notes[0].startswith("The base's files say that it predicts the noise (epsilon), but a test of its")
    chosen = load(folder, prediction="epsilon")
    assert chosen.notes == () and chosen.prediction == "epsilon"


def test_a_distilled_base_says_so(tmp_path, tiny_bases):
    folder = tmp_path / "my turbo"
    shutil.copytree(tiny_bases["sd1"], folder)
    (note,) = load(folder).notes
    assert "distilled for few steps (Turbo, by its file's name)" in note


@pytest.mark.thorough
def test_the_libraries_are_imported_without_a_word_about_missing_packages():
    """As in a script, which has not made bitsandbytes load later."""
    script = "import sys, trainers.models.load as l; l.import_libraries(); print('bitsandbytes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{importlib.util.find_spec('bitsandbytes') is not None}\n" and "kernels" not in done.stderr
