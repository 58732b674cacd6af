"""What stands in the Playground's fields: kept on the server as it is typed, so that no reload loses it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from app.state_file import StateFile
from app.studio.generation.request import Typed
from app.studio.paths import Paths
from app.studio.queue import Queue
from app.studio.styles.entry import StyleEntry
from app.ui.playground import text as words

FIRST_STRENGTH = "0.8"


class Desk:
    """The fields of everybody, by the key of whoever typed in them."""

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.root / "desks"

    def read(self, key: str) -> Typed | None:
        """What stands in somebody's fields; None where nothing has been typed.

        Where the file was damaged it is what stood there before, and its `notice` says so.
        """
        return self._file(key).read()

    def keep(self, key: str, typed: Typed) -> None:
        """Remember what stands there."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._file(key).write(typed)

    def _file(self, key: str) -> StateFile[Typed]:
        return StateFile(self._folder / _name(key), Typed.model_validate_json, Typed.model_dump_json, _restored)


def _restored(damaged: bytes, before: Typed | None) -> Typed:
    return (before or Typed()).with_(notice=words.FIELDS_RESTORED if before else words.FIELDS_LOST)


def begin_with(item: StyleEntry | None, queue: Queue, before: Typed | None = None, drawn: Iterable[str] = ()) -> Typed:
    """The fields for trying a style, or for none; the other settings as they were `before`.

    A prompt that somebody has typed and not `drawn` yet is kept, too.
    """
    before = before or Typed()
    styles = ((item.id, FIRST_STRENGTH),) if item is not None else ()
    fresh = not before.prompt.strip() or before.prompt in drawn
    prompt = first_prompt(item, queue) if fresh else before.prompt
    return before.with_(prompt=prompt, styles=styles, base="", size="")


def first_prompt(item: StyleEntry | None, queue: Queue) -> str:
    """What to draw first with a style: what its run drew first, else something plain with its word."""
    view = queue.run(item.run) if item is not None and item.run else None
    said = dict(view.summary.facts).get("prompts") if view is not None else None
    if isinstance(said, list | tuple) and said and isinstance(said[0], str):
        return said[0]
    return ", ".join([words.PROMPT_EXAMPLE, *(item.words[:1] if item is not None else ())])


def _name(key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
