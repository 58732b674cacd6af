"""For every setting: where it matters, what it changes to, and what that shows in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from tests.trainers.tiny_runs import equal
from trainers.adapters.methods import METHODS
from trainers.adapters.targets import BlockOverride
from trainers.config.config import Config
from trainers.config.tables import overlay
from trainers.section import Section


@dataclass
class Outcome:
    """What a run left: the style's tensors and metadata, the pictures' bytes, the files' names."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    pictures: dict[str, bytes]
    files: set[str]
    saved: int
    """Numbers that autograd kept for backward."""
    checkpointed: set[str]
    """Names of the tensors in the last checkpoint's network."""


@dataclass(frozen=True)
class Case:
    """`changes` says what the change shows in: `weights`, `pictures`, a test of two outcomes, or words of a refusal."""

    change: Mapping[str, Any]
    changes: str | Callable[[Outcome, Outcome], bool] = "weights"
    within: Mapping[str, Any] = field(default_factory=dict)


def one(path: str, value: Any) -> dict[str, Any]:
    """A settings table with one value at a dotted path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def both(*tables: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for table in tables:
        result = overlay(result, table)
    return result


def refused(words: str) -> str:
    return f"refused: {words}"


def metadata(key: str, value: str) -> Callable[[Outcome, Outcome], bool]:
    return lambda before, after: before.metadata.get(key) != after.metadata[key] == value


def checkpoints(outcome: Outcome) -> set[str]:
    return {name.split("/")[1] for name in outcome.files if name.startswith("checkpoints/")}


def leaves() -> Iterator[str]:
    """Every setting's dotted name; a method's come with the method's own name."""
    yield from _leaves(Config, "")
    for method, kind in METHODS.items():
        # To choose another method has an effect, whichever it is.
        yield from (f"{method}.{each.name}" for each in fields(kind) if each.name != "name" or method == "lora")


def _leaves(section: type[Section], prefix: str) -> Iterator[str]:
    for name, info in section.model_fields.items():
        if name == "method":
            continue
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from _leaves(info.annotation, f"{prefix}{name}.")
        elif name == "blocks":
            yield from (f"{prefix}{name}.{each}" for each in BlockOverride.model_fields)
        else:
            yield f"{prefix}{name}"


def cases(within: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Case]:
    """Settings of one method, each changed by itself, that show in the weights."""
    method = within["method"]["name"]
    return {f"{method}.{key}": Case(one(f"method.{key}", value), within=within) for key, value in changes.items()}


TEXT = one("targets.text_encoder", "attn")
STEPS = one("train.steps", 4)
DECAY = one("train.weight_decay", 0.5)
NF4 = one("base.storage", "nf4")
CONVOLUTIONS = one("targets.unet", ["mid_block.resnets.0.conv1", "mid_block.resnets.1.conv1"])
WORD = both(STEPS, one("tokens.word", "<dusk>"))
ALONE = both(
    WORD,
    one("targets.unet", "none"),
    one("method", {"name": "lora", "rank": 16, "alpha": 16.0}),
    one("save.precision", "fp16"),
)
"""A word and nothing else; `method` and `save` as they are by default."""
LOHA = one("method", {"name": "loha", "rank": 2})
LOKR = one("method", {"name": "lokr", "rank": 2})
THIN_LOKR = one("method", {"name": "lokr", "rank": 2, "full_matrix": False})
KRONA, VERA = one("method", {"name": "krona"}), one("method", {"name": "vera", "rank": 4})
TIED = one("method", {"name": "tied", "rank": 2, "alpha": 4.0})
DYLORA = both(STEPS, one("method", {"name": "dylora", "rank": 4, "alpha": 3.0}))
ADALORA = both(
    one("train.steps", 6), one("method", {"name": "adalora", "rank": 4, "alpha": 40.0, "target_rank": 2, "interval": 1})
)
SORA = both(STEPS, one("method", {"name": "sora", "rank": 2, "alpha": 4.0}))
WIDE = one("targets.unet", "attn")
OFT, IA3 = one("method", {"name": "oft", "block_size": 8}), both(WIDE, one("method", {"name": "ia3"}))
SSF, BITFIT = both(WIDE, one("method", {"name": "ssf"})), both(WIDE, one("method", {"name": "bitfit"}))
SELORA = both(STEPS, one("method", {"name": "selora", "rank": 3, "interval": 1, "threshold": 1.0}))
TLORA = one("method", {"name": "t-lora", "rank": 8})
BLOCKS = one("targets.unet", "attn-mlp")
ADAPTER = both(BLOCKS, one("method", {"name": "adapter", "width": 3}))
KRONA_BLOCK = both(BLOCKS, one("method", {"name": "krona-b"}))
PROMPTS = both(BLOCKS, one("method", {"name": "vpt", "tokens": 3}))
GATED = both(PROMPTS, one("method.gated", True))
FULL = one("method", {"name": "full"})
PRIOR = one("prior", {"prompt": "a drawing", "images": 2})
DROPOUTS = {"dropout": 0.5, "module_dropout": 0.5}
LORA_DROPOUTS = {**DROPOUTS, "rank_dropout": 0.5}
LARGER = one("data.resolution", 64)
LONG = one("data.caption", "a fox, " * 60)

