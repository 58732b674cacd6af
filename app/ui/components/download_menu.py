"""The files in which a style may be had: the menu that offers them, and the one that was chosen."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import GONE, HUGE, StyleLibrary
from app.ui.components.events import number, said
from app.ui.styles import text as words
from app.ui.web.html import file_address, text
from app.units import readable_size
from trainers.errors import VelaturaError


def download_menu(library: StyleLibrary, item: StyleEntry) -> str:
    """The menu *Download* of a style."""
    told = words.TOOLS_SAID.format(readable_size(item.size))
    if item.partly and not item.starter:
        told = words.PARTLY.format(told, ", ".join(item.partly))
    found = [_choice(item, "safetensors", who_reads(item), told)]
    try:
        file = library.for_diffusers(item)
        told = words.MADE_WHEN_ASKED if file is None else words.TOOLS_SAID.format(readable_size(file.stat().st_size))
        told = words.SAME_FILE if file == item.path else told
        found.append(_choice(item, "diffusers", words.FOR_DIFFUSERS, told))
    except (FileNotFoundError, VelaturaError):  # there can be none, or it was deleted in this moment
        reason = text(words.NOT_POSSIBLE.format(item.not_plain or HUGE))
        found.append(f'<p class="not-to-be-had"><b>{text(words.FOR_DIFFUSERS)}</b><small>{reason}</small></p>')
    packed = library.peft_of(item)
    if packed is not None:
        size = sum(file.stat().st_size for file in packed.iterdir())
        found.append(_choice(item, "peft", words.FOR_PEFT, words.PEFT_SAID.format(readable_size(size))))
    beside = library.word_of(item)
    if beside is not None:
        told = words.WORD_SAID.format(readable_size(beside.stat().st_size))
        found.append(_choice(item, "embedding", words.THE_WORD, told))
    if item.run:
        found.append(_choice(item, "toml", words.SETTINGS, words.TOML_SAID))
    return (
        f'<details class="more offers-of" data-keep><summary class="quiet">{text(words.DOWNLOAD)}</summary>'
        f'<div class="menu">{"".join(found)}</div></details>'
    )


def who_reads(item: StyleEntry) -> str:
    """For which programs a style's own file is: those that read all of it."""
    if item.only_here:
        return words.ONLY_HERE
    if item.starter:
        return words.FOR_STARTER
    if item.method == words.EMBEDDING:
        return words.EMBEDDINGS
    if item.programs is None:
        return words.AS_IT_IS
    return words.FOR_TOOLS.format(", ".join(item.programs)) if item.programs else words.FOR_NOBODY


def make_download(library: StyleLibrary, event: gr.EventData) -> dict[str, Any]:
    """Make the file that was chosen in such a menu; what the page's part for files is given. VelaturaError, OSError."""
    format, _, identifier = said(event, "what").partition(" ")
    item = library.entry(identifier)
    if item is None:
        raise VelaturaError(GONE)
    place = library.download(item, format)
    return {"address": file_address(place), "name": place.name, "nonce": number(event, "at")}


def _choice(item: StyleEntry, format: str, label: str, told: str) -> str:
    return (
        f'<button type="button" class="quiet" data-fetch="{format} {text(item.id)}"><span><b>{text(label)}</b>'
        f"<small>{text(told)}</small></span></button>"
    )
