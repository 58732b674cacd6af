"""Reads settings of kohya_ss: the JSON files of its interface, and the TOML files of its scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.studio.names import safe_name
from app.studio.settings.epochs import DIFFERENT_REPEATS, SPREAD, Epoch, Pictures, Share
from app.studio.settings.fields import find_field
from app.studio.settings.imports.command_line import read_options, split_line
from app.studio.settings.imports.kohya_datasets import (
    SECTIONS,
    is_dataset_config,
    read_buckets,
    read_datasets,
    read_folders,
    read_shares,
    say_in_names,
)
from app.studio.settings.imports.kohya_loss import IDLE, flow_family, read_loss
from app.studio.settings.imports.kohya_names import (
    ALGORITHMS,
    BY_METHOD,
    FOLDER_RULES,
    INTERFACE,
    KNOWN,
    LAYERS,
    PICTURE_DEFAULTS,
    POWERS,
    RULES,
    SAME,
    SCRIPT_DEFAULTS,
    TRAINING,
    TUCKER,
)
from app.studio.settings.imports.previews import read_lines
from app.studio.settings.imports.reading import BY_NAMES, Reading, Rule
from app.studio.settings.imports.report import Imported, Taken, shown
from app.studio.settings.imports.values import UNREADABLE, NotHereError, above, is_set, number, one_of, switch, whole
from trainers.data.ingest import list_folder, trigger_of_folder
from trainers.messages import Message as _

PROGRAM = "kohya_ss"
SIGNS = {
    "pretrained_model_name_or_path", "network_module", "network_dim", "LoRA_type", "max_train_epochs", "train_data_dir",
    "train_batch_size", "output_name", "lr_scheduler", "dataset_config", "max_train_steps", "optimizer_type",
    "network_alpha", "unet_lr",
}  # fmt: skip
"""Names that identify its files."""
KERNELS = ("*.conv1", "*.conv2", "*.conv")
"""Layers with kernels of 3×3, which have their own rank there."""
BEFORE_NAME = re.compile(r"[,\s]+(?=[\w.]+=)")
SECOND_RATE = "train.text_encoder_2_learning_rate"
NOT_SAID = _("kohya's default: {value}")
NO_BATCH = _("Epochs need one batch size, and the datasets differ in it.")
NAMED_CLASS = _("The words in the names of its folders.")
ALL_OF_THEM = _("All images of the folder.")
ON_SDXL = _("It has no effect on SDXL there. Here it counts from the last layer but one, which 1 stands for.")
SDXL = re.compile(r"xl(?![a-z])|pony|illustrious|noob|animagine", re.IGNORECASE)
"""Names of SDXL bases."""


def read_kohya(file: Mapping[str, Any], pictures: Pictures, here: Sequence[str] = ()) -> Imported:
    """Read settings of kohya_ss; sections of its TOML files have no meaning, except in a dataset config.

    A base is taken if one of `here`, files on this computer, is the same file or has its name; a style to start from if
    it is one of them.
    """
    flat, differing = _flat(file)
    reading = Reading(PROGRAM, {**differing, **flat}, SAME)
    shares = read_shares(file) if is_dataset_config(file) else []
    if is_dataset_config(file):
        said = {"num_repeats": say_in_names(shares)}
        reading.take_folders(read_folders(file), FOLDER_RULES, pictures, said)
    for name in differing:
        reading.leave(name, "subsets")
    only_pictures = is_dataset_config(file) and not (flat.keys() & TRAINING)
    if not only_pictures:
        _method(reading)
    idle = IDLE if flow_family(reading.foreign) else ()
    reading.apply({name: rule for name, rule in RULES.items() if name not in idle})
    if not (only_pictures or flat.keys() & INTERFACE):
        _unsaid(reading)
    if not (reading.settings.get("data.shuffle_tags") or reading.settings.get("data.tag_dropout")):
        reading.forget("keep_tokens", "data.keep_tags")
    steps = (_optimizer, _rates, read_loss, read_buckets, _schedule, read_lines)
    for step in (read_buckets,) if only_pictures else steps:
        step(reading)
    _repeats(reading, pictures)
    _epochs(reading, pictures, shares)
    if not only_pictures:
        _warmup(reading)
    if name := safe_name(str(reading.foreign.get("output_name") or "")):
        reading.take("output_name", "name", name)
    reading.take_base("pretrained_model_name_or_path", here)
    for name in ("network_weights", "lora_network_weights"):
        if reading.foreign.get(name) in here:
            reading.take(name, "train.start_from", reading.foreign[name])
    _clip_skip(reading)
    _classes(reading, here)
    reading.leave_rest(KNOWN)
    return reading.finish()


def _flat(file: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """All settings by name, with arguments and typed options, and the settings that differ between subsets.

    A dataset config wins over other settings, as in the scripts.
    """
    flat: dict[str, Any] = {}
    of_dataset: dict[str, Any] = {}
    differing: dict[str, str] = {}
    if is_dataset_config(file):
        of_dataset, differing = read_datasets(file)
        file = {name: value for name, value in file.items() if name not in (*SECTIONS, "dataset_config")}
    for name, value in file.items():
        flat |= value if isinstance(value, dict) else {name: value}
    flat = {name: value for name, value in flat.items() if isinstance(name, str)}
    arguments = _arguments(flat.pop("network_args", [])) | _arguments(flat.pop("optimizer_args", []))
    options = _options(flat.get("additional_parameters"))
    if options:
        del flat["additional_parameters"]
    others = {name: value for name, value in (arguments | flat | options).items() if name not in differing}
    return {**others, **of_dataset}, differing


def _unsaid(reading: Reading) -> None:
    """Take the scripts' defaults; pictures may have a dataset config that is missing here."""
    foreign = reading.foreign
    elsewhere = is_set(foreign.get("dataset_config")) and "train_data_dir" not in foreign
    method = str(reading.settings.get("method.name", "lora"))
    for name, rule in {**SCRIPT_DEFAULTS, **({} if elsewhere else PICTURE_DEFAULTS)}.items():
        is_set_there = any(foreign.get(other) not in (None, "") for other in (name, *rule.unless))
        if not is_set_there and find_field(rule.key, method):
            default = rule.value if rule.there is None else rule.there
            reading.take(name, rule.key, rule.value, was=default, how=NOT_SAID.format(value=shown(default)))


