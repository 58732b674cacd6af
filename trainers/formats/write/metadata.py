"""The metadata of a style file: kohya's `ss_` keys, ModelSpec 1.0.1, and the run's config.

All values are text and functions of the arguments, so two equal runs differ only in their dates.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import signature
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import torch

from trainers.adapters.method import LayerMethod, RankedMethod
from trainers.adapters.network import Network
from trainers.adapters.updates import Rotation
from trainers.config.config import Config
from trainers.data.captions import full_caption
from trainers.formats.codecs import codec_of
from trainers.formats.embedding import WORD
from trainers.formats.origin import STARTER, UNREAD
from trainers.formats.write.core import file_alpha
from trainers.models.model import Model

LARGEST_TAGS = 32 * 1024
"""Bytes of the tag counts; rarer tags are left out."""

DROPOUTS = ("rank_dropout", "module_dropout")

PREDICTION_TYPES = {"epsilon": "epsilon", "v_prediction": "v"}
"""ModelSpec's names; it has none for flow matching."""
MIXED_PRECISION = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class ImageFolder:
    """The images that an epoch repeats equally often, a folder in kohya's metadata."""

    images: int
    tags: Mapping[str, int] = field(default_factory=dict)
    """Number of occurrences of each comma-separated tag in their captions."""


@dataclass(frozen=True)
class TrainingFacts:
    """Facts about a run that are not in its config."""

    images: Mapping[int, ImageFolder]
    """Images of the training set by repeats in an epoch, without `data.repeats`."""
    steps: int
    """Optimizer steps taken."""
    epochs: int
    """Passes over the training set, rounded up."""
    buckets: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Images by training size `(width, height)` in pixels."""
    min_snr_gamma: float = 0.0
    """γ of the loss weights in use; 0 = equal weights for all timesteps."""


def style_metadata(
    config: Config, model: Model, network: Network, facts: TrainingFacts, started: float, finished: float
) -> dict[str, str]:
    """Metadata of a style file without the hashes, which `write_style` adds; times in Unix seconds."""
    kind = "lora" if network.merges else "velatura"
    return {**_metadata(config, model, facts, started, finished, kind), **_kohya_network(network, config)}


def embedding_metadata(
    config: Config, model: Model, facts: TrainingFacts, started: float, finished: float
) -> dict[str, str]:
    """Metadata of the run's embedding file without the hashes, which `write_embedding` adds."""
    return {**_metadata(config, model, facts, started, finished, "textual-inversion"), WORD: config.tokens.word}


def _metadata(
    config: Config, model: Model, facts: TrainingFacts, started: float, finished: float, kind: str
) -> dict[str, str]:
    return {
        "format": "pt",
        **_kohya_base(model),
        **_kohya_training(config, model, facts),
        **_kohya_data(config, facts),
        "ss_training_started_at": f"{started:.3f}",
        "ss_training_finished_at": f"{finished:.3f}",
        **_modelspec(config, model, finished, kind),
        **_velatura(config, model),
    }


def base_metadata(name: str, model: Model, made: float) -> dict[str, str]:
    """Metadata of a file that was not trained: its name, its base and its time, in Unix seconds."""
    modelspec = _modelspec(Config(name=name), model, made, "lora")
    omitted = ("velatura.config", "velatura.trigger")
    velatura = {key: value for key, value in _velatura(Config(name=name), model).items() if key not in omitted}
    return {"format": "pt", **_kohya_base(model), "ss_output_name": name, **modelspec, **velatura}


def _kohya_base(model: Model) -> dict[str, str]:
    variant = model.family.variant(model.prediction, model.config)
    return {
        # No published name fits the starter; its own name prevents tools from taking it for Stable Diffusion 1.5.
        "ss_base_model_version": "velatura_starter" if model.starter else variant.base_model_version,
        "ss_v2": str(variant.base_model_version.startswith("sd_v2")),
        "ss_sd_model_name": _last_name(model.title),
        "ss_new_sd_model_hash": model.sha256,
        "ss_zero_terminal_snr": str(model.schedule.zero_terminal_snr),
    }


