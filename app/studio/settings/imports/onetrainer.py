"""Reads settings of OneTrainer from its JSON files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from app.studio.settings.epochs import DIFFERENT_REPEATS, SPREAD, Epoch, Pictures, Share
from app.studio.settings.imports.onetrainer_names import CONCEPT, FOLDER_RULES, KINDS, KNOWN, RULES, SAME
from app.studio.settings.imports.previews import read_tables
from app.studio.settings.imports.reading import Reading, Rule
from app.studio.settings.imports.report import Imported, Left, Reason, shown
from app.studio.settings.imports.values import UNREADABLE, above, is_set, number, one_of, whole
from trainers.config.optimizers import ARGUMENTS, PRODIGIES
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.files.other_bases import list_other_bases, other_by_name

PROGRAM = "OneTrainer"
SIGNS = {
    "training_method", "base_model_name", "peft_type", "lora_rank", "concept_file_name", "model_type",
    "learning_rate_scheduler", "output_model_destination",
}  # fmt: skip
"""Names that identify its files."""
OTHER_TYPES = _("These are not trained here: see data.held_out, and prior.kind = output for what the base knows.")
METHODS = {"lora": "lora", "loha": "loha"}
READ = ("unet", "text_encoder", "text_encoder_2", "optimizer")
"""Sections whose every setting is read."""
CONCEPTS = "concepts"
SWITCHES = ("concepts.image.enable_", "concepts.text.enable_", "concepts.text.prompt_source")
"""Switches in a concept; other settings of these sections are details."""


def read_onetrainer(file: Mapping[str, Any], pictures: Pictures, bases: Sequence[str] = ()) -> Imported:
    """Read settings of OneTrainer; a base is taken if it is one of `bases`.

    Sections for other kinds of models are ignored.
    """
    foreign: dict[str, Any] = {}
    for name, value in file.items():
        if name in READ and isinstance(value, dict):
            foreign |= {f"{name}.{inner}": each for inner, each in value.items()}
        elif name == "optimizer" and isinstance(value, str):
            foreign["optimizer.optimizer"] = value
        elif not isinstance(value, dict) and name != CONCEPTS:
            foreign[name] = value
    foreign |= _in_all(_enabled(file.get(CONCEPTS)))
    foreign = {name: value for name, value in foreign.items() if not name.endswith("__version")}
    reading = Reading(PROGRAM, foreign, SAME)
    if file.keys() - {CONCEPTS, "samples"}:
        _method(reading)
    reading.take_folders(_folders(_enabled(file.get(CONCEPTS))), FOLDER_RULES, pictures)
    reading.apply(RULES)
    _optimizer(reading)
    packed = {"NFLOAT_4": "nf4", "INT_8": "int8"}.get(str(foreign.get("unet.weight_dtype")).upper())
    if packed:
        reading.take("unet.weight_dtype", "base.storage", packed)
    _layers(reading)
    _text_encoder(reading)
    _second_encoder(reading)
    _concepts(reading)
    _weighting(reading)
    _average(reading)
    _schedule(reading)
    _lengths(reading, _epoch(reading, pictures, file))
    read_tables(reading, "samples")
    for name in ("base_model_name", "unet.model_name"):
        reading.take_base(name, bases)
    if file.get(CONCEPTS) and not _enabled(file[CONCEPTS]):
        reading.leave("concept_file_name", "value", _("All concepts in it are switched off."))
    if others := [kind for concept in _listed(file.get(CONCEPTS)) if (kind := _other_type(concept))]:
        reading.foreign = {**reading.foreign, f"{CONCEPTS}.type": ", ".join(others)}
        reading.leave(f"{CONCEPTS}.type", "value", OTHER_TYPES)
    reading.leave_rest({**KNOWN, **_unused(reading)})
    return reading.finish()


def check_kind(file: Mapping[str, Any]) -> None:
    """Raise VelaturaError if a config is for a kind of base that Velatura does not train."""
    named = str(file.get("model_type") or "")
    title = KINDS.get(named.upper())
    kind = next((base for base in list_other_bases() if base.name == title), None) or other_by_name([named])
    if kind is not None:
        model = str(file.get("base_model_name") or "").replace("\\", "/").rpartition("/")[2]
        kind = other_by_name([model]) or kind
        raise VelaturaError(
            "it is for {name} (model_type {kind}), {reason}", kind=named, name=kind.name, reason=kind.reason
        )


def _enabled(concepts: Any) -> list[Mapping[str, Any]]:
    """The enabled concepts that are trained: not those for validation and for keeping what the base knows."""
    return [concept for concept in _listed(concepts) if not _other_type(concept)]


def _listed(concepts: Any) -> list[Mapping[str, Any]]:
    listed = concepts if isinstance(concepts, list) else []
    return [concept for concept in listed if isinstance(concept, dict) and concept.get("enabled", True)]


def _other_type(concept: Mapping[str, Any]) -> str:
    """The type of a concept whose images are not trained; "" otherwise."""
    kind = str(concept.get("type") or "STANDARD").upper()
    return "" if kind == "STANDARD" else kind


def _in_all(concepts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Settings of the concepts, by names such as `concepts.image.enable_random_flip`; all values if they differ."""
    settings: dict[str, Any] = {}
    for concept in concepts:
        for name, value in _flat(concept):
            if name in ("name", "path", "seed", "balancing", "balancing_strategy", "text.prompt_path"):
                continue
            key = f"{CONCEPTS}.{name}"
            settings[key] = value if settings.get(key, value) == value else f"{settings[key]}, {value}"
    return settings


