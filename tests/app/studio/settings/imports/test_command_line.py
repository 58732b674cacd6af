"""Command lines and dataset configs of kohya's scripts, as people have them in their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.studio.dataset.drafts import Draft
from app.studio.settings.epochs import Pictures
from app.studio.settings.imports.command_line import read_command_line
from app.studio.settings.imports.read import read_file, read_foreign
from app.studio.settings.imports.report import Imported
from app.studio.settings.plan import from_table, plan
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.models.load import training_size

BATCH = r"""@echo off
cd C:\AI\sd-scripts
call venv\Scripts\activate
set NAME=dusk_v3
accelerate launch --num_cpu_threads_per_process 8 --mixed_precision fp16 sdxl_train_network.py ^
  --pretrained_model_name_or_path="D:\ComfyUI\models\checkpoints\Illustrious-XL-v1.0.safetensors" ^
  --train_data_dir="D:\train\my style\img" --output_dir "D:\lora out\" --output_name "%NAME%" ^
  --network_module=networks.lora --network_dim=32 --network_alpha=16 --network_args "conv_dim=16" "conv_alpha=8" ^
  --resolution=832,1216 --train_batch_size=4 --max_train_epochs=10 --optimizer_type=Prodigy ^
  --optimizer_args "weight_decay=0.01" "d_coef=2" "use_bias_correction=True" --unet_lr=1 --text_encoder_lr=1 ^
  --network_train_unet_only --enable_bucket --max_token_length=225 --clip_skip=2 --seed=42 --mixed_precision=bf16
pause
"""
SHELL = """#!/bin/bash
export MODEL=/models/some.safetensors  # the base
python -m venv venv
accelerate launch \\
  --num_processes=1 train_network.py \\
  --pretrained_model_name_or_path=$MODEL --dataset_config=/data/dataset.toml \\
  --network_module=lycoris.kohya --network_dim 16 --network_alpha 8 \\
  --network_args 'algo=lokr' 'factor=8' 'preset=attn-mlp' 'dropout=0.1' \\
  --learning_rate 1e-4 --text_encoder_lr 5e-5 --max_train_steps 3000 --validation_split 0.1 \\
  --min_snr_gamma 5 --max_timestep 800 --frobnicate $UNKNOWN
"""
POWERSHELL = """$network_dim = 24 # the rank
$lr = "2e-4"
python "C:\\kohya\\train_network.py" `
  --network_module "networks.dylora" --network_dim=$network_dim --network_args unit=4 `
  --learning_rate=$lr --max_train_steps=1000 --use_8bit_adam --resolution=512
