"""The README's commands, tables and names are those of the program."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from app.jobs.store import Store
from tests.app.command import FEW_STEPS, call, parse, process
from tests.app.jobs.working import do_next
from tests.app.user_files import write_pictures
from trainers.config.presets import find_preset, list_presets
from trainers.config.techniques import list_techniques

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:sh|bash|powershell)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [
    words
    for block in BLOCKS
    for line in block.splitlines()
    if (words := shlex.split(line.replace("\\", "/"), comments=True))
]
VELATURA = [words[1:] for words in LINES if words[0].split("/")[-1] == "velatura"]


def test_there_are_commands_in_it() -> None:
    assert {words[0] for words in VELATURA} >= {"demo", "check", "train", "generate", "inspect", "models", "resume"}
    assert ["make", "demo"] in LINES and ["make", "test"] in LINES


@pytest.mark.parametrize("words", VELATURA, ids=" ".join)
def test_every_velatura_line_is_understood(words: list[str]) -> None:
    assert words[: len(parse(words).split())] == parse(words).split()


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {word for words in LINES if words[0] == "make" for word in words[1:]}
    assert used and used <= targets


def test_every_pip_line_installs_an_extra_that_exists() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = [words for words in LINES if "pip" in words]
    assert lines
    for words in lines:
        extra = re.fullmatch(r"\.(?:\[([\w,]+)\])?", words[-1])
        assert words[-3:-1] == ["install", "-e"] and extra
        for name in filter(None, (extra[1] or "").split(",")):
            assert re.search(rf"^{name} = \[", project, re.MULTILINE)


def test_no_two_lines_train_the_same_run() -> None:
    runs = [words[words.index("--name") + 1] for words in VELATURA if words[0] == "train" and "--name" in words]
    assert len(runs) == len(set(runs)), runs


@pytest.mark.usefixtures("no_pictures")
def test_the_lines_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order they are given, with fewer steps; all but demo, studio, stopping, and what needs a real base."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VELATURA_HOME", raising=False)
    write_pictures(tmp_path / "my-paintings", "fox in snow.png", "a boat.png")
    few = ("--steps", "1", "--set", "sample.steps=1")
    more = {"train": few, "queue add": few, "generate": ("--steps", "1"), "worker": ("--device", "cpu")}
    more["ranks"] = ("--times", "1")
    done = []
    for words in VELATURA:
        if words[0] in ("demo", "ui", "stop", "resume") or words[:2] == ["models", "get"] or "--base" in words:
            continue
        if words[0] == "worker":  # does its jobs in processes, which `tests/app/cli/test_queue.py` waits for
            while (store := Store(Path("outputs"))).line():
                assert do_next(store).state == "finished"
        outcome = call(*words, *more.get(parse(words), ()))
        assert outcome.code == 0, (words, outcome.err)
        done.append(words[0])
    assert done.count("train") >= 3
    assert {"check", "generate", "inspect", "models", "queue", "worker"} <= set(done)
    assert (tmp_path / "outputs" / "dusk-second" / "style" / "dusk-second.safetensors").is_file()


def test_the_table_of_methods_is_the_registry() -> None:
    table = README.partition("\n## Methods\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \|.*?\|.*?\| (.*?) \|", table, re.MULTILINE)
    papers = {one.name: one.paper for one in list_techniques()}
    assert [name for name, _ in rows] == list(papers)
    for name, row in re.findall(r"^\| `([\w-]+)` \|(.*)$", table, re.MULTILINE):
        for paper in re.findall(r"arxiv\.org/abs/([\d.]+)", row):
            assert paper in papers[name]


def test_the_example_of_a_method_of_ones_own_trains(tmp_path: Path, tiny_bases: dict[str, Path]) -> None:
    """In a copy of the library, with the file and the two words that the README gives."""
    section = README.partition("### A method of your own")[2]
    (code,) = re.findall(r"^```python\n(.*?)^```", section.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    imported, name = re.findall(r"`(from \S+ import \w+)`\s+and `(\w+)` among", section)[0]
    shutil.copytree(ROOT / "trainers", tmp_path / "trainers", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "trainers" / "adapters" / "methods" / "lora_xs.py").write_text(code, encoding="utf-8")
    registry = tmp_path / "trainers" / "adapters" / "methods" / "__init__.py"
    words = registry.read_text("utf-8").replace("import annotations\n", f"import annotations\n{imported}\n", 1)
    registry.write_text(words.replace("    LoRA\n", f"    {name}\n    | LoRA\n"), encoding="utf-8")
    write_pictures(tmp_path / "images", "fox.png")
    options = ("--base", tiny_bases["sd1"], *FEW_STEPS, "--set", "targets.unet=attn", "--set", "method.rank=3")
    ended = process(
        *("train", "--images", "images", "--name", "dusk", "--set", "method.name=lora-xs", "--out", "runs", *options),
        cwd=tmp_path,
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]),
    )
    assert ended.code == 0, ended.err
    tensors = load_file(tmp_path / "runs" / "dusk" / "style" / "dusk.safetensors")
    ranks = {len(tensor) for key, tensor in tensors.items() if key.endswith("lora_down.weight")}
    assert ranks == {3} and all(tensor.any() for key, tensor in tensors.items() if key.endswith("lora_up.weight"))


def test_every_preset_that_is_named_exists() -> None:
    named = re.findall(r"--preset[ =]([\w-]+)", README)
    listed = README.partition("`velatura presets` lists them")[2].partition("A preset is")[0]
    for name in (*named, *re.findall(r"`([\w-]+)`", listed)):
        assert find_preset(name).name == name
    assert {preset.name for preset in list_presets()} == set(re.findall(r"`([\w-]+)`", listed))