def _repeats(reading: Reading, pictures: Pictures) -> None:
    """Take the repeats of a dataset config, unless the folders' names here have repeats."""
    if pictures.repeated:
        reading.leave("num_repeats", "instead", BY_NAMES)
    elif "num_repeats" in reading.foreign:
        reading.apply({"num_repeats": Rule("data.repeats", whole)})


def _clip_skip(reading: Reading) -> None:
    """Take clip skip; on SDXL the scripts always use the last layer but one."""
    foreign = reading.foreign
    named = foreign.get("script") == "sdxl_train_network"
    named = named or SDXL.search(str(foreign.get("pretrained_model_name_or_path", "")))
    if switch(foreign["sdxl"]) if foreign.get("sdxl") in (True, False) else named:
        reading.forget("clip_skip", "base.clip_skip", ON_SDXL)


def _arguments(value: Any) -> dict[str, Any]:
    """Arguments such as `conv_dim=8`, in a list or a line, which may have commas between and within them."""
    lines = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    parts = (part for line in lines for part in BEFORE_NAME.split(str(line)))
    pairs = (part.partition("=") for part in parts)
    return {name.strip(): value.strip().strip("\"'") for name, separator, value in pairs if separator}


def _options(line: Any) -> dict[str, Any]:
    """Options on a command line: `--flip_aug --min_snr_gamma 5`."""
    return read_options(split_line(line)) if isinstance(line, str) else {}


