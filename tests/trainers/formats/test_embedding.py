"""Embeddings in files: every tool's form there and back, on a base, and in diffusers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.pipelines import make_pipeline
from tests.trainers.formats.other_clients import own, parts_of
from trainers.adapters.network import Network
from trainers.adapters.tokens import Word
from trainers.composition.apply import apply_styles
from trainers.errors import VelaturaError
from trainers.formats.embedding import describe_embedding_loading, embedding_of, write_embedding
from trainers.formats.inspect import describe_style, summarise_header
from trainers.formats.origin import origin_of
from trainers.formats.read import read_outline, read_style
from trainers.models.model import Model
from trainers.sampling.sample import SamplingParams, draw

PROMPT = "a fox in <dusk> style, <dusk>"


def drawn(n: int, model: Model, seed: int = 1) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    tables = (encoder.get_input_embeddings().weight for encoder in model.text_encoders)
    return {
        name: torch.randn(n, table.shape[1], generator=draw)
        for name, table in zip(model.encoder_names, tables, strict=True)
    }


def fresh(model: Model) -> Model:
    """A copy that a client may teach words."""
    return replace(own(model), tokenizers=copy.deepcopy(model.tokenizers))


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("n", [1, 3])
def test_there_and_back_to_the_bit(family, n, bases, tmp_path):
    model, file = bases[family], tmp_path / "my-dusk.safetensors"
    word = Word("<dusk>", drawn(n, model))
    network = Network()
    network.add_word(word, model.words)
    live = model.encode([PROMPT])
    network.remove()
    bare = model.encode([PROMPT])
    write_embedding(file, word, {"velatura.word": "<dusk>", "velatura.family": family})
    assert set(load_file(file)) == ({"clip_l", "clip_g"} if family == "sdxl" else {"emb_params"})
    style = read_style(file)
    assert (style.words, style.layers, style.unknown_keys) == (("<dusk>",), {}, ())
    loaded = apply_styles(parts_of(model), family, [(style, 1.0)], model.words)
    found = model.encode([PROMPT])
    loaded.remove()
    assert torch.equal(found.context, live.context) and not torch.equal(found.context, bare.context)
    assert family != "sdxl" or torch.equal(found.pooled, live.pooled)
    half = apply_styles(parts_of(model), family, [(style, 0.5)], model.words)
    assert all(torch.equal(half.words[0].rows[part], 0.5 * rows) for part, rows in word.rows.items())
    half.remove()
    assert torch.equal(model.encode([PROMPT]).context, bare.context)
    summary = describe_style(file)
    assert (summary.method, summary.vectors, summary.trained_words) == ("textual-inversion", n, ("<dusk>",))
    assert summary.parameters == sum(rows.numel() for rows in word.rows.values()) and summary.base.family == family
    glance = summarise_header(read_outline(file)).model_dump()
    assert glance == summary.model_dump(include=set(glance))


@pytest.mark.parametrize(
    ("tensors", "words", "family", "rows"),
    [
        ({"emb_params": (2, 768)}, ("my-dusk",), "sd1", {"text_encoder": (2, 768)}),
        ({"emb_params": (2, 1024)}, ("my-dusk",), "sd2", {"text_encoder": (2, 1024)}),
        ({"emb_params": (768,)}, ("my-dusk",), "sd1", {"text_encoder": (1, 768)}),
        ({"<cat-toy>": (768,)}, ("my-dusk", "<cat-toy>"), "sd1", {"text_encoder": (1, 768)}),
        ({"two words": (3, 768)}, ("my-dusk",), "sd1", {"text_encoder": (3, 768)}),
        (
            {"clip_g": (2, 1280), "clip_l": (2, 768)}, ("my-dusk",), "sdxl",
            {"text_encoder": (2, 768), "text_encoder_2": (2, 1280)},
        ),
    ],
)  # fmt: skip
def test_embeddings_of_other_tools(tmp_path, tensors, words, family, rows):
    file = tmp_path / "my-dusk.safetensors"
    save_file({key: torch.ones(shape) for key, shape in tensors.items()}, file)
    style, origin = read_style(file), origin_of(read_style(file))
    assert style.words == words and {part: tuple(t.shape) for part, t in style.rows.items()} == rows
    assert origin.family is not None and origin.family.name == family


def test_words_that_a_file_claims_are_a_strangers_text(tmp_path):
    for written in ("two words", "a,b", "x" * 65, "\u202e", ""):
        save_file({"emb_params": torch.ones(1, 768)}, tmp_path / "a.safetensors", {"velatura.word": written})
        assert read_style(tmp_path / "a.safetensors").words == ("a",)


@pytest.mark.parametrize(
    "shapes",
    [
        {"emb_params": (76, 768)},
        {"emb_params": (2, 3, 768)},
        {"emb_params": ()},
        {"emb_params": (0, 768)},
        {"clip_l": (2, 768), "clip_g": (3, 1280)},
        {"emb_params": (1, 768), "x": (1, 768)},
    ],
)
def test_what_is_no_embedding(tmp_path, shapes):
    save_file({key: torch.ones(shape) for key, shape in shapes.items()}, tmp_path / "a.safetensors")
    with pytest.raises(VelaturaError, match=r"a\.safetensors is not a known kind of style \(.* or embedding\)"):
        read_style(tmp_path / "a.safetensors")


def test_embeddings_of_another_base_are_refused(bases, tmp_path):
    def use(base: str, *files: Mapping[str, Tensor], **metadata: str) -> None:
        styles = []
        for number, tensors in enumerate(files):
            save_file(dict(tensors), tmp_path / f"word-{number}.safetensors", metadata)
            styles.append((read_style(tmp_path / f"word-{number}.safetensors"), 1.0))
        apply_styles(parts_of(bases[base]), base, styles, bases[base].words)

    small = {"emb_params": torch.ones(2, 24)}
    with pytest.raises(VelaturaError, match="was made for Stable Diffusion 2, and this base is Stable Diffusion 1"):
        use("sd1", {"emb_params": torch.ones(2, 1024)})
    with pytest.raises(VelaturaError, match="with 25 text channels; this base has 24"):
        use("sd1", {"emb_params": torch.ones(2, 25)})
    with pytest.raises(VelaturaError, match="was made for Stable Diffusion 1, and this base is"):
        use("sdxl", small, **{"velatura.family": "sd1"})
    odd = {"clip_l": torch.ones(2, 40), "clip_g": torch.ones(2, 24)}  # the sum is right
    with pytest.raises(VelaturaError, match="text_encoder has embeddings of 24 numbers, the file has 40"):
        use("sdxl", odd)
    assert all(model.words.sizes == {} for model in bases.values()), "what was refused leaves nothing"


def test_a_word_that_another_file_has_gives_way_to_the_files_name(bases, tmp_path):
    model, files = bases["sd1"], [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for n, file in enumerate(files, 1):
        save_file({"emb_params": torch.ones(n, 24)}, file, {"velatura.word": "<dusk>"})
    styles = [(read_style(file), 1.0) for file in files]
    network = apply_styles(parts_of(model), "sd1", styles, model.words)
    sizes, warnings = model.words.sizes, network.warnings
    network.remove()
    assert sizes == {"<dusk>": 1, "two": 2}
    assert warnings == ["two.safetensors: its word <dusk> is already taken; write two in prompts"]
    with pytest.raises(VelaturaError, match="two embeddings have the same word 'two'"):
        apply_styles(parts_of(model), "sd1", [*styles, styles[1]], model.words)
    assert model.words.sizes == {}, "what was refused leaves nothing"


def test_the_word_beside_a_style(tmp_path):
    style = tmp_path / "my.dusk.safetensors"
    assert embedding_of(style) is None
    (tmp_path / "my.dusk-embedding.safetensors").write_bytes(b"")
    assert embedding_of(style) == tmp_path / "my.dusk-embedding.safetensors"


def test_a_word_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(VelaturaError, match="<dusk> is not finite"):
        write_embedding(
            tmp_path / "a.safetensors", Word("<dusk>", {"text_encoder": torch.full((1, 24), torch.nan)}), {}
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("n", [1, 3])
def test_diffusers_draws_the_same(family, n, bases, tmp_path, monkeypatch):
    # diffusers 0.42 looks for the norm under the name that transformers 5 took away.
    monkeypatch.setattr(transformers.CLIPTextModel, "text_model", property(lambda self: self), raising=False)
    model, file = bases[family], tmp_path / "my-dusk.safetensors"
    word = Word("<dusk>", drawn(n, model))
    write_embedding(file, word, {})
    network = Network()
    network.add_word(word, model.words)
    params = SamplingParams(prompts=(PROMPT,), steps=2, guidance=3.0, size=(64, 64))
    (ours,) = draw(model, params)
    network.remove()
    pipe: Any = make_pipeline(fresh(model))
    advice = describe_embedding_loading(file, word)
    if family == "sdxl":  # as published: the end of a text is then taken to be its highest token
        pipe.text_encoder_2.text_model.eos_token_id = 2
    (code,) = [part for part in advice.split("`") if "load_textual_inversion" in part]
    monkeypatch.chdir(tmp_path)
    exec(code, {"pipe": pipe, "safetensors": safetensors})  # what it says is done as it stands
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    (theirs,) = pipe(
        PROMPT, negative_prompt="", latents=latents, num_inference_steps=2, guidance_scale=3.0, height=64, width=64
    ).images
    difference = np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16)).max()
    assert difference <= 1 and "`my-dusk`" in advice
