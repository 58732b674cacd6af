"""The program and the base in step 2 as template data: the chosen ones, those on this computer, and downloads."""

from __future__ import annotations

from dataclasses import dataclass

from app.studio.base_models import Base, Bases
from app.studio.downloads.downloads import OFFERS, Download, Downloads, free_bytes
from app.studio.downloads.hub_login import SETTINGS_PAGE, hub_page, is_logged_in
from app.studio.programs.targets import TARGETS, TITLES, TRY, Target, families_of, lacks_base, opens
from app.ui.components import text as shared
from app.ui.components.download_menu import short
from app.ui.train import text as words
from app.ui.train.style_view import Card, Pick
from app.units import readable_size
from trainers.messages import joined, listed
from trainers.models.bases.find import folder_for_files
from trainers.models.bases.recognise import recommendation_of
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
    licence_page: str = ""
    is_here: bool = False
    no_room: str = ""


@dataclass(frozen=True)
class BaseChoice:
    """The chosen base."""

    model: str
    title: str
    facts: str
    note: str
    """Why it cannot be used, or should not; "" without a reason."""
    to_download: bool
    is_missing: bool
    """Whether the person has yet to choose one."""
    is_shown: bool
    """False until the program is chosen, unless a base is chosen already."""
    recommended: str = ""
    """Who published settings for it, or that nobody is known to have; "" for the starter."""
    has_recommended: bool = False


@dataclass(frozen=True)
class HubAccount:
    """The login of this computer to the hub."""

    may_log_in: bool
    is_logged_in: bool
    tokens: str
    """The page that makes tokens."""
    problem: str
    """Why a login failed, or ""."""


@dataclass(frozen=True)
class BasePanel:
    """The fold for choosing another base."""

    found: list[FoundBase]
    others: str
    """A line about bases on this computer that are not listed; "" without any."""
    offers: list[OfferedBase]
    hint: str
    """How to name a base."""


def base_facts(base: Base) -> str:
    """The known ones of family, location and size of a base, in a line."""
    size = readable_size(base.size) if base.size else ""
    return joined(" · ", (base.known or base.family, words.WHERE.get(base.where, ""), size))


def read_programs(target: Target) -> Pick:
    """The programs to choose from, with the families that the chosen one opens."""
    cards = [Card(each, TITLES.get(each, words.JUST_TRYING), "", each == target) for each in TARGETS]
    families = listed([family.title for family in families_of(target)])
    sentence = words.OPENS_FAMILIES.format(program=TITLES[target], families=families) if target in TITLES else ""
    return Pick("program", words.TITLE, cards, sentence or (words.TRYING if target == TRY else words.WHY_PROGRAM))


def read_choice(target: Target, base: Base) -> BaseChoice:
    """The chosen base of somebody who makes styles for a program."""
    if target in TITLES and lacks_base(target, base):
        title = words.CHOOSE_BASE.format(program=TITLES[target])
        return BaseChoice(base.model, title, words.BASE_HINT, "", False, True, True)
    note = base.problem or base.warning
    if not note and target in TITLES and not opens(target, base):
        note = words.DOES_NOT_OPEN.format(program=TITLES[target], family=base.family)
    is_shown = bool(target) or not base.is_starter
    published = recommendation_of(base.model)
    line = words.NO_RECOMMENDATION
    if published is not None:
        line = words.RECOMMENDED.format(base=published.title, source=published.source)
    return BaseChoice(
        base.model,
        base.title,
        base_facts(base),
        note,
        base.to_download,
        False,
        is_shown,
        "" if base.is_starter or base.problem else line,
        published is not None,
    )


def read_account(may_log_in: bool, problem: str) -> HubAccount:
    """The login of this computer to the hub, for somebody who may change it or not."""
    return HubAccount(may_log_in, is_logged_in(), hub_page(SETTINGS_PAGE), problem)


def read_panel(target: Target, chosen: str, bases: Bases, downloads: Downloads) -> BasePanel:
    """The bases that can replace `chosen`: those whose styles the program opens."""
    here, room, families = bases.found(), free_bytes(), families_of(target)
    models = {base.model for base in here}
    suited = [base for base in here if opens(target, base) or (base.model == chosen and not base.is_starter)]
    others = listed([base.title for base in here if base not in suited and not base.is_starter])
    put = words.PUT_FILE.format(folder=short(folder_for_files())) if bases.anywhere else ""
    line = words.OTHER_BASES.format(program=TITLES[target], bases=others) if others else ""
    suiting = [family.offered for family in families if family.offered]
    offers = [_offer(offer, offer.model in models, room, downloads.look(offer.model)) for offer in suiting]
    listed_models = {offer.model for offer in OFFERS} | models
    offers += [_named(model, downloads.look(model)) for model in downloads.models() if model not in listed_models]
    rows = [FoundBase(base.model, base.title, base_facts(base), base.model == chosen) for base in suited]
    hint = words.BY_NAME_HINT if bases.anywhere else words.BY_NAME_SHARED
    return BasePanel(rows, joined(" ", ("" if rows else words.NONE_HERE, line, put)), offers, hint)


def _offer(offer: HubBase, is_here: bool, room: int, state: Download) -> OfferedBase:
    size, free = readable_size(offer.size), readable_size(room)
    too_large = not (is_here or state.busy) and offer.size + SPARE_ROOM > room
    account = words.NEEDS_ACCOUNT if offer.gated else ""
    return OfferedBase(
        offer.model,
        offer.title,
        state,
        _line(offer.title, state),
        label=_label(state),
        facts=joined(" ", (offer.summary, account, words.SIZE_AND_ROOM.format(size, free))),
        page=hub_page(offer.model),
        licence=words.LICENCE.format(name=offer.licence.name, terms=offer.licence.terms),
        licence_page=offer.licence.page,
        is_here=is_here,
        no_room=words.NO_ROOM.format(size, free) if too_large else "",
    )


def _named(model: str, state: Download) -> OfferedBase:
    """A model requested by its id."""
    return OfferedBase(model, model, state, _line(model, state), label=_label(state), page=hub_page(model))


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
