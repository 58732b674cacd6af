"""Settings files of kohya_ss and OneTrainer: what is taken, and what is said of the rest."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path

import pytest

from app.studio.dataset.drafts import Draft, Picture
from app.studio.settings.epochs import Pictures, count_pictures, each_once
from app.studio.settings.fields import list_fields
from app.studio.settings.imports.kept import keep_import, read_import
from app.studio.settings.imports.kohya_names import RULES
from app.studio.settings.imports.read import MOST_LETTERS, completes, find_unsaid, join_tables, read_file, read_foreign
from app.studio.settings.imports.report import Imported
from app.studio.settings.plan import from_table, plan
from tests.app.studio.settings.imports.recipes import RECIPES
from trainers.adapters.methods import METHODS
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


TWELVE = Pictures(12, 120)
"""Twelve pictures, each ten times an epoch by the name of its folder."""


def read(content: str, name: str = "settings.json", pictures: Pictures | None = None) -> Imported:
    found = read_foreign(read_file(name, content), pictures)
    assert found is not None
    return found


def kohya(pictures: Pictures | None = None, **changes: object) -> Imported:
    return read(json.dumps(INTERFACE | changes), pictures=pictures)


def onetrainer(pictures: Pictures | None = None, **changes: object) -> Imported:
    return read(json.dumps(ONETRAINER | changes), pictures=pictures)


def left(found: Imported) -> dict[str, str]:
    return {one.name: one.reason for one in found.left}


def became(found: Imported) -> dict[str, str]:
    return {one.key: one.became for one in found.taken}


def how(found: Imported, key: str) -> str:
    return next(one.how for one in found.taken if one.key == key)


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
        "learning_rate": "instead",
        "epoch": "instead",
        "color_aug": "unknown",
        "pretrained_model_name_or_path": "base",
        "train_data_dir": "path",
    }
    assert [one.name for one in found.left if one.matters] == ["pretrained_model_name_or_path", "color_aug"]
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
    assert (config.train.schedule, config.train.cycles) == ("cosine", 1), "restarts that restart once"
    assert reasons["max_train_epochs"] == "epochs"
    assert (config.data.resolution, config.data.max_aspect) == (624, 1.5)
    assert "upright or lying" in how(found, "data.max_aspect")
    assert config.train.optimizer_args == "betas=0.9,0.99" and "betas" not in reasons
    unsaid = {one.key: one.value for one in find_unsaid(Draft(id="x", public="y"), found)}
    assert unsaid == {"train.steps": "180"}


def test_a_file_of_onetrainer_becomes_a_config() -> None:
    found = read(json.dumps(ONETRAINER))
    config = plan(from_table(Draft(id="x", public="y"), found.table))
    assert (config.train.optimizer, config.train.schedule, config.train.warmup) == ("prodigy", "cosine", 50)
    assert (config.targets.text_encoder, config.train.precision, config.loss.min_snr_gamma) == ("none", "bf16", 5.0)
    reasons = left(found)
    assert config.train.gradient_checkpointing and reasons["masked_training"] == "masks"
    assert (reasons["base_model_name"], reasons["epochs"]) == ("hub", "epochs") and "training_method" not in reasons


def test_epochs_become_steps_with_the_repeats_of_the_folders() -> None:
    names = ("10_dusk/a.png", "set/5_dusk/b.png")
    pictures = tuple(Picture(id=name, name=name, caption="", size=(8, 8)) for name in names)
    draft = Draft(id="x", public="y", pictures=pictures)
    assert count_pictures(draft) == Pictures(2, 15, {"10_dusk": 1, "5_dusk": 1})
    assert count_pictures(
        draft.with_(pictures=(pictures[0], Picture(id="c", name="c.png", caption="", size=(8, 8))))
    ) == (Pictures(2, 0, {"10_dusk": 1, "": 1}))
    found = kohya(TWELVE, max_train_steps="", save_every_n_epochs=2, sample_every_n_epochs=1)
    steps = became(found)
    assert (steps["train.steps"], steps["train.warmup"]) == ("600", "60"), "ten times 120 pictures, two a step"
    assert (steps["save.every"], steps["sample.every"]) == ("120", "60")
    assert how(found, "train.steps").startswith("10 × 60 steps: an epoch is 120 images (12 pictures")
    without = kohya(Pictures(12, 0), max_train_steps="")
    assert next(one.said for one in without.left if one.name == "epoch") == "Epochs need repeats."
    (finding,) = without.findings
    assert (finding.repair, finding.changes) == ("10 epochs → 60 steps", {"train.steps": 60})
    repaired = became(kohya(each_once(Pictures(12, 0)), max_train_steps=""))
    assert (repaired["train.steps"], repaired["train.warmup"]) == ("60", "6")
    assert found.findings == () and kohya(Pictures(12, 0)).findings == (), "the steps are known"
    assert "Epochs need pictures." in next(one.said for one in kohya(max_train_steps="").left if one.name == "epoch")
    assert left(without)["lr_warmup"] == "epochs", "a share of unknown steps"
    every = next(one for one in kohya(save_every_n_epochs=1).left if one.name == "save_every_n_epochs")
    assert not every.matters and "previews at six steps" in every.said


def test_what_kohya_does_without_saying_so_is_done_here_too() -> None:
    plain = became(kohya(lr_scheduler="constant"))
    assert plain["train.warmup"] == "0" and plain["train.schedule"] == "constant"
    assert became(kohya(lr_scheduler="polynomial"))["train.schedule"] == "linear"
    assert became(kohya(lr_scheduler="polynomial", lr_scheduler_power=2))["train.schedule"] == "polynomial"
    cycles = became(kohya(lr_scheduler="cosine_with_restarts", lr_scheduler_num_cycles="3"))
    assert (cycles["train.schedule"], cycles["train.cycles"]) == ("cosine", "3")
    assert became(kohya(text_encoder_lr=0))["targets.text_encoder"] == "none"
    common = became(kohya(text_encoder_lr=0, unet_lr=0))
    assert (common["targets.text_encoder"], common["train.text_encoder_learning_rate"]) == ("attn-mlp", "0.0001")
    squares = kohya(enable_bucket=False)
    assert became(squares)["data.max_aspect"] == "1"
    assert how(squares, "data.max_aspect") == "Without buckets every image is cropped to a square."
    oblong = became(kohya(enable_bucket=True, min_bucket_reso=384, max_bucket_reso=2048))
    assert oblong["data.max_aspect"] == "1.66667", "640×384"
    usual = {"enable_bucket": True, "min_bucket_reso": 256, "max_bucket_reso": 1024, "max_resolution": "1024,1024"}
    assert became(kohya(**usual))["data.max_aspect"] == "4", "256×1024 is one of its buckets"
    free = became(kohya(**usual | {"bucket_no_upscale": True, "max_bucket_reso": 512}))
    assert (free["data.max_aspect"], free["data.max_upscale"]) == ("4", "1"), "it ignores the sides of buckets then"
    typed = kohya(additional_parameters="--flip_aug --min_snr_gamma 1 --network_args='x' --noise_offset=0.1")
    assert (became(typed)["data.flip"], became(typed)["loss.min_snr_gamma"]) == ("on", "1")
    assert became(typed)["loss.noise_offset"] == "0.1" and left(kohya(additional_parameters="'"))
    prompts = kohya(sample_prompts="a fox --n bad --w 512\n# no\na ship")
    assert prompts.table["sample"]["prompts"] == ["a fox --n bad --w 512", "a ship"]


@pytest.mark.parametrize(
    ("resolution", "limits", "aspect"),
    [
        ("512", {}, "4"),
        ("512", {"min_bucket_reso": 512}, "1"),
        ("512", {"max_bucket_reso": 768}, "3"),
        ("384", {}, "2.25"),
        ("448", {}, "3"),  # 784 pixels are no multiple of 64
        ("448", {"bucket_reso_steps": 16}, "3.0625"),
        ("256", {}, "1"),
        ("768,512", {"min_bucket_reso": 384}, "2.66667"),
    ],
)
def test_buckets_are_as_oblong_as_those_of_kohya(resolution: str, limits: dict[str, int], aspect: str) -> None:
    found = kohya(max_resolution=resolution, enable_bucket=True, **limits)
    assert became(found)["data.max_aspect"] == aspect


def test_kernels_may_have_a_rank_of_their_own() -> None:
    locon = {"LoRA_type": "Kohya LoCon", "network_dim": 16, "network_alpha": 8, "conv_dim": 8}
    found = kohya(**locon, conv_alpha=4)
    config = plan(from_table(Draft(id="x", public="y"), found.table))
    assert config.targets.unet == "full"
    assert {name: one.rank for name, one in config.targets.blocks.items()} == {"*.conv1": 8, "*.conv2": 8, "*.conv": 8}
    assert left(found)["conv_alpha"] == "instead", "the same scale"
    assert left(kohya(**locon, conv_alpha=1))["conv_alpha"] == "value"
    line = (
        "train_network.py --network_module networks.lora --network_dim 16 --network_alpha 16 --network_args conv_dim=8"
    )
    unsaid, said = (read(f"{line}{end}", "train.sh").left for end in ("", " conv_alpha=1"))
    assert (
        [one for one in unsaid if one.name == "conv_alpha"] == [one for one in said if one.name == "conv_alpha"] != []
    )
    assert "conv_dim" not in {one.name for one in kohya(LoRA_type="Standard", conv_dim=1).taken}, "it has no kernels"
    for kind in ("LyCORIS/LoKr", "LyCORIS/iA3"):  # which have no rank, or not here
        found = kohya(**locon | {"LoRA_type": kind}, full_matrix=True)
        refused = next(one for one in found.left if one.name == "conv_dim")
        assert refused.matters and "targets.blocks" in refused.said
        plan(from_table(Draft(id="x", public="y"), found.table))


def test_a_second_rate_beside_prodigy_is_left_out_with_the_reason() -> None:
    found = kohya(optimizer="Prodigy", unet_lr=1, text_encoder_lr=0.5)
    refused = next(one for one in found.left if one.name == "text_encoder_lr")
    assert refused.matters and "finds one for everything" in refused.said
    assert plan(from_table(Draft(id="x", public="y"), found.table)).train.optimizer == "prodigy"


def test_every_setting_of_onetrainer_is_taken_or_named() -> None:
    concept = {
        "path": "/x", "balancing": 10.0, "balancing_strategy": "REPEATS",
        "image": {"enable_random_flip": True, "random_rotate_max_angle": 0.5},
        "text": {"enable_tag_shuffling": True, "keep_tags_count": 2, "prompt_source": "sample"},
    }  # fmt: skip
    changes = {
        "epochs": 100, "concepts": [concept, {"enabled": False, "balancing": 1.0}], "text_encoder_2": {"train": True},
        "text_encoder": {"train": True, "stop_training_after": 30, "stop_training_after_unit": "EPOCH"},
        "optimizer": {"optimizer": "ADAMW", "beta1": 0.9, "beta2": 0.99, "d_coef": 1.0},
        "ema": "GPU", "ema_decay": 0.999, "ema_update_step_interval": 5, "tensorboard": True,
        "layer_filter_preset": "custom", "layer_filter": "attentions, ff", "secrets": {"huggingface_token": "hf"},
        "aspect_ratio_bucketing": True,
    }  # fmt: skip
    found = onetrainer(TWELVE, **changes)
    config = plan(from_table(Draft(id="x", public="y"), found.table))
    assert (config.data.flip, config.data.shuffle_tags, config.data.keep_tags) == (True, True, 2)
    assert (config.train.steps, config.train.text_encoder_stop, config.data.max_aspect) == (3000, 0.3, 4.0)
    assert config.train.ema == pytest.approx(0.999 ** (1 / 5), abs=1e-6)
    assert config.targets.unet == ("*attentions*", "*ff*")
    reasons = left(found)
    assert config.train.optimizer_args == "betas=0.9,0.99" and not {"optimizer.beta1", "optimizer.beta2"} & set(reasons)
    assert (reasons["tensorboard"], reasons["concepts.image.random_rotate_max_angle"]) == ("logging", "idle")
    mixed = onetrainer(TWELVE, concepts=[concept, concept | {"balancing": 1.0}])
    assert "differ between folders" in next(one.said for one in mixed.left if one.name == "epochs")
    two = [concept | {"path": "C:\\a\\fox"}, concept | {"path": "/a/owl", "balancing": 2.5}]
    counted = became(onetrainer(Pictures(5, 0, {"fox": 3, "owl": 2}), concepts=two))
    assert counted["train.steps"] == "900", "35 images, 4 a step, 100 times"
    samples = [each | {"balancing_strategy": "SAMPLES", "balancing": 10} for each in two]
    assert became(onetrainer(Pictures(5, 0, {"fox": 3, "owl": 2}), concepts=samples))["train.steps"] == "500"
    assert left(onetrainer(concepts=None, concept_file_name="c.json"))["concept_file_name"] == "concepts"
    formats = {"__version": 2, "image": {"__version": 1}}
    off = onetrainer(concepts=[concept | formats | {"enabled": False}], concept_file_name="c.json", optimizer=formats)
    assert ("c.json", "All concepts in it are switched off.") in {(one.value, one.said) for one in off.left}
    versions = {**left(off), **left(onetrainer(concepts=[concept | formats]))}
    assert not [name for name in versions if "__version" in name], "the formats of files"
    once = became(onetrainer(Pictures(12, 0), concepts=None, learning_rate_warmup_steps=0.1))
    assert (once["train.steps"], once["train.warmup"]) == ("300", "30"), "each once an epoch unless it is said"


def test_concepts_that_differ_become_settings_of_their_folders() -> None:
    fox = {"path": "C:\\a\\fox", "balancing": 3.0, "loss_weight": 0.5, "image": {"enable_random_flip": True}}
    owl = {"path": "/a/owl", "text": {"tag_dropout_enable": True, "tag_dropout_probability": 0.2}}
    others = [{"path": "/a/held", "type": "VALIDATION"}, {"path": "/a/class", "type": "PRIOR_PREDICTION"}]
    found = onetrainer(Pictures(5, 0, {"fox": 3, "owl": 2}), concepts=[fox, owl, *others])
    assert found.table["data"]["sets"] == {
        "fox": {"repeats": 3, "weight": 0.5, "flip": True, "tag_dropout": 0.0}, "owl": {"tag_dropout": 0.2}
    }  # fmt: skip
    assert became(found)["train.steps"] == "300", "3 × 3 + 2 images, 4 a step, 100 times"
    assert {one.value for one in found.left if one.name == "concepts.type"} == {"VALIDATION, PRIOR_PREDICTION"}
    uneven = onetrainer(Pictures(), concepts=[fox | {"balancing": 1.5}, owl])
    assert "repeats" not in uneven.table["data"]["sets"]["fox"]
    assert ("concepts.balancing", "1.5, –") in {(one.name, one.value) for one in uneven.left if one.matters}


def test_data_sets_of_aitoolkit_that_differ_become_settings_of_their_folders() -> None:
    job = json.loads(json.dumps(RECIPES["ai-toolkit, Flux.1 on 24 GB"][1]))
    common = {"resolution": [512, 768], "default_caption": "a picture"}
    job["config"]["process"][0]["datasets"] = [
        common | {"folder_path": "/a/fox", "num_repeats": 2, "loss_multiplier": 0.5},
        common | {"folder_path": "/a/owl", "resolution": [1024], "flip_x": True},
        {"folder_path": "/a/class", "is_reg": True, "resolution": 512},
    ]
    found = read_foreign(job)
    assert found is not None and found.table["data"]["sets"] == {
        "fox": {"resolutions": [768, 512], "repeats": 2, "weight": 0.5}, "owl": {"resolutions": [1024], "flip": True}
    }  # fmt: skip
    assert found.table["data"]["caption"] == "a picture" and "resolution" not in found.table["data"]
    assert left(found)["datasets.is_reg"] == "prior"


@pytest.mark.parametrize(
    ("kind", "base", "name"),
    [
        ("FLUX_2", "", "FLUX.2 dev"), ("FLUX_2", "black-forest-labs/FLUX.2-klein-4B", "FLUX.2 klein"),
        ("FLUX_FILL_DEV_1", "", "FLUX.1 Fill"), ("QWEN", "", "Qwen-Image"), ("HUNYUAN_VIDEO", "", "HunyuanVideo"),
    ],
)  # fmt: skip
def test_a_config_of_onetrainer_for_an_untrained_base_is_refused(kind: str, base: str, name: str) -> None:
    with pytest.raises(VelaturaError, match=rf"it is for {name} \(model_type {kind}\), which Velatura does not train"):
        onetrainer(model_type=kind, base_model_name=base)


@pytest.mark.parametrize(
    "kind", ["STABLE_DIFFUSION_15", "STABLE_DIFFUSION_XL_10_BASE", "FLUX_DEV_1", "CHROMA_1", "Z_IMAGE"]
)
def test_a_config_of_onetrainer_for_a_trained_base_is_read(kind: str) -> None:
    assert onetrainer(model_type=kind).program == "OneTrainer"


def test_the_files_of_onetrainer_are_read_together() -> None:
    concepts = [{"path": "/x/fox", "balancing": 10.0, "image": {"enable_random_flip": True}}]
    files = {
        "concepts.json": concepts,
        "config.json": ONETRAINER | {"concepts": None, "concept_file_name": "training_concepts/concepts.json"},
        "samples.json": [{"prompt": "a fox", "enabled": True}],
    }
    tables = [read_file(name, json.dumps(content)) for name, content in files.items()]
    assert [completes(table) for table in tables] == [True, False, False]
    found = read_foreign(join_tables(tables), Pictures(12, 0))
    assert found is not None
    config = plan(from_table(Draft(id="x", public="y"), found.table))
    assert (config.train.steps, config.data.flip, config.sample.prompts) == (3000, True, ("a fox",))
    assert left(found).get("concept_file_name", "idle") == "idle"
    alone = read(json.dumps(concepts))
    assert became(alone) == {"data.flip": "on"} and alone.table == {"data": {"flip": True}}


def test_a_report_is_kept_without_secrets(tmp_path) -> None:
    table = {**INTERFACE, "max_train_steps": 0, "wandb_api_key": "abc123", "secrets": {"huggingface_token": "hf_1"}}
    found = read_foreign(table, TWELVE)
    assert found is not None and next(one.value for one in found.left if one.name == "wandb_api_key") == "…"
    keep_import(tmp_path, table, TWELVE, found)
    kept = (tmp_path / "imported.json").read_text(encoding="utf-8")
    assert "abc123" not in kept and "hf_1" not in kept
    again = read_import(tmp_path)
    assert again is not None and again.taken == found.taken, "with the pictures of then"
    (tmp_path / "imported.json").write_text("[]")
    assert read_import(tmp_path) is None


def test_what_the_config_refuses_is_left_out_and_said() -> None:
    found = read(json.dumps(INTERFACE | {"network_dim": 5000, "learning_rate": "fast", "noise_offset": 7}))
    refused = {one.name: one.said for one in found.left if one.reason == "refused"}
    assert refused.keys() == {"network_dim", "noise_offset"} and "method.rank" in refused["network_dim"]
    plan(from_table(Draft(id="x", public="y"), found.table))


@pytest.mark.parametrize("content", ["[]", "[1]", "{", '{"a": NaN}', "a = ", "[" * 100_000, '{"a":' * 5000])
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


def test_no_number_in_a_text_breaks_the_reading() -> None:
    found = read_foreign(read_file("train.sh", f"{CALL} 4 --max_train_epochs 1e308"), TWELVE)
    assert found is not None and "train.steps" not in became(found)
    for number in (1e19, "1e308", "-1e308"):
        for name in (*INTERFACE, "num_repeats"):
            read_foreign({**INTERFACE, "max_train_steps": 0, name: number}, TWELVE)
        for name in ONETRAINER:
            read_foreign({**ONETRAINER, "concepts": [{"path": "/x", "balancing": number}], name: number}, TWELVE)


def test_files_of_ours_are_not_taken_for_others() -> None:
    assert read_foreign(read_file("a.toml", "[train]\nsteps = 3\n[method]\nname = 'lora'")) is None


def test_the_page_for_people_from_kohya_names_our_settings() -> None:
    page = (Path(__file__).parents[5] / "docs" / "kohya.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    named = {(name, ours) for theirs, ours in rows for name in re.findall(r"`(\w+)`", theirs) if name in RULES}
    assert len(named) > 12
    assert {name for name, ours in named if RULES[name].key not in ours} == set()
    keys = set(re.findall(r"\b(?:base|data|loss|method|prior|sample|targets|train)\.[a-z_0-9]+", page))
    assert keys <= {field.key for method in METHODS for field in list_fields(method)} | {"method.name", "train.bat"}


LAUGHS = "".join(f"V{k + 1}={f'$V{k}' * 5}\n" for k in range(40))
CALL = "python train_network.py --network_dim"
HOSTILE = {
    "doubled variables": (f"V0=aaaaaaaa\n{LAUGHS}{CALL} $V40\n", "its variables put in more than 100,000 letters"),
    "one variable often": (f"V={'a' * 5000}\n{CALL} {'$V' * 50_000}\n", "its variables put in more than 100,000"),
    "many words": (f"V={'a' * 5000}\n{CALL} {'$V ' * 50_000}\n", "its variables put in more than 100,000 letters"),
    "a dotted key": (f"a{'.a' * 90_000} = 1", "nested more than 10 deep"),
    "a dotted table": (f"[{'a . ' * 45_000}a]\nx = 1", "nested more than 10 deep"),
    "tables in tables": ('{"a":' * 900 + "1" + "}" * 900, "nested more than 10 deep"),
    "lists in lists": (f'{{"a": {"[" * 500}{"]" * 500}}}', "nested more than 10 deep"),
    "many values": (json.dumps({"x": list(range(30_000))}), "more than 10,000 values"),
    "a long value": (json.dumps({"x": "a" * 30_000}), "more than 20,000 letters"),
    "a long number": (f"a = 0x{'f' * 150_000}", "more digits than any setting"),
    "a large number": (json.dumps(INTERFACE | {"epoch": 1e308}), "more digits than any setting"),
    "no number": ("a = nan", "more digits than any setting"),
    "half of a character": (r'{"sample_prompts": "\ud800 fox"}', "half of a character"),
    "half of a character in a name": (r'{"a": [{"\udfffk": 1}]}', "half of a character"),
    "a long name": (json.dumps({"n" * 300: 1}), "one of its names has more than 200 letters"),
    "a long file": ("a" * 200_001, "it is too long for a settings file"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_is_bounded_in_what_it_becomes(kind: str) -> None:
    content, sentence = HOSTILE[kind]
    tracemalloc.start()
    try:
        with pytest.raises(VelaturaError, match=sentence):
            read_file("train.sh", content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150 * MOST_LETTERS, "it grows with the file alone"


MANY = {f"setting_{k}": 1 for k in range(4900)}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"general": MANY, "datasets": [{}] * 4900}, "more than 200 subsets, or 20,000 settings in all of them"),
        ({"datasets": [{"subsets": [{}] * 201}]}, "more than 200 subsets"),
        ({"datasets": [{"subsets": [MANY, {}]}]}, "more than 2,000 settings"),
        (INTERFACE | MANY, "more than 2,000 settings"),
        (ONETRAINER | MANY, "more than 2,000 settings"),
    ],
)
def test_a_report_is_bounded(table: dict[str, object], sentence: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(VelaturaError, match=sentence):
            read_foreign(table)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150 * MOST_LETTERS, "datasets and settings are not multiplied"


def test_blanks_in_a_script_are_read_once() -> None:
    blanks = " " * 190_000
    assert read_file("train.sh", f"a=b{blanks}c\n{CALL} 4") == {"network_dim": "4"}


@pytest.mark.parametrize(
    "value",
    [
        *("!!bool maybe", "!!timestamp soon", '!!int ""', "{[a]: 1}", "*x", "&x [*x]", "2020-13-45"),
        *("[" * 90_000, "{a: " * 40_000, "[[1, [" * 30_000),
    ],
)
def test_a_broken_or_endlessly_deep_yaml_is_refused_in_words(value: str) -> None:
    with pytest.raises(VelaturaError, match="it is neither TOML, nor JSON, nor YAML"):
        read_file("job.yaml", f"job: extension\nconfig: {value}")


def test_names_and_dates_of_yaml_are_text() -> None:
    table = read_file("job.yaml", "job: extension\n1: 2020-01-02\nset: !!set {b, a}\nconfig: {null: 1.5}")
    assert table == {"job": "extension", "1": "2020-01-02", "set": ["a", "b"], "config": {"None": 1.5}}


def test_what_depends_on_a_refused_setting_stays() -> None:
    kohya = INTERFACE | {"LoRA_type": "Standard", "scale_weight_norms": 1, "dora_wd": True, "loss_type": "huber",
                         "huber_schedule": "exponential", "lr_scheduler": "cosine_with_min_lr",
                         "lr_scheduler_min_lr_ratio": 0.1}  # fmt: skip
    imported = read_foreign(read_file("a.json", json.dumps(kohya)))
    assert imported is not None
    train, loss = imported.table["train"], imported.table["loss"]
    assert (train["floor"], loss["kind"], loss["huber_schedule"]) == (0.1, "huber", "exponential")
    assert [setting.name for setting in imported.left if setting.reason == "refused"] in (
        ["scale_weight_norms"], ["dora_wd"],
    )  # fmt: skip
