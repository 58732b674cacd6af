"""The first step of Train: which answer belongs to which edit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from app.studio.dataset.uploads import take_folder
from app.studio.services import Services
from app.studio.settings.plan import with_choices
from app.ui.components.events import actor_of
from app.ui.train import images
from app.ui.train.events import CaptionEdited, TriggerEdited
from app.ui.train.images import PicturesStep
from tests.trainers.tiny_runs import write_images

REQUEST: Any = SimpleNamespace(username="", cookies={}, session_hash="a page", query_params={})


@pytest.fixture
def step(services: Services) -> PicturesStep:
    with gr.Blocks():
        return PicturesStep(services)


def test_a_trigger_word_is_not_taken_for_a_caption_with_the_same_number(step: PicturesStep, tmp_path: Path) -> None:
    draft = take_folder(step.services.drafts, actor_of(REQUEST).key, write_images(tmp_path / "images"))
    first = draft.pictures[0]
    shown = step.on_trigger_edited(TriggerEdited(text="dusk style", count=7, seen=draft.revision), REQUEST)
    assert shown[step.tools]["ack"] == 7 and shown[step.editor]["ack"] == 0
    edit = {"id": first.id, "text": "a boat", "was": first.caption, "mark": "one", "seen": draft.revision}
    shown = step.on_caption_edited(CaptionEdited(**edit, count=7), REQUEST)
    assert shown[step.editor]["ack"] == 7 and "ack" not in shown.get(step.tools, {})
    assert step.services.drafts.read(actor_of(REQUEST).key).pictures[0].caption == "a boat"

    # The same edit, sent again because its answer was lost, does not undo what was typed after it.
    later = {**edit, "text": "a ship", "was": "a boat", "mark": "two"}
    step.on_caption_edited(CaptionEdited(**later, count=8), REQUEST)
    shown = step.on_caption_edited(CaptionEdited(**edit, count=9), REQUEST)
    assert shown[step.editor]["ack"] == 9
    assert step.services.drafts.read(actor_of(REQUEST).key).pictures[0].caption == "a ship"


def test_an_address_lets_the_draft_start_from_a_style(step: PicturesStep, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = SimpleNamespace(**{**vars(REQUEST), "query_params": {"start": "gone"}})
    assert "not here any more" in step.load(asked)[step.notice]
    monkeypatch.setattr(images, "find_style", lambda _library, identifier: SimpleNamespace(name=identifier))
    monkeypatch.setattr(images, "train_on", lambda draft, item: with_choices(draft, start=f"/{item.name}"))
    asked.query_params = {"start": "dusk"}
    assert "start from “dusk”" in step.load(asked)[step.notice]
    assert step.services.drafts.read(actor_of(REQUEST).key).choices.start == "/dusk"