def _method(reading: Reading) -> None:
    """Take the method, its layers, and settings of some methods."""
    foreign = reading.foreign
    named = next((name for name in ("algo", "LoRA_type", "network_module") if foreign.get(name)), "")
    try:
        method = one_of(ALGORITHMS)(foreign[named]) if named else "lora"
    except NotHereError:
        reading.leave(named, "algorithm")
        method = "lora"
    else:
        if named:
            reading.take(named, "method.name", method)
    reading.settings.setdefault("method.name", method)
    kind = str(foreign.get(named, "")).lower()
    if "fa" in kind.split("-") or kind.endswith("lora_fa"):
        reading.take(named, "method.freeze_a", True)
    reading.apply(BY_METHOD.get(method, {}))
    if "lycoris" in kind or "algo" in foreign:
        reading.apply(TUCKER)
    if method == "lokr" and "method.full_matrix" not in reading.settings:
        reading.take(named, "method.full_matrix", False)  # the default of LyCORIS
    for name in ("factor", "decompose_both", "full_matrix", "unit"):
        if name not in BY_METHOD.get(method, {}):
            reading.leave(name, "idle")
    for name in ("LoRA_type", "network_module", "algo"):
        reading.leave(name, "instead")
    _layers(reading, method, kind)


def _layers(reading: Reading, method: str, kind: str) -> None:
    """Take the layers, and the rank of those with kernels, which the interface's plain kinds do not train."""
    foreign = reading.foreign
    has_kernels = kind == "kohya locon" or not foreign.get("LoRA_type")
    preset = next((name for name in ("LyCORIS_preset", "preset") if foreign.get(name)), "")
    convolutions = str(foreign.get("conv_dim") or "0")
    lycoris = "lycoris" in kind or "algo" in foreign
    if lycoris:
        wanted = str(foreign.get(preset) or "full").lower()
        if wanted in LAYERS:
            reading.take(preset or "preset", "targets.unet", LAYERS[wanted], was=wanted)
        elif preset:
            reading.leave(preset, "value")
    elif method in ("lora", "dylora") and has_kernels and convolutions != "0":
        reading.take("conv_dim", "targets.unet", "full")
    else:
        reading.take("network_module", "targets.unet", "attn-mlp", was=_("attention and feed-forward"))
    if reading.settings.get("targets.unet") == "full":
        if not lycoris:  # default of the scripts, but not of LyCORIS
            reading.foreign = {**reading.foreign, "conv_alpha": foreign.get("conv_alpha") or 1}
        _kernels(reading)
    if not lycoris:
        reading.leave(preset, "idle")
    for name in ("conv_dim", "conv_alpha"):
        reading.leave(name, "unknown" if lycoris and reading.settings.get("targets.unet") == "full" else "idle")


def _kernels(reading: Reading) -> None:
    """Take the rank of 3×3 kernels, if it differs; their scale must be that of other layers."""
    try:
        rank, dim = whole(reading.foreign.get("conv_dim")), whole(reading.foreign.get("network_dim"))
    except UNREADABLE:
        return
    if rank != dim:
        overrides = {pattern: {"rank": rank} for pattern in KERNELS}
        reading.take("conv_dim", "targets.blocks", overrides, was=rank, how=_("Only layers with kernels of 3×3."))
    with_scale = _ratio(reading.foreign.get("conv_alpha"), rank), _ratio(reading.foreign.get("network_alpha") or 1, dim)
    same = with_scale[0] == with_scale[1]
    sentence = "" if same else _("These layers have the same ratio of alpha and rank as the others here.")
    reading.leave("conv_alpha", "instead" if same else "value", sentence)


def _ratio(alpha: Any, rank: int) -> float | None:
    try:
        return round(above(alpha) / rank, 6)
    except UNREADABLE:
        return None


def _optimizer(reading: Reading) -> None:
    """Take the optimizer's arguments, and the decay that the scripts' optimizers have without one."""
    for name in ("optimizer_type", "optimizer"):
        reading.take_nearest_optimizer(name)
    optimizer = str(reading.settings.get("train.optimizer", "adamw"))
    implied = {"use_bias_correction": "false", "safeguard_warmup": "false"} if optimizer == "prodigy" else {}
    reading.take_arguments({}, implied)
    if not optimizer.endswith(("adamw", "adamw8bit")) and "weight_decay" not in reading.foreign:
        reading.take("weight_decay", "train.weight_decay", 0.0, was=0, how=NOT_SAID.format(value=0))


