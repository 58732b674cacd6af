"""From diffusers' and transformers' tensor names to those of the original single-file layout, written for the tests.

Sources: the published LDM, SGM and open_clip module trees. It shares no code with the loader, whose map it checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
TOP = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def unet_name(key: str, attentive_up_blocks: set[int], layers: int = 2) -> str:
    """The LDM name of a UNet tensor; `attentive_up_blocks` are the indices of up blocks that have attentions."""
    module, _, kind = key.rpartition(".")
    if module in TOP:
        return f"{TOP[module]}.{kind}"
    side, rest = key.split("_block", 1)
    if side == "mid":
        group, index, tail = re.fullmatch(r"\.(resnets|attentions)\.(\d)\.(.+)", rest).groups()
        place = 2 * int(index) if group == "resnets" else 1
        return f"middle_block.{place}.{_inside(group, tail)}"
    block, group, index, tail = re.fullmatch(r"s\.(\d)\.(\w+)\.(\d)\.(.+)", rest).groups()
    b, i = int(block), int(index)
    if group == "downsamplers":
        return f"input_blocks.{(layers + 1) * (b + 1)}.0.op.{kind}"
    if group == "upsamplers":
        return f"output_blocks.{(layers + 1) * b + layers}.{2 if b in attentive_up_blocks else 1}.conv.{kind}"
    start = f"input_blocks.{1 + (layers + 1) * b + i}" if side == "down" else f"output_blocks.{(layers + 1) * b + i}"
    return f"{start}.{0 if group == 'resnets' else 1}.{_inside(group, tail)}"


def _inside(group: str, tail: str) -> str:
    if group == "attentions":
        return tail
    module, _, kind = tail.rpartition(".")
    return f"{RESNET[module]}.{kind}"


def vae_name(key: str, levels: int = 4) -> str:
    """The LDM name of an autoencoder tensor."""
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    for ours, theirs in VAE_ATTENTION.items():
        key = key.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{theirs}.")
    key = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", key)
    key = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", key)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", key)


def open_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A text encoder's tensors under open_clip's names, q, k and v stacked and the projection transposed."""
    weights = {key.removeprefix("text_model."): tensor for key, tensor in weights.items()}
    out = {
        "positional_embedding": weights["embeddings.position_embedding.weight"],
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "ln_final.weight": weights["final_layer_norm.weight"],
        "ln_final.bias": weights["final_layer_norm.bias"],
        "logit_scale": torch.tensor(4.6),
    }
    if "text_projection.weight" in weights:
        out["text_projection"] = weights["text_projection.weight"].T.contiguous()
    layers = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith("encoder.layers."))
    for layer in range(layers):
        ours, theirs = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            stacked = [weights[f"{ours}self_attn.{p}_proj.{kind}"] for p in "qkv"]
            out[f"{theirs}attn.in_proj_{kind}"] = torch.cat(stacked)
            for a, b in OPEN_CLIP.items():
                out[f"{theirs}{b}.{kind}"] = weights[f"{ours}{a}.{kind}"]
    return out


def single_file(
    parts: Mapping[str, Mapping[str, Tensor]], attentive_up_blocks: set[int], layers: int = 2
) -> dict[str, Tensor]:
    """All tensors of a checkpoint in the original layout, from the parts' own state dicts by folder name."""
    names = {key: unet_name(key, attentive_up_blocks, layers) for key in parts["unet"]}
    out = {f"model.diffusion_model.{names[key]}": tensor for key, tensor in parts["unet"].items()}
    for key, tensor in parts["vae"].items():
        name = f"first_stage_model.{vae_name(key)}"
        # The original's attention is 1×1 convolutions.
        out[name] = tensor[..., None, None] if ".mid.attn_1." in name and tensor.ndim == 2 else tensor
    first = {key.removeprefix("text_model."): tensor for key, tensor in parts["text_encoder"].items()}
    positions = torch.arange(first["embeddings.position_embedding.weight"].shape[0])[None]
    as_hugging_face = {f"text_model.{key}": tensor for key, tensor in first.items()}
    as_hugging_face["text_model.embeddings.position_ids"] = positions
    if "text_encoder_2" in parts:
        out |= {f"conditioner.embedders.0.transformer.{key}": t for key, t in as_hugging_face.items()}
        out |= {f"conditioner.embedders.1.model.{key}": t for key, t in open_clip(parts["text_encoder_2"]).items()}
    elif parts["unet"]["mid_block.attentions.0.proj_in.weight"].ndim == 2:  # SD 2: linear layers, open_clip's text
        out |= {f"cond_stage_model.model.{key}": tensor for key, tensor in open_clip(first).items()}
    else:
        out |= {f"cond_stage_model.transformer.{key}": tensor for key, tensor in as_hugging_face.items()}
    out["alphas_cumprod"] = torch.linspace(0.999, 0.005, 1000)  # every original checkpoint carries its schedule
    return out
