"""The cards of the styles as HTML: what a style looks like, what it is, and what can be done with it."""

from __future__ import annotations

import time

from app.jobs.permissions import Actor
from app.jobs.views import View
from app.studio.queue import Queue
from app.studio.runs import samples
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import StyleLibrary
from app.ui.components.dialogs import dialog
from app.ui.components.download_menu import download_menu
from app.ui.runs import samples_view
from app.ui.runs.text import by
from app.ui.styles import text as words
from app.ui.web.html import MARK, icon, text
from app.units import day, readable_size

PICTURES = 4


def card(library: StyleLibrary, item: StyleEntry, view: View | None, actor: Actor) -> str:
    """A style with up to four of its run's pictures; `view` is that run, where there is one."""
    facts = (
        words.method(item.method),
        words.ON.format(item.base) if item.base else words.ON_UNKNOWN,
        readable_size(item.size),
        day(item.made, time.time()),
        by(item.owner, actor),
    )
    return (
        f'<li data-key="{text(item.id)}">{_art(library.queue, view)}<div class="told"><h2>{text(item.name)}</h2>'
        f'<p class="facts">{text(" · ".join(filter(None, facts)))}</p>{_words(item)}{_notes(item)}</div>'
        f'<div class="acts">{download_menu(library, item)}'
        f'<a class="quiet" href="playground?style={text(item.id)}">{text(words.TRY_IT)}</a>'
        f"{_more(item, actor)}</div></li>"
    )


def dialogs() -> str:
    """The page's questions; `{}` in their titles becomes the style's name."""
    field = (
        f'<div class="field"><label for="rename-name">{text(words.NEW_NAME)}</label>'
        '<input id="rename-name" name="name" type="text" maxlength="60" autocomplete="off" data-named></div>'
    )
    run = f'<label class="switch"><input type="checkbox" name="with_run">{text(words.DELETE_RUN)}</label>'
    keep = (words.KEEP, words.DELETE)
    return (
        dialog("rename", words.RENAME_TITLE, words.RENAME_TEXT, field, (words.NOT_NOW, words.RENAME))
        + dialog("delete", words.DELETE_TITLE, words.DELETE_TEXT, run, keep, danger=True)
        + dialog("discard", words.DELETE_TITLE, words.DISCARD_TEXT, "", keep, danger=True)
    )


def _art(queue: Queue, view: View | None) -> str:
    """The newest pictures that the style has drawn, the first one large."""
    columns = samples.find_samples(view.job.folder) if view is not None else []
    drawn = [column for column in columns if column[0].step or column[0].file]
    if view is None or not drawn:
        return f'<div class="art none">{MARK}</div>'
    shown, public = drawn[-1][:PICTURES], queue.public(view)
    pictures = "".join(
        f'<img loading="lazy" src="{text(samples_view.address(sample, public, small=bool(place)))}" alt="">'
        for place, sample in enumerate(shown)
    )
    return f'<div class="art of{len(shown)}">{pictures}</div>'


def _words(item: StyleEntry) -> str:
    chips = "".join(f'<span class="trigger">{text(word)}</span>' for word in item.words)
    said = f'<p class="words">{chips}</p>' if chips else ""
    if item.run:
        return said or f'<p class="hint">{text(words.NO_WORDS)}</p>'
    return f'<p class="hint">{text(words.FOREIGN if chips else words.FOREIGN_SILENT)}</p>{said}'


def _notes(item: StyleEntry) -> str:
    if not item.notes:
        return ""
    rows = "".join(f"<div><dt>{text(words.NOTES[key])}</dt><dd>{text(note)}</dd></div>" for key, note in item.notes)
    return (
        f'<details class="fold-in" data-keep><summary>{text(words.FILE_SAYS)}</summary><dl class="notes-of">{rows}</dl>'
        "</details>"
    )


def _more(item: StyleEntry, actor: Actor) -> str:
    called = ", ".join(item.words)
    syntax = called if item.only_here else words.PROMPT.format(item.name, called).strip()
    syntax = item.name if item.method == words.EMBEDDING else syntax
    acts = [f'<button type="button" class="quiet" data-copy="{text(syntax)}">{text(words.COPY)}</button>'] * bool(
        syntax
    )
    if item.run:
        acts.append(f'<a class="quiet" href="run?id={text(item.run)}">{text(words.OPEN_RUN)}</a>')
    if actor.may_change(item.owner):
        acts.append(_act(item, "rename", words.RENAME))
        acts.append(_act(item, "delete" if item.run else "discard", words.DELETE))
    if not acts:
        return ""
    return (
        f'<details class="more" data-keep><summary aria-label="{text(words.MORE.format(item.name))}">{icon("more")}'
        f'</summary><div class="menu">{"".join(acts)}</div></details>'
    )


def _act(item: StyleEntry, what: str, label: str) -> str:
    return (
        f'<button type="button" class="quiet" data-do="{what}" data-about="{text(item.id)}" '
        f'data-name="{text(item.name)}">{text(label)}</button>'
    )