CASES: dict[str, Case] = {
    "schema_version": Case(one("schema_version", 1), refused("schema_version")),
    "name": Case(one("name", "dawn"), lambda _, after: "style/dawn.safetensors" in after.files),
    "seed": Case(one("seed", 1)),
    "base.model": Case(one("base.model", "{other base}")),
    "base.family": Case(one("base.family", "sd2"), metadata("ss_base_model_version", "sd_v2")),
    "base.prediction": Case(one("base.prediction", "v_prediction")),
    "base.zero_terminal_snr": Case(one("base.zero_terminal_snr", "on"), within=one("base.prediction", "v_prediction")),
    "base.clip_skip": Case(one("base.clip_skip", 2)),
    "base.storage": Case(NF4),
    "base.double_quantisation": Case(one("base.double_quantisation", False), within=NF4),
    "base.scale_code": Case(one("base.scale_code", "linear"), within=NF4),
    "data.images": Case(one("data.images", "{bare}")),
    "data.resolution": Case(one("data.resolution", 48)),
    "data.max_aspect": Case(one("data.max_aspect", 1.0), within=LARGER),
    "data.max_upscale": Case(one("data.max_upscale", 4.0), within=both(LARGER, one("data.images", "{small}"))),
    "data.crop": Case(one("data.crop", "random"), within=STEPS),
    "data.flip": Case(one("data.flip", True), within=STEPS),
    "data.repeats": Case(one("data.repeats", 2), within=STEPS),
    "data.transparency": Case(one("data.transparency", "mask"), within=one("data.images", "{transparent}")),
    "data.trigger": Case(one("data.trigger", "in dusk style")),
    "data.caption": Case(one("data.caption", "a drawing of {name}"), within=one("data.images", "{bare}")),
    "data.caption_dropout": Case(one("data.caption_dropout", 1.0)),
    "data.shuffle_tags": Case(one("data.shuffle_tags", True), within=STEPS),
    "data.keep_tags": Case(one("data.keep_tags", 4), within=both(STEPS, one("data.shuffle_tags", True))),
    "data.chunks": Case(one("data.chunks", 2), within=both(LONG, one("data.images", "{bare}"))),
    "data.cache": Case(
        one("data.cache", False),
        lambda before, after: (
            any(name.startswith("cache/latents") for name in before.files)
            and any(name.startswith("cache/text") for name in before.files)
            and not any(name.startswith("cache") for name in after.files)
            and equal(before.tensors, after.tensors)
        ),
    ),
    "targets.unet": Case(one("targets.unet", "attn")),
    "targets.text_encoder": Case(TEXT),
    "targets.unread_layers": Case(
        one("targets.unread_layers", True),
        lambda before, after: after.checkpointed > before.checkpointed and before.tensors.keys() < after.tensors.keys(),
        within=both(TEXT, one("base.clip_skip", 2)),
    ),
    "targets.blocks.rank": Case(one("targets.blocks", {"mid_block.*": {"rank": 2}})),
    "targets.blocks.learning_rate": Case(one("targets.blocks", {"mid_block.*": {"learning_rate": 0.5}})),
    "tokens.word": Case(WORD, within=STEPS),
    "tokens.vectors": Case(one("tokens.vectors", 3), within=WORD),
    "tokens.initial": Case(one("tokens.initial", "a red house"), within=WORD),
    "tokens.learning_rate": Case(one("tokens.learning_rate", 1e-3), within=WORD),
    "tokens.stop": Case(one("tokens.stop", 0.3), within=WORD),
    "tokens.norm_prior": Case(one("tokens.norm_prior", 0.5), within=WORD),
    "loss.kind": Case(one("loss.kind", "huber")),
    "loss.huber_delta": Case(one("loss.huber_delta", 0.5), within=one("loss.kind", "huber")),
    "loss.weighting": Case(
        one("loss.weighting", "min-snr"),
        within=one("base", {"prediction": "v_prediction", "zero_terminal_snr": "on"}),
    ),
    "loss.min_snr_gamma": Case(one("loss.min_snr_gamma", 1.0)),
    "loss.noise_offset": Case(one("loss.noise_offset", 0.1)),
    "loss.timestep_bias": Case(one("loss.timestep_bias", 1.0)),
    "prior.prompt": Case(one("prior", {"prompt": "a drawing", "images": 2})),
    "prior.images": Case(one("prior.images", 6), within=both(STEPS, PRIOR)),
    "prior.weight": Case(one("prior.weight", 0.5), within=PRIOR),
    "train.steps": Case(one("train.steps", 3)),
    "train.batch_size": Case(one("train.batch_size", 2)),
    "train.accumulation": Case(one("train.accumulation", 2)),
    "train.learning_rate": Case(one("train.learning_rate", 2e-2)),
    "train.text_encoder_learning_rate": Case(one("train.text_encoder_learning_rate", 1e-3), within=TEXT),
    "train.text_encoder_stop": Case(one("train.text_encoder_stop", 0.3), within=TEXT),
    "train.optimizer": Case(one("train.optimizer", "lion")),
    "train.offload_optimizer": Case(one("train.offload_optimizer", True), refused("without a CUDA card")),
    "train.weight_decay": Case(one("train.weight_decay", 0.5)),
    "train.schedule": Case(one("train.schedule", "cosine")),
    "train.warmup": Case(one("train.warmup", 1)),
    "train.max_grad_norm": Case(one("train.max_grad_norm", 1e-6)),
    "train.gradient_checkpointing": Case(
        one("train.gradient_checkpointing", True),
        lambda before, after: after.saved < 0.5 * before.saved and equal(before.tensors, after.tensors),
    ),
    "train.precision": Case(one("train.precision", "bf16")),
    "train.device": Case(one("train.device", "cuda:99"), refused("train.device = 'cuda:99' is not available")),
    "train.ema": Case(one("train.ema", 0.9)),
    "train.tracker": Case(
        one("train.tracker", "tensorboard"),
        lambda before, after: any("tfevents" in name for name in after.files - before.files),
    ),
    "sample.prompts": Case(one("sample.prompts", ["a boat"]), "pictures"),
    "sample.negative": Case(one("sample.negative", "snow"), "pictures"),
    "sample.seeds": Case(one("sample.seeds", [2]), "pictures"),
    "sample.every": Case(one("sample.every", 1), lambda _, after: "samples/step-00000001/00.png" in after.files),
    "sample.steps": Case(one("sample.steps", 2), "pictures"),
    "sample.guidance": Case(one("sample.guidance", 1.5), "pictures"),
    "sample.size": Case(one("sample.size", 32), "pictures"),
    "sample.sampler": Case(one("sample.sampler", "euler"), "pictures", within=one("sample.steps", 2)),
    "save.precision": Case(
        one("save.precision", "fp16"),
        lambda _, after: {t.dtype for t in after.tensors.values() if t.dim()} == {torch.float16},
    ),
    "save.every": Case(
        one("save.every", 2),
        lambda before, after: (
            checkpoints(before) == {"step-00000003", "step-00000004"}
            and checkpoints(after) == {"step-00000002", "step-00000004"}
        ),
        within=STEPS,
    ),
    "save.keep": Case(one("save.keep", 1), lambda _, after: checkpoints(after) == {"step-00000002"}),
    "save.title": Case(one("save.title", "Dusk II"), metadata("modelspec.title", "Dusk II")),
    "save.author": Case(one("save.author", "A. Painter"), metadata("modelspec.author", "A. Painter")),
    "save.description": Case(one("save.description", "warm"), metadata("modelspec.description", "warm")),
    "save.licence": Case(one("save.licence", "CC0-1.0"), metadata("modelspec.license", "CC0-1.0")),
    "save.tags": Case(
        one("save.tags", False),
        lambda before, after: "ss_tag_frequency" in before.metadata and "ss_tag_frequency" not in after.metadata,
    ),
    "lora.name": Case(LOHA),
    "lora.rank": Case(one("method.rank", 4)),
    "lora.alpha": Case(one("method.alpha", 1.0)),
    "lora.dropout": Case(one("method.dropout", 0.5)),
    "lora.rank_dropout": Case(one("method.rank_dropout", 0.5)),
    "lora.module_dropout": Case(one("method.module_dropout", 0.5)),
    "lora.rslora": Case(one("method.rslora", True)),
    "lora.dora": Case(one("method.dora", True)),
    "lora.plus_ratio": Case(one("method.plus_ratio", 4.0)),
    "lora.freeze_a": Case(one("method.freeze_a", True)),
    "lora.tucker": Case(one("method.tucker", True), within=CONVOLUTIONS),
    "lora.start": Case(one("method.start", "pissa")),
    "lora.decay_towards": Case(
        one("method.decay_towards", "zero"), within=both(STEPS, one("method.start", "pissa"), DECAY)
    ),
    "loha.rank": Case(one("method.rank", 3), within=LOHA),
    "loha.alpha": Case(one("method.alpha", 1.0), within=LOHA),
    "loha.dropout": Case(one("method.dropout", 0.5), within=LOHA),
    "loha.rank_dropout": Case(one("method.rank_dropout", 0.5), within=LOHA),
    "loha.module_dropout": Case(one("method.module_dropout", 0.5), within=LOHA),
    "loha.tucker": Case(one("method.tucker", True), within=both(LOHA, CONVOLUTIONS)),
    "lokr.rank": Case(one("method.rank", 3), within=LOKR),
    "lokr.alpha": Case(one("method.alpha", 1.0), within=LOKR),
    "lokr.dropout": Case(one("method.dropout", 0.5), within=LOKR),
    "lokr.rank_dropout": Case(one("method.rank_dropout", 0.5), within=THIN_LOKR),
    "lokr.module_dropout": Case(one("method.module_dropout", 0.5), within=LOKR),
    "lokr.full_matrix": Case(one("method.full_matrix", False), within=LOKR),
    "lokr.factor": Case(one("method.factor", 4), within=LOKR),
    "lokr.paper_split": Case(one("method.paper_split", True), within=both(LOKR, one("method.factor", 16))),
    "lokr.decompose_both": Case(one("method.decompose_both", True), within=LOKR),
    "lokr.tucker": Case(one("method.tucker", True), within=both(THIN_LOKR, CONVOLUTIONS)),
    **cases(KRONA, {"scale": 2.0, **DROPOUTS}),
    **cases(VERA, {"rank": 5, "d_initial": 0.3, **DROPOUTS}),
    "vera.store_projections": Case(
        one("method.store_projections", True),
        lambda before, after: after.checkpointed == before.checkpointed | {"shared.0.A", "shared.0.B"},
        within=VERA,
    ),
    **cases(TIED, {"rank": 3, "alpha": 1.0, "configuration": "tl5", "tie_a": False, "tie_b": False, "train_a": False}),
    **cases(TIED, {"train_b": False, "train_u": False, "train_v": False, "group_by": "role", **LORA_DROPOUTS}),
    **cases(DYLORA, {"rank": 8, "alpha": 1.0, "unit": 2, "frozen": False, "kept_rank": 2}),
    **cases(DYLORA, LORA_DROPOUTS),
    **cases(ADALORA, {"rank": 5, "alpha": 5.0, "target_rank": 1, "begin": 0.3, "settle": 0.5}),
    **cases(ADALORA, {"interval": 2, "orthogonality": 5.0, "importance": "magnitude", **LORA_DROPOUTS}),
    **cases(ADALORA, {"beta1": 0.0, "beta2": 0.0}),
    **cases(SORA, {"rank": 3, "alpha": 1.0, "shrink": 0.2, "ramp": 0.0, "gate_ratio": 2.0, "levels": 3}),
    **cases(SORA, {"gate_initial": "one", **LORA_DROPOUTS}),
    **cases(SELORA, {"rank": 2, "alpha": 1.0, "threshold": 100.0, "interval": 2, "budget": 30}),
    **cases(
        both(SELORA, one("method.budget", 19), one("targets.blocks", {"mid_block.*": {"rank": 2}})),
        {"budget_scope": "rank"},
    ),
    **cases(both(ADALORA, one("targets.blocks", {"mid_block.*": {"rank": 2}})), {"budget_scope": "rank"}),
    **cases(SELORA, {"start_bound": "sqrt(1/in)"}),
    **cases(both(SELORA, one("method", {"interval": 2, "threshold": 1.05})), {"trial": 2}),
    **cases(SELORA, LORA_DROPOUTS),
    **cases(OFT, {"block_size": 4, "butterfly": True, "constraint": 0.001, "module_dropout": 0.5, "side": "input"}),
    **cases(IA3, {"everywhere": True, "module_dropout": 0.5}),
    **cases(SSF, {"missing_biases": True, "spread": 0.1, "module_dropout": 0.5}),
    **cases(BITFIT, {"missing_biases": True, "module_dropout": 0.5}),
    **cases(TLORA, {"rank": 3, "alpha": 1.0, "lowest": 0.0, "curve": 4.0, "orthogonal": False}),
    **cases(TLORA, {"start_std": "1/sqrt(rank)", **LORA_DROPOUTS}),
    **cases(both(TLORA, STEPS, DECAY), {"decay_towards": "zero"}),
    **cases(ADAPTER, {"form": "parallel", "width": 4, "scale": 2.0, "norms": True, "module_dropout": 0.5}),
    **cases(KRONA_BLOCK, {"scale": 2.0, "residual": True, "bias": True, "module_dropout": 0.5}),
    **cases(PROMPTS, {"tokens": 4, "variant": "image", "deep": False, "gated": True}),
    **cases(PROMPTS, {"module_dropout": 0.5}),
    **cases(GATED, {"gate_ratio": 4.0}),
    "vpt.unconditional": Case(
        one("method.unconditional", False), within=both(PROMPTS, one("data.caption_dropout", 0.5), STEPS)
    ),
    **cases(FULL, {"extract_rank": 2, **DROPOUTS}),
}
