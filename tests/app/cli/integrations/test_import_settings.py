"""`velatura import`: a config from settings of other programs, and what is said of it."""

from __future__ import annotations

import json
import tomllib
from io import StringIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from app.cli.main import main

LINE = (
    'accelerate launch train_network.py --network_module networks.lora --network_dim 8 --network_alpha 4 --seed 3 '
    '--pretrained_model_name_or_path starter --train_data_dir {images} --max_train_epochs 4 --train_batch_size 2 '
    '--output_name dusk --noise_offset 0.05 --adaptive_noise_scale 0.01 --sample_prompts {prompts} '
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
        "prompts": ["a fox --d 3"],
    }
    folder = str(tmp_path / "reg")
    assert config["prior"] == {"folder": folder, "prompt": "a drawing", "images": 1, "weight": 0.5}
    said = capsys.readouterr().err
    assert "! adaptive_noise_scale = 0.01" in said and "velatura train" in said
    assert run("import", str(script), "--out", str(out)) == 1, "it is there already"
    assert run("train", str(script)) == 1
    assert f"“{script}” holds settings of kohya_ss" in " ".join(capsys.readouterr().err.split())
    spaced = script.rename(tmp_path / "my train.sh")
    assert run("train", str(spaced)) == 1
    assert f"velatura import '{spaced}'" in " ".join(capsys.readouterr().err.split())
    assert run("train", "--images", str(tmp_path / "img"), "--name", "x", "--set", "network_dim=8") == 1
    assert "method.rank" in capsys.readouterr().err


def test_programs_get_the_report_as_data(script: Path, capsys) -> None:
    assert run("import", str(script), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"]["method"] == {"name": "lora", "rank": 8, "alpha": 4.0}
    left = {one["name"]: one["matters"] for one in found["left"]}
    assert left["adaptive_noise_scale"] is True and left["train_data_dir"] is False


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


def test_a_base_that_is_still_to_be_chosen_has_no_findings(tmp_path: Path, capsys) -> None:
    line = "train_network.py --network_dim 8 --max_train_steps 9 --resolution 512 --clip_skip 2"
    for base, findings in (("", ["data.resolution", "base.clip_skip"]), (" --pretrained_model_name_or_path a/b", [])):
        (tmp_path / "train.sh").write_text(line + base)
        assert run("import", str(tmp_path / "train.sh"), "--repair", "--json") == 0
        answer = json.loads(capsys.readouterr().out)
        assert [one["key"] for one in answer["findings"]] == findings
        assert answer["config"]["data"]["resolution"] == (0 if findings else 512)


def test_what_the_preset_decides_is_said(tmp_path: Path, capsys) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"training_method": "LORA", "peft_type": "LORA", "lora_rank": 4}))
    assert run("import", str(file), "--json") == 0
    unsaid = {one["key"]: one["value"] for one in json.loads(capsys.readouterr().out)["unsaid"]}
    assert unsaid["data.caption_dropout"] == "0.05" and "method.rank" not in unsaid
    assert run("import", str(file)) == 0
    assert "so the preset decides: train.steps = " in (said := capsys.readouterr().err)
    assert "data.caption_dropout = 0.05" in said


def test_the_folders_of_a_dataset_config_are_counted(tmp_path: Path, capsys) -> None:
    for name, count in (("10_fox", 2), ("2_owl", 3), ("sky", 1)):
        (tmp_path / "img" / name).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (64, 64), "white").save(tmp_path / "img" / name / f"{k}.png")

    def steps(**repeats: int) -> tuple[int, str]:
        subsets = "".join(
            f"[[datasets.subsets]]\nimage_dir = '{tmp_path}/img/{name}'\nnum_repeats = {count}\n"
            for name, count in repeats.items()
        )
        (tmp_path / "dataset.toml").write_text(f"[[datasets]]\nresolution = 512\n{subsets}")
        line = f"train_network.py --network_dim 8 --max_train_epochs 10 --dataset_config {tmp_path}/dataset.toml"
        (tmp_path / "train.bat").write_text(line)
        assert run("import", str(tmp_path / "train.bat"), "--json") == 0
        config = json.loads(capsys.readouterr().out)["config"]
        return config["train"]["steps"], config["data"].get("images", "")

    assert steps(**{"sky": 7}) == (70, str(tmp_path / "img" / "sky"))
    assert steps(**{"10_fox": 10, "2_owl": 2}) == (260, str(tmp_path / "img")), "it holds no other images of training"
    assert steps(**{"10_fox": 10, "sky": 3}) == (230, ""), "no folder holds just these"


