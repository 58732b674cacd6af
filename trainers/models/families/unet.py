"""Stable Diffusion's U-Nets, which SD 1, SD 2 and SDXL share: CLIP text, a schedule of timesteps, epsilon or v.

With one text encoder, the UNet reads a hidden state after the final norm. With two, it reads the penultimate states of
both, side by side, without the norm, and the second encoder's projected end-of-text state as `pooled`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.families.family import NO_PARTS, Denoiser, Family, OriginalLayer, Pair, Variant, down_factor
from trainers.models.families.unet_names import UNetShape, original_path
from trainers.models.prediction import Prediction, detect_prediction, prediction_of_config

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.config.config import Config
    from trainers.config.sections import Base
    from trainers.models.files.header import Header
    from trainers.models.networks import Networks
    from trainers.models.schedule import NoiseSchedule
    from trainers.models.text import Conditioning

ORIGINAL = "model.diffusion_model."
"""Start of the UNet's tensor names in a checkpoint."""
FIRST = f"{ORIGINAL}input_blocks.0.0.weight"
"""The tensor whose inputs are the latents' channels."""
FLOW_WEIGHTINGS = ("sigma-squared", "cosmap")
KNOWN_WIDTHS = (768, 1024)
"""Widths of the text context of Stable Diffusion 1 and 2."""

ONE_ENCODER: Mapping[str, str] = {
    "unet": "diffusers.UNet2DConditionModel",
    "vae": "diffusers.AutoencoderKL",
    "text_encoder": "transformers.CLIPTextModel",
}
"""The networks of a base with one text encoder."""


