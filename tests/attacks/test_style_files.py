"""Hostile style files: each is refused in one sentence, the base stays as it is, and memory stays low."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.attacks.style_files import FILES, HEADERS, SETTINGS, tiny_parts, try_one, write_all
from trainers.errors import VelaturaError
from trainers.formats import names
from trainers.formats.write import outline
from trainers.models.files.header import read_header
from trainers.models.full_size import build_from_config

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAMES = [*FILES, *HEADERS, *(f"settings: {name}" for name in SETTINGS)]
LEAST = 100
"""MB that a file may take; the smallest bomb would take 270, the others 4,000 and more."""


@pytest.fixture(scope="module", autouse=True)
def networks_are_built_once() -> Iterator[None]:
    """Keep the full-size networks on the meta device, to which nothing is written, from one way in to the next."""
    built: dict[str, nn.Module] = {}

    def build(config: dict[str, Any]) -> nn.Module:
        key = json.dumps(config)
        if key not in built:
            built[key] = build_from_config(config)
        return built[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (names, outline):
            patch.setattr(module, "build_from_config", build)
        yield


@pytest.fixture(scope="module")
def parts() -> dict[str, nn.Module]:
    return tiny_parts()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Iterator[Mapping[str, Path]]:
    yield write_all(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file_is_refused_in_one_sentence(files, parts, tmp_path, name):
    before = {key: tensor.clone() for key, tensor in parts["unet"].state_dict().items()}
    out = tmp_path / "out.safetensors"
    said = try_one(files[name], parts, out)
    assert said["apply"] and said["merge"], said
    assert all("\n" not in sentence and len(sentence) < 500 for sentence in said.values())
    assert not out.exists()
    after = parts["unet"].state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert not any(module._forward_hooks for module in parts["unet"].modules())


def test_a_header_that_is_too_long_is_called_so(files):
    with pytest.raises(VelaturaError, match="has a header of 17 MB, and the limit is 16 MB"):
        read_header(files["a header of 17 MB"])


@pytest.mark.thorough
def test_bombs_take_no_memory(files):
    command = [sys.executable, "-m", "tests.attacks.style_files", "bomb"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *said, figures = result.stdout.splitlines()
    assert len(said) == sum(name.startswith("bomb") for name in NAMES) and all("unfold" in line for line in said)
    assert json.loads(figures)["grown_mb"] < LEAST
