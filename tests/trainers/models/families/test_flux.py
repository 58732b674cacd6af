"""Flux.1 and what Chroma shares with it: packed latents, the formula of the loss, drawing, and styles."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests.tiny_flow import tiny_flow
from tests.trainers.models.families.conftest import PACKED
from tests.trainers.tiny_runs import quick_settings
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import attach
from trainers.adapters.roles import timesteps_of_call
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.config.build import build_config
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.read import read_style
from trainers.models.bases.detect import detect_family, family_of_file, family_of_folder
from trainers.models.bases.suits import check_base
from trainers.models.families import get_family
from trainers.models.families.flux import pack, places, unpack
from trainers.models.families.flux_names import original_layers
from trainers.models.files.configs import CONFIGS
from trainers.models.files.header import Header
from trainers.models.full_size import build_on_meta
from trainers.models.load import load_model, token_counter, training_size
from trainers.models.model import Model
from trainers.models.samplers import make_scheduler, spacing
from trainers.randomness import generator
from trainers.sampling.denoise import denoise
from trainers.training.check_fit import check_fit
from trainers.training.step.loss import timestep_weights
from trainers.training.train import train

TREES = {"flux-dev": (11_901_408_320, 504), "flux-schnell": (11_891_178_560, 502), "chroma": (8_899_983_424, 433)}
"""Numbers and linear layers of the published transformers."""
CAPTION = "a fox, blue"


def noisy_input(model: Model, count: int = 2, side: tuple[int, int] = (4, 6)) -> tuple[Tensor, Tensor, Any]:
    latents = torch.randn(count, 16, *side, generator=generator(1, "latents"))
    t = torch.linspace(150, 900, count)
    return latents, t, model.encode([CAPTION, "the moon over a long row of houses"][:count])


# ------------------------------------------------------------ the published sizes and names
@pytest.mark.parametrize("tree", TREES)
def test_full_size(tree: str) -> None:
    network = build_on_meta(tree, "transformer")
    linear = [name for name, layer in network.named_modules() if isinstance(layer, torch.nn.Linear)]
    assert (sum(p.numel() for p in network.parameters()), len(linear)) == TREES[tree]
    encoder = "text_encoder" if tree == "chroma" else "text_encoder_2"
    assert sum(p.numel() for p in build_on_meta(tree, encoder).parameters()) == 4_762_310_656
    assert sum(p.numel() for p in build_on_meta(tree, "vae").parameters()) == 83_819_683


@pytest.mark.parametrize("tree", ["flux-dev", "chroma"])
def test_names_of_the_authors_layout(tree: str) -> None:
    """Each parameter has one place there, and shapes as published; diffusers' own converter finds the same."""
    network = build_on_meta(tree, "transformer")
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in shapes))
    found = list(original_layers(dict(network.config), paths))
    assert Counter(path for layer in found for path in layer.paths) == Counter(paths)
    native = {}
    for layer in found:
        rows = layer.rows or (shapes[f"{layer.paths[0]}.weight"][0],)
        for kind in ("weight", "bias"):
            if f"{layer.paths[0]}.{kind}" in shapes:
                assert tuple(shapes[f"{path}.{kind}"][0] for path in layer.paths) == rows
                last = "scale" if "norm" in layer.name else kind
                native[f"{layer.name}.{last}"] = (sum(rows), *shapes[f"{layer.paths[0]}.{kind}"][1:])
    expected = {
        "double_blocks.18.img_attn.qkv.weight": (9216, 3072),
        "double_blocks.0.txt_attn.norm.key_norm.scale": (128,),
        "double_blocks.3.txt_mlp.2.weight": (3072, 12288),
        "single_blocks.37.linear1.weight": (21504, 3072),
        "single_blocks.37.linear1.bias": (21504,),
        "single_blocks.0.linear2.weight": (3072, 15360),
        "single_blocks.5.norm.query_norm.scale": (128,),
        "final_layer.linear.weight": (64, 3072),
        "img_in.weight": (3072, 64),
        "txt_in.weight": (3072, 4096),
    }
    own = {
        "flux-dev": {
            "double_blocks.0.img_mod.lin.weight": (18432, 3072),
            "single_blocks.0.modulation.lin.bias": (9216,),
            "final_layer.adaLN_modulation.1.weight": (6144, 3072),
            "vector_in.in_layer.weight": (3072, 768),
            "guidance_in.out_layer.weight": (3072, 3072),
            "time_in.in_layer.weight": (3072, 256),
        },
        "chroma": {
            "distilled_guidance_layer.layers.4.in_layer.weight": (5120, 5120),
            "distilled_guidance_layer.norms.0.scale": (5120,),
            "distilled_guidance_layer.out_proj.weight": (3072, 5120),
        },
    }
    expected |= own[tree]
    assert {name: native.get(name) for name in expected} == expected
    assert [layer.name for layer in found if layer.swapped] == (
        ["final_layer.adaLN_modulation.1"] if tree == "flux-dev" else []
    )
    converters = diffusers.loaders.single_file_utils
    kind = "flux" if tree == "flux-dev" else "chroma"
    theirs = getattr(converters, f"convert_{kind}_transformer_checkpoint_to_diffusers")(
        {name: torch.empty(shape, device="meta") for name, shape in native.items()}
    )
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == shapes


