"""Captioning jobs: a small job in the queue writes captions, and its events update the draft."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.jobs import actions
from app.jobs.dispatcher import LOG
from app.jobs.events.follow import Follower
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.small_jobs import add_small_job
from app.jobs.states import ENDED, State
from app.jobs.store import CAPTION
from app.jobs.view import View
from app.state_file import StateFile
from app.studio.dataset.captions import CaptionRequest
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.edits import written
from app.studio.public_files import link_or_copy
from app.studio.studio_queue import StudioQueue
from trainers.errors import VelaturaError

ASKED, PICTURES = "asked.json", "pictures"
MOST_LOG = 4000
Phase = Literal["none", "waiting", "writing", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Progress:
    """How far the captions of a draft are."""

    phase: Phase = "none"
    done: int = 0
    of: int = 0
    message: str = ""
    """What a waiting job waits for, what one at work says, or why one has failed; "" where it does not say."""
    details: str = ""

    @property
    def busy(self) -> bool:
        """Whether it is still in progress."""
        return self.phase in ("waiting", "writing")


class CaptionJobs:
    """One job a draft at most; after a restart of the studio it is found again by what is in the draft's folder."""

    def __init__(self, drafts: Drafts, queue: StudioQueue) -> None:
        self._drafts, self._queue = drafts, queue
        self._lock = threading.Lock()

    def start(
        self, key: str, model: str, only_empty: bool, owner: str = "", chosen: Collection[str] | None = None
    ) -> int:
        """Put captions by `model` in the queue, for the `chosen` pictures only if given; how many. A writer that is at
        work is stopped first."""
        draft = self._drafts.open(key)
        wanted = draft.pictures if chosen is None else [one for one in draft.pictures if one.id in chosen]
        pictures = {one.id: one.caption for one in wanted if not (only_empty and one.caption)}
        if not pictures:
            return 0
        with self._lock:
            self._end(draft, forget=True)
            folder = self._drafts.job(draft)
            shutil.rmtree(folder, ignore_errors=True)
            (folder / PICTURES).mkdir(parents=True, mode=0o700)
            for picture in draft.pictures:
                if picture.id in pictures:
                    name = f"{picture.id}.png"  # a second name: what the job reads must not go away
                    link_or_copy(self._drafts.pictures(draft) / name, folder / PICTURES / name)
                    self._drafts.write_region(draft, picture, folder / PICTURES / name)
            request = CaptionRequest(images=(folder / PICTURES).absolute(), model=model, every=True)
            job = add_small_job(self._queue.store, CAPTION, request, owner)
            self._keep(draft, {"job": job.id, "step": secrets.token_hex(4), "pictures": pictures, "read": 0, "done": 0})
        return len(pictures)

    def stop(self, key: str) -> None:
        """End the writer of a draft; what it has written stays."""
        with self._lock:
            self._end(self._drafts.read(key), forget=False)

    def look(self, key: str) -> Progress:
        """Put what has been written since the last look into the draft; how far it is."""
        with self._lock:
            draft = self._drafts.read(key)
            asked = self._asked(draft)
            if asked is None:
                return Progress()
            try:
                view = self._queue.watcher.view(asked["job"])
            except VelaturaError:  # somebody has cleared the queue
                return Progress()
            follower = Follower(view.job.folder, asked["read"])
            fresh = {}
            with suppress(OSError):  # of which the job's own line says why
                told = [event for event in follower.read() if event["type"] == "caption"]
                fresh = {Path(event["image"]).stem: event["caption"] for event in told}
            if fresh:
                self._drafts.change(key, lambda now: _put(now, fresh, asked), tab="writer")
            asked |= {"read": follower.offset, "done": asked["done"] + len(fresh)}
            self._keep(draft, asked)
            return _progress(view, asked["done"], len(asked["pictures"]))

    # ---------------------------------------------------------------- within
    def _end(self, draft: Draft, forget: bool) -> None:
        asked = self._asked(draft)
        if asked is None:
            return
        try:
            if self._queue.watcher.view(asked["job"]).state not in ENDED:
                actions.stop(self._queue.store, asked["job"], "cancel", actor=MACHINE_OWNER)
            if forget:
                actions.delete(self._queue.store, asked["job"], actor=MACHINE_OWNER)
        except VelaturaError:
            return  # it has just ended, or is ending: then it goes with what else has ended

    def _asked(self, draft: Draft) -> dict[str, Any] | None:
        return self._file(draft).read()

    def _keep(self, draft: Draft, asked: dict[str, Any]) -> None:
        if asked != self._asked(draft):
            self._file(draft).write(asked)

    def _file(self, draft: Draft) -> StateFile[dict[str, Any]]:
        return StateFile(self._drafts.job(draft) / ASKED, _parse, json.dumps)


def _parse(content: bytes) -> dict[str, Any]:
    """What was asked for. Raises ValueError if something of it is missing."""
    asked = json.loads(content)
    kinds = {"job": int, "step": str, "pictures": dict, "read": int, "done": int}
    if not (isinstance(asked, dict) and all(isinstance(asked.get(name), kind) for name, kind in kinds.items())):
        raise ValueError("the request is incomplete")
    return asked


def _put(draft: Draft, fresh: dict[str, str], asked: dict[str, Any]) -> Draft:
    """Captions that a person has changed since the writer began are left as they are."""
    untouched = {one.id for one in draft.pictures if asked["pictures"].get(one.id) == one.caption}
    return written(draft, {key: text for key, text in fresh.items() if key in untouched}, asked["step"])


def _progress(view: View, done: int, of: int) -> Progress:
    match view.state:
        case State.QUEUED:
            return Progress("waiting", 0, of, view.line)
        case State.FINISHED:
            return Progress("done", done, of)
        case State.CANCELLED:
            return Progress("stopped", done, of)
        case state if state in ENDED:
            return Progress("failed", done, of, view.summary.message if state == State.FAILED else "", _log(view))
    share = view.summary.share if view.summary.share[1] else (done, of)
    return Progress("writing", *share, view.summary.message)


def _log(view: View) -> str:
    path = view.job.folder / LOG
    return path.read_text(encoding="utf-8", errors="replace")[-MOST_LOG:] if path.is_file() else ""