def _kohya_network(network: Network, config: Config) -> dict[str, str]:
    method = config.method
    if not isinstance(method, LayerMethod) or not network.merges:
        return {}  # other tools decide by these keys how to load a file
    form, algorithm = method.file_form(), _algorithm(network, method)
    alpha = file_alpha(network) if algorithm in ("lora", "full") else form.rank
    common = {*signature(RankedMethod).parameters, "name"}
    settings = {n: str(getattr(method, n)) for n in signature(type(method)).parameters if n not in common}
    dropouts = {name: str(getattr(method, name)) for name in DROPOUTS if getattr(method, name, 0.0)}
    arguments = {"algo": algorithm, **settings, **dropouts}
    if any(len(site.op.shape) == 4 for site in network.sites):
        arguments |= {"conv_dim": str(form.rank), "conv_alpha": str(alpha)}
    return {
        "ss_network_module": "networks.lora" if algorithm == "lora" else "lycoris.kohya",
        "ss_network_dim": str(form.rank),
        "ss_network_alpha": str(alpha),
        "ss_network_dropout": str(method.input_dropout or None),
        "ss_network_args": json.dumps(arguments),
    }


def _algorithm(network: Network, method: LayerMethod) -> str:
    """Other tools' name for the format of a method's changes; `full` if none of them has a smaller one."""
    if method.file_form().extract_rank:
        return "lora"
    updates = ((codec, update) for site in network.sites for update in site.updates() if (codec := codec_of(update)))
    codec, update = next(updates, ("full", None))
    if codec == "oft":
        return "diag-oft" if isinstance(update, Rotation) and not update.butterfly else "boft"
    return codec


