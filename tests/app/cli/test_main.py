"""Every command as people and programs use it."""

from __future__ import annotations

import json
import re
import shlex
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from tests.app.command import call, commands, fresh_process, parse, process
from tests.app.conftest import Trained
from tests.app.user_files import write_pictures

EVERY_COMMAND = sorted(commands())


# ---------------------------------------------------------------- help
def test_the_commands_there_are() -> None:
    expected = {"train", "resume", "stop", "check", "generate", "inspect", "models", "models get", "methods", "presets"}
    queue = {"add", "list", "stop", "pause", "cancel", "resume", "retry", "clone", "move", "clear"}
    queue |= {"delete", "repair", "retries", "trash", "trash list", "trash restore", "trash empty", "give", "nodes"}
    sweep = {"start", "list", "show", "cancel", "continue", "move", "forget"}
    expected |= {"estimate", "caption", "merge", "export", "extract", "ranks"}
    expected |= {f"queue {name}" for name in queue} | {f"sweep {name}" for name in sweep}
    expected |= {"audit", "people", "tokens", "tokens list", "tokens add", "tokens revoke"}
    people = ("list", "add", "remove", "role", "limit", "invite", "invitations", "withdraw")
    expected |= {f"people {name}" for name in people}
    expected |= {"best", "score", "push", "install", "import", "launch", "launch slurm", "launch skypilot"}
    assert set(EVERY_COMMAND) == expected | {"demo", "ui", "update", "uninstall", "worker", "queue", "sweep"}


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


def test_what_can_be_trained_can_be_queued_with_the_same_options() -> None:
    """Each command declares its options, since typer reads them from its signature."""

    def options(name: str) -> dict[str, tuple[list[str], str]]:
        return {one.name: (one.opts, one.help) for one in commands()[name].params}

    assert options("queue add").items() >= options("train").items() and len(options("train")) > 10


def test_help_and_version_are_quick(tmp_path: Path) -> None:
    outcome = fresh_process("train", "--help", cwd=tmp_path, python=("-X", "importtime"))
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


# ---------------------------------------------------------------- output
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


@pytest.mark.thorough  # the next one calls the same in the test's own process
def test_a_process_with_debug_ends_with_its_traceback(tmp_path: Path) -> None:
    outcome = fresh_process("inspect", "nothing", "--debug", cwd=tmp_path)
    assert outcome.code == 1 and outcome.out == ""
    assert "Traceback (most recent call last)" in outcome.err and "VelaturaError" in outcome.err


def test_debug_is_taken_anywhere() -> None:
    from trainers.errors import VelaturaError

    for words in (("--debug", "inspect", "nothing"), ("inspect", "nothing", "--debug")):
        with pytest.raises(VelaturaError, match="there is no style file nothing"):
            call(*words)
    assert sys.argv[0]  # they were not the process's own


def test_an_option_for_one_value_is_refused_where_it_is_given_twice(tmp_path: Path) -> None:
    for command in (["train"], ["import", "train.bat"], ["queue", "add"]):
        outcome = call(*command, "--images", tmp_path / "fox", "--images", tmp_path / "owl")
        assert outcome.code == 1 and "put the pictures into one folder" in " ".join(outcome.err.split()), outcome.err
    assert "--steps is given twice" in call("train", "--steps", "2", "--steps=3").err
    lists = call("train", "--images", tmp_path / "none", "--name", "x", "--set", "seed=1", "--set", "seed=2", "--json")
    assert "twice" not in lists.err and "none" in lists.err