@pytest.mark.parametrize("tree", TREES)
def test_variants_and_files(tree: str) -> None:
    family = family_of_folder(CONFIGS / tree)
    config = json.loads((CONFIGS / tree / "transformer" / "config.json").read_text())
    variant = family.variant("flow", config)
    assert variant.configs == tree and variant.tree == CONFIGS / tree
    names = {"flux-dev": ("flux1", "flux-1-dev"), "flux-schnell": ("flux1", "flux-1-schnell")}
    assert (variant.base_model_version, variant.architecture) == names.get(tree, ("chroma", "chroma"))
    shapes = {name: tuple(tensor.shape) for name, tensor in build_on_meta(tree, "transformer").state_dict().items()}
    for header in (Header(shapes, {}), Header({f"model.diffusion_model.{key}": s for key, s in shapes.items()}, {})):
        assert family_of_file(header, "x").name == family.name
        assert family.variant_of_file(header) == variant
    assert training_size(str(CONFIGS / tree)) == (1024, 16)


def test_a_model_for_filling_is_refused(tmp_path: Path) -> None:
    shapes = {"single_blocks.0.modulation.lin.weight": (9216, 3072), "img_in.weight": (3072, 384)}
    with pytest.raises(VelaturaError, match=r"fill.safetensors is FLUX.1 Fill, which Velatura does not train"):
        family_of_file(Header(shapes, {}), "fill.safetensors")
    shapes["img_in.weight"] = (3072, 196)
    with pytest.raises(VelaturaError, match=r"fill.safetensors is not a text-to-image model.*196 numbers"):
        family_of_file(Header(shapes, {}), "fill.safetensors")
    packed = shapes | {"img_in.weight": (3072, 1), "img_in.weight.quant_state.bitsandbytes__nf4": (100,)}
    with pytest.raises(VelaturaError, match="packed by bitsandbytes"):
        family_of_file(Header(packed, {}), "nf4.safetensors")
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text('{"_class_name": "FluxTransformer2DModel"}')
    assert detect_family(tmp_path).name == "flux"
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxKontextPipeline"}')
    with pytest.raises(VelaturaError, match=r"is FLUX\.1 Kontext"):
        detect_family(tmp_path)


# ------------------------------------------------------------ latents, text, prediction
def test_packing_by_hand() -> None:
    latents = torch.arange(2 * 4 * 6).view(1, 2, 4, 6).float()
    tokens = pack(latents)
    assert tokens.shape == (1, 6, 8)
    # the second token of the second row: rows 2 and 3, columns 2 and 3, of both channels
    assert tokens[0, 4].tolist() == [14, 15, 20, 21, 38, 39, 44, 45]
    assert torch.equal(unpack(tokens, 4, 6), latents)
    assert places(2, 3, torch.device("cpu")).tolist() == [[0, r, c] for r in (0, 1) for c in (0, 1, 2)]


def test_guidance_is_an_input(packed_models: dict[str, Model]) -> None:
    model = packed_models["flux"]
    latents, t, text = noisy_input(model)
    in_training = model.predict(latents, t, text)
    assert model.family.guides_itself(model) and model.guidance == 1.0
    assert torch.equal(in_training, model.predict(latents, t, text, guidance=1.0))
    drawing = model.predict(latents, t, text, guidance=3.5)
    assert (drawing - in_training).abs().max() > 1e-4
    assert torch.equal(drawing, replace(model, guidance=3.5).predict(latents, t, text))


def test_methods_see_timesteps_of_a_thousand(packed_models: dict[str, Model]) -> None:
    seen = []
    for model in packed_models.values():
        hook = model.denoiser.register_forward_pre_hook(
            lambda denoiser, args, kwargs: seen.append(timesteps_of_call(denoiser, args, kwargs)), with_kwargs=True
        )
        latents, t, text = noisy_input(model)
        model.predict(latents, t, text)
        hook.remove()
        assert torch.allclose(seen[-1], t)


def test_captions(packed_models: dict[str, Model], packed_folders: dict[str, Path]) -> None:
    for name, model in packed_models.items():
        assert model.encode([CAPTION]).context.shape == (1, 512, 32)
        assert model.count_tokens("a fox") == token_counter(str(packed_folders[name]))("a fox") == 6
        assert model.family.token_limit(1) == 511
        long, cut = (model.encode(["a " * count]) for count in (600, 700))
        assert torch.equal(long.context, cut.context)


