"""The files in which a style may be had: the menu that offers them, and the one that was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import GONE, HUGE, StyleLibrary
from app.ui.components import text as words
from app.ui.components.events import PageEvent, Whole
from app.ui.gradio_internals import file_address
from app.units import readable_size
from trainers.config.techniques import TEXTUAL_INVERSION
from trainers.errors import VelaturaError


class StyleFileWanted(PageEvent):
    """A file of a style is to be saved."""

    file: str
    """As its `Offer` says it."""
    at: Whole = 0
    """When, in milliseconds."""


@dataclass(frozen=True)
class Offer:
    """One file in which a style may be had, or may not."""

    label: str
    told: str
    """What it is, or why it is not to be had."""
    fetch: str = ""
    """What is asked for with it; empty where it is not to be had."""


def find_offers(library: StyleLibrary, item: StyleEntry) -> tuple[Offer, ...]:
    """What the menu *Download* of a style offers."""
    told = words.TOOLS_SAID.format(readable_size(item.size))
    if item.partly and not item.starter:
        told = words.PARTLY.format(told, ", ".join(item.partly))
    found = [Offer(who_reads(item), told, f"safetensors {item.id}"), _for_diffusers(library, item)]
    packed = library.peft_of(item)
    if packed is not None:
        size = sum(file.stat().st_size for file in packed.iterdir())
        found.append(Offer(words.FOR_PEFT, words.PEFT_SAID.format(readable_size(size)), f"peft {item.id}"))
    beside = library.word_of(item)
    if beside is not None:
        told = words.WORD_SAID.format(readable_size(beside.stat().st_size))
        found.append(Offer(words.THE_WORD, told, f"embedding {item.id}"))
    if item.run:
        found.append(Offer(words.SETTINGS, words.TOML_SAID, f"toml {item.id}"))
    return tuple(found)


def _for_diffusers(library: StyleLibrary, item: StyleEntry) -> Offer:
    try:
        file = library.for_diffusers(item)
        told = words.MADE_WHEN_ASKED if file is None else words.TOOLS_SAID.format(readable_size(file.stat().st_size))
    except (FileNotFoundError, VelaturaError):  # there can be none, or it was deleted in this moment
        return Offer(words.FOR_DIFFUSERS, words.NOT_POSSIBLE.format(item.not_plain or HUGE))
    return Offer(words.FOR_DIFFUSERS, words.SAME_FILE if file == item.path else told, f"diffusers {item.id}")


def who_reads(item: StyleEntry) -> str:
    """For which programs a style's own file is: those that read all of it."""
    if item.only_here:
        return words.ONLY_HERE
    if item.starter:
        return words.FOR_STARTER
    if item.method == TEXTUAL_INVERSION:
        return words.EMBEDDINGS
    if item.programs is None:
        return words.AS_IT_IS
    return words.FOR_TOOLS.format(", ".join(item.programs)) if item.programs else words.FOR_NOBODY


def make_download(library: StyleLibrary, event: StyleFileWanted) -> dict[str, Any]:
    """Make the file that was chosen in such a menu; what the page's part for files is given. VelaturaError, OSError."""
    format, _, identifier = event.file.partition(" ")
    item = library.entry(identifier)
    if item is None:
        raise VelaturaError(GONE)
    place = library.download(item, format)
    return {"address": file_address(place), "name": place.name, "nonce": event.at}
