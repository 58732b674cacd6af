"""The row above the pictures: trigger word, captions written by a model, find and replace."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from markupsafe import Markup

from app.studio.dataset.caption_jobs import Progress
from app.studio.dataset.drafts import Draft
from app.studio.dataset.edits import replacements
from app.ui.components.shell import island
from app.ui.document.templates import render
from app.ui.train import text as words
from trainers.data.captioning import CAPTIONERS

MOST_SHOWN = 5


@dataclass(frozen=True)
class Change:
    """A caption that replacing would change."""

    number: int
    between: tuple[str, ...]
    """What stands around what was found."""
    after: str


def build_tools() -> gr.HTML:
    """The trigger word's field and the two panels, which open below it."""
    models = [(name, kind.title, kind.words) for name, kind in CAPTIONERS.items()]
    scripts = ("components/unsent.js", "train/caption_tools.js")
    return island({}, scripts, render("train/tools.html", models=models), elem_id="tools")


def preview(draft: Draft, find: str, replace: str) -> Markup:
    """What replacing would change, as a short list of before and after."""
    after = replacements(draft, find, replace)
    changes = [
        Change(number, tuple(picture.caption.split(find)), after[picture.id])
        for number, picture in enumerate(draft.pictures, 1)
        if picture.id in after
    ]
    return render("train/preview.html", changes=changes, find=find, most=MOST_SHOWN)


def writing(state: Progress) -> Markup:
    """How far the captions are that a model writes."""
    return render("train/writing.html", state=state, line=words.captions_line(state), none_empty=False)


def none_empty() -> Markup:
    """What is said where a model has nothing to write."""
    return render("train/writing.html", state=Progress(), line=words.NONE_EMPTY, none_empty=True)