def _kohya_training(config: Config, model: Model, facts: TrainingFacts) -> dict[str, str]:
    train, loss = config.train, config.loss
    return {
        "ss_output_name": config.name,
        "ss_training_comment": config.save.description or "made with Velatura",
        "ss_seed": str(config.seed),
        "ss_steps": str(facts.steps),
        "ss_max_train_steps": str(train.steps),
        "ss_epoch": str(facts.epochs),
        "ss_num_epochs": str(facts.epochs),
        "ss_batch_size_per_device": str(train.batch_size // train.devices),
        **({"ss_total_batch_size": str(train.batch_size)} if train.devices > 1 else {}),
        "ss_gradient_accumulation_steps": str(train.accumulation),
        "ss_gradient_checkpointing": str(train.gradient_checkpointing),
        "ss_learning_rate": str(train.learning_rate),
        "ss_unet_lr": str(train.learning_rate),
        "ss_text_encoder_lr": str(None if config.targets.text_encoder == "none" else train.text_rate),
        "ss_optimizer": train.optimizer,
        "ss_lr_scheduler": train.schedule,
        "ss_lr_warmup_steps": str(train.warmup),
        "ss_max_grad_norm": str(train.max_grad_norm),
        "ss_mixed_precision": MIXED_PRECISION.get(model.dtype, str(model.dtype)),
        "ss_min_snr_gamma": str(facts.min_snr_gamma or None),
        "ss_noise_offset": str(loss.noise_offset or None),
        "ss_clip_skip": str(config.base.clip_skip),
    }


def _kohya_data(config: Config, facts: TrainingFacts) -> dict[str, str]:
    data, side = config.data, config.data.resolution
    # Not the real folders' names, which may be private.
    folders = {f"{times * data.repeats}_{config.name}": folder for times, folder in sorted(facts.images.items())}
    counts = {
        name: {"n_repeats": int(name.partition("_")[0]), "img_count": folder.images} for name, folder in folders.items()
    }
    per_epoch = sum(count["n_repeats"] * count["img_count"] for count in counts.values())
    buckets = {
        str(index): {"resolution": list(size), "count": count}
        for index, (size, count) in enumerate(sorted(facts.buckets.items()))
    }
    written = {
        "ss_num_train_images": str(per_epoch),
        "ss_num_batches_per_epoch": str(math.ceil(per_epoch / config.train.batch_size)),
        "ss_dataset_dirs": json.dumps(counts),
        "ss_enable_bucket": str(data.max_aspect > 1),
        "ss_flip_aug": str(data.flip),
        "ss_random_crop": str(data.crop == "random"),
        "ss_max_token_length": str(None if data.chunks == 1 else 75 * data.chunks),
        "ss_caption_dropout_rate": str(data.caption_dropout),
        "ss_shuffle_caption": str(data.shuffle_tags),
        "ss_keep_tokens": str(data.keep_tags),
    }
    if config.prior.image_count:
        written |= {
            "ss_prior_loss_weight": str(config.prior.weight),
            "ss_num_reg_images": str(config.prior.image_count),
        }
    if side:
        written["ss_resolution"] = f"({side}, {side})"
    if buckets:
        written["ss_bucket_info"] = json.dumps({"buckets": buckets})
    if config.save.tags and any(folder.tags for folder in folders.values()):
        written["ss_tag_frequency"] = tag_frequency({name: folder.tags for name, folder in folders.items()})
    return written


def tag_frequency(folders: Mapping[str, Mapping[str, int]]) -> str:
    """`{folder: {tag: count}}` as JSON, most frequent first; the rarest of all are cut off at `LARGEST_TAGS` bytes."""
    kept: dict[str, dict[str, int]] = {folder: {} for folder in folders}
    size = len(json.dumps(kept, ensure_ascii=False).encode())
    counted = ((-count, tag, folder) for folder, tags in folders.items() for tag, count in tags.items())
    for count, tag, folder in sorted(counted):
        size += len(json.dumps({tag: -count}, ensure_ascii=False).encode())
        if size > LARGEST_TAGS:
            break
        kept[folder][tag] = -count
    return json.dumps(kept, ensure_ascii=False)


def _modelspec(config: Config, model: Model, finished: float, kind: str) -> dict[str, str]:
    side = config.data.resolution or model.resolution
    variant = model.family.variant(model.prediction, model.config)
    architecture = "velatura-starter" if model.starter else variant.architecture
    optional = {
        "author": config.save.author,
        "description": config.save.description,
        "license": config.save.licence or (variant.licence.name if variant.licence else ""),
        "trigger_phrase": full_caption("", config.data, config.tokens.word),
    }
    written = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{architecture}/{kind}",
        "modelspec.implementation": model.family.implementation,
        "modelspec.title": config.save.title or config.name,
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.date": datetime.fromtimestamp(finished, UTC).isoformat(timespec="seconds"),
        "modelspec.prediction_type": PREDICTION_TYPES.get(model.prediction, ""),
        "modelspec.encoder_layer": str(config.base.clip_skip),
        **{f"modelspec.{key}": value for key, value in optional.items() if value},
    }
    return {key: value for key, value in written.items() if value}


def _velatura(config: Config, model: Model) -> dict[str, str]:
    written = {
        "velatura.config": json.dumps(public_config(config), ensure_ascii=False),
        "velatura.family": model.family.name,
        "velatura.base_sha256": model.sha256,
    }
    trigger = full_caption("", config.data, config.tokens.word)
    if trigger:
        written["velatura.trigger"] = trigger
    if config.unread_trigger:
        written[UNREAD] = config.unread_trigger
    if model.starter:
        written["velatura.fits_only"] = STARTER
    return written


def public_config(config: Config) -> dict[str, Any]:
    """The complete config with paths reduced to their last component, or left out, since they may be private."""
    tree = config.model_dump(mode="json")
    tree["data"]["images"] = _last_name(tree["data"]["images"])
    tree["prior"]["folder"] = _last_name(tree["prior"]["folder"])
    tree["train"]["start_from"] = _last_name(tree["train"]["start_from"])
    tree["base"]["parts"] = []
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", tree["base"]["model"]):  # neither a name nor a hub id
        tree["base"]["model"] = _last_name(tree["base"]["model"])
    return tree


def _last_name(path: str) -> str:
    """The last component of a path of any system, a hub id or a title."""
    return PureWindowsPath(PurePosixPath(path).name).name
