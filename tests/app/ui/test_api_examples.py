"""The examples of `docs/api.md`, as they stand there, run by the clients that people use."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest

from app.ui.api_sweeps import SweepApi
from tests.app.ui.api_client import connect
from tests.app.ui.server import Process
from tests.trainers.data.pictures import scene

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
CLIENT = "@gradio/client@2.7.0"
FEW = '"train.steps": 2, "train.batch_size": 1, "sample.steps": 1, "sample.prompts": ["a boat"], "save.every": 2'


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("examples") / "outputs")
    yield process
    process.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a ZIP of two pictures in it."""
    with zipfile.ZipFile(tmp_path / "my-paintings.zip", "w") as archive:
        for seed, name in enumerate(("a boat.png", "house.png")):
            scene(seed, (64, 64)).save(tmp_path / name)
            archive.write(tmp_path / name, name)
    return tmp_path


def example(language: str, studio: Process, base: Path) -> str:
    """The example in a language, for this studio, with few steps on a tiny base."""
    found = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.M | re.S)
    (program,) = (each for each in found if "/captions" in each)
    seconds = {"python": ("sleep(1)", "sleep(0.3)"), "js": ("soon, 1000", "soon, 300")}[language]
    for old, new in (
        ("http://127.0.0.1:7860/", studio.url),
        ('"train.steps": 200,', f'{FEW}, "base.model": {json.dumps(str(base))},'),
        seconds,
        ('"steps": 20}' if language == "python" else "steps: 20 }", '"steps": 2}'),
    ):
        assert program.count(old) == 1, old
        program = program.replace(old, new)
    return program


def check(output: str, last: list[str]) -> None:
    lines = output.splitlines()
    lists = [line for line in lines if line.startswith("[")]
    assert any("'harbour'" in line for line in lists) and lines[-3:] == last, output
    assert any("'harbour long'" in line for line in lists) and re.search(r"\bdeleted'?: 1,", output), "in the trash"


def test_the_examples_call_endpoints_with_values_that_they_take() -> None:
    """What is called in each is there; that the examples run is in `make test-all`."""
    written = {one: re.findall(rf"^```{one}\n(.*?)^```", DOCUMENT, re.M | re.S) for one in ("python", "js")}
    called = {
        name
        for program in (*written["python"], *written["js"])
        for name in re.findall(r'(?:api_name=|ask\(|[\[(, ])"/(\w+)"', program)
    }
    assert len(called) > 12 and [name for name in called if not hasattr(SweepApi, name)] == []
    (program,) = (each for each in written["js"] if "/captions" in each)
    calls = re.findall(r'ask\("/(\w+)", \{ (.*?) \}\)', program)
    assert len(calls) > 6
    for name, given in calls:
        fields = set(re.findall(r"(?:^|, )(\w+)", re.sub(r"\{.*?\}|\(.*?\)", "", given)))
        assert fields and fields <= signature(getattr(SweepApi, name)).parameters.keys(), name


@pytest.mark.thorough
def test_the_python_example(studio: Process, place: Path, tiny_bases: dict[str, Path]) -> None:
    command = [sys.executable, "-c", example("python", studio, tiny_bases["sd1"])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=place)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^/.*\.safetensors$", done.stdout, re.M)
    check(done.stdout, counts(studio))


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_the_javascript_example(studio: Process, place: Path, tiny_bases: dict[str, Path]) -> None:
    done = run_in_node(example("js", studio, tiny_bases["sd1"]), place)
    assert re.search(r"^\d{6,}$", done.stdout, re.M), "the bytes of the style file"
    check(done.stdout, counts(studio))


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_the_javascript_client_logs_in(tmp_path: Path) -> None:
    locked = Process(tmp_path / "locked" / "outputs", "--auth", "ann:pear")
    program = """
import { Client } from "@gradio/client";
const studio = await Client.connect(process.argv[2], { auth: ["ann", "pear"] });
console.log((await studio.predict("/bases")).data[0].length);
studio.close();
await Client.connect(process.argv[2]).then(() => console.log("came in"), () => console.log("kept out"));
process.exit();
"""
    try:
        assert run_in_node(program, tmp_path, locked.url).stdout.split("\n")[-3:] == ["1", "kept out", ""]
    finally:
        locked.stop()


def run_in_node(program: str, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the JavaScript client installed beside it."""
    npm = shutil.which("npm") or ""
    subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent", CLIENT], cwd=place, check=True, timeout=120)
    (place / "example.mjs").write_text(program, encoding="utf-8")
    command = ["node", "example.mjs", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=place)
    assert done.returncode == 0, done.stderr
    return done


def counts(studio: Process) -> list[str]:
    """How many methods, presets and bases there are, as the examples print them."""
    client = connect(studio.url)
    return [str(len(client.predict(api_name=name))) for name in ("/methods", "/presets", "/bases")]
