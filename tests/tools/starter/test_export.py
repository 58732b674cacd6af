"""The folder that the build writes: a Stable Diffusion pipeline in fp16 that the trainer loads."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load_file

from tests.tools.starter.small import make_small_autoencoder, make_small_denoiser
from tools.starter.export import make_pipeline, write_pipeline
from tools.starter.networks.text import make_text_encoder
from trainers.config.sections import Base
from trainers.models.load import load_model

SCALE = 0.4375


def test_the_trainer_loads_a_base_in_fp16_that_predicts_v_from_pure_noise(tokenizer: Any, tmp_path):
    torch.manual_seed(0)
    encoder = make_text_encoder(tokenizer)
    pipeline = make_pipeline(make_small_autoencoder(), encoder, tokenizer, make_small_denoiser(), SCALE)
    write_pipeline(tmp_path, pipeline)
    stored = load_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert all(torch.equal(tensor, pipeline.unet.state_dict()[name]) for name, tensor in stored.items())
    model = load_model(Base(model=str(tmp_path)), torch.float32, "cpu")
    assert (model.family.name, model.prediction, model.resolution, model.vae_factor) == ("sd1", "v_prediction", 128, 8)
    assert model.schedule.zero_terminal_snr
    assert model.vae.config.scaling_factor == SCALE
    assert model.tokenizers[0].get_vocab() == tokenizer.get_vocab()
    tokens = tokenizer("a fox", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = encoder.float()(tokens).last_hidden_state
        assert torch.allclose(model.encode(["a fox"]).context, expected, atol=1e-5)
