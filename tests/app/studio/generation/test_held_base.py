"""A large base is drawn with as it fits into memory, which is said, and a held one is taken as it is."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops

from app.errors import FieldErrors
from app.jobs.processes.free_memory import is_too_large
from app.studio import base_holder
from app.studio.generation.generate import generate
from app.studio.generation.held_base import BaseRequest, base_request
from app.studio.generation.request import GenerateRequest, make_request
from tests.tiny_flow import tiny_flow_folder
from trainers.planning import drawing
from trainers.planning.drawing import Holding, drawing_needs
from trainers.planning.needs import MemoryChoice

pytestmark = [pytest.mark.long, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_flow_folder("sd3", tmp_path_factory.mktemp("base"))


def request(folder: Path, **more: Any) -> GenerateRequest:
    given = {"prompts": ("a fox",), "base": str(folder), "steps": 1, "size": (32, 32), "guidance": 4.0}
    return make_request(**{**given, "sampler": "euler", **more})


def parameters(picture: Path) -> dict[str, Any]:
    with Image.open(picture) as image:
        found: dict[str, Any] = json.loads(image.info["velatura"])
    return found


def is_same(first: Path, second: Path) -> bool:
    return ImageChops.difference(Image.open(first), Image.open(second)).getbbox() is None


@pytest.fixture
def little_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory in which the base fits as int8."""
    needed = base_request(request(folder), [])
    assert needed.drawn is not None
    room = drawing_needs(needed.settings, needed.drawn, needed.dtype).bytes_of(MemoryChoice("int8"))
    monkeypatch.setattr(drawing, "free_memory", lambda _device: room)


def test_a_base_that_does_not_fit_is_packed_and_the_picture_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = generate(request(folder), tmp_path / "whole.png")
    assert not whole.notes and "storage" not in parameters(whole.pictures[0])
    away = {"swap_blocks": 1, "offload_encoders": True}
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "plan_drawing", lambda base, *_given: Holding(base.model_copy(update=away)))
        waiting = generate(request(folder), tmp_path / "waiting.png")
    assert is_same(whole.pictures[0], waiting.pictures[0]), "where weights wait changes nothing"
    with pytest.raises(FieldErrors, match="The base cannot be held as “int4”; available are auto, full, int8, nf4"):
        request(folder, storage="int4")


@pytest.mark.usefixtures("little_room")
def test_a_held_base_is_taken_although_it_fills_the_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = base_request(request(folder), []).load()
    assert held.holding.settings.storage == "int8"
    alone = generate(request(folder), tmp_path / "alone.png")
    other = generate(request(folder, storage="nf4"), tmp_path / "other.png", held=held)
    assert not other.notes and parameters(other.pictures[0])["storage"] == "nf4", "which is asked for another way"
    monkeypatch.setattr(drawing, "free_memory", lambda _device: 0)
    found = generate(request(folder), tmp_path / "found.png", held=held)
    assert len(found.notes) == 1 and found.notes == alone.notes
    assert found.notes[0].startswith("Drawn with the base as int8: whole it needs about 0.0 GB")
    assert is_same(alone.pictures[0], found.pictures[0]) and parameters(found.pictures[0])["storage"] == "int8"


def test_a_base_that_would_fill_the_memory_is_not_held(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, (ours, theirs) = tmp_path / "request.json", socket.socketpair()
    asked.write_text(request(folder).model_dump_json(), encoding="utf-8")
    needed, threads = base_request(request(folder), []), torch.get_num_threads()
    assert not is_too_large(0) and is_too_large(2**50) and not is_too_large(needed.plan().held_bytes)
    monkeypatch.setattr("app.jobs.processes.free_memory.LEAST_FREE", 1.0)
    monkeypatch.setattr(BaseRequest, "load", lambda *_given: pytest.fail("it is loaded"))
    with ours:
        base_holder.main(str(theirs.detach()), "1", str(asked))
    torch.set_num_threads(threads)
