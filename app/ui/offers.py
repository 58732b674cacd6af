"""The files in which a style may be had: the menu that offers them, and the one that was chosen."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.console import readable_size
from app.ui import shelf_words as words
from app.ui.html import file_address, text
from app.ui.shelf import Item, Shelf
from app.ui.visit import number, said
from trainers.errors import VelaturaError


def offers(shelf: Shelf, item: Item) -> str:
    """The menu *Download* of a style."""
    label = words.ONLY_HERE if item.only_here else words.FOR_TOOLS
    found = [_offer(item, "safetensors", label, words.TOOLS_SAID.format(readable_size(item.size)))]
    try:
        file = shelf.for_diffusers(item)
        told = words.MADE_WHEN_ASKED if file is None else words.TOOLS_SAID.format(readable_size(file.stat().st_size))
        told = words.SAME_FILE if file == item.path else told
        found.append(_offer(item, "diffusers", words.FOR_DIFFUSERS, told))
    except (FileNotFoundError, VelaturaError):  # there can be none, or it was deleted in this moment
        reason = text(words.NOT_POSSIBLE.format(item.not_plain or words.HUGE))
        found.append(f'<p class="not-to-be-had"><b>{text(words.FOR_DIFFUSERS)}</b><small>{reason}</small></p>')
    beside = shelf.word_of(item)
    if beside is not None:
        told = words.WORD_SAID.format(readable_size(beside.stat().st_size))
        found.append(_offer(item, "embedding", words.THE_WORD, told))
    if item.run:
        found.append(_offer(item, "toml", words.SETTINGS, words.TOML_SAID))
    return (
        f'<details class="more offers-of" data-keep><summary class="quiet">{text(words.DOWNLOAD)}</summary>'
        f'<div class="menu">{"".join(found)}</div></details>'
    )


def make_offered(shelf: Shelf, event: gr.EventData) -> dict[str, Any]:
    """Make the file that was chosen in such a menu; what the page's part for files is given. VelaturaError, OSError."""
    format, _, identifier = said(event, "what").partition(" ")
    item = shelf.item(identifier)
    if item is None:
        raise VelaturaError(words.GONE)
    place = shelf.download(item, format)
    return {"address": file_address(place), "name": place.name, "nonce": number(event, "at")}


def _offer(item: Item, format: str, label: str, told: str) -> str:
    return (
        f'<button type="button" class="quiet" data-fetch="{format} {text(item.id)}"><span><b>{text(label)}</b>'
        f"<small>{text(told)}</small></span></button>"
    )
