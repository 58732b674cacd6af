"""Captions to embeddings, against diffusers' own pipelines and by hand."""

from __future__ import annotations

import pytest
import torch
import transformers

from tests.pipelines import make_pipeline
from tests.tiny import FAMILIES
from trainers.adapters.methods.ssf import SSF
from trainers.adapters.network import Network, attach
from trainers.adapters.targets import Targets
from trainers.errors import VelaturaError

CAPTIONS = ["a cat face", "", "grinning dog, blue hat, smiling"]
WIDTH = {"sd1": 24, "sd2": 40, "sd2-v": 40, "sdxl": 64}


def diffusers_text(model, captions, clip_skip):
    """Context and pooled embedding by the pipeline; it counts the layers that are skipped, we count from the end."""
    pipeline = make_pipeline(model)
    skipped = None if clip_skip == 1 else clip_skip - 1
    if model.family.name == "sdxl":
        out = pipeline.encode_prompt(captions, device="cpu", do_classifier_free_guidance=False, clip_skip=skipped)
        return out[0], out[2]
    return pipeline.encode_prompt(captions, "cpu", 1, False, clip_skip=skipped)[0], None


@pytest.mark.parametrize("clip_skip", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_as_diffusers(family, clip_skip, tiny_models, monkeypatch):
    # diffusers 0.42 looks for the norm under the name that transformers 5 took away.
    monkeypatch.setattr(transformers.CLIPTextModel, "text_model", property(lambda self: self), raising=False)
    model = tiny_models[family]
    ours = model.encode(CAPTIONS, clip_skip)
    context, pooled = diffusers_text(model, CAPTIONS, clip_skip)
    assert ours.context.shape == (3, 77, WIDTH[family])
    assert torch.allclose(ours.context, context, atol=1e-6)
    assert (ours.pooled is None) == (pooled is None) == (family != "sdxl")
    if pooled is not None:
        assert ours.pooled.shape == (3, 48)
        assert torch.allclose(ours.pooled, pooled, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_clip_skip_takes_another_layer(family, tiny_models):
    first, second = (tiny_models[family].encode(CAPTIONS, skip) for skip in (1, 2))
    assert (first.context - second.context).abs().mean() > 0.05
    if family == "sdxl":
        assert torch.equal(first.pooled, second.pooled)


def test_clip_skip_too_deep(tiny_models):
    with pytest.raises(VelaturaError, match=r"clip_skip = 4 does not fit sd1.*from 1 to 3"):
        tiny_models["sd1"].encode(CAPTIONS, 4)
    with pytest.raises(VelaturaError, match="clip_skip = 3"):
        tiny_models["sdxl"].encode(CAPTIONS, 3)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_long_captions_in_chunks(family, tiny_models):
    model = tiny_models[family]
    words = ["cat", "dog", "hat", "sun", "red"]
    tokenizer = model.tokenizers[0]
    assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in words)
    caption = [words[i % 5] for i in range(100)]
    long = model.encode([" ".join(caption), "cat"], chunks=2)
    assert long.context.shape == (2, 154, WIDTH[family])
    # Each chunk is encoded as a caption of its own; the short caption's second chunk is empty.
    parts = model.encode([" ".join(caption[:75]), " ".join(caption[75:]), "cat", ""])
    assert torch.allclose(long.context[0], torch.cat([parts.context[0], parts.context[1]]), atol=1e-5)
    assert torch.allclose(long.context[1], torch.cat([parts.context[2], parts.context[3]]), atol=1e-5)
    if family == "sdxl":
        assert torch.allclose(long.pooled, parts.pooled[[0, 2]], atol=1e-5)
    # With one chunk the rest is cut.
    assert torch.allclose(model.encode([" ".join(caption)]).context[0], parts.context[0], atol=1e-5)


def test_count_tokens(tiny_models):
    model = tiny_models["sdxl"]
    assert model.count_tokens("") == 0
    assert model.count_tokens("cat") == 1
    assert model.count_tokens("cat " * 200) == 200


def test_padding_differs_between_the_encoders(tiny_models):
    model = tiny_models["sdxl"]
    assert [tokenizer.pad_token_id for tokenizer in model.tokenizers] == [8191, 0]
    assert tiny_models["sd2"].tokenizers[0].pad_token_id == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_every_encoder(family, tiny_models):
    model = tiny_models[family]
    weights = [encoder.get_input_embeddings().weight for encoder in model.text_encoders]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        out = model.encode(["cat", "dog"], chunks=2)
        gradients = torch.autograd.grad(out.context.square().sum(), weights)
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    cat = model.tokenizers[0]("cat", add_special_tokens=False).input_ids[0]
    assert all(gradient[cat].abs().sum() > 0 for gradient in gradients)


def place_everywhere(model, clip_skip, **targets) -> Network:
    """SSF on every layer and norm of the text encoders, in a network of its own."""
    wanted = Targets(unet="none", text_encoder=("*",), **targets)
    encoders = {name: part for name, part in model.parts.items() if name != "unet"}
    return attach(encoders, SSF(), wanted, 0, model.family.unread_layers(model, clip_skip))


@pytest.mark.parametrize("clip_skip", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_called_unread_is_what_no_gradient_reaches(family, clip_skip, tiny_models):
    model = tiny_models[family]
    network = place_everywhere(model, clip_skip, unread_layers=True)
    try:
        text = model.encode(["cat", "a grinning dog"], clip_skip)
        (text.context.square().sum() + (0 if text.pooled is None else text.pooled.square().sum())).backward()
    finally:
        network.remove()
    without = {site.name for site in network.sites if all(p.grad is None for p in site.parameters())}
    after = (clip_skip - 1) + (family == "sdxl")
    layers = [f"text_encoder.encoder.layers.{n}" for n in range(3 - after, 3)]
    unread = model.family.unread_layers(model, clip_skip)
    assert unread == (*layers, *["text_encoder.final_layer_norm"] * (family == "sdxl"))
    assert bool(without) == bool(after)
    assert without == {site.name for site in network.sites if site.name.startswith(unread or "none")}

    learning = place_everywhere(model, clip_skip)
    learning.remove()
    assert {site.name for site in network.sites} - {site.name for site in learning.sites} == without


def test_a_pattern_for_unread_layers_alone_is_refused(tiny_models):
    model = tiny_models["sd1"]
    parts = {"text_encoder": model.parts["text_encoder"]}
    targets = Targets(unet="none", text_encoder=("*.layers.1.*", "*.layers.2.*"))
    with pytest.raises(VelaturaError, match=r"'\*\.layers\.2\.\*' selects layers such as .* and cannot learn"):
        attach(parts, SSF(), targets, 0, model.family.unread_layers(model, 2))


def test_time_ids(tiny_models):
    out = tiny_models["sdxl"].time_ids([(600, 800), (64, 65)], [(1, 2), (3, 4)], [(512, 704), (66, 67)])
    assert out.tolist() == [[600, 800, 1, 2, 512, 704], [64, 65, 3, 4, 66, 67]]
    assert tiny_models["sd1"].time_ids([(1, 1)], [(0, 0)], [(1, 1)]) is None


def test_time_ids_as_diffusers(tiny_models):
    pipeline = make_pipeline(tiny_models["sdxl"])
    theirs = pipeline._get_add_time_ids((600, 800), (1, 2), (512, 704), torch.float32, 48)
    assert torch.equal(tiny_models["sdxl"].time_ids([(600, 800)], [(1, 2)], [(512, 704)]), theirs)
