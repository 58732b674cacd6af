"""Summaries of style files."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainers.formats.other_clients import MIXED, trained
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.errors import VelaturaError
from trainers.formats.inspect import describe_style, summarise_header
from trainers.formats.names import diffusers_name, kohya_name
from trainers.formats.read import read_outline
from trainers.formats.write.core import write_style
from trainers.layer_names import dotted

METADATA = {
    "velatura.family": "sdxl",
    "velatura.base_sha256": "ab" * 32,
    "velatura.trigger": "blot style",
    "ss_sd_model_name": "dream",
}


@pytest.mark.parametrize(
    ("method", "name", "alphas", "rank"),
    [
        (LoRA(rank=3, alpha=2.0), "lora", (2.0,), (3, 5, 3)),
        pytest.param(LoHA(rank=3, alpha=2.0), "loha", (2.0, 3.0, 5.0), (3, 5, 3), marks=pytest.mark.thorough),
        (LoKr(rank=2, alpha=3.0, factor=4), "lokr", (1.0, 3.0), None),
        pytest.param(LoRA(rank=3, alpha=2.0, dora=True), "full", (2.0,), None, marks=pytest.mark.thorough),
    ],
)
def test_summary(bases, tmp_path, method, name, alphas, rank):
    model, file = bases["sdxl"], tmp_path / "a.safetensors"
    network = trained(model, method, MIXED)
    network.remove()
    write_style(file, network, "sdxl", model.denoiser.config, METADATA, "fp16")
    summary = describe_style(file)
    tensors = load_file(file)
    assert (summary.name, summary.size, summary.method) == ("a.safetensors", file.stat().st_size, name)
    assert (summary.base.name, summary.base.family, summary.base.sha256) == ("dream", "sdxl", "ab" * 32)
    assert summary.alphas == pytest.approx(alphas)
    found = summary.rank and (summary.rank.smallest, summary.rank.largest, summary.rank.most_common)
    assert found == rank
    assert summary.trained_words == ("blot style",)
    in_unet = sum(site.part == "unet" for site in network.sites)
    # Of each encoder: three layers' q and fc2, one v, and what completes three attentions.
    assert summary.modules == {"text_encoder": 15, "text_encoder_2": 15, "unet": in_unet}
    assert summary.parameters == sum(t.numel() for key, t in tensors.items() if not key.endswith("alpha"))
    assert [t.key for t in summary.tensors] == sorted(tensors)
    assert {(t.key, t.shape) for t in summary.tensors} == {(key, tuple(t.shape)) for key, t in tensors.items()}
    assert {t.dtype for t in summary.tensors} == {"float16", "float32"}
    assert summary.metadata.items() >= METADATA.items()
    assert json.loads(summary.model_dump_json())["base"]["fits_only"] == "" and summary.notes == ()
    header = summarise_header(read_outline(file))
    assert header.model_dump() == summary.model_dump(
        include={"method", "trained_as", "only_here", "base", "trained_words", "captions", "metadata"}
    )


def test_a_file_of_another_tool(tmp_path):
    tensors = {
        "lora_unet_x_attn2_to_k.lora_up.weight": torch.ones(4, 2),
        "lora_unet_x_attn2_to_k.lora_down.weight": torch.ones(2, 1024),
        "lora_unet_x_attn2_to_k.dora_scale": torch.ones(4, 1),
        "lora_unet_y.hada_w1_a": torch.ones(4, 3),
        "lora_unet_y.hada_w1_b": torch.ones(3, 4),
        "lora_unet_z.a1.weight": torch.ones(4),
    }
    tags = {"ss_tag_frequency": json.dumps({"5_x": {"a": 1, "b": 3}, "1_y": {"a": 4}})}
    save_file(tensors, tmp_path / "a.safetensors", tags)
    summary = describe_style(tmp_path / "a.safetensors")
    assert (summary.method, summary.base.family, summary.base.name) == ("loha+lora+dora", "sd2", "")
    assert (summary.rank.smallest, summary.rank.largest) == (2, 3)
    assert (summary.trained_words, summary.captions, summary.trained_as) == ((), ("a", "b"), "")
    assert summary.ranks == {"unet.x.attn2.to_k": 2, "unet.y": 3}
    (misnamed,) = summary.notes
    assert misnamed.startswith("Layers with names that no base of Stable Diffusion 2 has, so programs leave them out: ")
    assert misnamed.endswith(", such as unet.x.attn2.to_k.") and summary.programs == ()
    assert summary.unknown_keys == ("lora_unet_z.a1.weight",)
    assert summary.alphas == ()


def test_an_adapter_without_its_settings_says_so(tmp_path):
    stem = "base_model.model.mid_block.attentions.0.proj_in"
    tensors = {f"{stem}.lora_A.weight": torch.ones(2, 6), f"{stem}.lora_B.weight": torch.ones(4, 2)}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (note,) = describe_style(tmp_path / "adapter_model.safetensors").notes
    assert "adapter_config.json" in note
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 4, "r": 2}')
    assert describe_style(tmp_path / "adapter_model.safetensors").notes == ()


@pytest.mark.parametrize(
    "text", ["{oops", "[]", '{"a": 1}', '{"a": {"b": "many"}}', "null", '{"a": {"b": 1e999}}', "[" * 60000]
)
def test_tags_that_make_no_sense_are_passed_over(tmp_path, text):
    save_file({"lora_unet_x.diff": torch.ones(2, 2)}, tmp_path / "a.safetensors", {"ss_tag_frequency": text})
    assert describe_style(tmp_path / "a.safetensors").captions == ()


@pytest.mark.parametrize("alpha", [torch.ones(2), torch.ones(0)])
def test_damaged_ranks_and_alphas_are_passed_over(tmp_path, alpha):
    tensors = {"a.lora_up.weight": torch.ones(4, 2), "a.lora_down.weight": torch.ones(()), "a.alpha": alpha}
    save_file(tensors, tmp_path / "a.safetensors")
    summary = describe_style(tmp_path / "a.safetensors")
    assert (summary.rank, summary.alphas, summary.notes) == (None, (), ())


def test_a_header_summary_reads_no_number_and_takes_nothing_for_granted(tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({"lora_unet_x_attn2_to_k.lora_down.weight": torch.ones(2), "lora_unet_x.diff": torch.ones(())}, file)
    data = file.read_bytes()
    file.write_bytes(data[:-12] + b"\xff" * 12)  # no number any more
    found = summarise_header(read_outline(file))
    assert (found.method, found.base.family) == ("full", "")
    for shape in ([10**15], [-1]):
        header = json.dumps({"lora_unet_x.diff": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
        file.write_bytes(len(header).to_bytes(8, "little") + header + b"1234")
        with pytest.raises(VelaturaError, match=r"is damaged: lora_unet_x\.diff would be larger than the file"):
            summarise_header(read_outline(file))


def test_no_style(tmp_path):
    save_file({"emb_params": torch.ones(76, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(VelaturaError, match="not a known kind of style"):
        describe_style(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("shape", "known"), [((3,), 0), ((2, 24), 0), ((100,), 0), ((770,), 0), ((1, 192), 1), ((768,), 1)]
)
def test_a_single_tensor_of_any_name_is_an_embedding_where_a_text_encoder_may_be_as_wide(tmp_path, shape, known):
    """As diffusers writes one."""
    save_file({"foo": torch.ones(shape)}, tmp_path / "a.safetensors")
    if known:
        assert describe_style(tmp_path / "a.safetensors").trained_words == ("a", "foo")
    else:
        with pytest.raises(VelaturaError, match=r"not a known kind of style.*it has foo"):
            summarise_header(read_outline(tmp_path / "a.safetensors"))


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ('{"method": {"name": "ssf"}}', "ssf"),
        ('{"method": {"name": "lora"}}', "full+oft"),
        ("[]", "full+oft"),
        ("{", "full+oft"),
        ("[" * 60000, "full+oft"),
    ],
)
def test_a_form_that_several_methods_share_is_called_by_the_one_that_made_it(tmp_path, config, method):
    tensors = {"lora_unet_x.oft_blocks": torch.zeros(1, 2, 2, 2), "lora_unet_x.rescale": torch.ones(4, 1)}
    norms = {"lora_unet_y.w_norm": torch.ones(4), "lora_unet_y.b_norm": torch.ones(4)}
    save_file(tensors | norms, tmp_path / "a.safetensors", {"velatura.config": config})
    summary = describe_style(tmp_path / "a.safetensors")
    assert (summary.method, summary.parameters) == (method, 4 + 8), "zero blocks carry the scale and are nothing"
    assert summarise_header(read_outline(tmp_path / "a.safetensors")).method == method


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"method": {"name": "adalora"}}, "adalora"),
        ({"method": {"name": "lora", "dora": False, "start": "zero"}}, "lora"),
        ({"method": {"name": "lora", "dora": True}}, "lora+dora"),
        ({"method": {"name": "lora", "start": "pissa"}}, "pissa"),
        ({"method": {"name": "lora", "freeze_a": True}, "targets": {"unet": "b-lora"}}, "lora-fa+b-lora"),
        ({"method": {"name": "vera"}, "tokens": {"word": "<style>"}, "base": {"storage": "nf4"}}, "vera"),
        ({"method": {"name": "no such"}}, ""),
        ({"method": {"name": []}}, ""),
        ({"method": "lora"}, ""),
        ({"method": {"name": "lora"}, "targets": 3}, ""),
        ([1], ""),
    ],
)
def test_what_a_file_was_trained_as(tmp_path, settings, name):
    layer = {"lora_unet_x.lora_up.weight": torch.ones(4, 2), "lora_unet_x.lora_down.weight": torch.ones(2, 4)}
    metadata = {"velatura.config": json.dumps(settings)}
    save_file(layer, tmp_path / "a.safetensors", metadata)
    summary = describe_style(tmp_path / "a.safetensors")
    assert (summary.method, summary.trained_as) == ("lora", name)
    save_file({"emb_params": torch.ones(2, 768)}, tmp_path / "a.safetensors", metadata)
    assert describe_style(tmp_path / "a.safetensors").trained_as == "", "the method is that of the style beside it"


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_every_layer_of_a_base_has_its_own_name_again(bases, family):
    network = trained(bases[family], LoRA(rank=2, alpha=2.0), MIXED)
    network.remove()
    named = {site.name.replace("text_model.", ""): (site.part, site.path) for site in network.sites}
    assert len(named) > 20
    assert {dotted(kohya_name(part, path, family)): (part, path) for part, path in named.values()} == named
    assert {dotted(diffusers_name(part, path)): (part, path) for part, path in named.values()} == named


@pytest.mark.parametrize(
    ("layers", "metadata", "families"),
    [
        (["single_transformer_blocks.3.attn.to_q", "transformer_blocks.0.ff.net.0.proj"], {}, ("flux", "chroma")),
        (["single_transformer_blocks.3.attn.to_q", "transformer_blocks.0.norm1.linear"], {}, ("flux",)),
        (["single_transformer_blocks.3.norm.linear"], {}, ("flux",)),
        (["single_transformer_blocks.3.attn.to_q", "time_text_embed.guidance_embedder.linear_1"], {}, ("flux",)),
        (["single_transformer_blocks.3.attn.to_q", "distilled_guidance_layer.in_proj"], {}, ("chroma",)),
        (["single_transformer_blocks.3.attn.to_q"], {"modelspec.architecture": "chroma/lora"}, ("chroma",)),
        (["single_transformer_blocks.3.attn.to_q"], {"ss_base_model_version": "flux1"}, ("flux",)),
    ],
)
def test_flux_and_chroma_are_told_apart_where_the_file_tells(layers, metadata, families, tmp_path):
    stems = [f"transformer.{layer}" for layer in layers], [f"lora_unet_{layer.replace('.', '_')}" for layer in layers]
    for number, named in enumerate(stems):
        file = tmp_path / f"{number}.safetensors"
        factors = {"lora_down.weight": torch.ones(2, 8), "lora_up.weight": torch.ones(8, 2)}
        save_file(
            {f"{stem}.{end}": factor.clone() for stem in named for end, factor in factors.items()}, file, metadata
        )
        base = summarise_header(read_outline(file)).base
        assert (base.family, *base.twins) == families
        assert base.title == {1: base.family.title().replace("Flux", "Flux.1"), 2: "Flux.1 or Chroma"}[len(families)]


def test_layers_that_are_empty_dead_or_absurd_are_noted(tmp_path):
    stem, factors = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_{}", torch.ones(2, 4)
    ups = {"q": torch.ones(4, 2), "k": torch.zeros(4, 2), "v": torch.full((4, 2), 1e30), "out_0": torch.ones(4, 0)}
    tensors = {f"{stem.format(name)}.lora_up.weight": up for name, up in ups.items()}
    tensors |= {f"{stem.format(name)}.lora_down.weight": torch.ones(up.shape[1], 4) for name, up in ups.items()}
    hada = {"w1_a": factors.T, "w1_b": 0 * factors, "w2_a": factors.T, "w2_b": factors}
    tensors |= {f"lora_unet_y.hada_{name}": tensor.clone().contiguous() for name, tensor in hada.items()}
    # What is nothing but for its length or bias is no dead layer.
    rest = {"lora_up.weight": torch.zeros(4, 2), "lora_down.weight": factors, "dora_scale": torch.ones(4, 1)}
    tensors |= {f"lora_unet_z.{name}": tensor.clone() for name, tensor in rest.items()}
    save_file(tensors, tmp_path / "a.safetensors")
    notes = [note.partition(", such as ") for note in describe_style(tmp_path / "a.safetensors").notes]
    assert [(sentence, first) for sentence, _, first in notes] == [
        ("Layers of rank 0: 1", f"{dotted(stem.format('out_0'))}."),
        ("Layers that change nothing, since one of their factors is all zeros: 2", f"{dotted(stem.format('k'))}."),
        ("Layers with absurd numbers, which ruin every picture: 1", f"{dotted(stem.format('v'))}."),
    ]
