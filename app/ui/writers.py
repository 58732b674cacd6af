"""Captions by a model: starts the process that writes them, follows what it reports, and puts them into the draft."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Literal

from app.ui.drafts import Draft, Drafts
from app.ui.edits import written
from app.ui.worker import Worker

WRITER, TAKEN = "app.ui.writer", "taken"
Phase = Literal["none", "starting", "download", "loading", "writing", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Progress:
    """How far the captions of a draft are."""

    phase: Phase = "none"
    done: int = 0
    of: int = 0
    sentence: str = ""
    """What went wrong, and what to do."""
    details: str = ""

    @property
    def busy(self) -> bool:
        """Whether more is to come."""
        return self.phase in ("starting", "download", "loading", "writing")


class Writers:
    """One process a draft at most; what it has written is found again after a restart of the studio."""

    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts
        self._workers: dict[str, Worker] = {}

    def start(self, key: str, model: str, only_empty: bool) -> int:
        """Begin to write captions with `model`; how many. A writer that is at work is stopped first."""
        draft = self._drafts.open(key)
        pictures = {one.id: one.caption for one in draft.pictures if not (only_empty and one.caption)}
        if pictures:
            folder = str(self._drafts.pictures(draft).resolve())
            asked = {"model": model, "folder": folder, "pictures": pictures, "step": secrets.token_hex(4)}
            self._worker(draft).start(asked)
        return len(pictures)

    def stop(self, key: str) -> None:
        """End the writer of a draft; what it has written stays."""
        self._worker(self._drafts.read(key)).stop()

    def stop_all(self) -> None:
        """End all writers that this studio has started."""
        for worker in self._workers.values():
            worker.stop()

    def look(self, key: str) -> Progress:
        """Put what has been written since the last look into the draft; how far it is."""
        worker = self._worker(self._drafts.read(key))
        asked = worker.asked()
        if asked is None:
            return Progress()
        lives, events = worker.look()
        taken = worker.folder / TAKEN
        seen = int(taken.read_text()) if taken.is_file() else 0
        fresh = {event["picture"]: event["caption"] for event in events[seen:] if event["type"] == "caption"}
        if fresh:
            self._drafts.change(key, lambda now: _put(now, fresh, asked), tab="writer")
        taken.write_text(str(len(events)))
        progress = _progress(events, len(asked["pictures"]))
        if progress.busy and not lives:
            phase: Phase = "stopped" if worker.was_stopped() else "failed"
            return Progress(phase, progress.done, progress.of, details=worker.log())
        return progress

    def _worker(self, draft: Draft) -> Worker:
        return self._workers.setdefault(draft.id, Worker(self._drafts.job(draft), WRITER))


def _put(draft: Draft, fresh: dict[str, str], asked: dict[str, Any]) -> Draft:
    """Captions that a person has changed since the writer began are left as they are."""
    untouched = {one.id for one in draft.pictures if asked["pictures"].get(one.id) == one.caption}
    return written(draft, {key: text for key, text in fresh.items() if key in untouched}, asked["step"])


def _progress(events: list[dict[str, Any]], count: int) -> Progress:
    done = sum(event["type"] == "caption" for event in events)
    last: dict[str, Any] = events[-1] if events else {"type": "start"}
    match last["type"]:
        case "error":
            return Progress("failed", done, count, last["sentence"], last["details"])
        case "done":
            return Progress("done", done, count)
        case "download":
            return Progress("download", last["done"], last["of"])
        case "loading":
            return Progress("loading", 0, count)
        case "start":
            return Progress("starting", 0, count)
    return Progress("writing", done, count)