@pytest.mark.parametrize("family", PACKED)
def test_loss_is_that_of_diffusers_training_script(packed_models: dict[str, Model], family: str) -> None:
    """`train_dreambooth_lora_flux.py`: pack, σ as the time, unpack, ((v − (ε − x₀))²) without weights."""
    model = packed_models[family]
    latents, t, text = noisy_input(model)
    noise = torch.randn(latents.shape, generator=generator(2, "noise"))
    sigmas = (t / 1000).view(-1, 1, 1, 1)
    noisy = (1.0 - sigmas) * latents + sigmas * noise
    pipeline = diffusers.FluxPipeline
    own: dict[str, Any] = {"pooled_projections": text.pooled, "guidance": torch.ones(2)}
    if family == "chroma":
        image = torch.ones(2, 6, dtype=torch.bool)
        own = {"attention_mask": torch.cat([text.mask.bool(), image], 1)}
    found = model.denoiser(
        hidden_states=pipeline._pack_latents(noisy, 2, 16, 4, 6),
        timestep=t / 1000,
        encoder_hidden_states=text.context,
        txt_ids=torch.zeros(text.context.shape[1], 3),
        img_ids=pipeline._prepare_latent_image_ids(2, 2, 3, "cpu", torch.float32),
        return_dict=False,
        **own,
    )[0]
    found = pipeline._unpack_latents(found, height=32, width=48, vae_scale_factor=8)
    theirs = ((found - (noise - latents)) ** 2).mean()
    schedule = model.schedule
    error = (model.predict(schedule.add_noise(latents, noise, t), t, text) - schedule.target(latents, noise, t)) ** 2
    weights = timestep_weights(schedule, t, build_config({"name": "x"}).loss)
    assert torch.equal(weights, torch.ones(2))
    assert error.mean().item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("family", ["flux", "schnell", "chroma"])
def test_draws_what_diffusers_pipeline_draws(
    packed_models: dict[str, Model], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pipeline = packed_models[family.replace("schnell", "flux")], tiny_flow(family.replace("schnell", "flux"))
    scale, steps = {"flux": 3.5, "schnell": 1.0, "chroma": 4.0}[family], 3
    schedule = model.schedule
    if family == "schnell":  # no guidance, and a constant shift
        without = diffusers.FluxTransformer2DModel.from_config({**model.denoiser.config, "guidance_embeds": False})
        kept = {key: value for key, value in model.denoiser.state_dict().items() if "guidance" not in key}
        without.load_state_dict(kept)
        schedule = replace(schedule, shift=1.0, by_tokens=None)
        model = replace(model, denoiser=without.eval(), schedule=schedule)
        pipeline.register_modules(transformer=without, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0))
        assert not model.family.guides_itself(model)
    if family == "chroma":
        # Its mask has the states' dtype, which attention adds instead of masking (diffusers issue 12116).
        own = pipeline._prepare_attention_mask
        monkeypatch.setattr(pipeline, "_prepare_attention_mask", lambda **given: own(**given).bool())
    noise = torch.randn(1, 16, 4, 6, generator=generator(3, "noise"))
    guided = {"guidance_scale": scale, "negative_prompt": "red"} if family == "chroma" else {"guidance_scale": scale}
    theirs = pipeline(
        prompt=CAPTION, height=32, width=48, num_inference_steps=steps, latents=pack(noise), output_type="latent",
        **guided,
    ).images  # fmt: skip
    text = model.encode(["red", CAPTION] if family == "chroma" else [CAPTION])
    ours = denoise(
        model,
        make_scheduler(schedule, "euler", 32 * 48),
        spacing(schedule, "euler", steps),
        noise,
        lambda call: None if call else text,
        [generator(0)],
        scale,
        lambda _call: None,
    )
    assert (ours - unpack(theirs, 4, 6)).abs().max() < 1e-4 * theirs.abs().max()
    assert (ours - noise).abs().max() > 0.1


# ------------------------------------------------------------ styles
@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("family", PACKED)
def test_styles_name_their_base_and_licence(
    packed_folders: dict[str, Path], packed_models: dict[str, Model], images: Path, tmp_path: Path, family: str
) -> None:
    layer = {
        "method": {"name": "lora", "rank": 2},
        "targets": {"unet": "attn"},
        "train": {"steps": 1},
        "loss": {"timesteps": "logit-normal 0 1 shifted auto"},
        "sample": {"sampler": "euler", "guidance": 1.0},
    }
    style = train(quick_settings(packed_folders[family], images, layer), tmp_path).style
    names = {"flux": ("flux1", "FLUX.1 [dev] Non-Commercial License"), "chroma": ("chroma", "Apache-2.0")}
    with safe_open(style, "pt") as file:
        written = file.metadata()
    assert (written["ss_base_model_version"], written["modelspec.license"]) == names[family]
    assert written["modelspec.architecture"] == {"flux": "flux-1-dev/lora", "chroma": "chroma/lora"}[family]
    other = "chroma" if family == "flux" else "flux"
    with pytest.raises(VelaturaError, match=f"was made for {get_family(family).title}, and this base is"):
        apply_styles(packed_models[other].parts, other, [(read_style(style), 1.0)])


