"""Rejects combinations of settings that conflict or have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.adapters.methods.lora import LoRA
from trainers.config.sections import SCORED
from trainers.messages import Message as _

if TYPE_CHECKING:
    from trainers.config.config import Config


def check_combination(config: Config) -> None:
    """Raise ValueError if a setting has no effect with the others, or if nothing would be trained."""
    _check_idle(config)
    _check_ranks(config)
    if not config.targets.any:
        _check_word_alone(config)
    _check_base(config)
    if config.method.file_form().fp32 and config.save.precision == "bf16":
        raise ValueError(
            _("save.precision = bf16 has no effect: {method} is always written in fp32", method=config.method.name)
        )
    _check_training(config)


def _check_idle(config: Config) -> None:
    """Reject a setting that another one makes ineffective, instead of ignoring it."""
    needs_text = (config.targets.text_encoder == "none", "targets.text_encoder")
    no_nf4, plain_scales = (config.base.storage != "nf4"), (not config.base.double_quantisation)
    no_word, no_class = (not config.tokens.word, "tokens.word"), (not config.prior.prompt, "prior.prompt")
    idle = {
        "base.double_quantisation": (no_nf4, 'base.storage = "nf4"'),
        "base.scale_code": (no_nf4 or plain_scales, 'base.storage = "nf4" and base.double_quantisation = true'),
        "loss.min_snr_gamma": (config.loss.weighting not in ("auto", "min-snr"), "loss.weighting = min-snr"),
        "train.d_coef": (config.train.optimizer != "prodigy", "train.optimizer = prodigy"),
        "train.cycles": (config.train.schedule != "cosine", 'train.schedule = "cosine"'),
        "train.fused": (config.train.optimizer != "adamw", "train.optimizer = adamw"),
        "train.early_stop": (not _is_scored(config), _("sample.score, sample.every and four prompts or more")),
        "loss.huber_delta": (config.loss.kind != "huber", 'loss.kind = "huber"'),
        "data.keep_tags": (not config.data.shuffle_tags, "data.shuffle_tags = true"),
        "sample.negative": (config.sample.guidance == 1, _("sample.guidance above 1")),
        "prior.images": no_class,
        "prior.weight": no_class,
        "prior.folder": no_class,
        "targets.unread_layers": needs_text,
        "train.text_encoder_learning_rate": needs_text,
        "train.text_encoder_stop": needs_text,
        **{f"tokens.{name}": no_word for name in type(config.tokens).model_fields if name != "word"},
    }
    for key, (off, needed) in idle.items():
        section, name = key.split(".")
        table = getattr(config, section)
        value, default = getattr(table, name), type(table).model_fields[name].default
        if off and value != default:
            raise ValueError(
                _("{key} = {value!r:.120} has no effect without {needed}", key=key, value=value, needed=needed)
            )


def _is_scored(config: Config) -> bool:
    """Whether the samples during training are scored; without prompts, four are drawn per seed."""
    sample = config.sample
    return sample.score and sample.every != 0 and (len(sample.prompts) or SCORED) * len(sample.seeds) >= SCORED


def _check_ranks(config: Config) -> None:
    overridden = any(block.rank for block in config.targets.blocks.values())
    if not overridden and getattr(config.method, "budget_scope", "all") != "all":
        raise ValueError(_("method.budget_scope has no effect without a rank in targets.blocks"))
    if overridden and config.method.no_rank_reason:
        reason = config.method.no_rank_reason
        raise ValueError(_("a rank in targets.blocks has no effect while {reason}", reason=reason))


def _check_base(config: Config) -> None:
    if config.base.offload_encoders:
        _check_encoders(config)
    if config.base.storage != "full" and config.method.trains_base:
        raise ValueError(
            _(
                "method.name = {method} needs the exact weights of the base, and base.storage = {storage} only "
                "approximates them; use full",
                method=config.method.name,
                storage=config.base.storage,
            )
        )


def _check_encoders(config: Config) -> None:
    """Reject encoders in main memory that are trained."""
    trained = {
        "targets.text_encoder": config.targets.text_encoder != "none",
        "tokens.word": bool(config.tokens.word),
    }
    for key in (key for key, is_trained in trained.items() if is_trained):
        raise ValueError(_("base.offload_encoders = True does not go with {key}, which trains them", key=key))


def _check_training(config: Config) -> None:
    train = config.train
    if train.start_from and not _is_plain_lora(config):
        raise ValueError(_("train.start_from needs plain LoRA: method.name = lora without dora, tucker and pissa"))
    if train.offload_optimizer and train.optimizer.startswith("paged-"):
        raise ValueError(
            _(
                "train.offload_optimizer has no effect with train.optimizer = {optimizer}, which pages its state to "
                "main memory when the graphics card is full",
                optimizer=train.optimizer,
            )
        )
    if train.batch_size % train.devices:
        raise ValueError(
            _(
                "train.batch_size = {size} cannot be split evenly over train.devices = {devices}; set a multiple of "
                "{devices}",
                size=train.batch_size,
                devices=train.devices,
            )
        )
    if not train.weight_decay and getattr(config.method, "decay_towards", "start") != "start":
        raise ValueError(_("method.decay_towards has no effect with train.weight_decay = 0"))
    if train.warmup >= train.steps:
        raise ValueError(
            _(
                "train.warmup = {warmup} leaves no step after the warm-up: train.steps = {steps}",
                warmup=train.warmup,
                steps=train.steps,
            )
        )
    if train.compile:
        _check_compile(config)
    if train.optimizer == "prodigy":
        _check_prodigy(config)


def _check_compile(config: Config) -> None:
    """Reject torch.compile where it would compile anew in each step, or leave blocks out."""
    clash = {
        "base.swap_blocks": bool(config.base.swap_blocks),
        f"method.name = {config.method.name}": not config.method.compiles,
        **{
            f"method.{name}": bool(getattr(config.method, name, False))
            for name in ("butterfly", "dropout", "rank_dropout", "module_dropout")
        },
    }
    for key in (key for key, clashes in clash.items() if clashes):
        raise ValueError(_("train.compile = true does not go with {key}", key=key))


def _is_plain_lora(config: Config) -> bool:
    method = config.method
    return isinstance(method, LoRA) and not (method.dora or method.tucker or method.start != "zero")


def _check_prodigy(config: Config) -> None:
    """Reject a small or a second learning rate, which Prodigy cannot use."""
    peak = config.train.learning_rate
    if peak < 0.1:
        raise ValueError(_("train.optimizer = prodigy finds its own step size and needs a train.learning_rate near 1"))
    text = config.train.text_encoder_learning_rate if config.targets.trains_denoiser else 0.0
    rates = {
        "train.text_encoder_learning_rate": (text, peak),
        "tokens.learning_rate": (config.tokens.learning_rate, peak),
        **{f"method.{name}": (getattr(config.method, name, 1.0), 1.0) for name in ("plus_ratio", "gate_ratio")},
        **{f'targets.blocks."{name}"': (block.learning_rate, 1.0) for name, block in config.targets.blocks.items()},
    }
    for key, (rate, same) in rates.items():
        if rate not in (0, same):
            raise ValueError(
                _(
                    "{key} = {rate:g} is a learning rate of its own, and train.optimizer = prodigy finds one for "
                    "everything; remove it, or use adamw",
                    key=key,
                    rate=rate,
                )
            )


def _check_word_alone(config: Config) -> None:
    """Reject settings that concern layers, for a run that trains no layer."""
    none = _("targets.unet and targets.text_encoder are both `none`")
    if not config.tokens.word:
        raise ValueError(_("{none}, so nothing would be trained; set tokens.word to train only a word", none=none))
    if config.method != type(config).model_fields["method"].default:
        method = config.method.name
        raise ValueError(
            _("method.name = {method} and its settings have no effect while {none}", method=method, none=none)
        )
    if config.tokens.learning_rate:
        raise ValueError(
            _(
                "tokens.learning_rate = {rate:g} has no effect while {none}; set train.learning_rate for the word",
                rate=config.tokens.learning_rate,
                none=none,
            )
        )
    if config.save.precision != "fp16":
        raise ValueError(
            _(
                "save.precision = {precision} has no effect while {none}; embeddings are always written in fp32",
                precision=config.save.precision,
                none=none,
            )
        )
