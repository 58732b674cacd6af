"""Config settings as form fields: title, group, and conversion from and to text."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import tomli_w

from app.language import Number
from app.units import number
from trainers.adapters.targets import TRANSFORMER_PRESETS, UNET_PRESETS
from trainers.config.reference import Setting, list_settings
from trainers.config.sections import AutoOrWhole
from trainers.messages import Message
from trainers.messages import Message as _

Kind = Literal["switch", "choice", "whole", "auto", "number", "text", "list", "numbers", "layers", "table"]

METHOD, LAYERS, LEARNING, NOISE = _("Method"), _("Base and layers"), _("Steps and learning"), _("Noise and loss")
PICTURES, CAPTIONS, PREVIEWS, MEMORY = _("Pictures"), _("Captions"), _("Previews and saving"), _("Memory and device")
FOLDS = (METHOD, LAYERS, LEARNING, NOISE, PICTURES, CAPTIONS, PREVIEWS, MEMORY)
SECTIONS = {
    "method": METHOD, "base": LAYERS, "targets": LAYERS, "train": LEARNING, "loss": NOISE, "data": PICTURES,
    "tokens": CAPTIONS, "prior": PICTURES, "sample": PREVIEWS, "save": PREVIEWS, "": LEARNING,
}  # fmt: skip
"""The fold of a section's settings, but for these:"""
ELSEWHERE_IN_FOLDS = {
    "name": PREVIEWS, "schema_version": PREVIEWS, "base.prediction": NOISE, "base.zero_terminal_snr": NOISE,
    "base.clip_skip": CAPTIONS, "data.trigger": CAPTIONS, "data.caption": CAPTIONS, "data.caption_dropout": CAPTIONS,
    "data.shuffle_tags": CAPTIONS, "data.keep_tags": CAPTIONS, "data.chunks": CAPTIONS, "data.cache": MEMORY,
    "base.storage": MEMORY, "base.double_quantisation": MEMORY, "base.scale_code": MEMORY,
    "train.offload_optimizer": MEMORY, "train.gradient_checkpointing": MEMORY, "train.precision": MEMORY,
    "base.swap_blocks": MEMORY, "base.offload_encoders": MEMORY, "train.memory": MEMORY, "train.device": MEMORY,
    "train.devices": MEMORY, "train.tracker": MEMORY,
}  # fmt: skip
SET_ELSEWHERE = {
    "schema_version": _("Set by Velatura."),
    "name": _("Set in step 3."),
    "base.model": _("Chosen above."),
    "base.parts": _("Set on the command line: --set base.parts=[FILE,…]."),
    "method.name": _("Chosen above."),
    "data.images": _("The pictures of step 1."),
    "data.trigger": _("Set in step 1."),
    "sample.prompts": _("Set in step 3."),
    "prior.folder": _("Set on the command line: --set prior.folder=DIR."),
    "train.start_from": _("Chosen in Styles, in the menu of a style."),
}
"""Settings with their own place elsewhere."""
OTHER_NAMES = {
    "method.rank": "dim network_dim",
    "method.alpha": "network_alpha",
    "method.dropout": "network_dropout dropout",
    "method.dora": "weight decomposition dora_wd",
    "train.steps": "iterations max_train_steps epochs",
    "train.learning_rate": "lr unet_lr",
    "train.text_encoder_learning_rate": "lr te_lr text_encoder_lr clip",
    "train.batch_size": "train_batch_size",
    "train.accumulation": "gradient_accumulation_steps",
    "train.schedule": "lr_scheduler",
    "train.cycles": "lr_scheduler_num_cycles cosine_with_restarts",
    "train.warmup": "lr_warmup_steps",
    "train.optimizer": "optimizer_type use_8bit_adam use_lion_optimizer",
    "train.d_coef": "d_coef prodigy",
    "loss.input_perturbation": "ip_noise_gamma",
    "train.tracker": "log_with logging",
    "train.start_from": "network_weights continue lora_network_weights",
    "train.max_grad_norm": "gradient clipping",
    "train.precision": "mixed_precision",
    "train.memory": "vram gpu memory low lowvram planner",
    "train.devices": "num_processes multi gpu ddp distributed",
    "targets.text_encoder": "clip train_text_encoder",
    "targets.blocks": "block weights lbw block_dims conv_dim",
    "base.swap_blocks": "blocks_to_swap block swap offload",
    "base.storage": "qlora nf4 4-bit int8 8-bit quantization bitsandbytes",
    "data.resolution": "size max_resolution",
    "data.max_aspect": "aspect ratio bucket enable_bucket min_bucket_reso max_bucket_reso",
    "data.max_upscale": "bucket_no_upscale",
    "data.repeats": "num_repeats folder",
    "data.flip": "flip_aug mirror",
    "data.caption_dropout": "caption_dropout_rate",
    "data.shuffle_tags": "shuffle_caption",
    "data.keep_tags": "keep_tokens",
    "data.chunks": "max_token_length",
    "data.cache": "cache_latents",
    "data.held_out": "validation split overfitting validation_split",
    "tokens.word": "textual inversion embedding placeholder_token pivotal tuning",
    "tokens.vectors": "num_vectors_per_token",
    "tokens.initial": "initializer_token",
    "loss.min_snr_gamma": "snr",
    "loss.huber_delta": "huber_c",
    "loss.timesteps": "timestep_bias min_timestep max_timestep timestep_sampling logit_normal sigmoid flow shift snr",
    "prior.prompt": "dreambooth class_prompt prior preservation regularization reg_data_dir",
    "prior.folder": "reg_data_dir regularization class images",
    "prior.images": "num_class_images regularization",
    "prior.weight": "prior_loss_weight",
    "sample.guidance": "cfg scale",
    "sample.every": "sample_every_n_steps preview sample_every_n_epochs",
    "save.every": "save_every_n_steps checkpoint save_every_n_epochs",
    "save.precision": "save_precision fp16",
    "method.rslora": "rs_lora",
    "method.plus_ratio": "loraplus_lr_ratio loraplus_unet_lr_ratio",
    "method.full_matrix": "full_matrix",
    "data.crop": "random_crop",
    "data.transparency": "alpha_mask masked_loss",
    "data.caption": "class_tokens",
    "data.trigger": "caption_prefix activation",
    "loss.kind": "loss_type l2",
    "base.prediction": "v_parameterization v-pred",
    "base.model": "pretrained_model_name_or_path checkpoint ckpt",
    "sample.sampler": "sample_sampler",
    "save.description": "training_comment metadata_description",
    "save.title": "metadata_title",
    "save.author": "metadata_author",
    "save.licence": "metadata_license",
    "name": "output_name",
    "sample.prompts": "sample_prompts",
}
"""Names of settings in other programs, for the search."""
TITLES = {
    "base.model": "Base model",
    "base.zero_terminal_snr": "Zero terminal SNR",
    "base.clip_skip": "CLIP skip",
    "base.swap_blocks": "Blocks in main memory",
    "base.offload_encoders": "Encoders in main memory",
    "base.storage": "Storage of the base",
    "targets.unet": "Layers of the UNet",
    "targets.transformer": "Layers of the transformer",
    "targets.text_encoder": "Layers of the text encoder",
    "targets.blocks": "Overrides by block",
    "tokens.word": "Word to learn",
    "tokens.vectors": "Tokens of the word",
    "tokens.initial": "Meaning it starts from",
    "tokens.learning_rate": "Learning rate of the word",
    "tokens.stop": "Stop of the word",
    "tokens.norm_prior": "Norm prior",
    "loss.kind": "Loss",
    "loss.min_snr_gamma": "Min-SNR gamma",
    "prior.prompt": "Class prompt",
    "prior.images": "Class images",
    "prior.folder": "Folder of class images",
    "prior.weight": "Weight of the class images",
    "train.max_grad_norm": "Gradient clipping",
    "train.precision": "Precision of the base",
    "train.memory": "Memory to fit into",
    "train.ema": "EMA",
    "train.d_coef": "Step size of Prodigy",
    "train.start_from": "Style to train on",
    "sample.negative": "Negative prompt",
    "sample.every": "Preview every",
    "data.held_out": "Held-out images",
    "sample.subjects": "Preview subjects",
    "sample.steps": "Denoising steps",
    "sample.size": "Preview size",
    "save.precision": "Precision of the file",
    "save.every": "Save every",
    "save.keep": "Checkpoints kept",
    "save.tags": "Store tags",
    "method.name": "Method",
    "method.rslora": "rsLoRA",
    "method.dora": "DoRA",
    "method.plus_ratio": "LoRA+ ratio",
}
"""Titles that cannot be derived from the key."""
RANGES: Mapping[tuple[str, str], Message] = {
    ("ge", ""): _("{number} from {low} up"),
    ("gt", ""): _("{number} above {low}"),
    ("ge", "le"): _("{number} from {low} to {high}"),
    ("ge", "lt"): _("{number} from {low} to below {high}"),
    ("gt", "le"): _("{number} above {low}, up to {high}"),
    ("gt", "lt"): _("{number} above {low}, below {high}"),
}
"""How the values between two bounds are described, by the names of the bounds."""


