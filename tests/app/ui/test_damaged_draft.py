"""A page over a file that was damaged, or that a newer Velatura has written: it says so, and nothing is emptied."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app.ui.server import Process
from tests.app.ui.visitor import ALL_SENT, READY, add, captions
from tests.trainers.data.pictures import scene


def draft_of(page: Any, studio: Process) -> Path:
    return studio.out / ".studio" / "drafts" / page.evaluate("document.body.dataset.draft") / "draft.json"


def with_two(page: Any, folder: Path) -> None:
    for seed, name in enumerate(("a boat.png", "a house.png")):
        scene(seed, (96, 96)).save(folder / name)
    add(page, folder / "a boat.png", folder / "a house.png", count=2)


def test_a_page_says_that_its_draft_was_damaged_or_is_newer(page: Any, studio: Process, tmp_path: Path) -> None:
    with_two(page, tmp_path)
    place = draft_of(page, studio)
    page.get_by_role("textbox", name="Caption 2").fill("a house by a lake")
    page.wait_for_function(ALL_SENT)
    place.write_bytes(place.read_bytes()[:-200])
    page.reload()
    page.wait_for_selector(READY)
    said = page.get_by_role("status").filter(has_text="Your draft's file was damaged.")
    expect(said).to_contain_text("is back: 2 pictures, with their captions")
    assert captions(page) == ["a boat", "a house"], "all but the last change"
    page.get_by_role("button", name="Dismiss").click()
    expect(said).to_have_count(0)
    assert len(list(place.parent.glob("draft.damaged-*.json"))) == 1
    newer = json.dumps(json.loads(place.read_text(encoding="utf-8")) | {"schema_version": 99}).encode()
    place.write_bytes(newer)
    page.reload()
    expect(page.get_by_text("made by a newer Velatura")).to_be_visible()
    assert place.read_bytes() == newer


@pytest.mark.thorough
def test_damaged_fields_of_the_playground_are_said(page: Any, studio: Process) -> None:
    page.goto(f"{studio.url}playground")
    prompt = page.get_by_role("textbox", name="Prompt", exact=True)
    prompt.fill("a red fox")
    (desk,) = _desks(page, studio, "a red fox")
    prompt.fill("a red fox in snow")
    _desks(page, studio, "a red fox in snow")
    page.wait_for_function(ALL_SENT)  # else the page itself brings back what was typed last
    desk.write_bytes(b"\0" * 100)
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="The file with these fields was damaged")).to_be_visible()
    expect(prompt).to_have_value("a red fox")


def _desks(page: Any, studio: Process, prompt: str) -> list[Path]:
    """The files that keep this prompt, once there is one."""
    folder = studio.out / ".studio" / "desks"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        names = [path for path in folder.glob("*.json") if "." not in path.stem] if folder.is_dir() else []
        found = [path for path in names if json.loads(path.read_bytes() or b"{}").get("prompt") == prompt]
        if found:
            return found
        page.evaluate("0")
    raise AssertionError(f"{prompt} was not kept")
