"""The exact forms of metadata that tools parse, and nothing private in it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.trainers.formats.other_clients import trained
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.targets import Targets
from trainers.config.config import Config
from trainers.formats.write.metadata import (
    LARGEST_TAGS,
    ImageFolder,
    TrainingFacts,
    public_config,
    style_metadata,
    tag_frequency,
)
from trainers.models.families import get_family

FACTS = TrainingFacts(
    images={1: ImageFolder(9, {"a cat": 7, "blue": 2, "über": 7}), 5: ImageFolder(3, {"blue": 7})},
    steps=290,
    epochs=97,
    buckets={(64, 64): 9, (48, 80): 3},
    min_snr_gamma=5.0,
)
BASE = {
    "name": "blots",
    "seed": 5,
    "base": {"model": "/home/ada/models/dream.safetensors"},
    "data": {"images": "/home/ada/pictures", "trigger": "blot style", "repeats": 2, "resolution": 64},
    "targets": {"unet": "full", "text_encoder": "attn"},
    "save": {"author": "Ada", "licence": "CC-BY-4.0", "title": "Ink blots"},
}


def config(**changes) -> Config:
    return Config.model_validate(BASE | changes)


def metadata(model, settings: Config, facts: TrainingFacts = FACTS, started: float = 1_700_000_000.25):
    network = trained(model, settings.method, settings.targets)
    network.remove()
    return style_metadata(settings, model, network, facts, started, started + 60)


def test_every_value_is_text_and_equal_runs_differ_in_dates_alone(bases):
    first, second = (metadata(bases["sd1"], config(), started=t) for t in (1_700_000_000.25, 1_800_000_000.5))
    assert all(isinstance(value, str) for value in first.values())
    changed = {key for key in first if first[key] != second[key]}
    assert changed == {"ss_training_started_at", "ss_training_finished_at", "modelspec.date"}
    assert first.keys() == second.keys()


def test_kohya_keys(bases):
    method = LoRA(rank=4, alpha=3.0)
    written = metadata(replace(bases["sd1"], title="dream", sha256="ab" * 32), config(method=method))
    expected = {
        "format": "pt",
        "ss_output_name": "blots",
        "ss_base_model_version": "sd_v1",
        "ss_v2": "False",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "3.0",
        "ss_sd_model_name": "dream",
        "ss_new_sd_model_hash": "ab" * 32,
        "ss_resolution": "(64, 64)",
        "ss_clip_skip": "1",
        "ss_num_train_images": "48",
        "ss_num_batches_per_epoch": "12",
        "ss_steps": "290",
        "ss_epoch": "97",
        "ss_seed": "5",
        "ss_min_snr_gamma": "5.0",
        "ss_learning_rate": "0.0001",
        "ss_text_encoder_lr": "5e-05",
        "ss_mixed_precision": "no",
        "ss_training_started_at": "1700000000.250",
        "ss_training_finished_at": "1700000060.250",
    }
    assert written.items() >= expected.items()
    assert json.loads(written["ss_tag_frequency"]) == {
        "2_blots": {"a cat": 7, "über": 7, "blue": 2},
        "10_blots": {"blue": 7},
    }
    assert json.loads(written["ss_dataset_dirs"]) == {
        "2_blots": {"n_repeats": 2, "img_count": 9},
        "10_blots": {"n_repeats": 10, "img_count": 3},
    }
    assert json.loads(written["ss_bucket_info"]) == {
        "buckets": {"0": {"resolution": [48, 80], "count": 3}, "1": {"resolution": [64, 64], "count": 9}}
    }
    arguments = json.loads(written["ss_network_args"])
    assert arguments["conv_dim"] == "4" and all(isinstance(value, str) for value in arguments.values())


@pytest.mark.parametrize(
    ("method", "module", "dim", "alpha", "algo"),
    [
        (LoRA(rank=4, alpha=3.0, rslora=True), "networks.lora", "4", "6.0", "lora"),
        (LoRA(rank=4, alpha=3.0, dora=True), "lycoris.kohya", "4", "3.0", "full"),
        (LoHA(rank=3, alpha=2.0), "lycoris.kohya", "3", "3", "loha"),
        (LoKr(rank=3, alpha=2.0, factor=4), "lycoris.kohya", "3", "3", "lokr"),
    ],
)
def test_network_keys_say_what_the_file_holds(bases, method, module, dim, alpha, algo):
    written = metadata(bases["sd1"], config(method=method))
    found = [written[f"ss_network_{key}"] for key in ("module", "dim", "alpha")]
    assert found == [module, dim, alpha]
    assert json.loads(written["ss_network_args"])["algo"] == algo


@pytest.mark.parametrize(
    ("family", "prediction", "version", "architecture", "v2", "implementation"),
    [
        ("sd1", "epsilon", "sd_v1", "stable-diffusion-v1", "False", "diffusers"),
        ("sd2", "epsilon", "sd_v2", "stable-diffusion-v2-512", "True", "diffusers"),
        ("sd2", "v_prediction", "sd_v2_v", "stable-diffusion-v2-768-v", "True", "diffusers"),
        (
            *("sdxl", "epsilon", "sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "False"),
            "https://github.com/Stability-AI/generative-models",
        ),
    ],
)
def test_modelspec_and_family(bases, family, prediction, version, architecture, v2, implementation):
    assert get_family(family).variant(prediction, {}).base_model_version == version
    written = metadata(replace(bases[family], prediction=prediction), config())
    assert (written["ss_base_model_version"], written["ss_v2"]) == (version, v2)
    spec = {key.removeprefix("modelspec."): value for key, value in written.items() if key.startswith("modelspec.")}
    assert spec == {
        "sai_model_spec": "1.0.1",
        "architecture": f"{architecture}/lora",
        "implementation": implementation,
        "title": "Ink blots",
        "resolution": "64x64",
        "date": "2023-11-14T22:14:20+00:00",
        "prediction_type": {"epsilon": "epsilon", "v_prediction": "v"}[prediction],
        "encoder_layer": "1",
        "author": "Ada",
        "license": "CC-BY-4.0",
        "trigger_phrase": "blot style",
    }


def test_a_style_of_the_starter_says_so_and_passes_for_nothing_else(bases):
    written = metadata(replace(bases["sd1"], starter=True, sha256="cd" * 32), config())
    assert written["velatura.fits_only"] == "Velatura starter"
    assert written["velatura.base_sha256"] == "cd" * 32
    assert written["ss_base_model_version"] == "velatura_starter"
    assert written["modelspec.architecture"] == "velatura-starter/lora"
    assert "velatura.fits_only" not in metadata(bases["sd1"], config())


def test_the_whole_config_is_there_without_paths(bases):
    written = metadata(bases["sd1"], config())
    assert written["velatura.trigger"] == "blot style"
    stored = json.loads(written["velatura.config"])
    again = Config.model_validate(stored)
    assert (again.base.model, again.data.images) == ("dream.safetensors", "pictures")
    assert again.method == config().method and again.targets == config().targets and again.seed == 5
    assert not any("/home" in value or "ada/" in value for value in written.values())


@pytest.mark.parametrize(
    ("model", "public"),
    [
        ("starter", "starter"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("C:\\Users\\Ada\\dream.safetensors", "dream.safetensors"),
        ("../ada/dream", "dream"),
        ("~/dream", "dream"),
        ("/dream", "dream"),
    ],
)
def test_paths_are_cut_and_hub_ids_are_not(model, public):
    assert public_config(config(base={"model": model}))["base"]["model"] == public


def test_tags_can_be_left_out(bases):
    settings = config(save={"tags": False})
    assert "ss_tag_frequency" not in metadata(bases["sd1"], settings)


def test_tags_are_capped_from_the_rarest():
    tags = {f"tag number {i:05d}": i for i in range(1, 5000)}
    text = tag_frequency({"1_x": tags, "5_x": {"a rare one": 1}})
    kept = json.loads(text)["1_x"]
    assert len(text.encode()) <= LARGEST_TAGS
    assert list(kept) == sorted(kept, key=lambda tag: -kept[tag])
    assert min(kept.values()) == 5000 - len(kept) and len(kept) > 900


def test_unknown_sizes_are_left_out(bases):
    settings = config(data={"images": "x"}, targets=Targets())
    written = metadata(bases["sd1"], settings, TrainingFacts({1: ImageFolder(1)}, steps=1, epochs=1))
    assert not {"ss_resolution", "ss_bucket_info", "ss_tag_frequency", "modelspec.trigger_phrase"} & set(written)
    assert written["modelspec.resolution"] == "64x64"
    assert (written["ss_text_encoder_lr"], written["ss_min_snr_gamma"]) == ("None", "None")