def test_the_concepts_of_onetrainer_are_read_beside_its_config(tmp_path: Path, capsys) -> None:
    (tmp_path / "fox").mkdir()
    Image.new("RGB", (64, 64), "white").save(tmp_path / "fox" / "a.png")
    concepts, file = tmp_path / "concepts.json", tmp_path / "config.json"
    concepts.write_text(json.dumps([{"path": str(tmp_path / "fox"), "balancing": 6}]))
    config = {"training_method": "LORA", "peft_type": "LORA", "epochs": 5, "batch_size": 1, "concepts": None}
    file.write_text(json.dumps(config))
    for files in ([str(concepts), str(file)], [str(file)]):
        assert run("import", *files, "--json") == 0
        found = json.loads(capsys.readouterr().out)["config"]
        assert (found["train"]["steps"], found["data"]["images"]) == (30, str(tmp_path / "fox"))
        file.write_text(json.dumps(config | {"concept_file_name": str(concepts)}))


def test_standard_input_may_name_another_file(tmp_path: Path, monkeypatch, capsys) -> None:
    prompts = "a fox " * 60
    (tmp_path / "dataset.toml").write_text("[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nnum_repeats = 3\n")
    typed = f'network_dim = 4\nnetwork_alpha = 2\n[a]\nsample_prompts = "{tmp_path}/prompts.txt"\n'
    (tmp_path / "prompts.txt").write_text(prompts)
    monkeypatch.setattr("sys.stdin", StringIO(f'{typed}[b]\ndataset_config = "{tmp_path}/dataset.toml"\n'))
    assert run("import", "-", "--json") == 0
    config = json.loads(capsys.readouterr().out)["config"]
    assert (config["method"]["rank"], config["data"]["repeats"]) == (4, 3)
    assert config["sample"]["prompts"] == [prompts.strip()]


def test_a_subset_or_concept_without_a_folder_does_not_count_the_current_one(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    subset = "network_dim = 4\nmax_train_epochs = 5\n[[datasets]]\n[[datasets.subsets]]\nmetadata_file = 'm.json'\n"
    onetrainer = {"training_method": "LORA", "peft_type": "LORA", "epochs": 5, "concepts": [{"path": ""}]}
    for name, content in {"config.toml": subset, "config.json": json.dumps(onetrainer)}.items():
        Path(name).write_text(content)
        assert run("import", name, "--json") == 0
        config = json.loads(capsys.readouterr().out)["config"]
        assert "steps" not in config.get("train", {}) and "images" not in config.get("data", {})


def test_kohya_s_prompts_and_a_base_elsewhere_are_named_in_the_next_command(tmp_path: Path, capsys) -> None:
    kohya, prompts, out = tmp_path / "kohya.json", tmp_path / "prompts.txt", tmp_path / "dusk.toml"
    kohya.write_text(json.dumps({"network_dim": 8, "network_alpha": 4, "unet_lr": 1e-4, "optimizer": "AdamW",
                                 "pretrained_model_name_or_path": "elsewhere.safetensors"}))  # fmt: skip
    prompts.write_text("a fox --n blurry --d 7\n# nothing\na ship\n")
    assert run("import", str(kohya), str(prompts), "--out", str(out)) == 0
    assert tomllib.loads(out.read_text())["sample"]["prompts"] == ["a fox --n blurry --d 7", "a ship"]
    assert f"velatura train {out} --base BASE --images DIR" in capsys.readouterr().err.replace("\n", "")
    assert run("import", str(prompts)) == 1
