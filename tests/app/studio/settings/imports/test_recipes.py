"""Published recipes of other programs: each becomes a config, and whatever is left out has its reason."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
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
from tests.tiny_flow import tiny_flow_folder
from tests.trainers.processes import training_process, wait_for
from tests.trainers.tiny_runs import equal, quick_settings, style_tensors, write_images
from trainers.config.build import as_table, build_config
from trainers.config.config import Config
from trainers.data.repeats import read_folders, read_repeats
from trainers.errors import VelaturaError
from trainers.runs.run import Run
from trainers.training.prepare import prepare
from trainers.training.train import resume, train

TWELVE = Pictures(12, 120)
FOLDERS = Pictures(6, 9, {"2_ink": 3, "1_chalk": 3})
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
    "Easy Training Scripts, SDXL with CAME and REX": (
        LORA | {
            "method.rank": 32, "method.alpha": 16.0, "train.optimizer": "came", "train.learning_rate": 1e-4,
            "train.optimizer_args": "betas=0.9,0.999,0.9999", "train.weight_decay": 0.04, "train.schedule": "rex",
            "train.rex_d": 0.9, "train.floor": 0.01, "train.max_norm": 1.0, "train.steps": 50, "train.batch_size": 2,
            "loss.input_perturbation": 0.05, "loss.weighting": "min-snr", "data.resolution": 1024,
            "data.max_aspect": 4.0,
        },
        {},
    ),
    "kohya, SD 1.5 with Prodigy schedule-free": (
        LORA | KOHYA | {
            "targets.text_encoder": "attn-mlp", "train.optimizer": "prodigy-schedule-free", "train.d_coef": 0.5,
            "train.weight_decay": 0.01, "train.learning_rate": 1.0, "train.max_grad_norm": 0.0, "train.steps": 800,
            "train.schedule": "constant",
        },
        {},
    ),
    "civitai, SDXL, its defaults": (
        LORA | {
            "targets.text_encoder": "attn-mlp", "method.rank": 32, "method.alpha": 16.0, "train.optimizer": "adafactor",
            "train.learning_rate": 5e-4, "train.text_encoder_learning_rate": 5e-5, "train.steps": 1250,
            "train.batch_size": 4, "train.schedule": "cosine", "loss.noise_offset": 0.1, "loss.weighting": "min-snr",
            "data.resolution": 1024, "data.shuffle_tags": True, "data.max_aspect": 4.0,
        },
        {},
    ),
    "civitai's trainer, SDXL, its form": (
        LORA | {
            "targets.text_encoder": "attn-mlp", "method.rank": 32, "method.alpha": 16.0, "train.optimizer": "adafactor",
            "train.learning_rate": 5e-4, "train.text_encoder_learning_rate": 5e-5, "train.steps": 1050,
            "train.batch_size": 4, "train.schedule": "cosine", "train.cycles": 3, "loss.noise_offset": 0.1,
            "loss.min_snr_gamma": 5.0, "data.resolution": 1024, "data.flip": True,
        },
        {},
    ),
    "civitai, Flux.1, its defaults": (
        LORA | {
            "method.rank": 32, "method.alpha": 32.0, "train.optimizer": "adamw8bit", "train.learning_rate": 1e-4,
            "train.schedule": "constant", "train.steps": 2000, "train.batch_size": 1, "loss.weighting": "none",
            "loss.timesteps": "logit-normal 0 1", "base.guidance": 1.0, "data.resolution": 1024, "data.max_aspect": 4.0,
        },
        {},
    ),
}  # fmt: skip


def read(name: str) -> Imported:
    file, table = RECIPES[name]
    content = yaml.safe_dump(dict(table)) if file.endswith(".yaml") else json.dumps(table)
    imported = read_foreign(read_file(file, content), FOLDERS if "datasets" in table else TWELVE)
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


def paths_of(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside tables and lists."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*at, name)
        yield from paths_of(each, (*at, name))


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    first, *rest = path
    inner = value.items() if isinstance(value, Mapping) else enumerate(value)
    changed = {name: with_value(each, tuple(rest), new) if name == first else each for name, each in inner}
    return changed if isinstance(value, Mapping) else list(changed.values())


@pytest.mark.parametrize("name", RECIPES)
def test_a_damaged_value_anywhere_is_left_out_or_refused_in_words(name: str) -> None:
    file, table = RECIPES[name]
    for path in paths_of(table):
        for damage in ("maybe", [[1], {"a": 2}], {"a": {"b": 1}}, -1, None):
            try:
                damaged = read_file(f"{file}.json", json.dumps(with_value(table, path, damage)))
                imported = read_foreign(damaged, FOLDERS)
                assert imported is None or build_config({"name": "style"}, imported.table)
            except VelaturaError as error:
                assert len(error.message) > 10


TRAINED: Mapping[str, str] = {
    "Easy Training Scripts, SDXL with CAME and REX": "sdxl",
    "kohya, SD 1.5 with Prodigy schedule-free": "sd1",
    "civitai, SDXL, its defaults": "sdxl",
    "civitai, Flux.1, its defaults": "flux",
    "ai-toolkit, Z-Image with preserved output": "z-image",
}
"""The family of each recipe's base."""
FLOWS = ("flux", "z-image")
SMALL = {
    "train": {"steps": 12, "warmup": 0, "batch_size": 2, "accumulation": 1, "precision": "fp32", "optimizer": ""},
    "data": {"resolution": 32, "more_resolutions": ()}, "save": {"every": 2, "precision": "fp32"}, "base": {},
    "sample": {},
}  # fmt: skip
"""What a tiny base on a processor has otherwise; 8-bit states need a card."""