# ------------------------------------------------------------ what does not apply
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base": {"clip_skip": 2}}, "base.clip_skip does not apply to Flux.1: it always reads the same states"),
        ({"data": {"chunks": 2}}, "data.chunks does not apply to Flux.1: it reads 512 tokens"),
        ({"targets": {"text_encoder": "attn"}}, "targets.text_encoder does not apply to Flux.1: .* frozen"),
        ({"base": {"prediction": "epsilon"}}, "base.prediction does not apply"),
        ({"loss": {"weighting": "min-snr"}}, "loss.weighting does not apply"),
        ({"targets": {"unet": "b-lora"}}, "B-LoRA's two blocks are SDXL's"),
        ({"targets": {"unet": "cross-kv"}}, "targets.unet does not apply to Flux.1: its attention is joint"),
        ({"method": {"name": "vpt"}}, "method.name = vpt does not apply to Flux.1: .* attention is joint"),
        ({"tokens": {"word": "<dusk>"}}, "tokens.word does not apply"),
        ({"sample": {"sampler": "ddim"}}, "sample.sampler = ddim is not for Flux.1"),
    ],
)
def test_settings_that_do_not_apply(packed_folders: dict[str, Path], settings: dict[str, Any], said: str) -> None:
    base = {"model": str(packed_folders["flux"])} | settings.get("base", {})
    sample = {"sampler": "euler"} | settings.get("sample", {})
    config = build_config({"name": "x", **settings, "base": base, "sample": sample})
    with pytest.raises(VelaturaError, match=said):
        check_base(config)


def test_guidance_is_refused_where_nothing_reads_it(packed_folders: dict[str, Path], tiny_bases) -> None:
    def config(model: Path) -> Any:
        return build_config(
            {"name": "x", "base": {"model": str(model), "guidance": 3.5}, "sample": {"sampler": "euler"}}
        )

    check_base(config(packed_folders["flux"]))
    for model in (packed_folders["chroma"], tiny_bases["sd1"]):
        with pytest.raises(VelaturaError, match=r"base\.guidance does not apply"):
            check_base(config(model))
    reads = load_model(config(packed_folders["flux"]).base, torch.float32, "cpu")
    assert reads.guidance == 3.5
    unread = diffusers.FluxTransformer2DModel.from_config({**reads.denoiser.config, "guidance_embeds": False})
    schnell = replace(reads, denoiser=unread)
    network = attach(schnell.parts, LoRA(rank=1, alpha=1.0), Targets(), seed=1)
    with pytest.raises(VelaturaError, match=r"base.guidance has no effect: flux does not read a guidance scale"):
        check_fit(config(packed_folders["flux"]), schnell, network)


def test_missing_and_damaged_folders(packed_folders: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    def copied(name: str) -> Path:
        return Path(shutil.copytree(packed_folders["flux"], tmp_path / name))

    without = copied("without")
    shutil.rmtree(without / "text_encoder_2")
    with pytest.raises(VelaturaError, match="without has no text_encoder_2"):
        load_model(Base(model=str(without)), torch.float32, "cpu")
    untold = copied("untold")
    shutil.rmtree(untold / "tokenizer_2")
    with pytest.raises(VelaturaError, match="untold has no tokenizer_2 folder"):
        load_model(Base(model=str(untold)), torch.float32, "cpu")
    damaged = copied("damaged")
    weights = next((damaged / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(VelaturaError, match="truncated or damaged"):
        load_model(Base(model=str(damaged)), torch.float32, "cpu")
    with pytest.raises(VelaturaError, match=r"base.family = sd1, but flux holds Flux.1 \(flux\)"):
        load_model(Base(model=str(packed_folders["flux"]), family="sd1"), torch.float32, "cpu")


def test_distilled_schnell_is_warned_about() -> None:
    from trainers.models.bases.recognise import recognise_base, warning_of

    found = recognise_base("black-forest-labs/FLUX.1-schnell")
    assert (found.family, found.distilled) == ("flux", "Schnell")
    assert "distilled for few steps (Schnell" in warning_of(found)
    dev = recognise_base("black-forest-labs/FLUX.1-dev")
    assert (dev.family, warning_of(dev)) == ("flux", "")
    assert recognise_base("lodestones/Chroma1-HD").family == "chroma"
    assert get_family("chroma").title == "Chroma"