"""
DATASETS = r"""
[general]
shuffle_caption = true
keep_tokens = 1
[[datasets]]
resolution = [768, 768]
batch_size = 2
[[datasets.subsets]]
image_dir = 'C:\train\dusk'
num_repeats = 10
class_tokens = 'dusk style'
[[datasets.subsets]]
image_dir = '/data/extra'
num_repeats = 10
flip_aug = true
[[datasets.subsets]]
is_reg = true
image_dir = '/data/reg'
"""


def read(content: str, pictures: Pictures | None = None, bases: tuple[str, ...] = ()) -> tuple[Imported, Config]:
    found = read_foreign(read_file("train.txt", content), pictures, bases)
    assert found is not None
    return found, plan(from_table(Draft(id="x", public="y"), found.table))


def reasons(found: Imported) -> dict[str, str]:
    return {one.name: one.reason for one in found.left}


def test_a_batch_file_becomes_a_config() -> None:
    found, config = read(BATCH, Pictures(12, 120))
    assert (config.method.name, config.targets.unet, config.targets.text_encoder) == ("lora", "full", "none")
    assert config.targets.blocks["*.conv"].rank == 16 and config.name == "dusk_v3"
    train, data = config.train, config.data
    assert (train.optimizer, train.learning_rate, train.weight_decay, train.precision) == ("prodigy", 1, 0.01, "bf16")
    assert (train.steps, data.chunks, config.seed) == (300, 3, 42)
    assert data.resolution == 1008, "a square as large as 832×1216"
    assert config.base.clip_skip == 1 and reasons(found)["clip_skip"] == "idle", "as there with SDXL"
    assert train.d_coef == 2 and reasons(found)["text_encoder_lr"] == "idle"


def test_what_a_command_line_leaves_out_is_as_there() -> None:
    found, config = read(POWERSHELL)
    assert (config.method.name, config.train.optimizer, config.train.learning_rate) == ("dylora", "adamw8bit", 2e-4)
    assert (config.train.batch_size, config.train.schedule, config.data.caption_dropout) == (1, "constant", 0)
    assert (config.data.max_aspect, config.data.flip, config.loss.weighting) == (1, False, "none")
    table = {one.name: (one.value, one.how) for one in found.taken}
    assert table["network_dim"] == ("24", "") and table["network_alpha"][0] == "1"
    assert "kohya's default" in table["network_alpha"][1]


def test_a_shell_script_and_its_dataset_config() -> None:
    found, config = read(SHELL)
    assert (config.method.name, config.train.steps, config.data.held_out) == ("lokr", 3000, 0.1)
    assert config.loss.timesteps == "uniform 0 800"
    assert reasons(found)["dataset_config"] == "dataset" and reasons(found)["frobnicate"] == "unknown"
    assert not any(one.key == "data.flip" for one in found.taken), "the other file may say it"
    table = read_file("a.sh", SHELL) | read_file("dataset.toml", DATASETS)
    both = read_foreign(table, Pictures(12, 0))
    assert both is not None and "dataset_config" not in reasons(both)
    config = plan(from_table(Draft(id="x", public="y"), both.table))
    assert (config.data.resolution, config.train.batch_size, config.data.repeats) == (768, 2, 10)
    assert (config.data.shuffle_tags, config.data.keep_tags, config.data.caption) == (True, 1, "")
    left = {one.name: one for one in both.left}
    sets = {folder: each.model_dump(exclude_unset=True) for folder, each in config.data.sets.items()}
    assert sets == {"dusk": {"caption": "dusk style"}, "extra": {"flip": True}} and not config.data.flip
    assert left["reg_data_dir"].reason == "prior" and not left.keys() & {"flip_aug", "class_tokens"}
    flip = next(one for one in both.taken if one.key == "data.sets" and one.name == "flip_aug")
    assert (flip.value, flip.became) == ("–, True", "extra on")


def test_epochs_become_steps_with_the_repeats_of_subsets() -> None:
    line = "python train_network.py --network_dim 8 --network_alpha 4 --max_train_epochs 10 --dataset_config d.toml"
    table = read_file("a.sh", line) | read_file("d.toml", DATASETS.replace("num_repeats = 10", "num_repeats = 4", 1))

    def imported(pictures: Pictures) -> Imported:
        found = read_foreign(table, pictures)
        assert found is not None
        return found

    by_folder = imported(Pictures(5, 0, {"dusk": 2, "extra": 3}))
    assert by_folder.table["train"]["steps"] == 190, "2 × 4 + 3 × 10 images, 2 a step, 10 times"
    sets = by_folder.table["data"]["sets"]
    assert (sets["dusk"]["repeats"], sets["extra"]["repeats"]) == (4, 10)
    unknown = imported(Pictures(5, 0, {"": 5}))
    assert unknown.findings[0].repair == "10 epochs → 30 steps"
    assert "differ between folders" in unknown.findings[0].problem
    line = f"{line} --train_batch_size 8 --resolution 512 --flip_aug"
    both = read_foreign(read_file("a.sh", line) | read_file("d.toml", DATASETS))
    assert both is not None and (both.table["train"]["batch_size"], both.table["data"]["resolution"]) == (2, 768)
    assert both.table["data"]["sets"]["extra"]["flip"] is True, "the dataset config decides"
    assert both.table["data"]["flip"] is False
    once = read_foreign(table | {"datasets": [{"subsets": [{"image_dir": "x"}]}]}, Pictures(5, 0))
    assert once is not None and once.table["train"]["steps"] == 50, "subsets are shown once unless they say more"


def of_datasets(datasets: list[dict[str, object]], pictures: Pictures | None = None) -> Imported:
    line = "python train_network.py --network_dim 8 --max_train_epochs 2 --train_batch_size 2 --dataset_config d.toml"
    found = read_foreign(read_file("a.sh", line) | {"datasets": datasets}, pictures)
    assert found is not None
    return found


def test_what_differs_between_datasets_is_named_and_left_out() -> None:
    subsets = [{"image_dir": "/x/dusk"}]
    sizes = ({"resolution": 512, "batch_size": 4}, {"resolution": 768, "batch_size": 8})
    found = of_datasets([{**size, "subsets": subsets} for size in sizes], Pictures(10, 0))
    left = {one.name: (one.value, one.reason) for one in found.left}
    data = found.table["data"]
    assert (data["resolution"], data["more_resolutions"]) == (768, [512]), "one folder at both"
    assert left["train_batch_size"] == ("4, 8", "subsets")
    assert not {"batch_size", "steps"} & found.table["train"].keys(), "steps depend on the batch"
    assert found.findings[0].problem == "Epochs need one batch size, and the datasets differ in it."
    assert found.table["data"]["max_aspect"] == 1


def test_folders_that_differ_have_settings_of_their_own() -> None:
    fox, owl = {"image_dir": "/x/fox"}, {"image_dir": "C:\\x\\owl"}

    def read_sets(pictures: Pictures, *subsets: dict[str, object]) -> tuple[object, dict[str, str]]:
        found = of_datasets([{"subsets": [subset]} for subset in subsets], pictures)
        return found.table.get("data", {}).get("sets"), {one.name: one.said for one in found.left}

    sizes = read_sets(Pictures(), {**fox, "resolution": 512}, {**fox, "resolution": 768}, {**owl, "resolution": 512})
    assert sizes[0] == {"fox": {"resolutions": [768, 512]}, "owl": {"resolutions": [512]}}
    twice = read_sets(Pictures(), {**fox, "keep_tokens": 2}, {**fox, "keep_tokens": 1}, owl)
    assert twice[0] is None and "keep_tokens" in twice[1], "a folder has one value"
    here = Pictures(4, 14, {"5_fox": 2, "2_owl": 2})
    assert read_sets(here, {**fox, "num_repeats": 15}, {**owl, "num_repeats": 2})[0] == {"5_fox": {"repeats": 3}}
    named = read_sets(here, {**fox, "num_repeats": 5}, {**owl, "num_repeats": 2})
    assert named[0] is None and named[1]["num_repeats"] == "Here the names of the folders say it."
    uneven = read_sets(here, {**fox, "num_repeats": 7}, {**owl, "num_repeats": 2})
    assert uneven[0] is None and uneven[1]["num_repeats"].endswith("within one folder: 7_fox and 2_owl.")
    assert read_sets(Pictures(), {**fox, "flip_aug": True}, {"image_dir": "/y/fox"})[0] is None, "two of one name"


def test_a_dataset_config_counts_no_numbers_of_folders() -> None:
    ten = Pictures(10, 100, {"10_dusk": 10})
    for repeats, steps in (({}, 10), ({"num_repeats": 3}, 30)):
        found = of_datasets([{"subsets": [{"image_dir": "/x/10_dusk", **repeats}]}], ten)
        assert found.table["train"]["steps"] == steps, "2 epochs, 2 images a step"
    subsets = [{"image_dir": "/x/fox", "num_repeats": 5}, {"image_dir": "/x/owl", "num_repeats": 2}]
    renamed = of_datasets([{"subsets": subsets}], Pictures(4, 14, {"5_fox": 2, "2_owl": 2}))
    assert renamed.table["train"]["steps"] == 14, "folders that are called as the report says"
    twice = of_datasets([{"subsets": [{"image_dir": "/x/dusk"}]} for _size in range(2)], Pictures(10, 0))
    assert twice.table["train"]["steps"] == 20, "both datasets show the images"


def test_a_dataset_config_alone_says_nothing_of_the_training() -> None:
    found, _config = read(DATASETS)
    assert {one.key.partition(".")[0] for one in found.taken} == {"data", "train"}
    assert {one.key for one in found.taken if one.key.startswith("train")} == {"train.batch_size"}


def test_a_base_is_taken_where_it_is_on_this_computer() -> None:
    here = "/home/me/ComfyUI/models/checkpoints/illustrious-xl-v1.0.safetensors"
    found, config = read(BATCH, bases=("starter", here))
    assert config.base.model == here and "pretrained_model_name_or_path" not in reasons(found)
    assert reasons(read(BATCH, bases=("/m/other.safetensors",))[0])["pretrained_model_name_or_path"] == "base"


def test_preview_prompts_keep_those_of_their_options_that_exist_here() -> None:
    first, second = "a fox --n blurry, bad --d 7 --l 6 --s 28 --w 512 --h 512", "a ship --d 7"
    lines = f"{first}\n{second} --ss euler_a --am 0.5"
    table = {"network_dim": 8, "max_train_steps": 9, "sample_prompts": lines}
    found = read_foreign(table)
    assert found is not None
    sample = found.table["sample"]
    assert sample == {"prompts": [first, second]}
    assert next(one.how for one in found.taken if one.key == "sample.prompts").endswith("counterpart: --ss, --am.")


def test_what_is_no_single_call_says_so() -> None:
    for content, said in (
        ("python train_network.py --a 1\npython train_network.py --a 2", "2 command lines"),
        ("accelerate launch lumina_train_network.py --network_dim 4", "lumina_train_network.py"),
        ("python train_textual_inversion.py --seed 4", "train_textual_inversion.py"),
    ):
        with pytest.raises(VelaturaError, match=said):
            read_command_line(content)
    for content in ("", "a -- b", "# train_network.py --network_dim 4", "--", "echo --network_dim 4", "'"):
        assert read_command_line(content) is None


@pytest.mark.parametrize("broken", ['--network_dim "4', "--network_dim=4 'x", "--a=$b --network_dim", "%x --y %"])
def test_no_quoting_breaks_the_reading(broken: str) -> None:
    read_command_line(f"train_network.py {broken}")


@pytest.mark.parametrize(
    ("options", "times", "weighting"),
    [
        ("sd3 --training_shift 3", "uniform 0 1000 shifted 3", "sigma-squared"),
        ("sd3 --weighting_scheme logit_normal", "logit-normal 0 1", "sigma-squared"),
        ("sd3 --weighting_scheme sigma_sqrt", "uniform 0 1000", "none"),
        ("sd3 --weighting_scheme cosmap", "uniform 0 1000", None),
        ("flux", "uniform 0 1000 shifted 3", "sigma-squared"),
        ("flux --timestep_sampling flux_shift --model_prediction_type raw", "logit-normal 0 1 shifted auto", "none"),
        (
            "flux --timestep_sampling shift --discrete_flow_shift 3.1582",
            "logit-normal 0 1 shifted 3.1582",
            "sigma-squared",
        ),
        ("flux --timestep_sampling sigmoid --sigmoid_scale 1.5", "logit-normal 0 1.5", "sigma-squared"),
        ("flux --weighting_scheme mode --model_prediction_type raw", None, "none"),
    ],
)
def test_calls_for_flow_matching_bases(options: str, times: str | None, weighting: str | None) -> None:
    script, _, rest = options.partition(" ")
    module = f"--network_module networks.lora_{script} --network_dim 8 --min_snr_gamma 5 --sample_sampler ddim"
    options = f"{module} --clip_skip 2 --blocks_to_swap 18 {rest}"
    table = read_command_line(f"accelerate launch {script}_train_network.py {options}")
    assert table is not None
    found = read_foreign(table)
    assert found is not None
    loss, base = found.table["loss"], found.table["base"]
    assert (loss.get("timesteps"), loss.get("weighting")) == (times, weighting) and "min_snr_gamma" not in loss
    assert base == {"swap_blocks": 18, **({"guidance": 3.5} if script == "flux" else {})}
    assert found.table["method"]["name"] == "lora" and "sampler" not in found.table.get("sample", {})


def test_a_flux_module_says_what_the_flux_script_says() -> None:
    table = {"network_module": "networks.lora_flux", "network_dim": 4, "timestep_sampling": "flux_shift"}
    found = read_foreign({**table, "guidance_scale": 1.0, "blocks_to_swap": 18, "max_train_steps": 9})
    assert found is not None
    assert found.table["base"] == {"swap_blocks": 18, "guidance": 1.0}
    assert found.table["loss"]["timesteps"] == "logit-normal 0 1 shifted auto"


@pytest.mark.parametrize("script", ["flux", "sd3", "sdxl"])
def test_a_report_names_nothing_that_a_command_line_does_not_hold(script: str) -> None:
    line = f"{script}_train_network.py --network_module lycoris.kohya --network_dim 8 --max_train_steps 9"
    found, _config = read(line)
    assert set(reasons(found)) <= {"timestep_sampling", "weighting_scheme", "model_prediction_type"}


def test_a_preset_of_the_interface_names_flow_options_on_every_base() -> None:
    table = {"LoRA_type": "Standard", "network_dim": 8, "min_snr_gamma": 5, "timestep_sampling": "flux_shift"}
    for flux in (False, True):
        found = read_foreign({**table, "flux1_checkbox": flux})
        assert found is not None
        assert found.table["loss"].get("timesteps") == ("logit-normal 0 1 shifted auto" if flux else None)
        assert found.table["loss"]["weighting"] == ("sigma-squared" if flux else "min-snr")


@pytest.mark.parametrize(
    "script",
    [
        'ARGS=(\n  --network_dim 8 # rank\n  --output_name "a b"\n)\ntrain_network.py "${ARGS[@]}"',
        'ARGS=(--network_dim 8)\nARGS+=(--output_name "a b")\ntrain_network.py "${ARGS[@]}"',
        'ARGS="--network_dim 8"\nARGS="$ARGS --output_name \'a b\'"\ntrain_network.py $ARGS',
        "ARGS='--network_dim 8'\nARGS+=\" --output_name 'a b'\"\ntrain_network.py $ARGS",
        'set ARGS=--network_dim 8\nset ARGS=%ARGS% --output_name "a b"\ntrain_network.py %ARGS%',
        '$a = @("--network_dim", "8",\n  "--output_name", "a b")\ntrain_network.py @a',
        'N="a b"\nDIM=${DIM:-8}\ntrain_network.py --network_dim "$DIM" --output_name "${N:-c}"',
    ],
)
def test_arguments_in_arrays_and_variables(script: str) -> None:
    assert read_command_line(script) == {"network_dim": "8", "output_name": "a b"}


def test_arrays_that_double_end_in_a_sentence() -> None:
    doubling = "A=(--a 1)\n" + 'A=("${A[@]}" "${A[@]}")\n' * 40
    with pytest.raises(VelaturaError, match="more than 100,000 letters"):
        read_command_line(f'{doubling}train_network.py "${{A[@]}}"')
    assert read_command_line("A=(\n" * 20_000 + "train_network.py --a 1") is None, "it never ends"


def test_a_base_that_cannot_be_trained_is_left_with_the_sentence_of_training(tmp_path: Path) -> None:
    base = tmp_path / "FLUX.2-dev"
    (base / "transformer").mkdir(parents=True)
    (base / "model_index.json").write_text('{"_class_name": "Flux2Pipeline"}')
    (base / "transformer" / "config.json").write_text('{"_class_name": "Flux2Transformer2DModel"}')
    line = f"train_network.py --network_dim 8 --max_train_steps 9 --pretrained_model_name_or_path {base}"
    found, config = read(line, bases=(str(base),))
    left = next(one for one in found.left if one.name == "pretrained_model_name_or_path")
    with pytest.raises(VelaturaError) as refused:
        training_size(str(base))
    assert left.said == refused.value.message and "does not train" in left.said and config.base.model == "starter"