class Meaning(Message):
    """What a setting means, in which code stands between backticks, without these."""

    __slots__ = ()

    @staticmethod
    def finish(said: str) -> str:
        """The same without backticks."""
        return said.replace("`", "")


@dataclass(frozen=True)
class Field:
    """A setting: `key` in the config, and its `method` if it belongs to one."""

    key: str
    kind: Kind
    help: str
    default: Any
    method: str = ""
    choices: tuple[str, ...] = ()
    bounds: Mapping[str, float] = field(default_factory=dict)
    """Bounds `ge`, `gt`, `le`, `lt`, if any."""

    @property
    def title(self) -> Message:
        """Its title."""
        return _(title_of(self.key))

    @property
    def fold(self) -> Message:
        """Its group."""
        return ELSEWHERE_IN_FOLDS.get(self.key) or SECTIONS.get(self.key.rpartition(".")[0], LEARNING)

    @property
    def allowed(self) -> str:
        """Allowed values in words; empty for free text."""
        match self.kind:
            case "whole":
                return _range(_("a whole number"), _whole(self.bounds))
            case "number":
                return _range(_("a number"), self.bounds)
            case "auto":
                return _("auto, or a whole number from 0 up")
            case "layers":
                return _("one of {names}, or patterns separated by commas", names=", ".join(self._presets))
            case "list":
                return _("one per line")
            case "numbers":
                return _("whole numbers separated by commas")
            case "table":
                return _('TOML such as ["mid_block.*"] and, on the next line, rank = 4')
        return ""

    @property
    def _presets(self) -> tuple[str, ...]:
        """Presets of layers."""
        return TRANSFORMER_PRESETS if self.key == "targets.transformer" else UNET_PRESETS

    def show(self, value: Any) -> str:
        """A value as text."""
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, float):
            short = f"{value:g}"
            return short if self.kind == "number" and float(short) == value else str(value)
        if isinstance(value, list | tuple):
            return ("\n" if self.kind == "list" else ", ").join(map(str, value))
        if isinstance(value, Mapping):
            return tomli_w.dumps({key: _plain(each) for key, each in value.items()}).strip() if value else ""
        return str(value)

    def read(self, text: str) -> Any:
        """The value of a text, or the text itself if it cannot be parsed, which the config then refuses."""
        text = text.strip()
        try:
            match self.kind:
                case "switch":
                    return text == "on"
                case "whole" | "auto":
                    return int(text.replace(" ", ""))
                case "number":
                    return float(text.replace(" ", ""))
                case "list":
                    return [line.strip() for line in text.splitlines() if line.strip()]
                case "numbers":
                    return [int(part) for part in text.split(",") if part.strip()]
                case "layers":
                    return (
                        text
                        if not text or text in self._presets
                        else [part.strip() for part in text.split(",") if part.strip()]
                    )
                case "table":
                    return tomllib.loads(text)
        except (ValueError, tomllib.TOMLDecodeError):
            pass
        return text

    def refuse(self, value: Any) -> str:
        """The error for an invalid value: what is allowed and what was written."""
        if not self.allowed:
            return ""
        if written := self.show(value):
            return _(
                "{title} must be {allowed}; you wrote {written}.",
                title=self.title,
                allowed=self.allowed,
                written=written,
            )
        return _("{title} must be {allowed}; it is empty.", title=self.title, allowed=self.allowed)


