"""Flow-matching transformers, the base of SD 3, Flux and later families: no table of timesteps, no epsilon or v."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.config.limits import FLOW_SAMPLERS
from trainers.messages import Message as _
from trainers.models.families.family import Denoiser, Family, Variant
from trainers.models.prediction import Prediction

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.config.config import Config
    from trainers.config.sections import Base
    from trainers.models.files.header import Header
    from trainers.models.flow import FlowSchedule

NOT_HERE = _("{key} does not apply to {title}: {why}; leave it at {default}")
UNCHECKED = _("nobody has checked there that scores choose well")
NO_TABLE = _("a flow-matching base has neither epsilon nor v, and no table of noise levels")
NO_GUIDANCE = _("its network does not read a guidance scale")
FROZEN = _("its text encoders are frozen")
ONE_STATE = _("it always reads the same states of its text encoders")
LONG_CAPTIONS = _("it reads {count} tokens of a caption")
JOINT = _("its attention is joint, over image and text at once")
NO_WORDS = _("words can be added to CLIP alone, and it has another text encoder")


class FlowFamily(Family):
    """Base class of families of flow-matching transformers."""

    denoiser: ClassVar[Denoiser] = "transformer"
    trained_encoders: ClassVar[tuple[str, ...]] = ()
    marks: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Sets of tensors that only this family has, in the authors' names and in diffusers'."""
    style_mark: ClassVar[str]
    """A pattern in layer names of styles that no other family has, with dots or underscores."""
    samplers = FLOW_SAMPLERS
    pixels_in_a_token: ClassVar[int] = 256
    """Pixels of the image per token of the transformer, 16 × 16."""
    joint_blocks: ClassVar[tuple[str, ...]] = ()
    """Kinds of block that block methods can change, if attention is joint over image and text."""
    evenly_spaced: ClassVar[bool] = True
    """See `FlowSchedule.evenly_spaced`."""

    def owns_file(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        marks = ([f"{prefix}{key}" for key in mark] for prefix in self.prefixes for mark in self.marks)
        return any(all(key in shapes for key in mark) for mark in marks)

    def owns_folder(self, pipeline: str, config: Mapping[str, Any]) -> bool:
        return f"diffusers.{config.get('_class_name')}" == self.networks[self.denoiser]

    def owns_layers(self, layers: Mapping[str, str | None], width: int | None) -> bool:
        return any(re.search(self.style_mark, stem) for stem in layers)

    def prediction_of_file(self, header: Header) -> Prediction | None:
        return "flow"

    def prediction_of_scheduler(self, config: Mapping[str, Any]) -> Prediction | None:
        return "flow"

    def variant(self, prediction: Prediction, config: Mapping[str, Any]) -> Variant:
        return self.variants[0]

    def variant_of_file(self, header: Header) -> Variant:
        return self.variants[0]

    def schedule(self, scheduler: Mapping[str, Any], prediction: Prediction, settings: Base) -> FlowSchedule:
        from trainers.models.flow import flow_from_config

        return flow_from_config(scheduler, self.pixels_in_a_token, self.evenly_spaced)

    def config_problems(self, config: Config) -> Mapping[str, str]:
        base, loss, unet, frozen = config.base, config.loss, config.targets.of(self.denoiser), not self.trained_encoders
        kinds = {*getattr(config.method, "kinds", ())}  # of block methods
        wrong = {
            "base.prediction": (base.prediction != "auto", NO_TABLE, "auto"),
            "base.zero_terminal_snr": (base.zero_terminal_snr != "auto", NO_TABLE, "auto"),
            "base.clip_skip": (frozen and base.clip_skip != 1, ONE_STATE, "1"),
            "data.chunks": (frozen and config.data.chunks != 1, LONG_CAPTIONS.format(count=self.text_positions), "1"),
            "targets.text_encoder": (frozen and config.targets.text_encoder != "none", FROZEN, "none"),
            "loss.weighting": (loss.weighting.startswith(("min-snr", "debiased")), NO_TABLE, "auto"),
            "loss.huber_schedule": (loss.huber_schedule == "snr", NO_TABLE, "constant or exponential"),
            "loss.min_snr_gamma": (loss.min_snr_gamma not in (0, 5), NO_TABLE, "5"),
            "loss.noise_offset": (loss.noise_offset > 0, _("its first step is at pure noise already"), "0"),
            "base.guidance": (not self.reads_guidance and base.guidance != 1, NO_GUIDANCE, "1"),
            "train.early_stop": (config.train.early_stop == "act", UNCHECKED, "off or advise"),
            "targets.unet": (config.targets.unet == "b-lora", _("B-LoRA's two blocks are SDXL's"), "attn-mlp"),
        }
        if self.joint_blocks and unet == "cross-kv":
            wrong["targets.unet"] = (True, JOINT, "attn-mlp")
        problems = self.refusals(wrong)
        if self.joint_blocks and kinds and not kinds.intersection(self.joint_blocks):
            problems["method.name"] = _(
                "method.name = {method} does not apply to {title}: {why}; use a method that changes layers",
                method=config.method.name,
                title=self.title,
                why=JOINT,
            )
        if config.tokens.word:
            problems["tokens.word"] = _("tokens.word does not apply to {title}: {why}", title=self.title, why=NO_WORDS)
        if config.sample.sampler not in FLOW_SAMPLERS:
            problems["sample.sampler"] = _(
                "sample.sampler = {sampler} is not for {title}, a flow-matching base; use {samplers}",
                sampler=config.sample.sampler,
                title=self.title,
                samplers=", ".join(FLOW_SAMPLERS),
            )
        return problems

    def refusals(self, wrong: Mapping[str, tuple[bool, str, str]]) -> dict[str, str]:
        """A sentence for each refused setting, from whether it is refused, the reason, and its default."""
        return {
            key: NOT_HERE.format(key=key, title=self.title, why=why, default=default)
            for key, (refused, why, default) in wrong.items()
            if refused
        }

    # ------------------------------------------------------------ prediction
    def middle_block(self, denoiser: Any) -> Any:
        return denoiser.transformer_blocks[len(denoiser.transformer_blocks) // 2]

    def image_activations(self, output: Any) -> Tensor:
        tokens: Tensor = output[1]  # after the text's
        return tokens.transpose(1, 2)
