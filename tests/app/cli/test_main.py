"""Every command as people and programs use it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from tests.app.command import call, command_line, commands, parse, process
from tests.app.conftest import Trained
from tests.app.files import write_pictures
from trainers.adapters.methods import METHODS
from trainers.config.techniques import BESIDE_METHODS, list_techniques
from trainers.runs.events import read_events

EVERY_COMMAND = sorted(commands())


# ---------------------------------------------------------------- help
def test_the_commands_there_are() -> None:
    expected = {"train", "resume", "stop", "check", "generate", "inspect", "models", "models get", "methods", "presets"}
    queue = {"add", "list", "stop", "pause", "cancel", "resume", "retry", "clone", "move", "clear"}
    queue |= {"delete", "repair", "retries", "trash", "trash list", "trash restore", "trash empty", "give"}
    expected |= {"estimate", "caption", "merge", "export", "ranks"}
    assert set(EVERY_COMMAND) == expected | {"demo", "ui", "worker", "queue"} | {f"queue {name}" for name in queue}


@pytest.mark.parametrize("name", EVERY_COMMAND)
def test_help_ends_with_an_example_that_works(name: str) -> None:
    outcome = call(*name.split(), "--help")
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.split())
    example = re.search(r"Example: velatura (.+)$", text)
    assert example, text
    assert parse(shlex.split(example[1])) == name


@pytest.mark.parametrize("name", EVERY_COMMAND)
def test_every_option_says_what_it_does(name: str) -> None:
    options = commands()[name].params
    assert all(option.help for option in options if option.name != "help"), [option.name for option in options]


def test_help_and_version_are_quick(tmp_path: Path) -> None:
    outcome = process("train", "--help", cwd=tmp_path, python=("-X", "importtime"))
    assert outcome.code == 0
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in outcome.err.splitlines()}
    assert "app" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "accelerate", "PIL", "numpy", "gradio"}
    assert call("--version").out == f"velatura {version('velatura')}\n"


def test_the_installed_command_is_this_one() -> None:
    (entry,) = entry_points(group="console_scripts", name="velatura")
    assert entry.value == "app.cli.main:main"


def test_without_a_command_there_is_help() -> None:
    assert "Train a style from a folder of images" in call().out


# ---------------------------------------------------------------- listings
def test_methods() -> None:
    rows = json.loads(call("methods", "--json").out)
    keys = ["name", "paper", "parameters", "places", "summary", "setting", "method"]
    assert [list(row) for row in rows] == [keys] * (len(METHODS) + len(BESIDE_METHODS))
    for row, (name, kind) in zip(rows, METHODS.items(), strict=False):
        values = (name, kind.paper, kind.parameters, list(kind.places), kind.summary, f"method.name={name}", "")
        assert row == dict(zip(keys, values, strict=True))
    assert [row["name"] for row in rows[len(METHODS) :]] == [one.name for one in BESIDE_METHODS]


def test_presets() -> None:
    rows = json.loads(call("presets", "--json").out)
    names = [row["name"] for row in rows]
    assert {one.name for one in list_techniques()} <= set(names)
    assert all(row["method"] == row["name"] for row in rows if row["name"] in METHODS)
    named = {*METHODS, "textual-inversion"}
    assert all(named.issuperset(row["method"].split("+")) and row["summary"] for row in rows)
    methods = {row["name"]: row["method"] for row in rows}
    assert methods["textual-inversion"] == "textual-inversion" and methods["pivotal"] == "lora+textual-inversion"


def test_models(tiny_bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELATURA_MODELS", str(tiny_bases["sdxl"].parent))
    rows = {row["name"]: row for row in json.loads(call("models", "--json").out)}
    assert next(iter(rows)) == "starter"
    assert rows["starter"]["family"] == "sd1"
    assert rows[str(tiny_bases["sdxl"])] == {
        "name": str(tiny_bases["sdxl"]),
        "family": "sdxl",
        "kind": "folder",
        "path": str(tiny_bases["sdxl"]),
    }


@pytest.mark.parametrize("listing", ["methods", "presets"])
def test_a_listing_shows_every_word_at_80_columns(listing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = call(listing).out
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    shown = set(table.replace("│", " ").split())
    assert ("┃" in table) == (listing == "presets")
    for row in json.loads(call(listing, "--json").out):
        row.pop("setting", None)  # for programs, as is the method whose setting it is
        words = " ".join(value if isinstance(value, str) else ", ".join(value) for value in row.values()).split()
        assert set(words) <= shown, row


def test_there_is_a_table_of_methods_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    table = call("methods").out
    assert "┃ numbers a layer" in table and len(table.splitlines()) < 60


@pytest.mark.parametrize("line", ["methods", "presets", "models", "check images", "inspect STYLE"])
def test_json_is_one_line_and_nothing_else(
    line: str, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "images", "fox.png")
    words = [str(trained.style) if word == "STYLE" else word for word in line.split()]
    outcome = call(*words, "--json")
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    assert json.loads(outcome.out)


# ---------------------------------------------------------------- check
def test_check_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "images", "fox [red].png", "dog.png")
    (folder / "dog.txt").write_text("a dog " * 60, encoding="utf-8")
    (folder / "notes.png").write_text("no image", encoding="utf-8")
    outcome = call("check", folder)
    assert outcome.code == 0
    assert re.search(r"^! notes.png holds text, not an image\.$", outcome.out, re.MULTILINE)
    assert re.search(r"^! The caption of dog.png is cut at 75 tokens \(the longest has 120\)\.$", outcome.out, re.M)
    assert "fox [red].png" not in outcome.out  # nothing is wrong with it
    word = ("--set", "tokens.word=<dusk>", "--set", "tokens.vectors=70")
    assert "caption of dog.png is cut at 75 tokens (the longest has 191)" in call("check", folder, *word).out
    (folder / "fox [red].png").write_text("no image either", encoding="utf-8")
    assert "fox [red].png holds text" in call("check", folder).out


def test_check_fails_where_training_would(tmp_path: Path) -> None:
    outcome = call("check", tmp_path, "--json")
    assert outcome.code == 1
    assert [finding["level"] for finding in json.loads(outcome.out)] == ["error"]


# ---------------------------------------------------------------- train
def test_train_gives_one_line_of_json(trained: Trained) -> None:
    out, facts = trained.outcome.out, trained.facts
    assert out.count("\n") == 1 and out.endswith("\n")
    assert list(facts) == ["run", "style", "steps", "seconds", "parameters"]
    assert (facts["run"], facts["style"]) == ("runs/dusk", "runs/dusk/style/dusk.safetensors")
    assert (facts["steps"], facts["parameters"]) == (2, 2_042_880)
    assert facts["seconds"] > 0


def test_progress_goes_to_standard_error(trained: Trained) -> None:
    err = trained.outcome.err
    assert re.search(r"^step 1/2  loss 0\.\d{4}  [\d.]+ (steps/s|s/step)  \d+ s left$", err, re.MULTILINE), err
    assert re.search(
        r"^dusk: lora on Velatura starter \(sd1\), 2 images, 2,042,880 trained numbers, float32", err, re.M
    )
    assert "this style will fit only the starter" in err


def test_stop_and_resume(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", "fox.png")
    settings = ("--set", "targets.unet=cross-kv", "--set", "train.warmup=0", "--set", "sample.steps=1")
    words = ("train", "--images", "images", "--name", "лиса", "--steps", "5000", *settings, "--out", "runs", "--json")
    run = tmp_path / "runs" / "лиса"
    with subprocess.Popen(
        command_line(*words), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as training:
        deadline = time.monotonic() + 120
        while not any(event["type"] == "step" for event in read_events(run)):
            assert training.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        asked = call("stop", run)
        out, _ = training.communicate(timeout=120)
    assert asked.code == 0 and f"velatura resume {run}" in asked.err
    assert training.returncode == 0
    steps = json.loads(out)["steps"]
    assert 1 <= steps < 5000
    assert call("stop", run).code == 1  # it has ended

    resumed = call("resume", run, "--steps", steps + 2, "--json")
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["steps"] == steps + 2
    taken = [event["step"] for event in read_events(run) if event["type"] == "step"]
    assert taken == list(range(1, steps + 3))
    assert "is complete at step" in call("resume", run).err


def test_a_run_whose_process_died_is_not_asked_to_stop(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('name = "dead"')
    (tmp_path / "events.jsonl").write_text('{"type": "start"}\n{"type": "step", "step": 1}\n')
    told = call("stop", tmp_path)
    assert told.code == 1 and f"velatura train {tmp_path / 'config.toml'} --overwrite" in told.err
    (tmp_path / "checkpoints" / "step-00000001").mkdir(parents=True)
    assert f"velatura resume {tmp_path}" in call("stop", tmp_path).err
    assert not (tmp_path / "stop").exists()


def test_a_new_run_may_replace_an_old_one_if_asked(trained: Trained, tmp_path: Path) -> None:
    config = trained.run / "config.toml"
    words = ("train", config, "--out", tmp_path, "--set", "targets.unet=cross-kv")
    assert call(*words, "--steps", "1").code == 0
    first = (tmp_path / "dusk" / "style" / "dusk.safetensors").read_bytes()
    assert call(*words, "--seed", "5").code == 1
    assert (tmp_path / "dusk" / "style" / "dusk.safetensors").read_bytes() == first
    replaced = call(*words, "--seed", "5", "--overwrite")
    assert replaced.code == 0
    assert (tmp_path / "dusk" / "style" / "dusk.safetensors").read_bytes() != first
    back = re.search(r"what was dusk is in the trash; bring it back with: velatura (.*)", replaced.err)
    assert back is not None and call(*back[1].split()).code == 0
    assert (tmp_path / "dusk-2" / "style" / "dusk-2.safetensors").read_bytes() == first
    assert not list(tmp_path.glob("queue.db*")), "the queue is not needed for it"


# ---------------------------------------------------------------- inspect
def test_inspect(trained: Trained) -> None:
    summary = json.loads(call("inspect", trained.style, "--json").out)
    assert (summary["method"], summary["parameters"]) == ("lora", 2_042_880)
    assert (summary["rank"]["most_common"], summary["alphas"]) == (16, [16.0])
    assert (summary["base"]["name"], summary["base"]["fits_only"]) == ("Velatura starter", "Velatura starter")
    shown = call("inspect", trained.style).out
    for words in (r"method +│ lora", r"rank +│ 16", r"alpha in the file +│ 16", "fits only +│ Velatura starter"):
        assert re.search(words, shown), words
    for words in (r"numbers in the file +│ 2,042,880", r"captions \(the most frequent\) +│ dog red, fox"):
        assert re.search(words, shown), words
    assert "trained words" not in shown, "its captions call nothing"
    assert summary["base"]["sha256"] in re.sub(r"[\s│]", "", shown)  # folded, not cut
    assert summary["tensors"][0]["key"] in call("inspect", trained.style, "--tensors").out


def test_inspect_says_what_a_file_was_trained_as_and_no_alpha_of_what_has_none(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    def shown(tensors: dict[str, torch.Tensor], name: str, captions: int) -> str:
        tags = {"1_x": {f"tag {number}": 9 - number for number in range(captions)}}
        said = {"velatura.config": json.dumps({"method": {"name": name}}), "ss_tag_frequency": json.dumps(tags)}
        save_file(tensors, tmp_path / "a.safetensors", said)
        return call("inspect", tmp_path / "a.safetensors").out

    turned = {"lora_unet_x.oft_blocks": torch.ones(1, 2, 2), "lora_unet_x.alpha": torch.tensor(0.0)}
    low = {"lora_unet_x.lora_up.weight": torch.ones(4, 2), "lora_unet_x.lora_down.weight": torch.ones(2, 4)}
    out = shown(turned, "oft", 5)
    assert re.search(r"method +│ oft +│", out) and re.search(r"alpha in the file +│ – ", out)
    assert re.search(r"│ tag 0, tag 1, tag 2, tag 3, tag 4 +│", out)
    out = shown(low | {"lora_unet_x.alpha": torch.tensor(0.0)}, "adalora", 6)
    assert re.search(r"method +│ lora \(trained as adalora\) +│", out), out
    assert re.search(r"alpha in the file +│ 0 ", out), "of a LoRA, it says that nothing is left of it"
    assert re.search(r"│ tag 0, tag 1, tag 2, tag 3, tag 4, … +│", out)


# ---------------------------------------------------------------- terminals
def test_a_terminal_without_unicode_or_colour(tmp_path: Path) -> None:
    write_pictures(tmp_path / "føx ☃", "cät [red].png")
    (tmp_path / "føx ☃" / "ünread.png").write_text("text", encoding="utf-8")
    outcome = process("check", "føx ☃", cwd=tmp_path, PYTHONIOENCODING="ascii", NO_COLOR="1")
    assert outcome.code == 0, outcome.err
    assert outcome.out.isascii() and "\x1b" not in outcome.out
    assert "warning: ?nread.png holds text, not an image." in outcome.out
    assert "ok: All pictures are large enough" in outcome.out


def test_nothing_comes_through_that_a_terminal_obeys(tmp_path: Path) -> None:
    outcome = call("inspect", tmp_path / "\x1b[31mred\x07.safetensors")
    assert outcome.err.endswith("�[31mred�.safetensors\n")


def test_debug_is_taken_anywhere() -> None:
    from trainers.errors import VelaturaError

    for words in (("--debug", "inspect", "nothing"), ("inspect", "nothing", "--debug")):
        with pytest.raises(VelaturaError, match="there is no style file nothing"):
            call(*words)
    assert sys.argv[0]  # they were not the process's own
