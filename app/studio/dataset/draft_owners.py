"""Ownership of drafts: the pictures of a login in Train and in API drafts."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from app.studio.accounts.people import key_of_login, key_of_program
from app.studio.dataset.draft_trash import returned
from app.studio.dataset.drafts import EMPTY, Draft, Drafts, Picture, known_pictures, parse
from app.studio.dataset.edits import settled
from trainers.errors import VelaturaError


@dataclass(frozen=True)
class Kept:
    """Bytes of a login's pictures in drafts."""

    pictures: int
    undone: int
    """Removed pictures that Undo can restore."""


def kept_by(drafts: Drafts, login: str) -> Kept:
    """The pictures of a login's own draft and of its programs' drafts; unreadable drafts count as empty."""
    draft = EMPTY
    with suppress(OSError, VelaturaError):  # the page shows why
        draft = drafts.read(key_of_login(login))
    remaining = known_pictures(settled(draft))
    undone = [picture for id, picture in known_pictures(draft).items() if id not in remaining]
    pictures = _bytes(drafts, draft, remaining.values()) + _coming_back(drafts, draft)
    pictures += sum(size_of(drafts, other) for other in of_programs(drafts, login))
    return Kept(pictures, _bytes(drafts, draft, undone))


def settle(drafts: Drafts, login: str) -> None:
    """Move removed pictures that Undo could restore to the trash of the login."""
    drafts.change(key_of_login(login), settled)


def of_programs(drafts: Drafts, login: str) -> list[Draft]:
    """The drafts of a login's programs, last changed first."""
    begin = key_of_program("", login)
    mark = f'"key":{json.dumps(begin, ensure_ascii=False)[:-1]}'.encode()  # avoids parsing the others
    programs = []
    for path in drafts.paths.drafts.glob("*/draft.json"):
        with suppress(OSError, ValueError, VelaturaError):
            if mark in (content := path.read_bytes()) and (draft := parse(content)).key.startswith(begin):
                programs.append(draft)
    return sorted(programs, key=lambda draft: draft.changed, reverse=True)


def program_name(draft: Draft, login: str) -> str:
    """The name that a login's program gave its draft."""
    return draft.key.removeprefix(key_of_program("", login))


def size_of(drafts: Drafts, draft: Draft) -> int:
    """Bytes of all pictures of a draft."""
    return _bytes(drafts, draft, known_pictures(draft).values()) + _coming_back(drafts, draft)


def _bytes(drafts: Drafts, draft: Draft, pictures: Collection[Picture]) -> int:
    folder = drafts.paths.drafts / draft.id
    files = [folder / "pictures" / f"{picture.id}.png" for picture in pictures]
    files += [folder / "masks" / f"{picture.id}-{picture.mask}.png" for picture in pictures if picture.mask]
    return sum(file.stat().st_size for file in files if file.is_file())


def _coming_back(drafts: Drafts, draft: Draft) -> int:
    """Bytes of restored pictures that are not in the draft yet."""
    paths = returned(drafts.paths.drafts / draft.id) if draft.id else []
    return sum(file.stat().st_size for place in paths for file in place.iterdir() if file.is_file())