@pytest.fixture(scope="module")
def bases(tiny_bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return tiny_bases | {family: tiny_flow_folder(family, folder / family) for family in FLOWS}


def small_run(name: str, base: Path, images: Path) -> Config:
    """A recipe's config with fewer and smaller steps."""
    table = {section: value for section, value in read(name).table.items() if isinstance(value, Mapping)}
    small = {section: {**table.get(section, {}), **SMALL[section]} if SMALL[section] else {} for section in SMALL}
    small["train"]["optimizer"] = table["train"].get("optimizer", "adamw").removesuffix("8bit")
    if TRAINED[name] in FLOWS:
        small["sample"]["sampler"] = "euler"
    for folder in ("2_ink", "1_chalk"):
        write_images(images / folder)
    return quick_settings(base, images, table | small)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.usefixtures("no_pictures")
def test_a_recipe_trains_and_a_killed_run_ends_with_the_same_bits(
    name: str, bases: Mapping[str, Path], tmp_path: Path
) -> None:
    config = small_run(name, bases[TRAINED[name]], tmp_path / "images")
    whole = train(config, tmp_path / "whole")
    run = Run(tmp_path / "killed" / config.name)
    with training_process(config, tmp_path / "killed") as process:
        wait_for("checkpoint", 2, run, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 2 <= run.checkpoint_steps()[-1] < 12 and not run.style.exists()
    again = resume(run)
    assert whole.steps == again.steps == 12 and equal(style_tensors(whole.style), style_tensors(again.style))
    trained = [tensor for name, tensor in style_tensors(whole.style).items() if "lora_up" in name or "lora_B" in name]
    assert len(trained) > 4 and all(tensor.any() for tensor in trained)


def test_folders_of_a_recipe_train_with_their_own_settings(bases: Mapping[str, Path], tmp_path: Path) -> None:
    config = small_run("Easy Training Scripts, SDXL with CAME and REX", bases["sdxl"], tmp_path / "images")
    assert config.data.sets["1_chalk"].flip and config.data.sets["2_ink"].keep_tags == 1
    run = prepare(config, tmp_path)
    assert sorted(read_folders(run.dataset).values()) == ["1_chalk"] * 3 + ["2_ink"] * 3
    assert sorted(read_repeats(run.dataset).values()) == [2, 2, 2]
