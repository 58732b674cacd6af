"""Published recipes of other programs: each becomes a config, and whatever is left out has its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.studio.dataset.drafts import Draft
from app.studio.settings.epochs import Pictures
from app.studio.settings.imports.read import read_file, read_foreign
from app.studio.settings.imports.report import Imported
from app.studio.settings.plan import from_table, plan
from tests.app.studio.settings.imports.recipes import RECIPES
from tests.trainers.tiny_runs import cut_and_resume, equal, quick_settings, style_tensors, write_images
from trainers.config.build import as_table
from trainers.training.train import train

TWELVE = Pictures(12, 120)
CHANGES = ("value", "algorithm", "refused", "unknown", "method", "epochs")
"""Reasons of settings that are left out and may change the result."""
LORA = {"method.name": "lora", "targets.unet": "attn-mlp", "targets.text_encoder": "none"}
AITOOLKIT = LORA | {
    "method.rank": 16, "method.alpha": 16.0, "train.optimizer": "adamw8bit", "train.learning_rate": 1e-4,
    "train.schedule": "constant", "train.steps": 2000, "train.ema": 0.99, "loss.timesteps": "logit-normal 0 1",
    "data.resolution": 1024, "data.more_resolutions": [512, 768], "data.caption_dropout": 0.05,
    "sample.prompts": ["dusk a fox"],
}  # fmt: skip
KOHYA = {"data.max_aspect": 4.0, "data.caption_dropout": 0.0, "loss.min_snr_gamma": 5.0, "loss.weighting": "min-snr"}
EXPECTED: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    "ai-toolkit, Flux.1 on 24 GB": (AITOOLKIT, {}),
    "ai-toolkit, Chroma on 24 GB": (AITOOLKIT | {"sample.steps": 25}, {}),
    "ai-toolkit, SD 3.5 large on 24 GB": (
        AITOOLKIT | {"data.more_resolutions": [], "loss.timesteps": "uniform 0 1000"}, {},
    ),
    "ai-toolkit, Z-Image with preserved output": (
        LORA | {
            "method.rank": 128, "train.optimizer": "prodigy", "train.learning_rate": 1.0, "train.weight_decay": 0.01,
            "train.steps": 3000, "train.batch_size": 2, "train.ema": 0.0, "prior.kind": "output",
            "prior.prompt": "person", "prior.weight": 1.0, "sample.prompts": ["dusk at sea --d 7"],
        },
        {"train.timestep_type": "value"},
    ),
    "OneTrainer, SD 1.5": (
        LORA | {"train.learning_rate": 3e-4, "train.batch_size": 4, "data.resolution": 512, "loss.noise_offset": 0.0},
        {},
    ),
    "OneTrainer, SDXL": (
        LORA | {
            "targets.unet": "full", "method.rank": 16, "method.alpha": 1.0, "train.schedule": "constant",
            "train.warmup": 200, "train.steps": 300, "loss.noise_offset": 0.05, "data.max_aspect": 4.0,
        },
        {},
    ),
    "kohya_ss, SDXL with Prodigy": (
        LORA | KOHYA | {
            "method.rank": 256, "train.optimizer": "prodigy", "train.learning_rate": 1.0, "train.d_coef": 2.0,
            "train.weight_decay": 0.45, "train.optimizer_args": "", "train.steps": 600, "data.chunks": 3,
            "data.shuffle_tags": True, "data.keep_tags": 2, "loss.noise_offset": 0.0357, "data.max_upscale": 1.0,
        },
        {},
    ),
    "kohya_ss, LoHA on SD 1.5": (
        KOHYA | {
            "method.name": "loha", "method.rank": 32, "method.alpha": 16.0, "method.tucker": True,
            "targets.unet": "full", "targets.text_encoder": "attn-mlp", "train.text_encoder_learning_rate": 1e-4,
            "train.max_norm": 1.0, "train.accumulation": 4, "train.steps": 60, "loss.min_snr_gamma": 10.0,
            "loss.multires_iterations": 7, "loss.multires_discount": 0.2,
        },
        {"bucket_reso_steps": "value"},
    ),
    "kohya_ss, LoHA on SDXL": (
        KOHYA | {
            "method.name": "loha", "method.rank": 8, "targets.unet": "full", "targets.text_encoder": "none",
            "train.optimizer": "adamw8bit", "train.optimizer_args": "betas=0.9,0.98", "train.weight_decay": 0.05,
            "train.learning_rate": 2e-3, "train.schedule": "cosine", "train.steps": 300,
        },
        {},
    ),
    "kohya_ss, Flux.1 with fp8": (
        LORA | {
            "method.rank": 8, "method.alpha": 8.0, "train.schedule": "cosine", "train.cycles": 5, "train.steps": 4000,
            "loss.weighting": "none", "loss.timesteps": "uniform 0 1000", "base.guidance": 3.5,
            "sample.prompts": ["a harbour --w 768 --h 768 --s 20 --l 3"], "sample.every": 200,
        },
        {},
    ),
    "civitai, Illustrious, from a file's metadata": (
        LORA | {
            "targets.text_encoder": "attn-mlp", "method.rank": 32, "method.alpha": 16.0, "train.optimizer": "adafactor",
            "train.learning_rate": 5e-4, "train.text_encoder_learning_rate": 5e-5, "train.steps": 1050,
            "train.batch_size": 4, "loss.noise_offset": 0.1, "loss.weighting": "min-snr", "base.clip_skip": 2,
        },
        {},
    ),
}  # fmt: skip


def read(name: str) -> Imported:
    file, table = RECIPES[name]
    content = yaml.safe_dump(dict(table)) if file.endswith(".yaml") else json.dumps(table)
    imported = read_foreign(read_file(file, content), TWELVE)
    assert imported is not None
    return imported


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_becomes_a_config_and_what_is_left_out_has_its_reason(name: str) -> None:
    imported, (expected, left) = read(name), EXPECTED[name]
    config = as_table(plan(from_table(Draft(id="x", public="y"), imported.table)))
    assert {key: config[key.partition(".")[0]][key.partition(".")[2]] for key in expected} == expected
    assert {setting.name: setting.reason for setting in imported.left if setting.reason in CHANGES} == left
    named = {setting.name for setting in (*imported.taken, *imported.left)}
    assert len(named) > 6 and not {setting.reason for setting in imported.left} & {"unknown"}


TRAINED = (
    "ai-toolkit, Z-Image with preserved output", "OneTrainer, SD 1.5", "kohya_ss, SDXL with Prodigy",
    "kohya_ss, LoHA on SD 1.5", "civitai, Illustrious, from a file's metadata",
)  # fmt: skip
SMALL = {
    "train": {"steps": 4, "warmup": 0, "batch_size": 2, "accumulation": 1, "precision": "fp32"},
    "data": {"resolution": 32}, "sample": {}, "save": {}, "base": {},
}  # fmt: skip
"""What a tiny base on a processor has otherwise."""


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.usefixtures("no_pictures")
def test_a_recipe_trains_and_a_cut_run_ends_with_the_same_bits(
    name: str, tiny_bases: Mapping[str, Path], tmp_path: Path
) -> None:
    table = {section: value for section, value in read(name).table.items() if isinstance(value, Mapping)}
    small = {section: {**table.get(section, {}), **SMALL[section]} if SMALL[section] else {} for section in SMALL}
    config = quick_settings(tiny_bases["sd1"], write_images(tmp_path / "images"), table | small)
    whole = train(config, tmp_path / "whole")
    again = cut_and_resume(config, tmp_path / "cut", 2)
    assert whole.steps == 4 and equal(style_tensors(whole.style), style_tensors(again.style))
    assert any(tensor.any() for tensor in style_tensors(whole.style).values())
