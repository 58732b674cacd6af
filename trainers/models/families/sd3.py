"""Stable Diffusion 3 and 3.5: a transformer that reads two CLIP encoders and T5, in joint attention with the image.

The context is the penultimate states of both CLIP encoders side by side, padded with zeros to T5's width, followed by
T5's states. Without T5, these are zeros: the networks were trained with any of the three encoders left out (Esser et
al. 2024, arXiv 2403.03206, §5.3). `pooled` is both projections side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.messages import Message as _
from trainers.models.families.family import HubBase, Layout, Licence, OriginalLayer, Pair, Variant, down_factor
from trainers.models.families.flow import FlowFamily
from trainers.models.families.sd3_names import original_layers
from trainers.models.files.parts import PartSource
from trainers.models.prediction import Prediction

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.models.files.header import Header
    from trainers.models.networks import Networks
    from trainers.models.text import Conditioning

T5_LENGTH = 256
"""Positions of a caption that T5 reads, as many as in diffusers' pipeline."""
BLOCK = re.compile(r"^(?:model\.diffusion_model\.)?joint_blocks\.\d+\.")


COMMUNITY = Licence(
    "Stability AI Community License",
    _("free of charge, also commercially, up to a yearly revenue of one million US dollars"),
    "https://stability.ai/community-license-agreement",
)


def _variant(version: str, architecture: str, configs: str, title: str) -> Variant:
    """A variant, whose distilled bases draw in four steps without guidance."""
    turbo = {"sample": {"steps": 4, "guidance": 1.0}}
    return Variant("flow", 1024, version, architecture, configs, few_steps=turbo, licence=COMMUNITY, title=title)


