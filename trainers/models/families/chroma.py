"""Chroma: Flux.1 schnell trained on without its distillation, with T5 alone, and classifier-free guidance as usual.

A small network computes the modulation of all blocks. Padding is masked except for one token (lodestones 2025, the
model's page), in T5 and in the transformer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.messages import Message as _
from trainers.models.families.family import HubBase, Variant
from trainers.models.families.flux import T5, T5_TOKENS, VAE, FluxFamily, apache, predict_packed
from trainers.models.families.t5 import encode_t5
from trainers.models.files.parts import PartSource

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.models.networks import Networks
    from trainers.models.text import Conditioning


class Chroma(FluxFamily):
    name = "chroma"
    title = "Chroma"
    short_title = "Chroma"
    offered = HubBase(
        "lodestones/Chroma1-HD",
        "Chroma 1 HD",
        27_500_000_000,
        _("A free relative of Flux.1; needs a graphics card with 12 GB or more, packed."),
        apache("lodestones/Chroma1-HD"),
    )
    hub_tag = "chroma"
    implementation = "https://github.com/lodestone-rock/flow"
    networks: ClassVar[Mapping[str, str]] = {
        "transformer": "diffusers.ChromaTransformer2DModel",
        "vae": "diffusers.AutoencoderKL",
        "text_encoder": "transformers.T5EncoderModel",
    }
    tokenizers: ClassVar[Mapping[str, str]] = {"tokenizer": "transformers.T5Tokenizer"}
    marks = (("distilled_guidance_layer.in_proj.weight",),)
    part_sources: ClassVar[Mapping[str, PartSource]] = {"vae": VAE, "text_encoder": T5}
    style_mark = r"distilled_guidance_layer"
    named_as = "flux"
    lacks = (
        *("time.text.embed", "norm1.linear", "norm1.context", ".norm.linear", "norm.out"),
        *("time.in", "vector.in", "guidance.in", "img.mod", "txt.mod", "modulation"),
    )
    hub_names = ("chroma",)
    known_by_authors_path = "distilled_guidance_layer."
    variants = (Variant("flow", 1024, "chroma", "chroma", "chroma", licence=apache("lodestones/Chroma1-HD")),)
    settings: ClassVar[Mapping[str, Any]] = {
        "loss": {"timesteps": "logit-normal 0 1"},
        "sample": {"sampler": "euler", "steps": 30, "guidance": 4.0},
    }

    def encode(self, base: Networks, captions: Sequence[str], clip_skip: int, chunks: int) -> Conditioning:
        from trainers.models.text import Conditioning

        states, tokens = encode_t5(base.tokenizers[0], base.text_encoders[0], captions, T5_TOKENS, masked=True)
        return Conditioning(states, mask=with_one_padding(tokens))

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
        assert text.mask is not None
        attended = text.mask.bool()
        attended = attended[:, : int(attended.sum(1).max())]  # positions masked in all rows only cost time
        image = attended.new_ones(len(latents), latents.shape[2] * latents.shape[3] // 4)
        mask = None if attended.all() else torch.cat([attended, image], 1)
        _mask_checkpointed(base.denoiser, mask)
        return predict_packed(base, latents, t, text.context[:, : attended.shape[1]], attention_mask=mask)


def with_one_padding(tokens: Tensor) -> Tensor:
    """A mask `(n, length)` of 0 and 1 that adds the first padding after the tokens to theirs."""
    import torch

    places = torch.arange(tokens.shape[1], device=tokens.device)
    return (places <= tokens.sum(1, keepdim=True)).to(tokens.dtype)


@dataclass(frozen=True)
class CheckpointWithMask:
    """Gradient checkpointing that passes the mask to single blocks, which diffusers 0.42 omits."""

    checkpoint: Callable[..., Any]
    mask: Tensor | None

    def __call__(self, block: Any, *inputs: Any) -> Any:
        single = type(block).__name__ == "ChromaSingleTransformerBlock"
        return self.checkpoint(block, *inputs, *([self.mask] if single else []))


def _mask_checkpointed(transformer: Any, mask: Tensor | None) -> None:
    if transformer.is_gradient_checkpointing:
        current = transformer._gradient_checkpointing_func
        checkpoint = current.checkpoint if isinstance(current, CheckpointWithMask) else current
        transformer._gradient_checkpointing_func = CheckpointWithMask(checkpoint, mask)
