"""What the Playground's fields hold when it is opened, without a browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import expect

from app.jobs.store import TRAIN, NewJob
from app.studio.generation.axes import FEW_WORDS, Axis
from app.studio.generation.form import RESTORED, FormStore, GenerateForm
from app.studio.generation.record import Record
from app.studio.generation.request import GenerateRequest, StyleRef
from app.studio.runs.chosen import starred_step
from app.studio.services import Services, open_services
from app.studio.studio_queue import StudioQueue
from app.ui.components.events import actor_of
from app.ui.playground import page as playground
from app.ui.playground import text as words
from app.ui.playground.events import GenerationAction
from app.ui.playground.page import Playground, Show
from tests.app.ui.bare_page import REQUEST, BareTab
from tests.app.ui.ended_runs import write_run, write_snapshot
from tests.app.ui.visitor import ALL_SENT


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
    kept = page.forms.read(actor_of(visitor()).key)
    assert kept is not None and kept.prompt == "a cat"
    page.open(visitor(style=style.id, prompts="a dog, with a hat\na ship"))
    kept = page.forms.read(actor_of(visitor()).key)
    assert kept is not None and [prompts for cell in kept.axes() for prompts in cell.values()] == [
        "words",
        "a dog, with a hat; a ship",
    ]
    assert (kept.prompt, kept.parse()[1], kept.styles[0][0]) == ("a dog, with a hat", {}, style.id)
    page.open(visitor(style=style.id, compare="step", prompts="a dog\na ship"))
    kept = page.forms.read(actor_of(visitor()).key)
    assert kept is not None and (kept.across, kept.down, kept.down_values) == ("step", "words", "a dog; a ship")
    page.open(visitor(style=style.id, prompts="a ship"))
    kept = page.forms.read(actor_of(visitor()).key)
    assert kept is not None and (kept.prompt, kept.axes()) == ("a ship", [])


def test_values_that_nobody_has_typed_are_a_problem_only_once_they_are_to_be_drawn(page, services):
    write_run(services.paths.runs, "dusk")
    (style,) = services.library.entries()
    form = GenerateForm(prompt="fox", styles=((style.id, "1"),), across="strength", down="words")
    assert FEW_WORDS not in page._fields(form, Show(problems=False)) and FEW_WORDS in page._fields(form, Show())
    assert "The prompt does not contain “owl”" in page._fields(form.with_(down_values="owl, cat"), Show(problems=False))


def test_while_the_first_style_is_trained_the_fields_lead_to_its_run(page, services):
    assert "No styles here yet" in page.open(visitor())
    services.queue.store.add(NewJob(TRAIN, write_run(services.paths.runs, "dusk"), owner=""))
    shutil.rmtree(services.paths.runs / "dusk" / "style")
    (services.paths.runs / "dusk" / "events.jsonl").unlink()
    fields = page.open(visitor())
    assert "Your first style is on its way" in fields and "run?id=dusk" in fields and "No styles here" not in fields


def write_drawing(services: Services, request: GenerateRequest) -> str:
    """A drawing of that visitor that has ended; its id."""
    id = "drawing-00000000000000000001-aa"
    folder = services.paths.root / "drawings" / id
    folder.mkdir(parents=True)
    record = Record(request=request, whose=actor_of(visitor()).key, made=1.0, state="finished", number=99)
    (folder / "generation.json").write_text(record.model_dump_json(), encoding="utf-8")
    return id


def test_a_compared_step_that_is_kept_becomes_what_its_run_gives(page, services):
    run = write_run(services.paths.runs, "dusk", {"train": {"steps": 4, "warmup": 0}})
    write_snapshot(run, 2)
    services.queue.store.add(NewJob(TRAIN, run, owner=""), phase="ended")
    (style,) = services.library.entries()
    axes = (Axis(kind="step", values=(2, 4)), Axis(kind="guidance", values=(3.0, 5.0)))
    drawn = write_drawing(
        services, GenerateRequest(prompts=("a fox",), styles=(StyleRef(style=style.id, strength=0.5),), axes=axes)
    )
    page.on_asked(GenerationAction(what="keep", about=f"{drawn}:2"), visitor(), "")
    kept = page.forms.read(actor_of(visitor()).key)
    assert starred_step(run) == 2 and kept is not None and (kept.options["guidance"], kept.axes()) == ("5", [])


def test_settings_of_an_earlier_picture_are_put_back_and_kept(page, services):
    drawn = write_drawing(services, GenerateRequest(prompts=("a house",), seed=3, compare=False))
    shown = page.on_asked(GenerationAction(what="use", about=drawn), visitor(), "")
    kept = page.forms.read(actor_of(visitor()).key)
    assert kept is not None and (kept.prompt, kept.options["seed"], kept.compare) == ("a house", "3", False)
    assert re.search(r'<textarea[^>]* data-set="\w+"[^>]*>a house</textarea>', shown[page.form]), (
        "the page takes them over"
    )


def test_fields_of_a_damaged_file_are_as_they_were_before_and_say_so(page, services):
    for prompt in ("a red fox", "a red fox in snow"):
        page.forms.keep(actor_of(visitor()).key, GenerateForm(prompt=prompt))
    (file,) = (path for path in (services.paths.root / "desks").glob("*.json") if "." not in path.stem)
    file.write_bytes(bytes(100))
    shown = page.open(visitor())
    assert 'role="alert"' in shown and words.NOTICES[RESTORED] in shown and "a red fox</textarea>" in shown


def test_what_is_typed_while_the_studio_is_away_is_sent_until_it_has_it(bare_tab: BareTab, services: Services) -> None:
    with bare_tab.visit(playground.build, services) as bare:
        page = bare.open()
        prompt = page.get_by_role("textbox", name="Prompt", exact=True)
        expect(prompt).not_to_have_value("")
        bare.away = True
        prompt.fill("a red fox")
        prompt.blur()
        bare.await_event("form_edited", "prompt", "a red fox")
        bare.away = False
        page.wait_for_function(ALL_SENT)
        kept = FormStore(services.paths).read(actor_of(REQUEST).key)
        assert kept is not None and kept.prompt == "a red fox"
        bare.open()
        expect(prompt).to_have_value("a red fox")
