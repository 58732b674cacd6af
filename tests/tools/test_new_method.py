"""What a new method starts from works: its file, its test and its preset."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.trainers.adapters.layers import LAYERS
from tools.new_method import check_name, files_of, main
from trainers.errors import VelaturaError


def load(name: str, text: str, folder: Path) -> ModuleType:
    """A module of this text, under the name by which others import it."""
    file = folder / f"{name.rpartition('.')[2]}.py"
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_module_stays() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.endswith("glora_x")]:
        del sys.modules[name]


@pytest.mark.usefixtures("no_module_stays")
def test_its_method_is_plain_lora_and_passes_its_test(tmp_path: Path) -> None:
    method, preset, test = files_of("glora-x").values()
    kind = load("trainers.adapters.methods.glora_x", method, tmp_path).GloraX
    assert kind.name == "glora-x" and kind(rank=3, alpha=2.0).scale == 2 / 3
    checks = load("tests.trainers.adapters.methods.test_glora_x", test, tmp_path)
    for layer in LAYERS:
        checks.test_the_change_is_that_of_the_formula(layer)
    assert tomllib.loads(preset)["method"]["name"] == "glora-x"
    assert all("TODO" in text for text in (method, preset))


def test_its_help_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--help") == 0
    assert "python -m tools.new_method NAME" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("GLoRA", "small letters"),
        ("a b", "small letters"),
        ("lora", "already"),
        ("balanced", "already"),
        ("tlora", "already"),
    ],
)
def test_a_name_that_cannot_be_new_is_refused(name: str, reason: str) -> None:
    with pytest.raises(VelaturaError, match=reason):
        check_name(name)