def title_of(key: str) -> str:
    """What a setting is called."""
    return TITLES.get(key) or key.rpartition(".")[2].replace("_", " ").capitalize()


@cache
def list_fields(method: str) -> tuple[Field, ...]:
    """The fields of a config with this method, in the order of the config."""
    return tuple(_field(one) for one in list_settings() if one.method in ("", method))


@cache
def find_field(key: str, method: str) -> Field | None:
    """The field of a setting, None if there is none."""
    return next((one for one in list_fields(method) if one.key == key), None)


def _field(setting: Setting) -> Field:
    annotation = setting.field.annotation
    bounds = {
        name: getattr(entry, name)
        for entry in setting.field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(entry, name)
    }
    default = None if setting.field.is_required() else setting.field.get_default(call_default_factory=True)
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
    return Field(
        setting.key,
        "choice" if choices else _kind(annotation),
        Meaning(setting.meaning),
        default,
        setting.method,
        tuple(map(str, choices)),
        bounds,
    )


def _kind(annotation: Any) -> Kind:
    kinds: dict[Any, Kind] = {
        bool: "switch", int: "whole", float: "number", str: "text", tuple[str, ...]: "list",
        tuple[int, ...]: "numbers", str | tuple[str, ...]: "layers", AutoOrWhole: "auto",
    }  # fmt: skip
    return kinds.get(annotation, "table" if typing.get_origin(annotation) is dict else "text")


def _range(kind: Message, bounds: Mapping[str, float]) -> Message:
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    start = "" if low is None else "gt" if "gt" in bounds else "ge"
    end = "" if high is None else "lt" if "lt" in bounds else "le"
    if not (start or end):
        return kind
    parts: dict[str, object] = {"number": kind}
    if low is not None:
        parts["low"] = _short(low)
    if high is not None and end:
        parts["high"] = _short(high)
    return RANGES[start, end].format(**parts)


def _whole(bounds: Mapping[str, float]) -> Mapping[str, float]:
    """The bounds of whole numbers, with the largest one instead of the first that is too large."""
    return {"le" if name == "lt" else name: int(value) - (name == "lt") for name, value in bounds.items()}


def _short(value: float) -> Number:
    if isinstance(value, int):
        return number(f"{value:,d}")
    return number(f"{value:,.0f}" if float(value).is_integer() else f"{value:g}")


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_defaults=True) if hasattr(value, "model_dump") else value