class StableDiffusion3(FlowFamily):
    name = "sd3"
    title = "Stable Diffusion 3 / 3.5"
    short_title = "SD 3.5"
    offered = HubBase(
        "stabilityai/stable-diffusion-3.5-medium",
        "Stable Diffusion 3.5 medium",
        6_800_000_000,
        _("Follows long prompts more closely."),
        COMMUNITY,
        gated=True,
    )
    text_positions = 77 + T5_LENGTH
    hub_tag = "sd3"
    networks: ClassVar[Mapping[str, str]] = {
        "transformer": "diffusers.SD3Transformer2DModel",
        "vae": "diffusers.AutoencoderKL",
        "text_encoder": "transformers.CLIPTextModelWithProjection",
        "text_encoder_2": "transformers.CLIPTextModelWithProjection",
        "text_encoder_3": "transformers.T5EncoderModel",
    }
    tokenizers: ClassVar[Mapping[str, str]] = {
        "tokenizer": "transformers.CLIPTokenizer",
        "tokenizer_2": "transformers.CLIPTokenizer",
        "tokenizer_3": "transformers.T5Tokenizer",
    }
    optional: ClassVar[Mapping[str, str]] = {
        "text_encoder_3": _(
            "This base is without T5, its third text encoder: captions are read by its two CLIP encoders alone. "
            "Use the style without T5, too."
        )
    }
    trained_encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    encoder_layouts: ClassVar[Mapping[str, Layout]] = {"text_encoder": "clip", "text_encoder_2": "clip"}
    variants = (
        _variant("5-medium", "stable-diffusion-3-5-medium", "sd3.5-medium", "Stable Diffusion 3.5 medium"),
        _variant("5-large", "stable-diffusion-3-5-large", "sd3.5-large", "Stable Diffusion 3.5 large"),
        _variant("medium", "stable-diffusion-3-medium", "sd3-medium", "Stable Diffusion 3 medium"),
    )
    evenly_spaced = False
    part_sources: ClassVar[Mapping[str, PartSource]] = {
        "vae": PartSource("first_stage_model.", ("sd3_vae", "sd3*vae*", "*sd3*vae*", "*vae*sd3*")),
        "text_encoder": PartSource("text_encoders.clip_l.transformer.", ("clip_l", "clip_l*")),
        "text_encoder_2": PartSource("text_encoders.clip_g.transformer.", ("clip_g", "clip_g*")),
        "text_encoder_3": PartSource("text_encoders.t5xxl.transformer.", ("t5xxl_fp16", "t5xxl*")),
    }
    loose_tensors: ClassVar[Mapping[str, str]] = {"pos_embed": "pos_embed.pos_embed"}
    style_form = "native"
    style_mark = r"joint_blocks|(?<!single)[._]transformer_blocks[._](?:19|[2-9]\d)[._]"  # UNets and Flux have fewer
    diffusers_path = r"transformer_blocks|^pos_embed|^time_text_embed|^norm_out|^proj_out"
    joint_blocks = ("feed_forward", "self_attention")
    hub_names = ("stable-diffusion-3", "sd3")
    settings: ClassVar[Mapping[str, Any]] = {
        "loss": {"timesteps": "logit-normal 0 1 shifted auto"},
        "sample": {"sampler": "euler", "steps": 28, "guidance": 4.5},
    }

    # ------------------------------------------------------------ which bases and styles are of this family
    def owns_file(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        return any(BLOCK.match(key) for key in shapes)

    def variant(self, prediction: Prediction, config: Mapping[str, Any]) -> Variant:
        medium, large, first = self.variants
        if config.get("dual_attention_layers"):
            return medium
        return large if config.get("qk_norm") else first

    def variant_of_file(self, header: Header) -> Variant:
        dual = any(".attn2." in key for key in header.shapes)
        normed = any(key.endswith("x_block.attn.ln_q.weight") for key in header.shapes)
        return self.variant("flow", {"dual_attention_layers": dual, "qk_norm": normed})

    def variant_called(self, name: str) -> Variant:
        words = name.lower().replace("-", ".").replace("_", ".")
        medium, large, first = self.variants
        if "large" in words:
            return large
        return medium if "3.5" in words or "35" in words else first

    # ------------------------------------------------------------ loading
    def sizes(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> Pair:
        factor = down_factor(vae)
        return denoiser["sample_size"] * factor, factor * denoiser["patch_size"]

    # ------------------------------------------------------------ text, prediction, sampling
    def encode(self, base: Networks, captions: Sequence[str], clip_skip: int, chunks: int) -> Conditioning:
        import torch

        from trainers.models.families.t5 import encode_t5
        from trainers.models.text import Conditioning, clip_states

        count = len(self.trained_encoders)
        states, pooled = zip(*clip_states(base, count, captions, clip_skip, chunks, False), strict=True)
        width = base.denoiser.config.joint_attention_dim
        clip = torch.cat(states, dim=-1)
        clip = torch.nn.functional.pad(clip, (0, width - clip.shape[-1]))
        if len(base.text_encoders) == len(self.encoders):
            t5, _mask = encode_t5(base.tokenizers[-1], base.text_encoders[-1], captions, T5_LENGTH)
        else:
            t5 = clip.new_zeros(len(captions), T5_LENGTH, width)
        return Conditioning(torch.cat([clip, t5.to(clip)], dim=1), torch.cat(pooled, dim=-1))

    def count_tokens(self, tokenizer: Any, caption: str, sizes: Mapping[str, int]) -> int:
        from trainers.models.text import count_positions
        from trainers.models.words import token_groups

        return count_positions(token_groups(tokenizer, caption, sizes))

    def token_limit(self, chunks: int) -> int:
        from trainers.models.words import CHUNK

        return CHUNK * chunks

    def predict(
        self,
        base: Networks,
        latents: Tensor,
        t: Tensor,
        text: Conditioning,
        time_ids: Tensor | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        transformer, device, dtype = base.denoiser, latents.device, base.dtype
        text = text.to(device, dtype)
        prediction: Tensor = transformer(
            hidden_states=latents.to(dtype),
            timestep=t.to(device),
            encoder_hidden_states=text.context,
            pooled_projections=text.pooled,
            return_dict=False,
        )[0]
        return prediction

    # ------------------------------------------------------------ names in style files
    def original_layers(self, config: Mapping[str, Any], paths: Sequence[str]) -> Iterator[OriginalLayer]:
        return original_layers(config, paths)
