"""The Download menu of a style, and its requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.language import Sentence
from app.studio.programs.find import Place
from app.studio.programs.install import install_beside
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import GONE, HUGE, StyleLibrary
from app.ui.components import text as words
from app.ui.components.events import PageEvent, Whole
from app.ui.gradio_internals import file_address
from app.units import readable_size
from trainers.config.techniques import TEXTUAL_INVERSION
from trainers.errors import VelaturaError
from trainers.messages import Message, joined

INTO = "into-"
"""Prefix of a request to put a style into a program; the kind of program follows."""


class StyleFileWanted(PageEvent):
    """A request to download a file of a style."""

    file: str
    """The `fetch` of an `Offer`."""
    at: Whole = 0
    """The browser's time in milliseconds."""


@dataclass(frozen=True)
class DownloadOffer:
    """An item of the menu: a form of the style, available or not."""

    label: str
    told: str
    """A description, or the reason why it is not available."""
    fetch: str = ""
    """The request; empty if it is not available."""
    ask: str = ""
    """The dialog that opens instead of a request."""
    about: str = ""
    """The style's id, for the dialog."""
    name: str = ""


def find_offers(library: StyleLibrary, item: StyleEntry) -> tuple[DownloadOffer, ...]:
    """The items of a style's Download menu."""
    told = words.TOOLS_SAID.format(readable_size(item.size))
    if item.partly and not item.starter:
        told = words.PARTLY.format(told, ", ".join(item.partly))
    offers = [DownloadOffer(who_reads(item), told, f"safetensors {item.id}"), _for_diffusers(library, item)]
    packed = library.peft_of(item)
    if packed is not None:
        size = sum(file.stat().st_size for file in packed.iterdir())
        offers.append(DownloadOffer(words.FOR_PEFT, words.PEFT_SAID.format(readable_size(size)), f"peft {item.id}"))
    beside = library.word_of(item)
    if beside is not None:
        told = words.WORD_SAID.format(readable_size(beside.stat().st_size))
        offers.append(DownloadOffer(words.THE_WORD, told, f"embedding {item.id}"))
    if item.run:
        offers.append(DownloadOffer(words.SETTINGS, words.TOML_SAID, f"toml {item.id}"))
    return tuple(offers)


def _for_diffusers(library: StyleLibrary, item: StyleEntry) -> DownloadOffer:
    try:
        file = library.for_diffusers(item)
        told = words.MADE_WHEN_ASKED if file is None else words.TOOLS_SAID.format(readable_size(file.stat().st_size))
    except (FileNotFoundError, VelaturaError):  # impossible, or the style was just deleted
        return DownloadOffer(words.FOR_DIFFUSERS, words.NOT_POSSIBLE.format(item.not_plain or HUGE))
    return DownloadOffer(words.FOR_DIFFUSERS, words.SAME_FILE if file == item.path else told, f"diffusers {item.id}")


def who_reads(item: StyleEntry) -> str:
    """Label of a style's main file: the programs that read all of it."""
    if item.only_here:
        return words.ONLY_HERE
    if item.starter:
        return words.FOR_STARTER
    if item.method == TEXTUAL_INVERSION:
        return words.EMBEDDINGS
    if item.programs is None:
        return words.AS_IT_IS
    return words.FOR_TOOLS.format(", ".join(item.programs)) if item.programs else words.FOR_NOBODY


def find_installs(item: StyleEntry, places: Sequence[Place]) -> tuple[DownloadOffer, ...]:
    """An item for each program on this machine into which the style can be put, and one for another folder."""
    if item.starter or item.only_here:
        return ()
    offers = [
        DownloadOffer(
            words.PUT_INTO.format(place.program.title),
            words.INTO_FOLDER.format(short(place.styles)),
            f"{INTO}{place.kind} {item.id}",
        )
        for place in places
    ]
    return (
        *offers,
        DownloadOffer(words.PUT_ELSEWHERE, words.PUT_ELSEWHERE_SAID, ask="put", about=item.id, name=item.name),
    )


def put_into(item: StyleEntry, place: Place) -> Message:
    """Put a style into a program, and return a report. Raises VelaturaError or OSError."""
    done, program = install_beside(item.path, item.name, place), place.program.title
    report = (words.WAS_IN if done.was_there else words.IS_IN).format(
        program=program, name=done.file.stem, file=short(done.file)
    )
    step = words.TAKEN_STEP.format(step=item.step) if item.step is not None else ""
    is_silent = place.kind in words.USE_SILENT and not item.words and item.method != TEXTUAL_INVERSION
    uses = words.USE_SILENT if is_silent else words.USE_IN
    use = uses[place.kind].format(file=done.file.name, folder=short(done.file.parent), prompt=done.prompt)
    left = words.LEAVES_OUT.format(program=program, what=done.left_out) if done.left_out else ""
    note = Sentence.of(done.note) if done.note else ""
    return joined(" ", [report, step, use, left, note])


def short(path: Path) -> str:
    """A path with ~ for the home folder."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def make_download(library: StyleLibrary, event: StyleFileWanted) -> dict[str, Any]:
    """Create the requested file, and return the value of the page's file part. Raises VelaturaError or OSError."""
    format, _, identifier = event.file.partition(" ")
    item = library.entry(identifier)
    if item is None:
        raise VelaturaError(GONE)
    place = library.download(item, format)
    return {"address": file_address(place), "name": place.name, "nonce": event.at}
