"""Flux.1: a transformer with joint and single blocks, T5's states as context and CLIP's pooled state, 1024 pixels.

`dev` was distilled from a guided model and reads the guidance scale as an input; `schnell` was distilled for few steps.
Latents are packed: each token holds 2 × 2 of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.families.family import HubBase, Licence, OriginalLayer, Pair, Variant, down_factor
from trainers.models.families.flow import FlowFamily
from trainers.models.families.flux_names import original_layers
from trainers.models.families.t5 import count_t5, encode_t5
from trainers.models.files.parts import PartSource

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.models.files.header import Header
    from trainers.models.networks import Networks
    from trainers.models.prediction import Prediction
    from trainers.models.text import Conditioning

CHANNELS = 64
"""Numbers in a token: 2 × 2 latents of 16 channels."""
T5_TOKENS = 512
"""Positions that T5 reads."""
VAE = PartSource("vae.", ("ae", "flux*vae*", "*flux*vae*", "*vae*flux*", "ae*"))
T5 = PartSource("text_encoders.t5xxl.transformer.", ("t5xxl_fp16", "t5xxl*", "t5*"))
GUIDANCE = ("guidance_in.in_layer.weight", "time_text_embed.guidance_embedder.linear_1.weight")
"""A tensor of transformers that read the guidance scale, in the authors' names and in diffusers'."""
FIRST = ("img_in", "x_embedder")
"""The input layer, in the authors' names and in diffusers'."""


DEV_LICENCE = Licence(
    "FLUX.1 [dev] Non-Commercial License",
    _("no commercial use of the base or of styles made on it"),
    "https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
)
QUICK: Mapping[str, Any] = {"sample": {"steps": 4, "guidance": 1.0}}
"""Settings of bases distilled for few steps without guidance."""


def apache(model: str) -> Licence:
    """The licence of a hub model under Apache-2.0."""
    return Licence("Apache-2.0", _("any use is allowed"), f"https://huggingface.co/{model}")


class FluxFamily(FlowFamily):
    """Base class of Flux and Chroma, which share packed latents and layer names."""

    style_form = "diffusers"
    diffusers_path = r"transformer_blocks|^(?:x|context)_embedder|^time_text_embed|^norm_out|^proj_out|linear_[12]$"
    prefixes = ("model.diffusion_model.", "diffusion_model.", "")
    text_positions = T5_TOKENS
    joint_blocks = ("feed_forward",)

    # ------------------------------------------------------------ which bases are of this family
    def check_file(self, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
        if any(".bitsandbytes__" in key for key in shapes):
            raise VelaturaError(
                "{name} was packed by bitsandbytes, which Velatura does not read; use the base in bf16, fp8 or GGUF",
                name=name,
            )
        first = (shapes.get(f"{prefix}{key}.weight") for prefix in self.prefixes for key in FIRST)
        check_channels(next((shape[-1] for shape in first if shape), 0), name)

    def check_config(self, config: Mapping[str, Any], name: str) -> None:
        check_channels(config.get("in_channels", CHANNELS), name)

    # ------------------------------------------------------------ loading
    def sizes(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> Pair:
        return self.resolution, 2 * down_factor(vae)

    # ------------------------------------------------------------ text
    @property
    def counting_tokenizer(self) -> str:
        return tuple(self.tokenizers)[-1]

    def count_tokens(self, tokenizer: Any, caption: str, sizes: Mapping[str, int]) -> int:
        return count_t5(tokenizer, caption, sizes)

    def token_limit(self, chunks: int) -> int:
        return T5_TOKENS - 1  # the last position is the end

    # ------------------------------------------------------------ names in style files
    def original_layers(self, config: Mapping[str, Any], paths: Sequence[str]) -> Iterator[OriginalLayer]:
        return original_layers(config, paths)


class Flux1(FluxFamily):
    name = "flux"
    title = "Flux.1"
    short_title = "Flux.1"
    offered = HubBase(
        "black-forest-labs/FLUX.1-dev",
        "Flux.1 dev",
        33_700_000_000,
        _("Follows long prompts very closely; needs a graphics card with 12 GB or more, packed."),
        DEV_LICENCE,
        gated=True,
    )
    hub_tag = "flux"
    implementation = "https://github.com/black-forest-labs/flux"
    networks: ClassVar[Mapping[str, str]] = {
        "transformer": "diffusers.FluxTransformer2DModel",
        "vae": "diffusers.AutoencoderKL",
        "text_encoder": "transformers.CLIPTextModel",
        "text_encoder_2": "transformers.T5EncoderModel",
    }
    tokenizers: ClassVar[Mapping[str, str]] = {
        "tokenizer": "transformers.CLIPTokenizer",
        "tokenizer_2": "transformers.T5Tokenizer",
    }
    marks = (
        ("single_blocks.0.modulation.lin.weight",),
        ("single_transformer_blocks.0.norm.linear.weight", "x_embedder.weight"),
    )
    part_sources: ClassVar[Mapping[str, PartSource]] = {
        "vae": VAE,
        "text_encoder": PartSource("text_encoders.clip_l.transformer.", ("clip_l", "clip_l*")),
        "text_encoder_2": T5,
    }
    style_mark = r"double_blocks|single_blocks|single_transformer_blocks"
    hub_names = ("flux.1", "flux1", "flux-1")
    variants = (
        Variant("flow", 1024, "flux1", "flux-1-dev", "flux-dev", licence=DEV_LICENCE),
        Variant(
            "flow", 1024, "flux1", "flux-1-schnell", "flux-schnell", QUICK, apache("black-forest-labs/FLUX.1-schnell")
        ),
    )
    settings: ClassVar[Mapping[str, Any]] = {
        "loss": {"timesteps": "logit-normal 0 1 shifted auto"},
        "sample": {"sampler": "euler", "steps": 28, "guidance": 3.5},
    }
    reads_guidance = True

    def variant(self, prediction: Prediction, config: Mapping[str, Any]) -> Variant:
        return self.variants[0 if config.get("guidance_embeds") else 1]

    def variant_called(self, name: str) -> Variant:
        return self.variants[1 if "schnell" in name.lower() else 0]

    def variant_of_file(self, header: Header) -> Variant:
        guided = any(f"{prefix}{key}" in header.shapes for prefix in self.prefixes for key in GUIDANCE)
        return self.variants[0 if guided else 1]

    def encode(self, base: Networks, captions: Sequence[str], clip_skip: int, chunks: int) -> Conditioning:
        from trainers.models.text import Conditioning

        (clip, t5), (clip_encoder, t5_encoder) = base.tokenizers, base.text_encoders
        states, _mask = encode_t5(t5, t5_encoder, captions, T5_TOKENS)
        return Conditioning(states, _pooled(clip, clip_encoder, captions))

    def predict(
        self,
        base: Networks,
        latents: Tensor,
        t: Tensor,
        text: Conditioning,
        time_ids: Tensor | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        import torch

        text = text.to(latents.device, base.dtype)
        scale = base.guidance if guidance is None else guidance
        scales = torch.full((len(latents),), scale, device=latents.device) if self.guides_itself(base) else None
        return predict_packed(base, latents, t, text.context, pooled_projections=text.pooled, guidance=scales)

    def guides_itself(self, base: Networks) -> bool:
        return bool(base.denoiser.config.guidance_embeds)


def check_channels(channels: int, name: str) -> None:
    """Raise VelaturaError if a transformer with this number of inputs per token is not a text-to-image model."""
    if channels != CHANNELS:
        raise VelaturaError(
            "{name} is not a text-to-image model: its transformer reads {channels} numbers in a token instead of "
            "{expected}, as those for editing, filling and depth do; use a text-to-image base",
            name=name,
            channels=channels,
            expected=CHANNELS,
        )


def predict_packed(base: Networks, latents: Tensor, t: Tensor, context: Tensor, **inputs: Any) -> Tensor:
    """The prediction `(n, c, h, w)` of a transformer that reads packed latents, their positions, and σ as the time."""
    import torch

    transformer, device = base.denoiser, latents.device
    height, width = latents.shape[2:]
    packed: Tensor = transformer(
        hidden_states=pack(latents.to(base.dtype)),
        encoder_hidden_states=context,
        timestep=t.to(device) / base.schedule.steps,
        txt_ids=torch.zeros(context.shape[1], 3, device=device),
        img_ids=places(height // 2, width // 2, device),
        return_dict=False,
        **inputs,
    )[0]
    return unpack(packed, height, width)


def pack(latents: Tensor) -> Tensor:
    """Tokens `(n, h/2 · w/2, 4c)`, row by row, of latents `(n, c, h, w)`."""
    n, c, h, w = latents.shape
    return latents.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, 4 * c)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Latents `(n, c, height, width)` of tokens `(n, height/2 · width/2, 4c)`."""
    n, _count, c = tokens.shape
    split = tokens.view(n, height // 2, width // 2, c // 4, 2, 2)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(n, c // 4, height, width)


def places(rows: int, columns: int, device: torch.device) -> Tensor:
    """The positions `(rows · columns, 3)` of an image's tokens: 0, row, column. Those of text are all 0."""
    import torch

    return torch.cartesian_prod(*(torch.arange(float(side), device=device) for side in (1, rows, columns)))


def _pooled(tokenizer: Any, encoder: Any, captions: Sequence[str]) -> Tensor:
    """CLIP's state `(n, d)` at the end of each caption, truncated to 77 tokens."""
    import torch

    settings = {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True}
    ids = tokenizer(list(captions), return_tensors="pt", **settings).input_ids
    with torch.no_grad():
        pooled: Tensor = encoder(ids.to(encoder.device)).pooler_output
    return pooled
