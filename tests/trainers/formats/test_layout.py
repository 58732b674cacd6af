"""How the keys of files are split."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.formats.layout import by_layer, method_of, split_key


@pytest.mark.parametrize(
    ("key", "split"),
    [
        (
            "lora_unet_mid_block_resnets_0_conv1.lora_up.weight",
            ("lora_unet_mid_block_resnets_0_conv1", "lora_up.weight"),
        ),
        ("lora_unet_x.alpha", ("lora_unet_x", "alpha")),
        ("lora_unet_x.hada_t2", ("lora_unet_x", "hada_t2")),
        ("lycoris_x.lokr_w2_b", ("lycoris_x", "lokr_w2_b")),
        ("unet.a.to_out.0.lora_A.weight", ("unet.a.to_out.0", "lora_down.weight")),
        ("unet.a.to_q.lora_B.default.weight", ("unet.a.to_q", "lora_up.weight")),
        ("unet.a.lora.down.weight", ("unet.a", "lora_down.weight")),
        ("unet.a.attn1.processor.to_out_lora.up.weight", ("unet.a.attn1.to_out.0", "lora_up.weight")),
        ("unet.a.attn1.processor.to_q_lora.down.weight", ("unet.a.attn1.to_q", "lora_down.weight")),
        ("text_encoder.a.self_attn.to_k_lora.up.weight", ("text_encoder.a.self_attn.k_proj", "lora_up.weight")),
        ("text_encoder.a.fc1.lora_linear_layer.down.weight", ("text_encoder.a.fc1", "lora_down.weight")),
        ("unet.a.lora_magnitude_vector", ("unet.a", "lora_magnitude_vector")),
        ("unet.a.lora_magnitude_vector.weight", ("unet.a", "lora_magnitude_vector")),
        ("lora_unet_x.diff_b", ("lora_unet_x", "diff_b")),
        ("lora_unet_x.w_norm", ("lora_unet_x", "w_norm")),
        ("lora_unet_x.oft_blocks", ("lora_unet_x", "oft_blocks")),
        ("base_model.model.a.oft_R.weight", ("base_model.model.a", "oft_R.weight")),
        ("base_model.model.a.ia3_l", ("base_model.model.a", "ia3_l")),
        ("lora_unet_x.b2.weight", ("lora_unet_x", "b2.weight")),
        ("lora_unet_x.bundle_emb", None),
        ("alpha", None),
    ],
)
def test_keys_of_every_tool(key, split):
    assert split_key(key) == split


@given(st.text(max_size=60))
def test_any_key_is_split_or_not_and_nothing_else(key):
    split = split_key(key)
    known = {"lora", "loha", "lokr", "full", "oft", "ia3", "glora", None}
    assert split is None or (split[0] and method_of([split[1]]) in known)


def test_by_layer():
    ones = ("a.lora_up.weight", "a.alpha", "a.diff_b", "b.diff", "b.diff_b", "c.weight", "c.on_input", "d.weight")
    ones += ("e.a1.weight", *(f"f.{name}.weight" for name in ("a1", "a2", "b1", "b2")))
    layers, unknown = by_layer(dict.fromkeys(ones, torch.ones(1)))
    assert {stem: set(suffixes) for stem, suffixes in layers.items()} == {
        "a": {"lora_up.weight", "alpha"},
        "b": {"diff", "diff_b"},
        "c": {"weight", "on_input"},
        "f": {"a1.weight", "a2.weight", "b1.weight", "b2.weight"},
    }
    assert unknown == ("d.weight", "a.diff_b", "e.a1.weight")  # no bias beside LoRA here, and GLoRA has four matrices
