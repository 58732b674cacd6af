"""Transformers of diffusers with joint attention (SD 3, Flux.1, Chroma): the text has projections of its own."""

from __future__ import annotations

from trainers.adapters.layouts.layout import BlockKind, LayerRole, Layout

LAYOUT = Layout(
    layers={
        ".transformer_blocks.*.attn*.to_q": LayerRole("q", "self_attention"),
        ".transformer_blocks.*.attn*.to_k": LayerRole("k", "self_attention"),
        ".transformer_blocks.*.attn*.to_v": LayerRole("v", "self_attention"),
        ".transformer_blocks.*.attn*.to_out.0": LayerRole("out", "self_attention"),
        ".transformer_blocks.*.attn*.norm_[qk]": LayerRole("norm", "self_attention"),
        ".transformer_blocks.*.attn.add_q_proj": LayerRole("q", "self_attention", stream="text"),
        ".transformer_blocks.*.attn.add_k_proj": LayerRole("k", "self_attention", stream="text"),
        ".transformer_blocks.*.attn.add_v_proj": LayerRole("v", "self_attention", stream="text"),
        ".transformer_blocks.*.attn.to_add_out": LayerRole("out", "self_attention", stream="text"),
        ".transformer_blocks.*.attn.norm_added_[qk]": LayerRole("norm", "self_attention", stream="text"),
        ".transformer_blocks.*.ff.net.0.proj": LayerRole("ff_in", "feed_forward"),
        ".transformer_blocks.*.ff.net.2": LayerRole("ff_out", "feed_forward"),
        ".transformer_blocks.*.ff_context.net.0.proj": LayerRole("ff_in", "feed_forward", stream="text"),
        ".transformer_blocks.*.ff_context.net.2": LayerRole("ff_out", "feed_forward", stream="text"),
        ".transformer_blocks.*.norm1.linear": LayerRole("modulation", "modulation"),
        ".transformer_blocks.*.norm1_context.linear": LayerRole("modulation", "modulation", stream="text"),
        ".single_transformer_blocks.*.attn.to_q": LayerRole("q", "self_attention", stream="joint"),
        ".single_transformer_blocks.*.attn.to_k": LayerRole("k", "self_attention", stream="joint"),
        ".single_transformer_blocks.*.attn.to_v": LayerRole("v", "self_attention", stream="joint"),
        ".single_transformer_blocks.*.attn.norm_[qk]": LayerRole("norm", "self_attention", stream="joint"),
        ".single_transformer_blocks.*.proj_mlp": LayerRole("ff_in", "feed_forward", stream="joint"),
        ".single_transformer_blocks.*.proj_out": LayerRole("ff_out", "feed_forward", stream="joint"),
        ".single_transformer_blocks.*.norm.linear": LayerRole("modulation", "modulation", stream="joint"),
        ".distilled_guidance_layer.*": LayerRole("modulation", "modulation", stream="joint"),
        ".norm_out.linear": LayerRole("modulation", "modulation"),
        ".pos_embed.proj": LayerRole("proj_in", "ends"),
        ".x_embedder": LayerRole("proj_in", "ends"),
        ".context_embedder": LayerRole("proj_in", "ends", stream="text"),
        ".proj_out": LayerRole("proj_out", "ends"),
    },
    stages=(
        ("transformer_blocks", "joint_blocks", "double_blocks"),
        ("single_transformer_blocks", "single_blocks"),
    ),
    outside=(
        *("pos_embed", "x_embedder", "context_embedder", "time_text_embed", "distilled_guidance_layer", "norm_out"),
        *("proj_out", "t_embedder", "y_embedder", "img_in", "txt_in", "time_in", "vector_in", "guidance_in"),
        "final_layer",
    ),
    inside=(
        *("timestep_embedder", "text_embedder", "guidance_embedder", "linear_[12]", "in_layer", "out_layer", "in_proj"),
        *("x_block", "context_block", "ln_[qk]", "adaLN_modulation", "query_norm", "key_norm", "img_attn", "img_mlp"),
        *("img_mod", "txt_attn", "txt_mlp", "txt_mod"),
    ),
    blocks={
        ".transformer_blocks.*.attn2": BlockKind("self_attention", "to_q", "to_out.0"),
        ".transformer_blocks.*.ff_context": BlockKind("feed_forward", "net.0.proj", "net.2", "text"),
    },
    times={"FluxTransformer2DModel": (0, 1000), "ChromaTransformer2DModel": (0, 1000)},
)
