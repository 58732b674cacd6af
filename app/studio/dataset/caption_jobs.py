"""Captioning jobs: a small job writes captions, and its events update the draft."""

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
class CaptionProgress:
    """Progress of a draft's captioning job."""

    phase: Phase = "none"
    done: int = 0
    of: int = 0
    message: str = ""
    """Sentence of the job: its wait, its work or its error; may be empty."""
    details: str = ""

    @property
    def busy(self) -> bool:
        """Whether it is still in progress."""
        return self.phase in ("waiting", "writing")


class CaptionJobs:
    """At most one job per draft, which a restarted studio finds by a file in the draft's folder."""

    def __init__(self, drafts: Drafts, queue: StudioQueue) -> None:
        self._drafts, self._queue = drafts, queue
        self._lock = threading.Lock()

    def start(
        self,
        key: str,
        model: str,
        only_empty: bool,
        owner: str = "",
        chosen: Collection[str] | None = None,
        server: str = "",
    ) -> int:
        """Queue captions by `model`, one of the `server` if given, for all or the `chosen` pictures; returns how many.

        A running job is stopped first.
        """
        draft = self._drafts.open(key)
        wanted = [picture for picture in draft.pictures if chosen is None or picture.id in chosen]
        pictures = {picture.id: picture.caption for picture in wanted if not (only_empty and picture.caption)}
        if not pictures:
            return 0
        with self._lock:
            self._end(draft, forget=True)
            folder = self._drafts.job(draft)
            shutil.rmtree(folder, ignore_errors=True)
            (folder / PICTURES).mkdir(parents=True, mode=0o700)
            for picture in draft.pictures:
                if picture.id in pictures:
                    name = f"{picture.id}.png"  # a hard link: the job's files must stay
                    link_or_copy(self._drafts.pictures(draft) / name, folder / PICTURES / name)
                    self._drafts.write_region(draft, picture, folder / PICTURES / name)
            request = CaptionRequest(images=(folder / PICTURES).absolute(), model=model, every=True, server=server)
            job = add_small_job(self._queue.store, CAPTION, request, owner)
            self._keep(draft, {"job": job.id, "step": secrets.token_hex(4), "pictures": pictures, "read": 0, "done": 0})
        return len(pictures)

    def stop(self, key: str) -> None:
        """Stop a draft's job; captions written so far stay."""
        with self._lock:
            self._end(self._drafts.read(key), forget=False)

    def look(self, key: str) -> CaptionProgress:
        """Put newly written captions into the draft, and return the progress."""
        with self._lock:
            draft = self._drafts.read(key)
            request = self._request(draft)
            if request is None:
                return CaptionProgress()
            try:
                view = self._queue.watcher.view(request["job"])
            except VelaturaError:  # the queue was cleared
                return CaptionProgress()
            follower = Follower(view.job.folder, request["read"])
            fresh = {}
            with suppress(OSError):  # the job's sentence shows why
                events = [event for event in follower.read() if event["type"] == "caption"]
                fresh = {Path(event["image"]).stem: event["caption"] for event in events}
            if fresh:
                self._drafts.change(key, lambda now: _put(now, fresh, request), tab="writer")
            request |= {"read": follower.offset, "done": request["done"] + len(fresh)}
            self._keep(draft, request)
            return _progress(view, request["done"], len(request["pictures"]))

    # ---------------------------------------------------------------- within
    def _end(self, draft: Draft, forget: bool) -> None:
        request = self._request(draft)
        if request is None:
            return
        try:
            if self._queue.watcher.view(request["job"]).state not in ENDED:
                actions.stop(self._queue.store, request["job"], "cancel", actor=MACHINE_OWNER)
            if forget:
                actions.delete(self._queue.store, request["job"], actor=MACHINE_OWNER)
        except VelaturaError:
            return  # it has just ended, or is ending, and is cleared later

    def _request(self, draft: Draft) -> dict[str, Any] | None:
        return self._file(draft).read()

    def _keep(self, draft: Draft, request: dict[str, Any]) -> None:
        if request != self._request(draft):
            self._file(draft).write(request)

    def _file(self, draft: Draft) -> StateFile[dict[str, Any]]:
        return StateFile(self._drafts.job(draft) / ASKED, _parse, json.dumps)


def _parse(content: bytes) -> dict[str, Any]:
    """A stored request. Raises ValueError if a value is missing."""
    request = json.loads(content)
    kinds = {"job": int, "step": str, "pictures": dict, "read": int, "done": int}
    if not (isinstance(request, dict) and all(isinstance(request.get(name), kind) for name, kind in kinds.items())):
        raise ValueError("the request is incomplete")
    return request


def _put(draft: Draft, fresh: dict[str, str], request: dict[str, Any]) -> Draft:
    """The draft with new captions, except where a person has edited since the job began."""
    untouched = {picture.id for picture in draft.pictures if request["pictures"].get(picture.id) == picture.caption}
    return written(draft, {key: text for key, text in fresh.items() if key in untouched}, request["step"])


def _progress(view: View, done: int, of: int) -> CaptionProgress:
    match view.state:
        case State.QUEUED:
            return CaptionProgress("waiting", 0, of, view.line)
        case State.FINISHED:
            return CaptionProgress("done", done, of)
        case State.CANCELLED:
            return CaptionProgress("stopped", done, of)
        case state if state in ENDED:
            return CaptionProgress(
                "failed", done, of, view.summary.message if state == State.FAILED else "", _log(view)
            )
    share = view.summary.share if view.summary.share[1] else (done, of)
    return CaptionProgress("writing", *share, view.summary.message)


def _log(view: View) -> str:
    path = view.job.folder / LOG
    return path.read_text(encoding="utf-8", errors="replace")[-MOST_LOG:] if path.is_file() else ""
