"""Bases that Velatura does not train: named by their index, config or layers, refused with the nearest that it trains.

The networks are diffusers' own classes; files with their authors' names have the tensors that those are known by.
"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.tiny import FAMILIES as TINY
from tests.tiny import tiny_single_file
from trainers.errors import VelaturaError
from trainers.formats.inspect import describe_style
from trainers.formats.origin import origin_of
from trainers.formats.read import read_style
from trainers.models.bases.detect import detect_family, family_of_file
from trainers.models.bases.recognise import recognise
from trainers.models.families import FAMILIES
from trainers.models.files.header import Header
from trainers.models.files.other_bases import list_other_bases, other_in_file, other_of_style

NETWORKS = {
    "FLUX.2 klein": (
        "Flux2Transformer2DModel",
        {"num_layers": 1, "num_single_layers": 1, "num_attention_heads": 2, "joint_attention_dim": 7680},
    ),
    "Krea 2": ("Krea2Transformer2DModel", {"num_layers": 1}),
    "Qwen-Image": ("QwenImageTransformer2DModel", {"num_layers": 1}),
    "Qwen-Image 2.1": ("QwenImage21Transformer2DModel", {"num_layers": 1}),
    "FLUX.3 klein": ("Flux3Transformer2DModel", {"num_layers": 1, "num_single_layers": 1}),
    "Anima or Cosmos": ("CosmosTransformer3DModel", {"num_layers": 1, "extra_pos_embed_type": None}),
    "Lumina 2": ("Lumina2Transformer2DModel", {"num_layers": 1, "num_refiner_layers": 1}),
}
"""Classes of diffusers whose layers, under its names, are marks."""
AUTHORS: dict[str, dict[str, tuple[int, ...]]] = {
    "Anima": {
        "net.llm_adapter.blocks.0.cross_attn.q_proj.weight": (1024, 1024),
        "net.blocks.0.mlp.layer1.weight": (8192, 2048),
    },
    "FLUX.2 klein": {
        "double_stream_modulation_img.lin.weight": (18432, 3072),
        "txt_in.weight": (3072, 7680),
        "single_blocks.0.linear1.weight": (27648, 3072),
    },
    "FLUX.2 dev": {
        "double_stream_modulation_img.lin.weight": (36864, 6144),
        "txt_in.weight": (6144, 15360),
        "guidance_in.in_layer.weight": (6144, 256),
    },
    "FLUX.3 klein": {"early_stream_modulations.image.lin.weight": (9216, 3072)},
    "Krea 2": {"txtfusion.projector.weight": (1, 12)},
    "Qwen-Image": {"txt_norm.weight": (3584,), "transformer_blocks.0.img_mod.1.weight": (18432, 3072)},
    "Qwen-Image-Edit": {
        "txt_norm.weight": (3584,),
        "transformer_blocks.0.img_mod.1.weight": (18432, 3072),
        "__index_timestep_zero__": (1,),
    },
    "Mage-Flow": {"txt_norm.weight": (2560,), "transformer_blocks.0.img_mod.1.weight": (18432, 3072)},
    "Lumina 2": {"cap_embedder.1.weight": (2304, 2304), "noise_refiner.0.attention.k_norm.weight": (96,)},
    "Cosmos": {"net.blocks.0.mlp.layer1.weight": (8192, 2048)},
    "Sana": {"blocks.0.cross_attn.q_linear.weight": (2240, 2240), "blocks.0.cross_attn.kv_linear.weight": (4480, 2240)},
    "PixArt": {
        "blocks.0.cross_attn.q_linear.weight": (1152, 1152),
        "blocks.0.cross_attn.kv_linear.weight": (2304, 1152),
        "blocks.0.mlp.fc1.weight": (4608, 1152),
        "t_block.1.weight": (6912, 1152),
    },
    "LongCat-Image": {"txt_in.weight": (3072, 3584), "double_blocks.0.img_attn.qkv.weight": (9216, 3072)},
    "Chroma Radiance": {"nerf_blocks.0.norm.scale": (64,), "distilled_guidance_layer.in_proj.weight": (5120, 64)},
    "FLUX.1 Fill": {"single_blocks.0.modulation.lin.weight": (9216, 3072), "img_in.weight": (3072, 384)},
}
"""What files in their authors' names are known by."""


def refusal(name: str) -> str:
    """The sentence about a base of this kind."""
    base = next(each for each in list_other_bases() if each.name == name)
    yet = " yet" if base.yet else ""
    return f"is {name}, which Velatura does not train{yet}; the nearest base that it trains is {base.nearest}"


