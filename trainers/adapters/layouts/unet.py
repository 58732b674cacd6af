"""UNets of diffusers (SD 1, SD 2, SDXL)."""

from __future__ import annotations

from trainers.adapters.layouts.layout import BlockKind, LayerRole, Layout

LAYOUT = Layout(
    layers={
        "*.attn1.to_q": LayerRole("q", "self_attention"),
        "*.attn1.to_k": LayerRole("k", "self_attention"),
        "*.attn1.to_v": LayerRole("v", "self_attention"),
        "*.attn1.to_out.0": LayerRole("out", "self_attention"),
        "*.transformer_blocks.*.norm1": LayerRole("norm", "self_attention"),
        "*.attn2.to_q": LayerRole("q", "cross_attention"),
        "*.attn2.to_k": LayerRole("k", "cross_attention"),
        "*.attn2.to_v": LayerRole("v", "cross_attention"),
        "*.attn2.to_out.0": LayerRole("out", "cross_attention"),
        "*.transformer_blocks.*.norm2": LayerRole("norm", "cross_attention"),
        "*.ff.net.0.proj": LayerRole("ff_in", "feed_forward", gated=True),
        "*.ff.net.2": LayerRole("ff_out", "feed_forward", gated=True),
        "*.transformer_blocks.*.norm3": LayerRole("norm", "feed_forward"),
        "*.proj_in": LayerRole("proj_in", "transformer"),
        "*.proj_out": LayerRole("proj_out", "transformer"),
        "*.attentions.*.norm": LayerRole("norm", "transformer"),
        "*.conv1": LayerRole("conv1", "residual"),
        "*.conv2": LayerRole("conv2", "residual"),
        "*.conv_shortcut": LayerRole("shortcut", "residual"),
        "*.time_emb_proj": LayerRole("time", "residual"),
        "*.resnets.*.norm[12]": LayerRole("norm", "residual"),
        "*.*samplers.0.conv": LayerRole("resample", "resample"),
    },
    network="unet",
    stages=(("down_blocks", "input_blocks"), ("mid_block", "middle_block"), ("up_blocks", "output_blocks")),
    outside=(
        *("conv_in", "conv_norm_out", "conv_out", "time_embedding", "add_embedding"),
        *("time_embed", "label_emb", "out"),
    ),
    inside=("linear_[12]", "in_layers", "out_layers", "emb_layers", "skip_connection"),
    blocks={
        "*.attn1": BlockKind("self_attention", "to_q", "to_out.0"),
        "*.attn2": BlockKind("cross_attention", "to_q", "to_out.0"),
        "*.ff": BlockKind("feed_forward", "net.0.proj", "net.2"),
        "*.resnets.*.conv2": BlockKind("residual", "", ""),
    },
)
