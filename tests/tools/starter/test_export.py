"""The folder that the build writes: a Stable Diffusion pipeline in fp16 that diffusers and the trainer load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file

from tests.tools.starter.small import make_small_autoencoder, make_small_denoiser
from tools.starter.export import write_pipeline
from tools.starter.networks.denoiser import SCHEDULER
from tools.starter.networks.text import make_text_encoder
from trainers.config.sections import Base
from trainers.models.load import load_model

SCALE = 0.4375
FILES = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


@pytest.fixture(scope="module")
def weights() -> dict[str, dict[str, torch.Tensor]]:
    """Where `base` puts what its parts held."""
    return {}


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer: Any, weights) -> Path:
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    vae, encoder, unet = make_small_autoencoder(), make_text_encoder(tokenizer), make_small_denoiser()
    parts = {"unet": unet, "vae": vae, "text_encoder": encoder}
    weights |= {name: {key: t.clone() for key, t in part.state_dict().items()} for name, part in parts.items()}
    write_pipeline(folder, vae, encoder, tokenizer, unet, SCALE)
    return folder


@pytest.mark.parametrize("part", FILES)
def test_the_weights_are_stored_in_fp16(part, base, weights):
    stored = load_file(base / part / FILES[part])
    known = {name.removeprefix("text_model."): tensor for name, tensor in weights[part].items()}
    stored = {name.removeprefix("text_model."): tensor for name, tensor in stored.items()}
    assert set(stored) == {name for name in known if "position_ids" not in name}
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert all(torch.equal(tensor, known[name].half()) for name, tensor in stored.items())


def test_diffusers_loads_it_and_draws(base):
    pipeline = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32, local_files_only=True)
    assert isinstance(pipeline.scheduler, DDIMScheduler) and pipeline.safety_checker is None
    assert {key: pipeline.scheduler.config[key] for key in SCHEDULER} == SCHEDULER
    assert pipeline.vae.config.scaling_factor == SCALE
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a fox", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert picture.size == (128, 128)


def test_the_trainer_loads_it_as_a_base_that_predicts_v_from_pure_noise(base, tokenizer, weights):
    model = load_model(Base(model=str(base)), torch.float32, "cpu")
    assert (model.family.name, model.prediction, model.resolution, model.vae_factor) == ("sd1", "v_prediction", 128, 8)
    assert model.schedule.zero_terminal_snr
    assert model.vae.config.scaling_factor == SCALE
    assert model.tokenizers[0].get_vocab() == tokenizer.get_vocab()
    encoder = make_text_encoder(tokenizer)
    encoder.load_state_dict({name: tensor.half().float() for name, tensor in weights["text_encoder"].items()})
    tokens = tokenizer("a fox", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = encoder(tokens).last_hidden_state
        assert torch.allclose(model.encode(["a fox"]).context, expected, atol=1e-5)
