"""The base model in step 2 as template data: the chosen one, those on this computer, and downloads."""

from __future__ import annotations

from dataclasses import dataclass

from app.studio.base_models import Base, Bases
from app.studio.downloads.downloads import OFFERS, Download, Downloads, free_bytes
from app.ui.components import text as shared
from app.ui.train import text as words
from app.units import readable_size
from trainers.messages import joined
from trainers.models.families.family import HubBase

SPARE_ROOM = 10**9


@dataclass(frozen=True)
class FoundBase:
    """A base on this computer."""

    model: str
    title: str
    facts: str
    chosen: bool


@dataclass(frozen=True)
class OfferedBase:
    """A base that can be downloaded or is being downloaded."""

    model: str
    title: str
    state: Download
    line: str
    """The progress of its download, or ""."""
    label: str = ""
    """The label of the download button; "" if there is no button."""
    facts: str = ""
    page: str = ""
    licence: str = ""
    is_here: bool = False
    no_room: str = ""


@dataclass(frozen=True)
class BasePanel:
    """The fold for choosing another base."""

    found: list[FoundBase]
    offers: list[OfferedBase]
    hint: str
    """How to name a base."""


def base_facts(base: Base) -> str:
    """The known ones of family, location and size of a base, in a line."""
    size = readable_size(base.size) if base.size else ""
    return joined(" · ", (base.known or base.family, words.WHERE.get(base.where, ""), size))


def read_panel(chosen: str, bases: Bases, downloads: Downloads) -> BasePanel:
    """The bases that can replace `chosen`."""
    bases_here = bases.found()
    here, room = {base.model for base in bases_here}, free_bytes()
    offers = [_offer(offer, offer.model in here, room, downloads.look(offer.model)) for offer in OFFERS]
    listed = {offer.model for offer in OFFERS} | here
    offers += [_named(model, downloads.look(model)) for model in downloads.models() if model not in listed]
    rows = [FoundBase(base.model, base.title, base_facts(base), base.model == chosen) for base in bases_here]
    return BasePanel(rows, offers, words.BY_NAME_HINT if bases.anywhere else words.BY_NAME_SHARED)


def _offer(offer: HubBase, is_here: bool, room: int, state: Download) -> OfferedBase:
    size, free = readable_size(offer.size), readable_size(room)
    too_large = not (is_here or state.busy) and offer.size + SPARE_ROOM > room
    return OfferedBase(
        offer.model,
        offer.title,
        state,
        _line(offer.title, state),
        label=_label(state),
        facts=joined(" ", (offer.summary, words.SIZE_AND_ROOM.format(size, free))),
        page=offer.page,
        licence=words.LICENCE.format(offer.licence),
        is_here=is_here,
        no_room=words.NO_ROOM.format(size, free) if too_large else "",
    )


def _named(model: str, state: Download) -> OfferedBase:
    """A model requested by its id."""
    return OfferedBase(model, model, state, _line(model, state), label=_label(state))


def _label(state: Download) -> str:
    """The label of the button that begins a download or resumes it; "" while it is running."""
    return "" if state.busy else words.RESUME_DOWNLOAD if state.done else shared.DOWNLOAD


def _line(title: str, state: Download) -> str:
    if state.busy:
        done, of = readable_size(state.done), readable_size(state.of)
        return words.DOWNLOADING.format(title, done, of) if state.of else words.STARTING
    if state.phase in ("none", "done"):
        return ""
    if state.is_offline:
        return words.OFFLINE
    kept = words.DOWNLOAD_STOPPED if state.phase == "stopped" else words.DOWNLOAD_BROKE
    return state.sentence or (kept if state.done else words.NOTHING_DOWNLOADED)
