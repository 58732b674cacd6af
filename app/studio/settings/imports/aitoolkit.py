"""Reads settings of ai-toolkit from its YAML files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.studio.settings.epochs import Pictures
from app.studio.settings.imports.previews import read_tables, take_prompts
from app.studio.settings.imports.reading import NOT_IN_FILE, Reading, Rule
from app.studio.settings.imports.report import Imported, Reason, because
from app.studio.settings.imports.values import (
    PRECISIONS,
    SCHEDULES,
    UNREADABLE,
    NotHereError,
    above,
    is_set,
    number,
    one_of,
    optimizer,
    switch,
    whole,
)
from trainers.messages import Message as _

PROGRAM = "ai-toolkit"
METHODS = {"lora": "lora", "locon": "lora", "lokr": "lokr", "dora": "lora"}
TIMES = {"sigmoid": "logit-normal 0 1", "linear": "uniform 0 1000"}
"""`loss.timesteps` by `timestep_type`, for flows."""
RULES: Mapping[str, Rule] = {
    "network.linear": Rule("method.rank", whole),
    "network.rank": Rule("method.rank", whole),
    "network.linear_alpha": Rule("method.alpha", above),
    "network.alpha": Rule("method.alpha", above),
    "network.dropout": Rule("method.dropout", number),
    "train.batch_size": Rule("train.batch_size", whole),
    "train.steps": Rule("train.steps", whole),
    "train.gradient_accumulation": Rule("train.accumulation", whole),
    "train.gradient_accumulation_steps": Rule("train.accumulation", whole),
    "train.gradient_checkpointing": Rule("train.gradient_checkpointing", switch),
    "train.optimizer": Rule("train.optimizer", optimizer),
    "train.lr": Rule("train.learning_rate", above),
    "train.unet_lr": Rule("train.learning_rate", above),
    "train.text_encoder_lr": Rule("train.text_encoder_learning_rate", above),
    "train.lr_scheduler": Rule("train.schedule", one_of(SCHEDULES)),
    "train.max_grad_norm": Rule("train.max_grad_norm", number),
    "train.dtype": Rule("train.precision", one_of(PRECISIONS)),
    "train.noise_offset": Rule("loss.noise_offset", number),
    "train.loss_type": Rule("loss.kind", one_of({"mse": "mse"})),
    "save.dtype": Rule("save.precision", one_of(PRECISIONS)),
    "save.save_every": Rule("save.every", whole),
    "datasets.caption_dropout_rate": Rule("data.caption_dropout", number),
    "datasets.shuffle_tokens": Rule("data.shuffle_tags", switch),
    "datasets.token_dropout_rate": Rule("data.tag_dropout", number),
    "datasets.default_caption": Rule("data.caption", str),
    "datasets.num_repeats": Rule("data.repeats", whole),
    "datasets.flip_x": Rule("data.flip", switch),
    "datasets.random_crop": Rule("data.crop", lambda value: "random" if switch(value) else "centre"),
    "trigger_word": Rule("data.trigger", str),
    "sample.sample_every": Rule("sample.every", whole),
    "sample.neg": Rule("sample.negative", str),
    "sample.guidance_scale": Rule("sample.guidance", above),
    "sample.sample_steps": Rule("sample.steps", whole),
    "sample.seed": Rule("sample.seeds", lambda value: [int(number(value))]),
    "meta.name": Rule("save.title", str),
}
"""Later ones win."""
FOLDER_RULES: Mapping[str, Rule] = {
    "datasets.resolution": Rule("data.resolution", whole),
    "datasets.loss_multiplier": Rule("data.weight", above),
    **{
        f"datasets.{name}": RULES[f"datasets.{name}"]
        for name in (
            "caption_dropout_rate", "shuffle_tokens", "token_dropout_rate", "default_caption", "num_repeats", "flip_x",
            "random_crop",
        )
    },
}  # fmt: skip
"""Rules for settings that each folder of pictures may have."""
KNOWN: Mapping[str, Reason] = because(
    path="training_folder datasets.folder_path datasets.mask_path sqlite_db_path",
    elsewhere="type",
    captions="datasets.caption_ext",
    prior="datasets.is_reg",
    family="model.is_flux model.arch train.noise_scheduler sample.sampler train.train_unet model.is_v3 model.is_xl "
    "train.unload_text_encoder train.cache_text_embeddings",
    logging="performance_log_every logging.log_every logging.use_ui_logger",
    files="save.max_step_saves_to_keep save.push_to_hub save.save_format save.hf_repo_id save.hf_private",
    machine="device datasets.cache_latents_to_disk datasets.cache_latents model.quantize model.quantize_te model.qtype "
    "model.qtype_te model.low_vram model.layer_offloading train.disable_sampling train.skip_first_sample "
    "train.force_first_sample",
    idle="sample.walk_seed sample.sample_start_step meta.version network.conv_alpha "
    "train.ema_config.ema_decay train.diff_output_preservation_multiplier train.diff_output_preservation_class "
    "train.switch_boundary_every train.blank_prompt_preservation_multiplier",
)
SAME: Mapping[str, tuple[str, ...]] = {
    "datasets.caption_ext": ("txt", ".txt"), "train.content_or_style": ("balanced",),
    "train.noise_scheduler": ("ddpm",),
    "train.train_unet": ("true",), "save.save_format": ("safetensors",), "datasets.network_weight": ("1", "1.0"),
    "betas": ("[0.9, 0.999]", "0.9, 0.999"),
}  # fmt: skip
"""Values that match the behaviour here, in lower case."""


def is_aitoolkit(table: Mapping[str, Any]) -> bool:
    """Whether a table is a job of ai-toolkit."""
    return "job" in table and isinstance(table.get("config"), Mapping)


def read_aitoolkit(file: Mapping[str, Any], pictures: Pictures, bases: Sequence[str] = ()) -> Imported:
    """Read the first process of a job; a base is taken if it is one of `bases`."""
    job = file["config"]
    listed = job.get("process")
    process = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], Mapping) else {}
    foreign: dict[str, Any] = {}
    for name, value in process.items():
        foreign |= _of_datasets(value) if name == "datasets" else _flat(value, name)
    foreign |= {name.rpartition(".")[2]: value for name, value in foreign.items() if ".optimizer_params." in name}
    foreign = {name: value for name, value in foreign.items() if ".optimizer_params." not in name}
    reading = Reading(PROGRAM, foreign, SAME)
    _method(reading)
    datasets = _datasets(process.get("datasets"))
    folders = [(str(each.get("folder_path") or ""), _flat(each, "datasets")) for each in datasets]
    reading.take_folders(folders, FOLDER_RULES, pictures)
    reading.apply(RULES)
    for step in (_optimizer, _times, _average, _output, _resolution, _text_encoder):
        step(reading)
    _prompts(reading)
    if is_set(job.get("name")):
        reading.settings["name"] = str(job["name"])
    reading.take_base("model.name_or_path", bases)
    reading.leave_rest(KNOWN)
    return reading.finish()


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {name: each for key, inner in value.items() for name, each in _flat(inner, f"{prefix}.{key}").items()}


def _datasets(value: Any) -> list[Mapping[str, Any]]:
    """The data sets without those of class images."""
    sets = [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
    return [each for each in sets if not is_set(each.get("is_reg"))] or sets


def _of_datasets(value: Any) -> dict[str, Any]:
    """The settings that all data sets share, as text those that differ, and whether there are class images."""
    sets = _datasets(value)
    settings: dict[str, Any] = {"datasets.is_reg": True} if sets and len(sets) < len(value) else {}
    for name in dict.fromkeys(name for each in sets for name in each):
        values = [each.get(name) for each in sets]
        same = all(each == values[0] for each in values)
        settings[f"datasets.{name}"] = values[0] if same else ", ".join(map(str, values))
    return settings


def _method(reading: Reading) -> None:
    kind = str(reading.foreign.get("network.type") or "lora")
    try:
        reading.take("network.type", "method.name", one_of(METHODS)(kind), was=kind)
    except NotHereError:
        reading.settings["method.name"] = "lora"
        reading.leave("network.type", "algorithm")
    if kind == "dora":
        reading.take("network.type", "method.dora", True, was=kind)
    if reading.settings["method.name"] == "lokr":
        reading.apply({"network.lokr_factor": Rule("method.factor", int)})
        reading.apply({"network.lokr_full_rank": Rule("method.full_matrix", switch)})
    if is_set(reading.foreign.get("network.conv")):
        reading.take("network.conv", "targets.unet", "full")
    else:
        reading.take("network.conv", "targets.unet", "attn-mlp", was=_("linear layers"))


def _optimizer(reading: Reading) -> None:
    reading.apply({"weight_decay": Rule("train.weight_decay", number)})
    if not is_set(reading.foreign.get("train.lr_scheduler")):
        how = NOT_IN_FILE.format(value="constant")
        reading.take("train.lr_scheduler", "train.schedule", "constant", was="constant", how=how)
    reading.take_nearest_optimizer("train.optimizer")
    reading.take_arguments({}, {})


def _times(reading: Reading) -> None:
    """Take the distribution of times, which flows have."""
    foreign = reading.foreign
    if foreign.get("train.noise_scheduler") != "flowmatch":
        reading.apply({"train.min_snr_gamma": Rule("loss.min_snr_gamma", above)})
        return
    reading.apply({"train.timestep_type": Rule("loss.timesteps", one_of(TIMES))})
    if not is_set(foreign.get("train.timestep_type")):
        how = NOT_IN_FILE.format(value="sigmoid")
        reading.take("train.timestep_type", "loss.timesteps", TIMES["sigmoid"], was="sigmoid", how=how)


def _average(reading: Reading) -> None:
    name = "train.ema_config.use_ema"
    if is_set(reading.foreign.get(name)):
        reading.take(name, "train.ema", 0.99, how=NOT_IN_FILE.format(value=0.99))
        reading.apply({"train.ema_config.ema_decay": Rule("train.ema", above)})


def _output(reading: Reading) -> None:
    """Take the preservation of the base's output under a class word."""
    name = "train.diff_output_preservation"
    if not is_set(reading.foreign.get(name)):
        reading.leave("train.blank_prompt_preservation", "value")
        return
    reading.take(name, "prior.kind", "output")
    reading.take(f"{name}_class", "prior.prompt", str(reading.foreign.get(f"{name}_class") or "person"))
    reading.apply({f"{name}_multiplier": Rule("prior.weight", number)})


