"""A module is loaded when it is first used, and is then the real one."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import ForkedProcess
from trainers.lazy_module import load_when_used

ROOT = Path(__file__).parents[2]
NAME = "seldom_used"
SELDOM = ("bitsandbytes.nn", "torch._inductor.lowering")

TRAINING = """
import sys
from app.startup import prepare_process
prepare_process()
import trainers.training.train
from diffusers import UNet2DConditionModel
print("bitsandbytes.nn" in sys.modules, "torch._inductor.lowering" in sys.modules)
from bitsandbytes.optim import AdamW8bit
import bitsandbytes
print(bitsandbytes.nn.Linear4bit.__module__)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a submodule that it does not import; its name is `NAME`."""
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "__init__.py").write_text("value = 3\n")
    (folder / "part.py").write_text("from seldom_used import value\ntwice = 2 * value\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in (NAME, f"{NAME}.part"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    load_when_used(NAME)
    return NAME


def is_loaded() -> bool:
    return "value" in vars(sys.modules[NAME])


def test_looking_at_every_module_loads_none(package: str):
    module = importlib.import_module(package)
    assert importlib.util.find_spec(package).origin == module.__file__
    assert inspect.getmodule(load_when_used) is sys.modules["trainers.lazy_module"]  # asks every module for its file
    assert not is_loaded()


def test_an_attribute_loads_it_once(package: str):
    early = importlib.import_module(package)
    assert early.value == 3 and is_loaded()
    real = importlib.import_module(package)
    real.value = 4
    assert early.value == 4
    with pytest.raises(AttributeError, match="nothing"):
        _ = early.nothing


def test_a_submodule_loads_it(package: str):
    assert importlib.import_module(f"{package}.part").twice == 6 and is_loaded()


def test_what_is_not_installed_stays_so():
    load_when_used("no_such_module_anywhere")
    assert "no_such_module_anywhere" not in sys.modules


def printed(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "kernels" not in done.stderr
    return done.stdout.splitlines()


def test_a_job_begins_without_bitsandbytes(tmp_path: Path):
    process = ForkedProcess("tests.trainers.loaded_modules", ["diffusers", *SELDOM], tmp_path / "log.txt", {})
    assert process.wait() == 0 and process.printed().splitlines()[-1] == "diffusers"


@pytest.mark.thorough
def test_a_training_that_uses_bitsandbytes_loads_it():
    assert printed(TRAINING) == ["False False", "bitsandbytes.nn.modules"]