class UNetFamily(Family):
    """Base class of the three families with a U-Net."""

    denoiser: ClassVar[Denoiser] = "unet"
    context_width: ClassVar[int]
    """Width of the text context, the input of cross-attention."""
    encoder_mark: ClassVar[str]
    """Prefix of a checkpoint's tensor names that identifies the text encoder."""
    tokenizers: ClassVar[Mapping[str, str]] = {"tokenizer": "transformers.CLIPTokenizer"}
    trained_encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)

    # ------------------------------------------------------------ which bases and styles are of this family
    def owns_file(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        return FIRST in shapes and any(key.startswith(self.encoder_mark) for key in shapes)

    def check_file(self, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
        check_latents(shapes[FIRST][1], name)
        if not any(key.startswith("first_stage_model.") for key in shapes):
            raise VelaturaError("{name} has no VAE inside (`first_stage_model`); give a complete checkpoint", name=name)

    def owns_folder(self, pipeline: str, config: Mapping[str, Any]) -> bool:
        return self.may_own(config) or config.get("cross_attention_dim") == self.context_width

    def may_own(self, config: Mapping[str, Any]) -> bool:
        # Networks of unusual width (the starter) belong to the family whose layers they have.
        unusual = config.get("cross_attention_dim") not in KNOWN_WIDTHS
        return unusual and config.get("addition_embed_type") != "text_time"

    def check_config(self, config: Mapping[str, Any], name: str) -> None:
        check_latents(config.get("in_channels", 4), name, config.get("out_channels", 4))

    def owns_layers(self, layers: Mapping[str, str | None], width: int | None) -> bool:
        return width == self.context_width

    def prediction_of_file(self, header: Header) -> Prediction | None:
        return detect_prediction(header)

    def prediction_of_scheduler(self, config: Mapping[str, Any]) -> Prediction | None:
        return prediction_of_config(config)

    def variant(self, prediction: Prediction, config: Mapping[str, Any]) -> Variant:
        return next(variant for variant in self.variants if variant.prediction == prediction)

    def variant_of_file(self, header: Header) -> Variant:
        return self.variant(detect_prediction(header) or "epsilon", {})

    # ------------------------------------------------------------ loading
    def sizes(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> Pair:
        factor = down_factor(vae)
        return denoiser["sample_size"] * factor, factor * down_factor(denoiser)

    def note_size(self, denoiser: Any, resolution: int, vae_factor: int) -> None:
        denoiser.register_to_config(sample_size=resolution // vae_factor)

    def schedule(self, scheduler: Mapping[str, Any], prediction: Prediction, settings: Base) -> NoiseSchedule:
        from trainers.models.schedule import schedule_from_config

        setting = settings.zero_terminal_snr
        rescale = bool(scheduler.get("rescale_betas_zero_snr")) if setting == "auto" else setting == "on"
        if rescale and prediction == "epsilon":
            if setting == "on":
                raise VelaturaError(
                    "base.zero_terminal_snr = on needs a base that predicts v, since epsilon cannot be predicted from "
                    "pure noise; this one predicts epsilon"
                )
            rescale = False
        return schedule_from_config({**scheduler, "rescale_betas_zero_snr": rescale}, prediction)

    def config_problems(self, config: Config) -> Mapping[str, str]:
        problems = {}
        if config.loss.weighting in FLOW_WEIGHTINGS:
            problems["loss.weighting"] = _(
                "loss.weighting = {weighting} is for flow-matching bases; {title} has auto, min-snr, debiased or none",
                weighting=config.loss.weighting,
                title=self.title,
            )
        if config.train.text_encoder_2_learning_rate and len(self.trained_encoders) == 1:
            problems["train.text_encoder_2_learning_rate"] = _(
                "train.text_encoder_2_learning_rate has no effect on {title}, which has one text encoder",
                title=self.title,
            )
        if config.base.parts:
            problems["base.parts"] = NO_PARTS.format(title=self.title)
        if config.base.guidance != 1:
            problems["base.guidance"] = _(
                "base.guidance does not apply to {title}: only Flux.1 dev reads a guidance scale while training; leave "
                "it at 1",
                title=self.title,
            )
        if config.base.swap_blocks:
            problems["base.swap_blocks"] = _(
                "base.swap_blocks is for transformers; {title} has a UNet, whose levels do not run one after the other",
                title=self.title,
            )
        if config.targets.transformer:
            problems["targets.transformer"] = _(
                "targets.transformer has no effect on {title}, which has a UNet; set targets.unet", title=self.title
            )
        return problems

    # ------------------------------------------------------------ text, prediction, sampling
    def encode(self, base: Networks, captions: Sequence[str], clip_skip: int, chunks: int) -> Conditioning:
        import torch

        from trainers.models.text import Conditioning, clip_states

        last = len(self.encoders) == 1
        count = len(self.trained_encoders)
        contexts, pooled = zip(*clip_states(base, count, captions, clip_skip, chunks, last), strict=True)
        return Conditioning(torch.cat(contexts, dim=-1), None if last else pooled[-1])

    def count_tokens(self, tokenizer: Any, caption: str, sizes: Mapping[str, int]) -> int:
        from trainers.models.text import count_positions
        from trainers.models.words import token_groups

        return count_positions(token_groups(tokenizer, caption, sizes))

    def token_limit(self, chunks: int) -> int:
        from trainers.models.words import CHUNK

        return CHUNK * chunks

    def unread_layers(self, base: Networks, clip_skip: int) -> tuple[str, ...]:
        from trainers.models.text import unread_clip_layers

        return unread_clip_layers(base, self.trained_encoders, clip_skip, len(self.encoders) == 1)

    def predict(
        self,
        base: Networks,
        latents: Tensor,
        t: Tensor,
        text: Conditioning,
        time_ids: Tensor | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        unet, device, dtype = base.denoiser, latents.device, base.dtype
        text = text.to(device, dtype)
        extra = None if time_ids is None else {"text_embeds": text.pooled, "time_ids": time_ids.to(device)}
        prediction: Tensor = unet(
            latents.to(dtype),
            t.to(device),
            encoder_hidden_states=text.context,
            timestep_cond=_embedded(unet, guidance, latents.to(dtype)) if self.guides_itself(base) else None,
            added_cond_kwargs=extra,
            return_dict=False,
        )[0]
        return prediction

    def middle_block(self, denoiser: Any) -> Any:
        return denoiser.mid_block

    def image_activations(self, output: Any) -> Tensor:
        features: Tensor = output
        return features.flatten(2)

    def guides_itself(self, base: Networks) -> bool:
        return base.denoiser.config.time_cond_proj_dim is not None

    # ------------------------------------------------------------ names in style files
    def original_layers(self, config: Mapping[str, Any], paths: Sequence[str]) -> Iterator[OriginalLayer]:
        shape = UNetShape.of(config)
        return (OriginalLayer(original_path(path, shape), (path,)) for path in paths)


def check_latents(channels: int, name: str, predicted: int = 4) -> None:
    """Raise VelaturaError if a UNet does not read as many channels as it predicts: it is not a text-to-image model."""
    if channels != predicted:
        raise VelaturaError(
            "{name} is an inpainting or editing model (its UNet has {channels} input channels instead of "
            "{predicted}); use a text-to-image base",
            name=name,
            channels=channels,
            predicted=predicted,
        )


def _embedded(unet: Any, guidance: float | None, latents: Tensor) -> Tensor | None:
    """The guidance scale as latent consistency models read it, `(n, d)` (Luo et al. 2023, arXiv 2310.04378, §4.3)."""
    if guidance is None:
        return None
    import math

    import torch

    width = unet.config.time_cond_proj_dim
    rates = torch.exp(torch.arange(width // 2) * -(math.log(10_000.0) / (width // 2 - 1)))
    angles = torch.full((len(latents), 1), (guidance - 1) * 1000.0) * rates
    embedded = torch.nn.functional.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, width % 2))
    return embedded.to(latents)