def _rates(reading: Reading) -> None:
    """Take the learning rates. The scripts train the text encoder at the common rate by default."""
    foreign = reading.foreign
    unet, text = _rate(foreign.get("unet_lr")), _rate(foreign.get("text_encoder_lr"))
    only = next((name for name in ("network_train_unet_only", "train_unet_only") if foreign.get(name)), "")
    alone = "network_train_text_encoder_only"
    off = bool(only) or (text == 0 and unet != 0)  # with both at 0, the interface trains both at the common rate
    reading.take(
        only or "text_encoder_lr", "targets.text_encoder", "none" if off else "attn-mlp", was=None if only else not off
    )
    if foreign.get(alone) and not off:
        reading.take(alone, "targets.unet", "none")
    if off:
        reading.leave("text_encoder_lr", "idle")
        return
    rate, common = text or _rate(foreign.get("learning_rate")), reading.settings.get("train.learning_rate")
    if rate and not (rate == common and reading.settings.get("train.optimizer") == "prodigy"):
        reading.take("text_encoder_lr" if text else "learning_rate", "train.text_encoder_learning_rate", rate)
    both = foreign.get("text_encoder_lr")
    if isinstance(both, list) and len(both) > 1 and (second := _rate(both[1])):
        reading.taken.append(Taken("text_encoder_lr", shown(second), SECOND_RATE, shown(second)))
        reading.settings[SECOND_RATE] = second


def _rate(value: Any) -> float | None:
    """A rate, or the first of several; None if not set."""
    first = value[0] if isinstance(value, list) and value else value
    try:
        return None if first in (None, "") else number(first)
    except UNREADABLE:
        return None


def _schedule(reading: Reading) -> None:
    """Take a schedule's power and number of cycles."""
    foreign, name = reading.foreign, str(reading.foreign.get("lr_scheduler", "")).lower()
    if name == "polynomial":
        power = foreign.get("lr_scheduler_power")
        try:
            reading.take("lr_scheduler", "train.schedule", one_of(POWERS)(f"{float(power or 1):g}"))
        except UNREADABLE:
            reading.leave("lr_scheduler", "value")
    kind = str(foreign.get("lr_scheduler_type") or "").rpartition(".")[2].lower()
    if kind.startswith("rex"):
        _rex(reading)
    if name == "cosine_with_min_lr":
        reading.apply({"lr_scheduler_min_lr_ratio": Rule("train.floor", number)})
    if name == "cosine_with_restarts":
        reading.take("lr_scheduler", "train.schedule", "cosine")
        reading.apply({"lr_scheduler_num_cycles": Rule("train.cycles", whole)})
    for each in ("lr_scheduler_num_cycles", "lr_scheduler_power"):
        reading.leave(each, "idle")


def _rex(reading: Reading) -> None:
    """Take REX of Easy Training Scripts: its d, and its lowest rate as a share of the peak."""
    arguments = _arguments(reading.foreign.get("lr_scheduler_args") or [])
    reading.take("lr_scheduler_type", "train.schedule", "rex")
    with suppress(*UNREADABLE):
        reading.take("lr_scheduler_args", "train.rex_d", above(arguments.get("d", 0.9)), was=arguments.get("d", 0.9))
    with suppress(*UNREADABLE):
        share = above(arguments.get("min_lr")) / above(reading.settings.get("train.learning_rate"))
        reading.take("lr_scheduler_args", "train.floor", round(share, 6), was=arguments["min_lr"])
    reading.leave("lr_scheduler", "instead")


