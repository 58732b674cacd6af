"""Ownership of drafts: what a person keeps in Train and in API drafts."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from app.studio.accounts.people import key_of_login, key_of_program
from app.studio.dataset.draft_trash import returned
from app.studio.dataset.drafts import Draft, Drafts, Picture, known_pictures, parse
from app.studio.dataset.edits import settled
from trainers.errors import VelaturaError


@dataclass(frozen=True)
class Kept:
    """The pictures that a person keeps in drafts, in bytes."""

    pictures: int
    undone: int
    """That they have taken out in Train and that undoing brings back there."""


def kept_by(drafts: Drafts, login: str) -> Kept:
    """What a person's own draft and those of their programs keep; a draft that cannot be read counts for nothing."""
    own = Draft(id="", public="")
    with suppress(OSError, VelaturaError):  # of which the page says why
        own = drafts.read(key_of_login(login))
    there = known_pictures(settled(own))
    undone = [picture for id, picture in known_pictures(own).items() if id not in there]
    pictures = _bytes(drafts, own, there.values()) + _coming_back(drafts, own)
    return Kept(pictures + sum(size_of(drafts, one) for one in of_programs(drafts, login)), _bytes(drafts, own, undone))


def settle(drafts: Drafts, login: str) -> None:
    """Move what a person has taken out in Train, and undoing would restore there, to their trash."""
    drafts.change(key_of_login(login), settled)


def of_programs(drafts: Drafts, login: str) -> list[Draft]:
    """The drafts of a login's programs, the one that was changed last first."""
    begin = key_of_program("", login)
    mark = f'"key":{json.dumps(begin, ensure_ascii=False)[:-1]}'.encode()  # spares us reading the others' closely
    found = []
    for path in drafts.paths.drafts.glob("*/draft.json"):
        with suppress(OSError, ValueError, VelaturaError):
            if mark in (content := path.read_bytes()) and (draft := parse(content)).key.startswith(begin):
                found.append(draft)
    return sorted(found, key=lambda draft: draft.changed, reverse=True)


def program_name(draft: Draft, login: str) -> str:
    """What a login's program calls its draft."""
    return draft.key.removeprefix(key_of_program("", login))


def size_of(drafts: Drafts, draft: Draft) -> int:
    """Bytes of all pictures that a draft keeps."""
    return _bytes(drafts, draft, known_pictures(draft).values()) + _coming_back(drafts, draft)


def _bytes(drafts: Drafts, draft: Draft, pictures: Collection[Picture]) -> int:
    folder = drafts.paths.drafts / draft.id
    files = [folder / "pictures" / f"{one.id}.png" for one in pictures]
    files += [folder / "masks" / f"{one.id}-{one.mask}.png" for one in pictures if one.mask]
    return sum(file.stat().st_size for file in files if file.is_file())


def _coming_back(drafts: Drafts, draft: Draft) -> int:
    """Bytes of what was restored from the trash and is not in the draft yet."""
    paths = returned(drafts.paths.drafts / draft.id) if draft.id else []
    return sum(file.stat().st_size for place in paths for file in place.iterdir() if file.is_file())