@pytest.fixture(scope="module")
def networks():
    import diffusers

    with torch.device("meta"):
        return {name: getattr(diffusers, kind)(**settings) for name, (kind, settings) in NETWORKS.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_files_with_diffusers_names(name, networks):
    shapes = {key: tuple(tensor.shape) for key, tensor in networks[name].state_dict().items()}
    for prefix in ("", "model.diffusion_model.", "transformer."):
        with pytest.raises(VelaturaError, match=f"^b.safetensors {refusal(name)}$"):
            family_of_file(Header({prefix + key: shape for key, shape in shapes.items()}, {}), "b.safetensors")


@pytest.mark.parametrize("name", AUTHORS)
def test_files_with_their_authors_names(name):
    for prefix in ("", "model.diffusion_model.", "diffusion_model."):
        found = other_in_file({prefix + key: shape for key, shape in AUTHORS[name].items()})
        assert found is not None and found.name == name


def test_the_file_of_a_base_is_refused(tmp_path):
    path = tmp_path / "qwen.safetensors"
    save_file({"txt_norm.weight": torch.ones(8), "transformer_blocks.0.img_mod.1.weight": torch.ones(8)}, path)
    for look in (detect_family, recognise):
        with pytest.raises(VelaturaError, match=f"^qwen.safetensors {refusal('Qwen-Image')}$"):
            look(path)


@pytest.mark.parametrize(
    ("index", "pipeline", "name"),
    [
        ("model_index.json", "Flux2KleinPipeline", "FLUX.2 klein"),
        ("model_index.json", "Flux2Pipeline", "FLUX.2 dev"),
        ("model_index.json", "Krea2Pipeline", "Krea 2"),
        ("model_index.json", "QwenImagePipeline", "Qwen-Image"),
        ("model_index.json", "QwenImage21Pipeline", "Qwen-Image 2.1"),
        ("model_index.json", "QwenImageEditPlusPipeline", "Qwen-Image-Edit"),
        ("model_index.json", "KolorsPipeline", "Kolors"),
        ("model_index.json", "HunyuanDiTPipeline", "HunyuanDiT"),
        ("modular_model_index.json", "AnimaModularPipeline", "Anima"),
        ("modular_model_index.json", "Flux3ModularPipeline", "FLUX.3 klein"),
        ("modular_model_index.json", "MiniMaxH3ModularPipeline", "MiniMax H3"),
    ],
)
def test_folders_by_their_index(index, pipeline, name, tmp_path):
    (tmp_path / index).write_text(json.dumps({"_class_name": pipeline}))
    with pytest.raises(VelaturaError, match=refusal(name)):
        detect_family(tmp_path)


@pytest.mark.parametrize("name", [*NETWORKS, "Anima"])
def test_folders_by_the_class_or_the_layers_of_their_network(name, networks, tmp_path):
    network = networks["Anima or Cosmos" if name == "Anima" else name]
    part = tmp_path / "transformer"
    network.save_config(part)
    if name == "Anima":
        (tmp_path / "text_conditioner").mkdir()
    found = "Cosmos" if name == "Anima or Cosmos" else name
    with pytest.raises(VelaturaError, match=refusal(found)):
        detect_family(tmp_path)
    if name != "Anima":
        (part / "config.json").unlink()
        keys = {key: torch.zeros(1, 1) for key in network.state_dict()}
        keys |= {key: torch.zeros(2304, 1) for key in keys if key == "time_caption_embed.caption_embedder.1.weight"}
        save_file(keys, part / "diffusion_pytorch_model.safetensors")
        with pytest.raises(VelaturaError, match=refusal(name)):
            detect_family(tmp_path)


@pytest.mark.parametrize("family", TINY)
def test_none_of_ours_is_taken_for_another(family, tmp_path):
    path = tiny_single_file(family, tmp_path / "b.safetensors")
    assert detect_family(path).name == family.removesuffix("-v")


def test_the_nearest_are_families():
    assert {base.nearest for base in list_other_bases()} <= {"", *(family.title for family in FAMILIES)}
    assert len({base.name for base in list_other_bases()}) == len(list_other_bases())


# ------------------------------------------------------------ style files
STYLES = [
    ("diffusion_model.single_blocks.3.linear1", 27648, "FLUX.2 klein"),
    ("lora_unet_single_blocks_3_linear1", 36864, "FLUX.2 klein"),
    ("lora_unet_single_blocks_3_linear1", 55296, "FLUX.2 dev"),
    ("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 27648, "FLUX.2 klein"),
    ("diffusion_model.double_blocks.0.img_mlp.0", 18432, "FLUX.2 klein"),
    ("transformer.transformer_blocks.0.img_mlp.net.0.proj", 12288, "Qwen-Image"),
    ("lora_unet_transformer_blocks_59_attn_to_q", 3072, "Qwen-Image"),
    ("transformer.transformer_blocks.0.attn.to_gate", 6144, "Krea 2"),
    ("diffusion_model.blocks.0.attn.wq", 6144, "Krea 2"),
    ("diffusion_model.llm_adapter.blocks.0.cross_attn.q_proj", 1024, "Anima"),
    ("lora_unet_blocks_0_mlp_layer1", 8192, "Anima or Cosmos"),
    ("diffusion_model.content_mode_blocks.0.img.mlp_in", 18432, "FLUX.3 klein"),
    ("lora_unet_blocks_0_ffn_0", 13824, "Wan"),
    ("diffusion_model.blocks.0.self_attn.q", 1536, "Wan"),
    ("diffusion_model.double_blocks.0.img_attn.proj", 6144, "FLUX.2 dev"),
    ("transformer.transformer_blocks.0.attn.add_q_proj", 4096, "FLUX.2 klein"),
    ("transformer.transformer_blocks.20.attn.to_q", 3072, "Qwen-Image"),
]


@pytest.mark.parametrize(("layer", "rows", "name"), STYLES)
def test_styles_by_their_layers(layer, rows, name, tmp_path):
    path = tmp_path / "s.safetensors"
    save_file({f"{layer}.lora_down.weight": torch.ones(2, 8), f"{layer}.lora_up.weight": torch.ones(rows, 2)}, path)
    summary, sentence = describe_style(path), f"s.safetensors {refusal(name).replace('is ', 'is a style for ', 1)}"
    assert (summary.base.family, summary.base.title, summary.notes) == (name, name, (sentence,))
    with pytest.raises(VelaturaError, match=f"^{sentence}$"):
        origin_of(read_style(path)).check("s.safetensors")


def test_styles_with_larger_layers_are_described_but_not_unfolded(tmp_path):
    path, layer = tmp_path / "s.safetensors", "diffusion_model.single_blocks.3.linear1"
    save_file({f"{layer}.lora_A.weight": torch.ones(2, 6144), f"{layer}.lora_B.weight": torch.ones(55296, 2)}, path)
    summary = describe_style(path)
    assert (summary.base.title, summary.rank.most_common, len(summary.tensors)) == ("FLUX.2 dev", 2, 2)
    with pytest.raises(VelaturaError, match=r"its layer .*linear1 would unfold into 339,738,624 numbers"):
        read_style(path).modules()
    save_file({"unknown.lora_A.weight": torch.ones(2, 6144), "unknown.lora_B.weight": torch.ones(55296, 2)}, path)
    with pytest.raises(VelaturaError, match="is not a style for a base that Velatura trains: its layer unknown would"):
        describe_style(path)


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("flux-2-klein-9b/lora", "FLUX.2 klein"),
        ("Flux.2-dev", "FLUX.2 dev"),
        ("qwen_image", "Qwen-Image"),
        ("Qwen-Image-Edit", "Qwen-Image-Edit"),
        ("wan2.1", "Wan"),
        ("animagine_xl_3.1", None),
        ("Wanderlust XL", None),
        ("Flux.1-fill-dev", None),
        ("", None),
    ],
)
def test_styles_by_the_names_of_their_base(called, name, tmp_path):
    path = tmp_path / "s.safetensors"
    tensors = {f"transformer.transformer_blocks.0.attn.to_q.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}
    save_file(tensors, path, {"modelspec.architecture": called})
    other = origin_of(read_style(path)).other
    assert (other and other.name) == name


@pytest.mark.parametrize(
    ("layer", "rows"),
    [
        ("lora_unet_single_blocks_3_linear1", 21504),
        ("lora_unet_double_blocks_3_img_mlp_0", 12288),
        ("transformer.single_transformer_blocks.0.attn.to_q", 3072),
        ("transformer.transformer_blocks.18.attn.add_q_proj", 3072),
        ("lora_unet_joint_blocks_37_x_block_attn_qkv", 7296),
        ("diffusion_model.layers.29.attention.qkv", 11520),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 320),
        ("lora_unet_output_blocks_3_1_transformer_blocks_1_ff_net_0_proj", 10240),
    ],
)
def test_styles_of_ours_are_not_taken_for_others(layer, rows):
    assert other_of_style({layer: (rows, 3072)}) is None
