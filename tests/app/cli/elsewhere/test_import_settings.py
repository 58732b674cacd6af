"""`velatura import`: a config from settings of other programs, and what is said of it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image

from app.cli.main import main

LINE = (
    'accelerate launch train_network.py --network_module networks.lora --network_dim 8 --network_alpha 4 --seed 3 '
    '--pretrained_model_name_or_path starter --train_data_dir {images} --max_train_epochs 4 --train_batch_size 2 '
    '--output_name dusk --noise_offset 0.05 --multires_noise_iterations 6 --sample_prompts {prompts} '
    '--reg_data_dir {reg} --prior_loss_weight 0.5'
)  # fmt: skip


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "img" / "5_dusk").mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("RGB", (64, 64), "white").save(tmp_path / "img" / "5_dusk" / f"{name}.png")
    (tmp_path / "reg" / "1_a drawing").mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "reg" / "1_a drawing" / "red.png")
    (tmp_path / "prompts.txt").write_text("a fox --d 3\n")
    written = tmp_path / "train.sh"
    written.write_text(LINE.format(images=tmp_path / "img", prompts=tmp_path / "prompts.txt", reg=tmp_path / "reg"))
    return written


def test_a_command_line_becomes_a_config_that_trains(script: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "dusk.toml"
    assert run("import", str(script), "--out", str(out)) == 0
    config = tomllib.loads(out.read_text())
    assert (config["name"], config["base"]["model"], config["train"]["steps"]) == ("dusk", "starter", 20)
    assert config["data"]["images"] == str(tmp_path / "img") and config["sample"] == {
        "prompts": ["a fox"],
        "seeds": [3],
    }
    folder = str(tmp_path / "reg")
    assert config["prior"] == {"folder": folder, "prompt": "a drawing", "images": 1, "weight": 0.5}
    said = capsys.readouterr().err
    assert "! multires_noise_iterations = 6" in said and "velatura train" in said
    assert run("import", str(script), "--out", str(out)) == 1, "it is there already"
    assert run("train", str(script)) == 1
    assert f"velatura import {script}" in capsys.readouterr().err
    assert run("train", "--images", str(tmp_path / "img"), "--name", "x", "--set", "network_dim=8") == 1
    assert "method.rank" in capsys.readouterr().err


def test_programs_get_the_report_as_data(script: Path, capsys) -> None:
    assert run("import", str(script), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"]["method"] == {"name": "lora", "rank": 8, "alpha": 4.0}
    left = {one["name"]: one["matters"] for one in found["left"]}
    assert left["multires_noise_iterations"] is True and left["train_data_dir"] is False


def test_a_script_that_blows_up_and_a_config_that_names_itself_end_in_a_sentence(tmp_path: Path, capsys) -> None:
    script, itself = tmp_path / "train.sh", tmp_path / "a.toml"
    laughs = "".join(f"V{k + 1}={f'$V{k}' * 5}\n" for k in range(40))
    script.write_text(f"V0=aaaaaaaa\n{laughs}python train_network.py --network_dim $V40\n")
    assert run("import", str(script)) == 1
    assert "its variables put in more than 100,000 letters" in capsys.readouterr().err
    itself.write_text(f'dataset_config = "{itself}"\nnetwork_dim = 4\nnetwork_alpha = 2\n')
    assert run("import", str(itself)) == 0
    assert "dataset_config" in capsys.readouterr().err
    (tmp_path / "prompts.txt").write_text("a fox\n" * 100_000)
    itself.write_text(f'sample_prompts = "{tmp_path}/prompts.txt"\nnetwork_dim = 4\nnetwork_alpha = 2\n')
    assert run("import", str(itself)) == 1
    assert "more than 20,000 letters" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 works on a card")
def test_what_cannot_be_trained_here_is_said_and_repaired(script: Path, tmp_path: Path, capsys) -> None:
    images, out = tmp_path / "plain", tmp_path / "dusk.toml"
    (tmp_path / "img" / "5_dusk").rename(images)
    options = "--mixed_precision fp16 --resolution 512"
    line = script.read_text().replace("--train_data_dir", "--x").replace("--seed 3", f"--seed 3 {options}")
    script.write_text(line)
    assert run("import", str(script), "--images", str(images), "--out", str(out)) == 0
    said = " ".join(capsys.readouterr().err.split())
    for repair in ("fp16 → auto on this computer", "512 → 128 on the starter", "4 epochs → 4 steps"):
        assert repair in said
    assert "--set train.precision=auto" in said
    assert run("train", str(out)) == 1
    assert "repair it with --set train.precision=auto" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "outputs").exists()
    assert run("import", str(script), "--images", str(images), "--repair", "--json") == 0
    config = json.loads(capsys.readouterr().out)["config"]
    assert (config["train"]["precision"], config["train"]["steps"], config["data"]["resolution"]) == ("auto", 4, 0)