def _folders(concepts: list[Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The folder of each concept and its settings; a number of samples is no repeats."""
    folders = []
    for concept in concepts:
        settings = {f"{CONCEPTS}.{name}": value for name, value in _flat(concept)}
        if str(concept.get("balancing_strategy", "REPEATS")).upper() != "REPEATS":
            settings[f"{CONCEPTS}.balancing"] = "samples"
        if not is_set(settings.get(f"{CONCEPTS}.text.tag_dropout_enable")):
            settings[f"{CONCEPTS}.text.tag_dropout_probability"] = 0.0
        folders.append((str(concept.get("path") or ""), settings))
    return folders


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in table.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return pairs


def _method(reading: Reading) -> None:
    reading.settings["method.name"] = "lora"
    if is_set(reading.foreign.get("peft_type")):
        try:
            reading.take("peft_type", "method.name", one_of(METHODS)(reading.foreign["peft_type"]))
        except UNREADABLE:
            reading.leave("peft_type", "algorithm")
    if str(reading.foreign.get("training_method") or "LORA").upper() != "LORA":
        reading.leave("training_method", "algorithm")


def _optimizer(reading: Reading) -> None:
    """Take the optimizer's arguments, and d of Prodigy where it has one."""
    betas = [f"optimizer.beta{k}" for k in (1, 2, 3)]
    count = 3 if reading.settings.get("train.optimizer") == "came" else 2
    optimizer = str(reading.settings.get("train.optimizer", "adamw"))
    names = {name: (f"optimizer.{name}",) for name in ARGUMENTS[optimizer]}
    reading.take_arguments({**names, "betas": tuple(betas[:count])}, {})
    if optimizer not in PRODIGIES:
        reading.forget("optimizer.d_coef", "train.d_coef")


def _layers(reading: Reading) -> None:
    """Take layers by parts of their names, without a preset of layers."""
    foreign, names = reading.foreign, ("layer_filter", "lora_layers")
    if str(foreign.get("layer_filter_preset", foreign.get("lora_layer_preset", ""))).lower() == "custom":
        for name in names:
            parts = [part.strip() for part in str(foreign.get(name) or "").split(",") if part.strip()]
            if parts and not foreign.get("layer_filter_regex"):
                reading.take(name, "targets.unet", [f"*{part}*" for part in parts])
    if str(foreign.get("unet.train", True)).lower() == "false":
        reading.take("unet.train", "targets.unet", "none")


def _text_encoder(reading: Reading) -> None:
    """Take the rate and the end of a trained text encoder."""
    if reading.settings.get("targets.text_encoder", "none") == "none":
        for name in ("text_encoder.learning_rate", "text_encoder.stop_training_after"):
            reading.leave(name, "idle")
        return
    rate, common = reading.foreign.get("text_encoder.learning_rate"), reading.settings.get("train.learning_rate")
    name = "text_encoder.learning_rate"
    if rate is None and common is not None:
        rate, name = reading.foreign.get("learning_rate"), "learning_rate"
    try:
        if above(rate) != common or reading.settings.get("train.optimizer") != "prodigy":
            reading.take(name, "train.text_encoder_learning_rate", above(rate))
    except UNREADABLE:
        reading.leave("text_encoder.learning_rate", "value")
    _text_encoder_stop(reading)


def _text_encoder_stop(reading: Reading) -> None:
    """Take the end of its training as a share of all epochs."""
    name, foreign = "text_encoder.stop_training_after", reading.foreign
    unit = str(foreign.get(f"{name}_unit") or "EPOCH").upper()
    if unit == "NEVER" or not is_set(foreign.get(name)):
        reading.leave(name, "idle")
        return
    try:
        stop, all_epochs = above(foreign[name]), above(foreign.get("epochs"))
        if unit != "EPOCH":
            raise ValueError(unit)
        share = round(min(1.0, stop / all_epochs), 4)
        how = _("{stop:g} of {epochs:g} epochs.", stop=stop, epochs=all_epochs)
        reading.take(name, "train.text_encoder_stop", share, how=how)
    except UNREADABLE:
        reading.leave(name, "value")


def _second_encoder(reading: Reading) -> None:
    """Take the second text encoder of SDXL, which is trained like the first one here."""
    if "XL" not in str(reading.foreign.get("model_type", "")).upper():
        reading.foreign = {
            name: value for name, value in reading.foreign.items() if not name.startswith("text_encoder_2")
        }
        return
    rate = reading.foreign.get("text_encoder_2.learning_rate")
    if is_set(rate) and rate != reading.foreign.get("text_encoder.learning_rate"):
        reading.apply({"text_encoder_2.learning_rate": Rule("train.text_encoder_2_learning_rate", above)})
    for name in ("train", "layer_skip", "dropout_probability"):
        other = f"text_encoder_2.{name}"
        value = reading.foreign.get(other)
        if other in reading.foreign and value != reading.foreign.get(f"text_encoder.{name}"):
            sentence = _("Both text encoders have the same settings here.")
            if name == "train":  # not by `leave`: off is a value too
                reading.left.append(Left(other, shown(value), "value", sentence))
            reading.leave(other, "value", sentence)


def _concepts(reading: Reading) -> None:
    """Take the settings that all concepts share."""
    reading.apply(CONCEPT)
    if is_set(reading.foreign.get("concepts.text.tag_dropout_enable")):
        reading.apply({"concepts.text.tag_dropout_probability": Rule("data.tag_dropout", number)})
    if reading.settings.get("data.shuffle_tags") or reading.settings.get("data.tag_dropout"):
        reading.apply(
            {"concepts.text.keep_tags_count": Rule("data.keep_tags", lambda value: int(number(value)))},
        )
    else:
        reading.leave("concepts.text.keep_tags_count", "idle")


def _weighting(reading: Reading) -> None:
    """Take the weights of timesteps, and the kind of loss."""
    foreign, kind = reading.foreign, str(reading.foreign.get("loss_weight_fn", "")).upper()
    if kind == "MIN_SNR_GAMMA":
        reading.take("loss_weight_fn", "loss.weighting", "min-snr")
        reading.apply({"loss_weight_strength": Rule("loss.min_snr_gamma", above)})
    elif kind == "CONSTANT":
        reading.take("loss_weight_fn", "loss.weighting", "none")
    elif kind == "DEBIASED_ESTIMATION":
        of_v = reading.settings.get("base.prediction") == "v_prediction"
        reading.take("loss_weight_fn", "loss.weighting", "debiased-v-root" if of_v else "debiased")
    elif kind:
        reading.leave("loss_weight_fn", "value")
    if is_set(foreign.get("huber_strength")) and not is_set(foreign.get("mse_strength")):
        reading.take("huber_strength", "loss.kind", "huber")
        reading.apply({"huber_delta": Rule("loss.huber_delta", above)})


def _average(reading: Reading) -> None:
    """Take a moving average, converted to one update per step."""
    if str(reading.foreign.get("ema", "OFF")).upper() not in ("GPU", "CPU"):
        return
    try:
        decay = number(reading.foreign.get("ema_decay", 0.999))
        every = whole(reading.foreign.get("ema_update_step_interval", 5))
        how = _("{decay:g}, taken every {every} steps there and every step here.", decay=decay, every=every)
        reading.take("ema", "train.ema", round(decay ** (1 / every), 6), was=decay, how="" if every == 1 else how)
    except UNREADABLE:
        reading.leave("ema", "value")


def _schedule(reading: Reading) -> None:
    """Take the floor, d of REX, and the cycles of a cosine with restarts."""
    schedule = reading.settings.get("train.schedule", "constant")
    if schedule != "constant" and is_set(reading.foreign.get("learning_rate_min_factor")):
        reading.apply({"learning_rate_min_factor": Rule("train.floor", number)})
    if schedule == "rex":
        reading.take("learning_rate_scheduler", "train.rex_d", 0.9, was="REX", how=_("OneTrainer's d of REX."))
    if str(reading.foreign.get("learning_rate_scheduler", "")).lower() == "cosine_with_hard_restarts":
        reading.apply({"learning_rate_cycles": Rule("train.cycles", whole)})


def _lengths(reading: Reading, epoch: Epoch) -> None:
    """Take lengths in epochs, steps or time."""
    foreign = reading.foreign
    reading.take_epochs("epochs", "train.steps", epoch)
    for name, key in (("backup_after", "save.every"), ("sample_after", "sample.every")):
        unit = str(foreign.get(f"{name}_unit", "")).upper()
        if unit == "STEP":
            reading.apply({name: Rule(key, whole)})
        elif unit == "NEVER" and key == "sample.every":
            reading.take(name, key, 0, was=unit.lower())
        elif unit == "EPOCH" and epoch.steps:
            reading.take_epochs(name, key, epoch)
        elif unit == "EPOCH":
            reading.leave(name, "elsewhere", SPREAD)
    try:
        wanted = number(foreign.get("learning_rate_warmup_steps"))
    except UNREADABLE:
        return
    if not 0 < wanted <= 1:
        reading.take("learning_rate_warmup_steps", "train.warmup", int(wanted))
    else:
        reading.take_share("learning_rate_warmup_steps", "train.warmup", wanted)


def _epoch(reading: Reading, pictures: Pictures, file: Mapping[str, Any]) -> Epoch:
    """An epoch of the pictures, each once without concepts."""
    batch = int(reading.settings.get("train.batch_size", 1)) * int(reading.settings.get("train.accumulation", 1))
    shares = read_shares(file) if _enabled(file.get(CONCEPTS)) else [Share("", 1)]
    return Epoch(pictures.count, pictures.in_epoch(shares), batch, DIFFERENT_REPEATS)


def read_shares(table: Mapping[str, Any]) -> list[Share]:
    """The folders of the concepts, each with its repeats, 1 by default, or a number of samples.

    Empty if one is unreadable.
    """
    shares = []
    with suppress(*UNREADABLE):
        for concept in _enabled(table.get(CONCEPTS)):
            path, times = str(concept.get("path") or ""), above(concept.get("balancing", 1.0))
            is_factor = str(concept.get("balancing_strategy", "REPEATS")).upper() == "REPEATS"
            shares.append(Share(path, times) if is_factor else Share(path, samples=whole(times)))
        return shares
    return []


def _unused(reading: Reading) -> dict[str, Reason]:
    """Settings without effect: masks that are off, and details of features that are off."""
    parts = (f"{CONCEPTS}.image.", f"{CONCEPTS}.text.")
    off = [name for name in reading.foreign if name.startswith(parts) and not name.startswith(SWITCHES)]
    if not is_set(reading.foreign.get("masked_training")):
        off += ["unmasked_probability", "unmasked_weight"]
    if any(name.startswith(f"{CONCEPTS}.") for name in reading.foreign):
        off.append("concept_file_name")
    return dict.fromkeys(off, "idle")