def _epochs(reading: Reading, pictures: Pictures, shares: Sequence[Share]) -> None:
    """Take epochs as steps. Those of the scripts win over a number of steps, those of the interface do not."""
    counted = any(is_set(reading.foreign.get(name)) for name in ("max_train_epochs", "epoch"))
    if counted and not is_set(reading.foreign.get("train_batch_size")):
        reading.take("train_batch_size", "train.batch_size", 1, was=1, how=NOT_SAID.format(value=1))
    epoch = _epoch(reading, pictures, shares)
    reading.take_epochs("max_train_epochs", "train.steps", epoch)
    if "train.steps" not in reading.settings:
        reading.take_epochs("epoch", "train.steps", epoch)
    reading.leave("epoch", "instead")
    for name, exact, key in (
        ("save_every_n_epochs", "save_every_n_steps", "save.every"),
        ("sample_every_n_epochs", "sample_every_n_steps", "sample.every"),
    ):
        if not is_set(reading.foreign.get(exact)) and epoch.steps:
            reading.take_epochs(name, key, epoch)
        elif not any(taken.key == key for taken in reading.taken):
            reading.leave(name, "elsewhere", SPREAD)
        else:
            reading.leave(name, "instead")


def _epoch(reading: Reading, pictures: Pictures, shares: Sequence[Share]) -> Epoch:
    batch = int(reading.settings.get("train.batch_size", 1)) * int(reading.settings.get("train.accumulation", 1))
    if shares:  # with a dataset config the scripts ignore the numbers of folders
        images = pictures.in_epoch(shares) or pictures.repeated
    else:
        with suppress(*UNREADABLE):
            shares = [Share("", whole(reading.foreign.get("num_repeats", reading.foreign.get("dataset_repeats"))))]
        images = pictures.repeated or pictures.in_epoch(shares)
    if any(left.name == "train_batch_size" and left.reason == "subsets" for left in reading.left):
        return Epoch(pictures.count, 0, batch, NO_BATCH)
    return Epoch(pictures.count, images, batch, DIFFERENT_REPEATS if shares else "")


def _classes(reading: Reading, here: Sequence[str]) -> None:
    """Take the weight of class pictures; here the base draws them."""
    folder = reading.foreign.get("reg_data_dir")
    if folder in here and (prompt := trigger_of_folder(Path(str(folder)))):
        reading.take("reg_data_dir", "prior.folder", folder)
        reading.take("reg_data_dir", "prior.prompt", prompt, how=NAMED_CLASS)
        reading.take("reg_data_dir", "prior.images", len(list_folder(Path(str(folder))).images), how=ALL_OF_THEM)
        reading.apply({"prior_loss_weight": Rule("prior.weight", number)})
    elif is_set(folder):
        reading.leave("reg_data_dir", "prior")
        reading.leave("prior_loss_weight", "prior")
    else:
        reading.leave("prior_loss_weight", "idle")


def _warmup(reading: Reading) -> None:
    """Take the warm-up: steps, a share below 1, or per cent; a constant rate has none in the scripts."""
    foreign, names = reading.foreign, dict(_wanted_warmup(reading))
    if str(foreign.get("lr_scheduler", "")).lower() == "constant":
        for name in names:
            reading.leave(name, "idle")
        reading.take("lr_scheduler", "train.warmup", 0, how=_("A constant rate has no warm-up there."))
        return
    zero = next((name for name in ("lr_warmup_steps", "lr_warmup") if str(foreign.get(name)) in ("0", "0.0")), "")
    if zero and not names:
        reading.take(zero, "train.warmup", 0)
    for name, (wanted, share) in names.items():
        reading.take_share(name, "train.warmup", share) if share else reading.take(name, "train.warmup", int(wanted))
        return


def _wanted_warmup(reading: Reading) -> Iterator[tuple[str, tuple[float, float]]]:
    """The warm-up settings, as a number and as a share of steps."""
    for name, of in (("lr_warmup_steps", 1.0), ("lr_warmup", 100.0)):
        try:
            wanted = above(reading.foreign.get(name))
        except UNREADABLE:
            continue
        yield name, (wanted, wanted / of if name == "lr_warmup" or wanted < 1 else 0.0)