def _resolution(reading: Reading) -> None:
    """Take the resolutions that all data sets have."""
    name = "datasets.resolution"
    sizes = reading.foreign.get(name)
    if name in reading.foreign:
        try:
            reading.take_resolutions(name, [whole(size) for size in (sizes if isinstance(sizes, list) else [sizes])])
        except UNREADABLE:
            reading.leave(name, "value")


def _text_encoder(reading: Reading) -> None:
    trained = is_set(reading.foreign.get("train.train_text_encoder"))
    if trained or "train.train_text_encoder" in reading.foreign:
        reading.take("train.train_text_encoder", "targets.text_encoder", "attn-mlp" if trained else "none", was=trained)


def _prompts(reading: Reading) -> None:
    """Take the prompts, in which `[trigger]` stands for the trigger word, and their size."""
    word = str(reading.foreign.get("trigger_word") or "")
    listed = reading.foreign.get("sample.prompts")
    if isinstance(listed, list):
        take_prompts(reading, "sample.prompts", [(str(prompt), ()) for prompt in listed])
    read_tables(reading, "sample.samples")
    if prompts := reading.settings.get("sample.prompts"):
        reading.settings["sample.prompts"] = [prompt.replace("[trigger]", word).strip(" ,") for prompt in prompts]
    width, height = (reading.foreign.get(f"sample.{side}") for side in ("width", "height"))
    if width == height or not is_set(height):
        reading.apply({"sample.width": Rule("sample.size", whole)})
        reading.leave("sample.height", "instead")
