"""Stable Diffusion 3: its networks' real sizes, its text and prediction beside diffusers', and bases without T5."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_flow import tiny_flow, tiny_flow_folder
from trainers.composition.apply import apply_styles
from trainers.config.build import build_config
from trainers.config.limits import FLOW_SAMPLERS
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.programs.check import check_programs
from trainers.formats.read import read_style
from trainers.models.bases.recognise import describe, recognise_base, samplers_of, settings_of_base
from trainers.models.bases.suits import base_problems
from trainers.models.families import get_family
from trainers.models.files.folder import read_json
from trainers.models.full_size import build_on_meta
from trainers.models.load import load_model, training_size

SD3 = get_family("sd3")
TREES = {variant.configs: variant for variant in SD3.variants}
COUNTS = {
    ("sd3-medium", "transformer"): (2_028_328_000, 682),
    ("sd3.5-medium", "transformer"): (2_243_171_520, 908),
    ("sd3.5-large", "transformer"): (8_056_627_520, 1226),
    ("sd3.5-large", "vae"): (83_819_683, 244),
    ("sd3.5-large", "text_encoder"): (123_650_304, 197),
    ("sd3.5-large", "text_encoder_2"): (694_659_840, 517),
    ("sd3.5-large", "text_encoder_3"): (4_762_310_656, 219),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny base with T5, and one without."""
    root = tmp_path_factory.mktemp("sd3")
    return {t5: tiny_flow_folder("sd3", root / ("with" if t5 else "without"), t5=t5) for t5 in (True, False)}


@pytest.fixture(scope="module")
def models(folders):
    return {t5: load_model(Base(model=str(folder)), torch.float32, "cpu") for t5, folder in folders.items()}


@pytest.mark.parametrize(("tree", "part"), COUNTS)
def test_parameters_as_published(tree, part):
    parameters = list(build_on_meta(tree, part).parameters())
    assert (sum(p.numel() for p in parameters), len(parameters)) == COUNTS[tree, part]


@pytest.mark.parametrize("tree", TREES)
def test_the_variant_follows_from_the_config(tree):
    config = read_json(TREES[tree].tree / "transformer" / "config.json")
    assert SD3.variant("flow", config) is TREES[tree]
    assert SD3.owns_folder("", config)
    vae = read_json(TREES[tree].tree / "vae" / "config.json")
    assert SD3.sizes(config, vae) == (1024, 16)
    names = [p.name for p in TREES[tree].tree.iterdir() if p.is_dir()]
    assert set(names) == {*SD3.networks, *SD3.tokenizers, "scheduler"} - {"tokenizer_3"}


@pytest.mark.parametrize("t5", [True, False])
def test_text_and_prediction_are_those_of_diffusers(t5, models):
    model, pipeline = models[t5], tiny_flow("sd3", t5=t5)
    texts = ["a cat", "two grey dogs, and nothing else"]
    with torch.no_grad():
        for skip in (1, 2):
            found = model.encode(texts, clip_skip=skip)
            none = {"do_classifier_free_guidance": False, "clip_skip": None if skip == 1 else skip - 1}
            context, _, pooled, _ = pipeline.encode_prompt(texts, None, None, **none)
            assert torch.equal(found.context, context) and torch.equal(found.pooled, pooled)
        noisy, t = torch.randn(2, 16, 8, 12), torch.tensor([10.0, 900.0])
        predicted = pipeline.transformer(noisy, context, pooled, t, return_dict=False)[0]
        assert torch.equal(model.predict(noisy, t, found), predicted)
    assert model.prediction == "flow" and model.schedule.shift == 3 and (model.resolution, model.stride) == (64, 16)


def test_t5_may_be_missing(folders, models, tmp_path):
    assert len(models[True].notes) == 1 and "Licence" in models[True].notes[0] and len(models[True].text_encoders) == 3
    note, _licence = models[False].notes
    assert "without T5" in note and len(models[False].tokenizers) == 2
    assert torch.equal(models[False].encode([""]).context[:, 77:], torch.zeros(1, 256, 80))
    for part in ("text_encoder_3/model.safetensors", "tokenizer_3"):  # half of it is no T5, or a damaged folder
        folder = shutil.copytree(folders[True], tmp_path / part.replace("/", "-"))
        (folder / part).unlink() if part.endswith(".safetensors") else shutil.rmtree(folder / part)
        if part == "tokenizer_3":
            with pytest.raises(VelaturaError, match="has no tokenizer_3 folder; copy or download it again"):
                load_model(Base(model=str(folder)), torch.float32, "cpu")
        else:
            assert len(load_model(Base(model=str(folder)), torch.float32, "cpu").text_encoders) == 2


