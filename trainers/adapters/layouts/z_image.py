"""Z-Image: single blocks over text and image; its embedders take the tokens of all images in one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainers.adapters.layouts.layout import BlockKind, LayerRole, Layout, Stream

PADDED = 32
"""Tokens of each image are padded to a multiple of this."""


def rows_of_call(denoiser: Any, args: tuple[Any, ...]) -> Mapping[Stream, tuple[int, ...]]:
    """Tokens of each image, by stream, in a call of the transformer with images, time and captions."""
    images, _time, captions = args
    patch = denoiser.config.all_patch_size[0]
    counts: Mapping[Stream, list[int]] = {
        "image": [image[0].numel() // patch**2 for image in images],
        "text": [len(caption) for caption in captions],
    }
    return {stream: tuple(n + -n % PADDED for n in tokens) for stream, tokens in counts.items()}


def _single_blocks(start: str, stream: Stream) -> dict[str, LayerRole]:
    """Roles in its blocks, whose feed-forward has its gate in a separate layer."""
    return {
        f"{start}.*.attention.to_q": LayerRole("q", "self_attention", stream=stream),
        f"{start}.*.attention.to_k": LayerRole("k", "self_attention", stream=stream),
        f"{start}.*.attention.to_v": LayerRole("v", "self_attention", stream=stream),
        f"{start}.*.attention.to_out.0": LayerRole("out", "self_attention", stream=stream),
        f"{start}.*.feed_forward.w[13]": LayerRole("ff_in", "feed_forward", stream=stream),
        f"{start}.*.feed_forward.w2": LayerRole("ff_out", "feed_forward", stream=stream),
        f"{start}.*.adaLN_modulation.0": LayerRole("modulation", "modulation", stream=stream),
    }


LAYOUT = Layout(
    layers={
        **_single_blocks(".layers", "joint"),
        **_single_blocks(".noise_refiner", "image"),
        **_single_blocks(".context_refiner", "text"),
        ".all_x_embedder.*": LayerRole("proj_in", "ends", batched=False),
        ".cap_embedder.1": LayerRole("proj_in", "ends", stream="text", batched=False),
        ".all_final_layer.*.adaLN_modulation.1": LayerRole("modulation", "modulation"),
        ".all_final_layer.*.linear": LayerRole("proj_out", "ends"),
    },
    stages=(("noise_refiner", "context_refiner", "siglip_refiner"), ("layers",)),
    outside=("t_embedder", "cap_embedder", "all_x_embedder", "all_final_layer", "x_embedder", "final_layer"),
    inside=("attention_norm[12]", "ffn_norm[12]", "[qk]_norm"),
    blocks={
        ".layers.*.attention": BlockKind("self_attention", "to_q", "to_out.0"),
        ".*_refiner.*.attention": BlockKind("self_attention", "to_q", "to_out.0"),
        ".layers.*.feed_forward": BlockKind("feed_forward", "w1", "w2"),
        ".*_refiner.*.feed_forward": BlockKind("feed_forward", "w1", "w2"),
    },
    times={"ZImageTransformer2DModel": (1000, -1000)},
    rows={"ZImageTransformer2DModel": rows_of_call},
)
