"""The row above the pictures: trigger word, captions written by a model, find and replace."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from app.studio.dataset.drafts import Draft
from app.studio.dataset.edits import replacements
from app.ui.components import text as words
from app.ui.components.shell import island
from app.ui.web.html import button, icon, text
from app.units import counted
from trainers.data.captioning import CAPTIONERS

MOST_SHOWN = 5


def build_tools() -> gr.HTML:
    """The trigger word's field and the two panels, which open below it."""
    return island({}, ("components/unsent.js", "train/caption_tools.js"), _frame(), elem_id="tools")


def preview(draft: Draft, find: str, replace: str) -> str:
    """What replacing would change, as a short list of before and after."""
    changes = replacements(draft, find, replace)
    if not changes:
        return f"<p>{text(words.NOTHING_FOUND)}</p>" if find else ""
    numbers = {picture.id: number for number, picture in enumerate(draft.pictures, 1)}
    rows = [
        f"<li><span>Caption {numbers[key]}</span><p>{marked(picture.caption, find)}</p><p>{text(changes[key])}</p></li>"
        for key in list(changes)[:MOST_SHOWN]
        if (picture := draft.picture(key))
    ]
    more = f"<li>and {len(changes) - MOST_SHOWN} more</li>" if len(changes) > MOST_SHOWN else ""
    verb = "changes" if len(changes) == 1 else "change"
    return f"<p><b>{counted(len(changes), 'caption')} {verb}</b></p><ul>{''.join(rows)}{more}</ul>"


def marked(caption: str, find: str) -> str:
    """A caption with what was found in it marked."""
    return f"<mark>{text(find)}</mark>".join(text(part) for part in caption.split(find))


def progress(done: int, of: int, label: str, stop: str) -> str:
    """The line about a caption that is being written, with its bar."""
    share = 100 * done / max(1, of)
    return (
        f'<p role="status">{text(label)}</p><div class="bar" role="progressbar" aria-label="{text(label)}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share:.0f}"><i style="width:{share:.1f}%"></i></div>'
        f'{button(stop, "stop-captions", kind="small")}<p class="hint">{text(words.KEEP_WRITING)}</p>'
    )


def _frame() -> str:
    opener = '<button type="button" class="quiet" aria-expanded="false" aria-controls="{}">{}{}</button>'
    write = opener.format("write-panel", icon("pen"), text(words.WRITE_CAPTIONS))
    find = opener.format("find-panel", icon("swap"), text(words.FIND_AND_REPLACE))
    fresh = button(words.START_FRESH, "fresh", drawing="fresh")
    return (
        f'<div class="toolbox" hidden><div class="tools"><div class="field">'
        f'<label for="trigger-word">{text(words.TRIGGER)}</label>'
        f'<p id="trigger-hint">{text(words.TRIGGER_HINT)}</p><input id="trigger-word" type="text" maxlength="80" '
        f'autocomplete="off" aria-describedby="trigger-hint" placeholder="{text(words.TRIGGER_EXAMPLE)}"></div>'
        f'<div class="buttons">{write}{find}{fresh}</div></div>{_write_panel()}{_find_panel()}'
        f'<p class="hint">{text(words.CAPTION_HINT)}</p></div>'
    )


def _find_panel() -> str:
    fields = "".join(
        f'<div class="field"><label for="{name}">{text(label)}</label>'
        f'<input id="{name}" type="text" maxlength="200" autocomplete="off"></div>'
        for name, label in (("find", words.FIND), ("replace-with", words.REPLACE_WITH))
    )
    return (
        f'<form id="find-panel" class="panel" hidden aria-label="{text(words.FIND_AND_REPLACE)}"><div class="row">'
        f'{fields}<button class="quiet">{text(words.REPLACE)}</button>{_close()}</div>'
        f'<div class="preview" aria-live="polite"></div></form>'
    )


def _write_panel() -> str:
    models = [(name, kind.title, kind.words) for name, kind in CAPTIONERS.items()]
    which = [("empty", words.ONLY_EMPTY, ""), ("all", words.ALL, "")]
    return (
        f'<form id="write-panel" class="panel" hidden aria-label="{text(words.WRITE_CAPTIONS)}"><div class="row">'
        f"{_choice('model', words.MODEL, models)}{_choice('which', words.WHICH, which)}{_close()}</div>"
        f'<button class="quiet begin">{text(words.BEGIN)}</button><div class="writing"></div></form>'
    )


def _choice(name: str, legend: str, options: Sequence[tuple[str, str, str]]) -> str:
    rows = "".join(
        f'<label><input type="radio" name="{name}" value="{text(value)}"{" checked" if not place else ""}>'
        f"<span><b>{text(title)}</b>{f'<small>{text(more)}</small>' if more else ''}</span></label>"
        for place, (value, title, more) in enumerate(options)
    )
    return f'<fieldset class="choice"><legend>{text(legend)}</legend>{rows}</fieldset>'


def _close() -> str:
    return f'<button type="button" class="close" data-close aria-label="{text(words.CLOSE)}">{icon("close")}</button>'
