"""What the Playground's fields hold when it is opened, without a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from app.jobs.store import TRAIN, NewJob
from app.studio.services import Services, open_services
from app.studio.studio_queue import StudioQueue
from app.ui.components.events import key_of
from app.ui.playground.page import Playground
from tests.app.ui.ended_runs import write_run


@pytest.fixture
def services(queue: StudioQueue, tmp_path: Path) -> Iterator[Services]:
    opened = open_services(queue.paths, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def page(services: Services) -> Playground:
    with gr.Blocks():
        return Playground(services)


def visitor(**query: str) -> Any:
    return SimpleNamespace(username=None, cookies={}, session_hash="x", query_params=query)


def test_prompts_that_an_address_names_are_drawn_instead_of_the_first_one(page, services):
    write_run(services.paths.runs, "dusk", prompts=("a cat",))
    (style,) = services.library.entries()
    page.open(visitor(style=style.id))
    kept = page.forms.read(key_of(visitor()))
    assert kept is not None and kept.prompt == "a cat"
    page.open(visitor(style=style.id, prompts="a dog, with a hat\na ship"))
    kept = page.forms.read(key_of(visitor()))
    assert kept is not None and [prompts for cell in kept.axes() for prompts in cell.values()] == [
        "words",
        "a dog, with a hat; a ship",
    ]
    assert (kept.prompt, kept.parse()[1], kept.styles[0][0]) == ("a dog, with a hat", {}, style.id)
    page.open(visitor(style=style.id, compare="step", prompts="a dog\na ship"))
    kept = page.forms.read(key_of(visitor()))
    assert kept is not None and (kept.across, kept.down, kept.down_values) == ("step", "words", "a dog; a ship")
    page.open(visitor(style=style.id, prompts="a ship"))
    kept = page.forms.read(key_of(visitor()))
    assert kept is not None and (kept.prompt, kept.axes()) == ("a ship", [])


def test_while_the_first_style_is_trained_the_fields_lead_to_its_run(page, services):
    assert "No styles here yet" in page.open(visitor())
    services.queue.store.add(NewJob(TRAIN, write_run(services.paths.runs, "dusk"), owner=""))
    shutil.rmtree(services.paths.runs / "dusk" / "style")
    (services.paths.runs / "dusk" / "events.jsonl").unlink()
    fields = page.open(visitor())
    assert "Your first style is on its way" in fields and "run?id=dusk" in fields and "No styles here" not in fields
