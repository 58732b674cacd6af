"""Rejects combinations of settings that conflict or have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.config.optimizers import PRODIGIES, SCHEDULE_FREE, parse_arguments
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
    no_images = no_class if not config.prior.prompt else (config.prior.kind == "output", 'prior.kind = "images"')
    idle = {
        "base.double_quantisation": (no_nf4, 'base.storage = "nf4"'),
        "base.scale_code": (no_nf4 or plain_scales, 'base.storage = "nf4" and base.double_quantisation = true'),
        "loss.min_snr_gamma": (config.loss.weighting not in ("auto", "min-snr"), "loss.weighting = min-snr"),
        "train.d_coef": (config.train.optimizer not in PRODIGIES, "train.optimizer = prodigy"),
        "train.rex_d": (config.train.schedule != "rex", 'train.schedule = "rex"'),
        "train.floor": (config.train.schedule == "constant", _("a falling train.schedule")),
        "loss.huber_schedule": (config.loss.kind == "mse", 'loss.kind = "huber"'),
        "loss.noise_offset_random": (not config.loss.noise_offset, "loss.noise_offset"),
        "loss.multires_discount": (not config.loss.multires_iterations, "loss.multires_iterations"),
        "loss.input_perturbation_random": (not config.loss.input_perturbation, "loss.input_perturbation"),
        "train.cycles": (config.train.schedule != "cosine", 'train.schedule = "cosine"'),
        "train.fused": (config.train.optimizer != "adamw", "train.optimizer = adamw"),
        "train.early_stop": (not _is_scored(config), _("sample.score, sample.every and four prompts or more")),
        "loss.huber_delta": (config.loss.kind == "mse", 'loss.kind = "huber"'),
        "data.keep_tags": (
            not (config.data.shuffle_tags or config.data.tag_dropout),
            "data.shuffle_tags = true or data.tag_dropout",
        ),
        "sample.negative": (config.sample.guidance == 1, _("sample.guidance above 1")),
        "prior.kind": no_class,
        "prior.weight": no_class,
        "prior.images": no_images,
        "prior.folder": no_images,
        "targets.unread_layers": needs_text,
        "train.text_encoder_learning_rate": needs_text,
        "train.text_encoder_2_learning_rate": needs_text,
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
    if train.start_from and (not config.method.is_multilinear or getattr(config.method, "tucker", False)):
        raise ValueError(
            _("train.start_from needs plain lora, loha or lokr, without dora, tucker and pissa: other starts differ")
        )
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
    if config.prior.keeps_output:
        _check_output(config)
    if train.compile:
        _check_compile(config)
    if train.optimizer in PRODIGIES:
        _check_prodigy(config)
    if train.optimizer in SCHEDULE_FREE:
        _check_schedule_free(config)
    if train.max_norm and not config.method.is_multilinear:
        raise ValueError(
            _(
                "train.max_norm needs a method whose factors can be scaled, such as plain lora, loha or lokr; "
                "method.name = {method} is none with these settings",
                method=config.method.name,
            )
        )


def _check_output(config: Config) -> None:
    """Reject what would make the base's output another one, or leave no word to replace."""
    if not config.data.trigger.strip():
        raise ValueError(_("prior.kind = output needs data.trigger, the word that prior.prompt replaces"))
    trained = {
        "targets.text_encoder": config.targets.text_encoder != "none",
        "tokens.word": bool(config.tokens.word),
    }
    for key in (key for key, is_trained in trained.items() if is_trained):
        raise ValueError(
            _("prior.kind = output does not go with {key}: the base's output needs the base's own text", key=key)
        )


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


def _check_schedule_free(config: Config) -> None:
    """Reject what changes parameters or their rates behind the back of an average of all steps."""
    train = config.train
    clash = {
        f"train.schedule = {train.schedule}": train.schedule != "constant",
        "train.ema": bool(train.ema),
        "train.max_norm": bool(train.max_norm),
        "train.offload_optimizer": train.offload_optimizer,
        "tokens.norm_prior": bool(config.tokens.norm_prior),
        f"method.name = {config.method.name}": config.method.moves_after_optimizer,
    }
    for key in (key for key, clashes in clash.items() if clashes):
        raise ValueError(
            _(
                "train.optimizer = {optimizer} averages all steps itself and does not go with {key}",
                optimizer=train.optimizer,
                key=key,
            )
        )


def _check_prodigy(config: Config) -> None:
    """Reject a small or a second learning rate, which Prodigy cannot use."""
    peak, optimizer = config.train.learning_rate, config.train.optimizer
    if peak < 0.1:
        raise ValueError(
            _(
                "train.optimizer = {optimizer} finds its own step size and needs a train.learning_rate near 1",
                optimizer=optimizer,
            )
        )
    if optimizer != "prodigy" and parse_arguments(optimizer, config.train.optimizer_args).get("split_groups", True):
        return  # it finds a step size for each group
    text = config.train.text_encoder_learning_rate if config.targets.trains_denoiser else 0.0
    rates = {
        "train.text_encoder_learning_rate": (text, peak),
        "train.text_encoder_2_learning_rate": (config.train.text_encoder_2_learning_rate, peak),
        "tokens.learning_rate": (config.tokens.learning_rate, peak),
        **{f"method.{name}": (getattr(config.method, name, 1.0), 1.0) for name in ("plus_ratio", "gate_ratio")},
        **{f'targets.blocks."{name}"': (block.learning_rate, 1.0) for name, block in config.targets.blocks.items()},
    }
    for key, (rate, same) in rates.items():
        if rate not in (0, same):
            raise ValueError(
                _(
                    "{key} = {rate:g} is a learning rate of its own, and train.optimizer = {optimizer} finds one for "
                    "everything; remove it, or use adamw",
                    key=key,
                    optimizer=optimizer,
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