def test_its_settings_lie_over_the_presets(folders):
    model = str(folders[False])
    known = recognise_base(model)
    assert (known.family, known.prediction) == ("sd3", "flow")
    assert describe(known) == "Stable Diffusion 3.5 medium, by its contents"
    for name, title in (("3.5-medium", "3.5 medium"), ("3.5-large-turbo", "3.5 large"), ("3-medium", "3 medium")):
        unseen = recognise_base(f"stabilityai/stable-diffusion-{name}")
        assert unseen.family == "sd3" and describe(unseen).startswith(f"Stable Diffusion {title}, by its file's name")
    assert unseen.distilled == "" and samplers_of(model) == FLOW_SAMPLERS
    turbo = settings_of_base("stabilityai/stable-diffusion-3.5-large-turbo")["sample"]
    assert (turbo["steps"], turbo["guidance"], turbo["sampler"]) == (4, 1.0, "euler")
    assert settings_of_base(model)["loss"]["timesteps"] == "logit-normal 0 1 shifted auto"
    assert training_size(model) == (64, 16)
    config = build_config(_named(model), settings_of_base(model))
    assert base_problems(config) == {}


@pytest.mark.parametrize(
    ("settings", "key", "said"),
    [
        ({"loss": {"weighting": "min-snr"}}, "loss.weighting", "min-snr|noise levels"),
        ({"loss": {"noise_offset": 0.1}}, "loss.noise_offset", "pure noise already"),
        ({"train": {"early_stop": "act"}}, "train.early_stop", "nobody has checked .* leave it at off or advise"),
        ({"sample": {"sampler": "ddim"}}, "sample.sampler", "flow-matching base; use euler"),
        ({"targets": {"unet": "b-lora"}}, "targets.unet", "two blocks are SDXL's"),
        ({"targets": {"unet": "cross-kv"}}, "targets.unet", "attention is joint"),
        ({"method": {"name": "vpt"}}, "method.name", "vpt does not apply to .* attention is joint"),
        ({"tokens": {"word": "<dusk>"}}, "tokens.word", "words can be added to CLIP alone"),
        ({"base": {"prediction": "epsilon"}}, "base.prediction", "neither epsilon nor v"),
    ],
)
def test_what_does_not_apply_is_refused(settings, key, said, folders):
    model = str(folders[False])
    config = build_config(_named(model), settings_of_base(model), settings)
    problems = base_problems(config)
    assert list(problems) == [key]
    assert re.search(said, problems[key])


def _named(model):
    return {"name": "dusk", "base": {"model": model}, "data": {"images": "x"}}


@pytest.mark.parametrize("tree", TREES)
def test_a1111_reads_styles_of_the_first_version_alone(tree):
    network = build_on_meta(tree, "transformer")
    paths = [name for name, _ in network.named_modules() if name.endswith(("to_q", "to_out.0"))]
    shapes = {}
    for layer in SD3.original_layers(dict(network.config), paths):
        out, width = network.get_submodule(layer.paths[0]).weight.shape
        stem = f"lora_unet_{layer.name.replace('.', '_')}"
        shapes |= {f"{stem}.lora_down.weight": (4, width), f"{stem}.lora_up.weight": (out * len(layer.paths), 4)}
    programs = [found.program.name for found in check_programs(shapes, "sd3") if found.whole]
    assert programs == (["A1111", "Forge", "ComfyUI"] if tree == "sd3-medium" else ["Forge", "ComfyUI"])


def test_wrong_bases_and_styles(folders, models, tiny_bases, tmp_path):
    def load(folder, **settings):
        return load_model(Base(model=str(folder), **settings), torch.float32, "cpu")

    with pytest.raises(VelaturaError, match=r"base.family = sd3, but sd1 holds Stable Diffusion 1 \(sd1\)"):
        load(tiny_bases["sd1"], family="sd3")
    with pytest.raises(VelaturaError, match=r"base.family = flux, but without holds Stable Diffusion 3 / 3.5 \(sd3\)"):
        load(folders[False], family="flux")
    folder = shutil.copytree(folders[False], tmp_path / "own")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor for name, tensor in tensors.items() if ".2.ff.net.0" not in name}, weights)
    with pytest.raises(
        VelaturaError, match=r"transformer of own lacks 2 tensors such as transformer_blocks.2.ff.net.0"
    ):
        load(folder)
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(VelaturaError, match=r"transformer of own: .* is truncated or damaged"):
        load(folder)
    shutil.rmtree(folder / "text_encoder_2")
    save_file(tensors, weights)
    with pytest.raises(VelaturaError, match="own has no text_encoder_2"):
        load(folder)
    style = {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": torch.ones(2, 768)}
    style["lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight"] = torch.ones(1280, 2)
    save_file(style, tmp_path / "dusk.safetensors")
    model = models[False]
    with pytest.raises(
        VelaturaError, match=r"dusk.safetensors was made for Stable Diffusion 1, and this base is Stable"
    ):
        apply_styles(model.parts, "sd3", [(read_style(tmp_path / "dusk.safetensors"), 1.0)])
