"""Tiny, randomly initialised flow-matching bases, complete enough for every tool that loads a real one.

Their tokenizers know letters only. The same seed gives the same weights.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainers.models.files.source import starter_folder
from trainers.randomness import generator

FLOWS = {"sd3": "SD3", "flux": "Flux", "chroma": "Chroma", "z-image": "Lumina2"}
"""The families of tiny bases, with ComfyUI's class of each, by which it chooses its names."""
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,<>-"
CLIP: dict[str, Any] = {
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "vocab_size": 8192,
    "bos_token_id": 8190,
    "eos_token_id": 8191,
    "pad_token_id": 8191,
}
JOINT: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 2,
    "num_single_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (4, 4, 8),
}
DYNAMIC: dict[str, Any] = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}


def tiny_flow(family: str, seed: int = 0, t5: bool = True) -> Any:
    """The diffusers pipeline of a tiny base (`sd3`, `flux`, `chroma`, `z-image`); SD 3 also without T5."""
    made = {"sd3": _sd3, "flux": _flux, "chroma": _chroma, "z-image": _z_image}[family]
    pipeline = made(t5) if family == "sd3" else made()
    for part, network in pipeline.components.items():
        if isinstance(network, nn.Module):
            _fill(network, part, seed)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_flow_folder(family: str, target: Path, seed: int = 0, t5: bool = True) -> Path:
    """Write a tiny base in diffusers layout to `target`; return it."""
    tiny_flow(family, seed, t5).save_pretrained(str(target))
    return target


@torch.no_grad()
def _fill(network: nn.Module, part: str, seed: int) -> None:
    """Random weights: no zero bias, no norm that does nothing, no embedding that is far from the others."""
    for name, parameter in network.named_parameters():
        values = torch.randn(parameter.shape, generator=generator(seed, part, name))
        parameter.copy_(_scaled(name, values))
    network.eval().requires_grad_(False)


def _scaled(name: str, values: Tensor) -> Tensor:
    if values.dim() == 1:
        return 0.1 * values + (1 if name.endswith("weight") else 0)
    if "embed" in name or "shared" in name or "pad_token" in name:
        return values / math.sqrt(values.shape[-1]) if "proj" in name or "embedder" in name else values
    return values / math.sqrt(math.prod(values.shape[1:]))


def _sd3(t5: bool) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection

    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=80,
        caption_projection_dim=32,
        pooled_projection_dim=24 + 48,
        out_channels=16,
        pos_embed_max_size=16,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    tokenizer, encoder = _t5(80) if t5 else (None, None)
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(1.5305, 0.0609),
        text_encoder=_clip(CLIPTextModelWithProjection, 24, 24),
        tokenizer=_clip_tokenizer("tokenizer"),
        text_encoder_2=_clip(CLIPTextModelWithProjection, 40, 48),
        tokenizer_2=_clip_tokenizer("tokenizer_2"),
        text_encoder_3=encoder,
        tokenizer_3=tokenizer,
    )


def _flux() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel

    tokenizer, encoder = _t5(32)
    return FluxPipeline(
        transformer=FluxTransformer2DModel(**JOINT, pooled_projection_dim=24, guidance_embeds=True),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, **DYNAMIC),
        vae=_vae(0.3611, 0.1159),
        text_encoder=_clip(CLIPTextModel, 24, 24),
        tokenizer=_clip_tokenizer("tokenizer"),
        text_encoder_2=encoder,
        tokenizer_2=tokenizer,
    )


def _chroma() -> Any:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

    approximator = {"approximator_hidden_dim": 32, "approximator_layers": 1, "approximator_num_channels": 16}
    tokenizer, encoder = _t5(32)
    return ChromaPipeline(
        transformer=ChromaTransformer2DModel(**JOINT, **approximator),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, **DYNAMIC),
        vae=_vae(0.3611, 0.1159),
        text_encoder=encoder,
        tokenizer=tokenizer,
    )


def _z_image() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

    transformer = ZImageTransformer2DModel(
        in_channels=16,
        dim=48,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[8, 8, 8],
        axes_lens=[1024, 64, 64],
    )
    tokenizer, encoder = _qwen(32)
    return ZImagePipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(0.3611, 0.1159),
        text_encoder=encoder,
        tokenizer=tokenizer,
    )


def _vae(scale: float, shift: float) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        latent_channels=16,
        scaling_factor=scale,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _clip(kind: Any, width: int, projection: int) -> Any:
    from transformers import CLIPTextConfig

    sizes = {"hidden_size": width, "intermediate_size": 80, "projection_dim": projection}
    return kind(CLIPTextConfig(**CLIP, **sizes, hidden_act="quick_gelu"))


def _clip_tokenizer(part: str) -> Any:
    from transformers import CLIPTokenizer

    padding = "!" if part == "tokenizer_2" else "<|endoftext|>"
    return CLIPTokenizer.from_pretrained(str(starter_folder() / "tokenizer"), pad_token=padding, model_max_length=77)


def _t5(width: int) -> tuple[Any, Any]:
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    pieces = ["<pad>", "</s>", "<unk>", "▁", *LETTERS]
    vocabulary = [(piece, 0.0 if place < 3 else -float(place)) for place, piece in enumerate(pieces)]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512)
    config = {"vocab_size": len(pieces) + 4, "d_model": width, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 1}
    return tokenizer, T5EncoderModel(T5Config(**config, feed_forward_proj="gated-gelu"))


def _qwen(width: int) -> tuple[Any, Any]:
    from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3Model
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = {letter: place for place, letter in enumerate(bytes_to_unicode().values())}
    for special in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
        vocabulary[special] = len(vocabulary)
    ends = {"unk_token": None, "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], **ends)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    sizes = {"hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    heads = {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 1024}
    return tokenizer, Qwen3Model(Qwen3Config(vocab_size=len(vocabulary) + 8, **sizes, **heads))
