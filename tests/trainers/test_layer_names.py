"""What layers are called where ranks are shown: one naming, whatever a file has, and the order of the blocks."""

from __future__ import annotations

import pytest

from trainers.layer_names import block, by_block, dotted, short_names, sort_layers

ATTENTION = "unet.down_blocks.1.attentions.0"


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", "unet.down_blocks.1.attentions.0"),
        ("unet.mid_block.resnets.1.conv1", "unet.mid_block.resnets.1"),
        ("text_encoder.encoder.layers.3.self_attn.q_proj", "text_encoder.encoder.layers.3"),
        ("unet.input_blocks.4.1.transformer_blocks.0.attn1.to_q", "unet.input_blocks.4"),
        ("unet.middle_block.1.proj_in", "unet.middle_block.1"),
        ("unet.strided", "unet"),
    ],
)
def test_layers_are_named_by_their_block(layer, name):
    assert block(layer) == name


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        (
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_out_0",
            "unet.input_blocks.4.1.transformer_blocks.0.attn2.to_out.0",
        ),
        ("lora_unet_output_blocks_0_0_in_layers_2", "unet.output_blocks.0.0.in_layers.2"),
        ("lora_te1_text_model_encoder_layers_3_self_attn_q_proj", "text_encoder.encoder.layers.3.self_attn.q_proj"),
        ("lora_te2_text_model_encoder_layers_3_mlp_fc1", "text_encoder_2.encoder.layers.3.mlp.fc1"),
        ("lora_unet_joint_blocks_2_x_block_attn_qkv", "transformer.joint_blocks.2.x_block.attn.qkv"),
        (
            "lora_unet_joint_blocks_2_context_block_adaLN_modulation_1",
            "transformer.joint_blocks.2.context_block.adaLN_modulation.1",
        ),
        ("lora_unet_double_blocks_0_img_attn_qkv", "transformer.double_blocks.0.img_attn.qkv"),
        ("lora_unet_single_blocks_7_linear1", "transformer.single_blocks.7.linear1"),
        ("transformer.transformer_blocks.0.attn.add_q_proj", "transformer.transformer_blocks.0.attn.add_q_proj"),
        (
            "lycoris_single_transformer_blocks_3_attn_to_q",
            "transformer.single_transformer_blocks.3.attn.to_q",
        ),
        ("lora_transformer_transformer_blocks_0_ff_context_net_2", "transformer.transformer_blocks.0.ff_context.net.2"),
        ("lora_unet_final_layer_adaLN_modulation_1", "transformer.final_layer.adaLN_modulation.1"),
        ("diffusion_model.img_in", "transformer.img_in"),
        ("lora_unet_conv_in", "unet.conv_in"),
        ("something_else", "something_else"),
    ],
)
def test_underscores_become_dots_where_a_name_has_dots(stem, name):
    assert dotted(stem) == name


def test_the_way_through_an_unet_of_the_original_code_too():
    given = ["unet.middle_block.1.a", "unet.output_blocks.2.0.a", "unet.input_blocks.11.0.a", "unet.input_blocks.4.1.a"]
    assert sort_layers(given) == [given[3], given[2], given[0], given[1]]


def test_a_block_says_its_layers_by_name_with_their_ranks():
    inner = ("proj_in", *(f"transformer_blocks.0.{name}" for name in ("attn1.to_q", "attn1.to_out.0", "ff.net.2")))
    ranks = {f"{ATTENTION}.{name}": rank for rank, name in enumerate(inner)}
    assert by_block(ranks) == [(ATTENTION, "proj_in=0\nattn1 to_q=1 to_out=2\nff net.2=3")]
    backwards = by_block(dict(sorted(ranks.items())))
    assert backwards[0][1].endswith("attn1 to_q=1 to_out=2\nff net.2=3"), "in a file they are in the alphabet's order"
    several = [f"{ATTENTION}.transformer_blocks.{number}.attn1.to_q" for number in (0, 1)]
    assert short_names(ATTENTION, several) == ["transformer_blocks.0.attn1.to_q", "transformer_blocks.1.attn1.to_q"]


def test_blocks_of_a_transformer_are_in_the_order_of_the_forward_pass():
    given = [f"transformer.{path}.a" for path in ("proj_out", "single_blocks.2", "double_blocks.10", "double_blocks.9")]
    assert [block(layer) for layer in sort_layers(given)] == [
        "transformer.proj_out",
        "transformer.double_blocks.9",
        "transformer.double_blocks.10",
        "transformer.single_blocks.2",
    ]
