"""CLIP's text encoders in transformers."""

from __future__ import annotations

from trainers.adapters.layouts.layout import BlockKind, LayerRole, Layout

LAYOUT = Layout(
    layers={
        "*.q_proj": LayerRole("q", "self_attention"),
        "*.k_proj": LayerRole("k", "self_attention"),
        "*.v_proj": LayerRole("v", "self_attention"),
        "*.out_proj": LayerRole("out", "self_attention"),
        "*.layer_norm1": LayerRole("norm", "self_attention"),
        "*.mlp.fc1": LayerRole("ff_in", "feed_forward"),
        "*.mlp.fc2": LayerRole("ff_out", "feed_forward"),
        "*.layer_norm2": LayerRole("norm", "feed_forward"),
    },
    network="text_encoder",
    outside=("text_projection",),
    inside=("text_model", "layer_norm", "final_layer_norm"),
    blocks={
        "*.self_attn": BlockKind("self_attention", "q_proj", "out_proj", "text"),
        "*.encoder.layers.*.mlp": BlockKind("feed_forward", "fc1", "fc2", "text"),
    },
)
