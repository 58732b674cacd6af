"""The commands and names in the README and in docs/ are those of the program."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from app.jobs.store import Store
from app.studio.settings.gather import RECOMMENDED, gather_settings
from tests.app.command import FEW_STEPS, call, commands, parse, process
from tests.app.jobs.working import do_next
from tests.app.user_files import write_pictures
from trainers.config.presets import find_preset

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))}
PAGES["README.md"] = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = ("README.md", "docs/commands.md", "docs/composing.md", "docs/queue.md")
"""Pages whose commands run one after the other, as somebody who reads them would."""


def lines_of(page: str) -> list[list[str]]:
    """The words of each command line on a page."""
    blocks = re.findall(r"^```(?:sh|bash|powershell)\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").replace("\\", "/").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def velatura_lines(*pages: str) -> list[list[str]]:
    """The words after `velatura` of each line with it, once each."""
    lines = [tuple(words) for page in pages for words in lines_of(page)]
    return [list(words[1:]) for words in dict.fromkeys(lines) if words[0].split("/")[-1] == "velatura"]


README = lines_of("README.md")
VELATURA = velatura_lines(*RUN)


def test_there_are_commands_in_it() -> None:
    assert {words[0] for words in VELATURA} >= {"demo", "check", "train", "generate", "inspect", "models", "resume"}
    assert ["make", "demo"] in README and ["make", "ui"] in README


@pytest.mark.parametrize("page", [page for page in PAGES if velatura_lines(page)])
def test_every_velatura_line_is_understood(page: str) -> None:
    for words in velatura_lines(page):
        assert words[: len(parse(words).split())] == parse(words).split()


def test_every_line_that_trains_names_settings_and_presets_that_exist() -> None:
    train, names = commands()["train"], []
    for words in velatura_lines(*PAGES):
        if words[0] == "train" and words[1].startswith("--") and "lora-xs" not in words:  # which the reader writes
            given = train.make_context("train", words[1:]).params
            options = {name: given[name] for name in ("name", "seed", "images", "base", "steps")}
            names.append(gather_settings(Path("outputs"), None, given["preset"], options, given["assignments"]).name)
    assert {"dusk", "dusk-loha", "dusk-word"} <= set(names)


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {word for page in PAGES for words in lines_of(page) if words[0] == "make" for word in words[1:]}
    assert used and used <= targets


def test_every_pip_line_installs_an_extra_that_exists() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r"pip install -e '?\.\[([\w,]+)\]", "".join(PAGES.values()))
    assert extras and all(words[-3:] == ["install", "-e", "."] for words in README if "pip" in words)
    for name in ",".join(extras).split(","):
        assert re.search(rf"^{name} = \[", project, re.MULTILINE)


def test_nothing_promises_that_an_index_has_the_package() -> None:
    code = [path for folder in ("app", "trainers") for path in (ROOT / folder).rglob("*.py")]
    texts = {str(path): path.read_text(encoding="utf-8") for path in code} | PAGES
    assert len(texts) > 300
    assert [name for name, text in texts.items() if re.search(r"pip install [\"'`]?velatura", text)] == []


def test_no_two_lines_train_the_same_run() -> None:
    runs = [words[words.index("--name") + 1] for words in VELATURA if words[0] == "train" and "--name" in words]
    assert len(runs) == len(set(runs)), runs


LEFT_OUT = ("demo", "ui", "stop", "resume", "best", "score")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("pages", [RUN[:1], pytest.param(RUN, marks=pytest.mark.thorough)], ids=["first", "all"])
def test_the_lines_run_one_after_the_other(
    pages: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order they are given, with fewer steps; those that need pictures, a real base or a person are left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VELATURA_HOME", raising=False)
    write_pictures(tmp_path / "my-paintings", "fox in snow.png", "a boat.png")
    few = ("--steps", "1", "--set", "sample.steps=1", "--set", "data.resolution=64")
    more = {"train": few, "queue add": few, "generate": ("--steps", "1"), "worker": ("--device", "cpu")}
    more["ranks"] = ("--times", "1")
    done = []
    for words in velatura_lines(*pages):
        if words[0] in LEFT_OUT or words[:2] == ["models", "get"] or "--base" in words:
            continue
        if words[0] == "worker":  # does its jobs in processes, which `tests/app/cli/test_queue.py` waits for
            while (store := Store(Path("outputs"))).line():
                assert do_next(store).state == "finished"
        outcome = call(*words, *more.get(parse(words), ()))
        assert outcome.code == 0, (words, outcome.err)
        done.append(words[0])
    assert {"check", "train", "generate"} <= set(done)
    if pages == RUN:
        assert done.count("train") >= 3 and {"inspect", "models", "queue", "worker"} <= set(done)
        assert (tmp_path / "outputs" / "dusk-second" / "style" / "dusk-second.safetensors").is_file()


def test_the_example_of_a_method_of_ones_own_trains(tmp_path: Path, tiny_bases: dict[str, Path]) -> None:
    """In a copy of the library, with the file that the page gives."""
    page = PAGES["docs/own-method.md"]
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (path,) = re.findall(r"`(trainers/adapters/methods/\w+\.py)`", page)
    shutil.copytree(ROOT / "trainers", tmp_path / "trainers", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / path).write_text(code, encoding="utf-8")
    write_pictures(tmp_path / "images", "fox.png")
    options = ("--base", tiny_bases["sd1"], *FEW_STEPS, "--set", "targets.unet=attn", "--set", "method.rank=3")
    ended = process(
        *("train", "--images", "images", "--name", "dusk", "--set", "method.name=lora-xs", "--out", "runs", *options),
        cwd=tmp_path,
        library=tmp_path,
    )
    assert ended.code == 0, ended.err
    tensors = load_file(tmp_path / "runs" / "dusk" / "style" / "dusk.safetensors")
    ranks = {len(tensor) for key, tensor in tensors.items() if key.endswith("lora_down.weight")}
    assert ranks == {3} and all(tensor.any() for key, tensor in tensors.items() if key.endswith("lora_up.weight"))


def test_every_preset_that_is_named_exists() -> None:
    pages = [text for page, text in PAGES.items() if page != "docs/own-method.md"]  # whose preset the reader writes
    named = {name for text in pages for name in re.findall(r"--preset[ =]([\w-]+)", text)}
    for name in named - {RECOMMENDED}:
        assert find_preset(name).name == name
