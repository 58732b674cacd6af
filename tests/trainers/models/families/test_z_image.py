"""Z-Image: its networks' real sizes, its text and prediction beside diffusers', and its names."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.tiny_flow import tiny_flow, tiny_flow_folder
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.tlora import TLoRA
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.families import get_family
from trainers.models.full_size import build_on_meta
from trainers.models.load import load_model, training_size
from trainers.models.model import Model
from trainers.sampling.sample import SamplingParams, draw

Z_IMAGE = get_family("z-image")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tiny_flow_folder("z-image", tmp_path_factory.mktemp("z-image") / "base")
    assert training_size(str(folder)) == (1024, 16)
    return load_model(Base(model=str(folder)), torch.float32, "cpu")


def test_parameters_as_published() -> None:
    network = build_on_meta("z-image", "transformer")
    assert sum(p.numel() for p in network.parameters()) == 6_154_908_736
    linears = [name for name, layer in network.named_modules() if isinstance(layer, torch.nn.Linear)]
    assert len(linears) == 276


def test_text_and_prediction_are_those_of_diffusers(model: Model) -> None:
    pipeline, texts = tiny_flow("z-image"), ["a cat", "two grey dogs, and nothing else"]
    found = model.encode(texts)
    assert found.mask is not None and found.context.shape == (2, 512, 32)
    theirs, _ = pipeline.encode_prompt(list(texts), device="cpu", do_classifier_free_guidance=False)
    for own, kept, other in zip(found.context, found.mask.bool(), theirs, strict=True):
        assert torch.equal(own[kept], other)
    noisy, t = torch.randn(2, 16, 8, 12), torch.tensor([10.0, 900.0])
    with torch.no_grad():
        out = pipeline.transformer(list(noisy.unsqueeze(2)), (1000 - t) / 1000, theirs, return_dict=False)[0]
        assert torch.allclose(model.predict(noisy, t, found), -torch.stack(out).squeeze(2), atol=1e-6)
    assert model.count_tokens("a cat") == int(found.mask[0].sum())


def test_pictures_are_those_of_diffusers(model: Model) -> None:
    pipeline, size = tiny_flow("z-image"), (64, 96)
    params = SamplingParams(prompts=("a cat",), negative="red", steps=3, guidance=4.0, size=size, sampler="euler")
    (ours,) = draw(model, params)
    noise = torch.randn((1, 16, 12, 8), generator=torch.Generator().manual_seed(1))
    # diffusers' scale counts from the caption's own prediction, so that it is one less
    settings = {"guidance_scale": 3.0, "num_inference_steps": 3, "width": size[0], "height": size[1]}
    theirs = pipeline(prompt="a cat", negative_prompt="red", latents=noise, output_type="pil", **settings).images[0]
    difference = torch.tensor(list(ours.getdata())).int() - torch.tensor(list(theirs.getdata())).int()
    assert difference.abs().max() <= 1


def test_t_lora_is_on_the_blocks_of_both_streams(model: Model) -> None:
    network = attach(model.parts, TLoRA(rank=2), Targets(transformer="attn"), seed=0)
    assert {site.path.split(".")[0] for site in network.sites} == {"layers", "noise_refiner", "context_refiner"}
    network.remove()


@pytest.mark.parametrize(
    ("preset", "count"), [("attn", 16), ("attn-mlp", 28), ("full", 28 + 3 + 4), ("image-stream", 7)]
)
def test_presets_of_layers(model: Model, preset: str, count: int) -> None:
    network = attach(model.parts, LoRA(rank=2), Targets(transformer=preset), seed=0)
    network.remove()
    assert len(network.sites) == count


def test_names_of_the_original_layout() -> None:
    paths = [f"layers.0.attention.{name}" for name in ("to_k", "to_v", "to_out.0")] + ["all_final_layer.2-1.linear"]
    config = {"dim": 32, "n_heads": 4, "n_kv_heads": 2}
    found = list(Z_IMAGE.original_layers(config, paths))
    assert [layer.name for layer in found] == ["layers.0.attention.qkv", "layers.0.attention.out", "final_layer.linear"]
    assert found[0].paths == tuple(f"layers.0.attention.to_{each}" for each in "qkv") and found[0].rows == (32, 16, 16)


def put_tokenizer_of_comfyui(tokenizer: Path, target: Path) -> None:
    """The same vocabulary as ComfyUI keeps it: in two files, with Qwen 2.5's template, which has a system prompt."""
    target.mkdir()
    model = json.loads((tokenizer / "tokenizer.json").read_text("utf-8"))["model"]
    (target / "vocab.json").write_text(json.dumps(model["vocab"]), "utf-8")
    (target / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    template = "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    settings = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    specials = ("<|endoftext|>", "<|im_end|>")  # those of the tiny base
    added = {str(model["vocab"][one]): {"content": one, "special": True, "normalized": False} for one in specials}
    config = {**settings, "chat_template": template, "added_tokens_decoder": added}
    (target / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_file_is_the_same_base_as_the_folder(
    prefix: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transformer by its authors' names, with VAE, text encoder and tokenizer beside it."""
    folder, state = Path(model.source), model.denoiser.state_dict()
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in state if "." in name))
    tensors = {name: state[name] for name in Z_IMAGE.loose_tensors}
    for layer in Z_IMAGE.original_layers(model.config, paths):
        for kind in ("weight", "bias"):
            if f"{layer.paths[0]}.{kind}" in state:
                tensors[f"{layer.name}.{kind}"] = torch.cat([state[f"{path}.{kind}"] for path in layer.paths])
    assert "layers.0.attention.qkv.weight" in tensors and "layers.0.attention.q_norm.weight" in tensors
    save_file({f"{prefix}{name}": tensor for name, tensor in tensors.items()}, tmp_path / "z.safetensors")
    shutil.copytree(
        folder, tmp_path / "trees" / "z-image", ignore=shutil.ignore_patterns("*.safetensors", "tokenizer*")
    )
    monkeypatch.setattr("trainers.models.files.configs.CONFIGS", tmp_path / "trees")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    load = partial(load_model, Base(model=str(tmp_path / "z.safetensors")), torch.float32, "cpu")
    with pytest.raises(VelaturaError, match=r"none that fits was found beside it.*ae.safetensors"):
        load()
    shutil.copy(folder / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "ae.safetensors")
    shutil.copy(folder / "text_encoder" / "model.safetensors", tmp_path / "qwen_3_4b.safetensors")
    with pytest.raises(VelaturaError, match=r"needs the tokenizer of qwen2.*comfy/text_encoders/qwen25_tokenizer"):
        load()
    if prefix:
        shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    else:
        put_tokenizer_of_comfyui(folder / "tokenizer", tmp_path / "qwen25_tokenizer")
    found = load()
    noisy, t = torch.randn(2, 16, 8, 8), torch.tensor([20.0, 900.0])
    with torch.no_grad():
        one, other = (each.predict(noisy, t, each.encode(["a cat", "two dogs"])) for each in (model, found))
    assert found.family is Z_IMAGE and torch.equal(one, other)
