"""Posts ended runs to a web address, for Slack, Discord, Matrix, Home Assistant or a script."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from app.jobs.states import ENDED, State
from app.jobs.store import TRAIN
from app.jobs.view import View
from trainers.errors import VelaturaError
from trainers.messages import Message as _

WAITS = (2.0, 20.0, 120.0)
"""Seconds before each retry."""
TIMEOUT = 10.0
SAID = {
    State.FINISHED: _("{name} is finished."),
    State.STOPPED: _("{name} was stopped and saved."),
    State.PAUSED: _("{name} is paused."),
    State.CANCELLED: _("{name} was cancelled."),
    State.FAILED: _("{name} has failed."),
    State.INTERRUPTED: _("{name} was interrupted."),
}
"""Sentences about an ended run, here in English and in notifications in the browser's language."""

log = logging.getLogger(__name__)


class Webhook:
    """Posts JSON about ended runs in the background, without delaying jobs.

    Raises VelaturaError for other than HTTP addresses.
    """

    def __init__(self, url: str, waits: Sequence[float] = WAITS) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise VelaturaError(
                "the webhook must be an address such as https://example.org/hook; found {url!r}", url=url
            )
        self.host = parts.hostname
        self._url, self._waits = url, waits
        self._bodies = SimpleQueue[dict[str, Any]]()
        self._thread = threading.Thread(target=self._post_all, name="webhook", daemon=True)

    def send(self, view: View) -> None:
        """Post an ended run; does nothing for other jobs and states."""
        if view.job.kind != TRAIN or view.state not in ENDED:
            return
        self._bodies.put(body_of(view))
        if not self._thread.is_alive():
            self._thread.start()

    def _post_all(self) -> None:
        while True:
            self._post(self._bodies.get())

    def _post(self, body: dict[str, Any]) -> None:
        """Post, with retries."""
        import httpx

        problem = ""
        for wait in (0.0, *self._waits):
            time.sleep(wait)
            try:
                answer = httpx.post(self._url, json=body, timeout=TIMEOUT)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = type(error).__name__
                continue
            if answer.is_success:
                return
            problem = f"HTTP {answer.status_code}"
            if 400 <= answer.status_code < 500 and answer.status_code != 429:
                break  # a retry would fail, too
        log.warning("The webhook at %s did not take the news that %s has ended (%s).", self.host, body["run"], problem)


def body_of(view: View) -> dict[str, Any]:
    """The posted JSON; Slack shows `text`, and Discord `content`."""
    sentence = SAID[view.state].format(name=view.job.name)
    return {
        "event": "run.ended",
        "run": view.job.folder.name,
        "name": view.job.name,
        "owner": view.job.owner,
        "state": view.state.value,
        "step": view.summary.step,
        "steps": view.summary.steps,
        "seconds": round(view.summary.seconds, 1),
        "text": sentence,
        "content": sentence,
    }
