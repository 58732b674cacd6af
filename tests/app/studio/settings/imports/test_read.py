"""Settings files of kohya_ss and OneTrainer: what is taken, and what is said of the rest."""

from __future__ import annotations

import json

import pytest

from app.studio.dataset.drafts import Draft
from app.studio.settings.imports.read import read_file, read_foreign
from app.studio.settings.imports.report import Imported
from app.studio.settings.plan import from_table, plan
from trainers.errors import VelaturaError

INTERFACE = {
    "LoRA_type": "LyCORIS/LoKr", "LyCORIS_preset": "full", "factor": 8, "network_dim": 32, "network_alpha": 16,
    "learning_rate": 0.0001, "unet_lr": 0.0004, "text_encoder_lr": 0.00005, "max_train_steps": "1600", "epoch": 10,
    "train_batch_size": 2, "lr_scheduler": "cosine", "lr_warmup": 10, "optimizer": "AdamW8bit",
    "max_resolution": "512,512", "mixed_precision": "bf16", "save_precision": "fp16", "seed": "42", "clip_skip": 2,
    "caption_dropout_rate": 0, "shuffle_caption": True, "keep_tokens": "1", "max_token_length": "150",
    "min_snr_gamma": 5, "noise_offset": 0.05, "pretrained_model_name_or_path": "C:/models/dreamy.safetensors",
    "train_data_dir": "C:/pictures", "output_name": "dusk", "color_aug": True, "v2": False, "vae": "",
}  # fmt: skip
SCRIPT = """
[model]
pretrained_model_name_or_path = "/models/dreamy.safetensors"
[network]
network_module = "networks.lora"
network_dim = 16
network_alpha = 8
network_train_unet_only = true
[training]
max_train_epochs = 10
train_batch_size = 1
learning_rate = 1e-4
lr_scheduler = "cosine_with_restarts"
lr_warmup_steps = 100
optimizer_type = "AdamW"
optimizer_args = ["weight_decay=0.1", "betas=0.9,0.99"]
resolution = "768,512"
flip_aug = true
"""
ONETRAINER = {
    "__version": 9, "training_method": "LORA", "model_type": "STABLE_DIFFUSION_15", "base_model_name": "owner/name",
    "peft_type": "LORA", "lora_rank": 16, "lora_alpha": 1.0, "learning_rate": 1.0, "epochs": 100, "batch_size": 4,
    "learning_rate_scheduler": "COSINE", "learning_rate_warmup_steps": 50, "resolution": "512",
    "train_dtype": "BFLOAT_16",
    "optimizer": {"optimizer": "PRODIGY", "weight_decay": 0.01}, "unet": {"train": True},
    "text_encoder": {"train": False, "learning_rate": 1e-5}, "loss_weight_fn": "MIN_SNR_GAMMA",
    "loss_weight_strength": 5.0,
    "gradient_checkpointing": "CPU_OFFLOADED", "masked_training": True, "concepts": [{"path": "/x"}],
}  # fmt: skip


def read(content: str, name: str = "settings.json") -> Imported:
    found = read_foreign(read_file(name, content))
    assert found is not None
    return found


def left(found: Imported) -> dict[str, str]:
    return {one.name: one.reason for one in found.left}


def test_a_file_of_kohyas_interface_becomes_a_config() -> None:
    found = read(json.dumps(INTERFACE))
    config = plan(from_table(Draft(id="x", public="y"), found.table))
    assert (config.method.name, config.targets.unet, config.targets.text_encoder) == ("lokr", "full", "attn-mlp")
    assert config.method.full_matrix is False, "as LyCORIS does where nothing is said"
    whole = plan(from_table(Draft(id="x", public="y"), read(json.dumps(INTERFACE | {"full_matrix": True})).table))
    assert whole.method.full_matrix is True
    train = config.train
    assert (train.steps, train.batch_size, train.learning_rate, train.warmup) == (1600, 2, 0.0004, 160)
    assert (train.text_encoder_learning_rate, train.optimizer, train.schedule) == (0.00005, "adamw8bit", "cosine")
    data = config.data
    assert (data.resolution, data.caption_dropout, data.shuffle_tags, data.keep_tags, data.chunks) == (
        512,
        0,
        True,
        1,
        2,
    )
    assert (config.seed, config.base.clip_skip, config.loss.weighting, config.name) == (42, 2, "min-snr", "dusk")
    assert left(found) == {
        "epoch": "epochs",
        "color_aug": "unknown",
        "pretrained_model_name_or_path": "path",
        "train_data_dir": "path",
    }
    assert ("network_dim", "32", "method.rank", "32") in [(o.name, o.value, o.key, o.became) for o in found.taken]


def test_a_file_of_kohyas_scripts_says_what_does_not_fit() -> None:
    found = read(SCRIPT, "config.toml")
    config = plan(from_table(Draft(id="x", public="y"), found.table))
    assert (config.method.name, config.targets.unet, config.targets.text_encoder) == ("lora", "attn-mlp", "none")
    assert (config.train.weight_decay, config.train.warmup, config.data.flip, config.loss.weighting) == (
        0.1,
        100,
        True,
        "none",
    )
    reasons = left(found)
    assert (reasons["lr_scheduler"], reasons["resolution"], reasons["max_train_epochs"]) == ("value", "value", "epochs")
    assert reasons["betas"] == "unknown"


def test_a_file_of_onetrainer_becomes_a_config() -> None:
    found = read(json.dumps(ONETRAINER))
    config = plan(from_table(Draft(id="x", public="y"), found.table))
    assert (config.train.optimizer, config.train.schedule, config.train.warmup) == ("prodigy", "cosine", 50)
    assert (config.targets.text_encoder, config.train.precision, config.loss.min_snr_gamma) == ("none", "bf16", 5.0)
    reasons = left(found)
    assert reasons["gradient_checkpointing"] == "value" and reasons["masked_training"] == "unknown"
    assert reasons["concepts"] == "elsewhere" and reasons["epochs"] == "epochs" and "training_method" not in reasons


def test_what_the_config_refuses_is_left_out_and_said() -> None:
    found = read(json.dumps(INTERFACE | {"network_dim": 5000, "learning_rate": "fast", "noise_offset": 7}))
    refused = {one.name: one.said for one in found.left if one.reason == "refused"}
    assert refused.keys() == {"network_dim", "noise_offset"} and "method.rank" in refused["network_dim"]
    plan(from_table(Draft(id="x", public="y"), found.table))


@pytest.mark.parametrize("content", ["[1]", "{", '{"a": NaN}', "a = ", "[" * 100_000, '{"a":' * 5000])
def test_what_is_no_settings_file_says_so(content: str) -> None:
    with pytest.raises(VelaturaError):
        read_file("x.json", content)


@pytest.mark.parametrize("value", [None, [], {}, "x" * 10_000, -1, 1e400, True, ["a"], {"a": 1}, "\ud800"])
def test_no_value_breaks_the_reading(value: object) -> None:
    for names in (INTERFACE, ONETRAINER):
        for name in names:
            found = read_foreign({**names, name: value})
            if found is not None:
                from_table(Draft(id="x", public="y"), found.table)


def test_files_of_ours_are_not_taken_for_others() -> None:
    assert read_foreign(read_file("a.toml", "[train]\nsteps = 3\n[method]\nname = 'lora'")) is None
