"""What is used elsewhere: the Dockerfile, compose.yaml, the pages in docs/deploy, the notebook and the script there."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from app.ui.middleware.login import FOR_EVERYBODY
from app.ui.middleware.routes import ROUTES
from tests.app.command import parse

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
FENCED = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_what_the_dockerfile_copies_is_sent_to_it() -> None:
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {word for line in lines for word in line.split()}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert copied == sent and ignored[1] == "*" and all((ROOT / name).exists() for name in copied)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = set(re.findall(r'"(\w+)\*"', project)) | {"pyproject.toml", "README.md", "LICENSE", "NOTICE"}
    assert needed == copied


def test_the_health_check_asks_what_needs_no_login() -> None:
    (address,) = re.findall(r"request\('GET', '([^']+)'\)", DOCKERFILE)
    assert address in ROUTES and address in FOR_EVERYBODY


def test_compose_builds_the_targets_that_there_are() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    targets = set(re.findall(r"^FROM \S+ AS ([\w-]+)", DOCKERFILE, re.MULTILINE))
    (volume,) = re.findall(r"^VOLUME (\S+)", DOCKERFILE, re.MULTILINE)
    services = compose["services"]
    assert {name: service["build"]["target"] for name, service in services.items()} == {
        "studio": "cpu",
        "studio-nvidia": "cuda",
    }
    for service in services.values():
        assert service["build"]["target"] in targets and service["volumes"] == [f"outputs:{volume}"]
        assert service["ports"] == ["127.0.0.1:7860:7860"] and service["init"] is True
        assert {*service["build"].get("args", {})} <= set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert set(compose["volumes"]) == {"outputs"} and services["studio-nvidia"]["profiles"] == ["nvidia"]


def test_the_image_runs_without_root() -> None:
    users = re.findall(r"^(?:USER (\S+)|FROM (\S+) AS (\S+))", DOCKERFILE, re.MULTILINE)
    after = [user or stage for user, _, stage in users]
    assert after[after.index("studio") :] == ["studio", "1000", "cuda", "cpu"]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing() -> None:
    found = subprocess.run([str(HADOLINT), ROOT / "Dockerfile"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_script_that_builds_the_image_is_one() -> None:
    assert subprocess.run(["bash", "-n", ROOT / "tools" / "image.sh"], capture_output=True).returncode == 0


@pytest.mark.parametrize("page", sorted(DEPLOY.glob("*.md")), ids=lambda page: page.stem)
def test_every_velatura_line_is_understood(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = [line for block in FENCED.findall(text) for line in block.splitlines()]
    for words in (shlex.split(line, comments=True) for line in lines):
        if words and words[0].split("/")[-1] == "velatura":
            parse(words[1:])
    assert page.stem == "README" or "## What was tried" in text


def test_the_script_for_modal_is_python() -> None:
    tree = ast.parse((DEPLOY / "velatura_modal.py").read_text(encoding="utf-8"))
    assert {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} == {"resume", "main"}


@pytest.mark.thorough
def test_the_notebook_trains_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    shown: list[str] = []
    display = ModuleType("IPython.display")
    display.Image = lambda filename: filename  # type: ignore[attr-defined]
    display.display = shown.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cells = json.loads((DEPLOY / "colab.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (parameters,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    assert sources[0] == "".join(parameters["source"]) and all(cell.get("outputs", []) == [] for cell in cells)
    for _ in range(2):
        names: dict[str, Any] = {}
        exec(sources[0], names)
        names |= {"BASE": "starter", "STEPS": 2}
        for source in sources[1:]:
            exec(source, names)
    assert shown == [str(Path("outputs/dusk/samples/before-after.png"))] * 2 and Path(shown[0]).is_file()
    said = capfd.readouterr().out
    assert "dusk has finished" in said and "This style fits only the starter" in said
