"""Downloads of base models from the hub: one process each, visible on every page."""

from __future__ import annotations

import hashlib
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.language import Sentence
from app.studio.downloads.worker import Worker
from app.studio.paths import Paths
from trainers.errors import VelaturaError
from trainers.messages import recorded
from trainers.models.families import FAMILIES
from trainers.models.files.download import NeedsTokenError, OfflineError

DOWNLOADER = "app.studio.downloads.process"
OFFERS = tuple(family.offered for family in FAMILIES if family.offered)
"""The bases that the studio offers to download."""
MOST_AT_ONCE = 2


@dataclass(frozen=True)
class Download:
    """The state of a download."""

    phase: Literal["none", "starting", "download", "done", "stopped", "failed"] = "none"
    done: int = 0
    of: int = 0
    sentence: str = ""
    details: str = ""
    needs_token: bool = False
    """Whether the hub requires accepted terms and a token."""
    is_offline: bool = False
    """Whether the hub could not be reached."""

    @property
    def busy(self) -> bool:
        """Whether it is still in progress."""
        return self.phase in ("starting", "download")


class Downloads:
    """All downloads of a studio."""

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.root / "downloads"
        self._workers: dict[str, Worker] = {}
        self._wanted: dict[str, set[str]] = {}  # keys of those who wait for it, by model
        self._lock = threading.Lock()

    def start(self, model: str, key: str) -> None:
        """Start or join a download of a model. VelaturaError if as many as there may be are in progress."""
        with self._lock:
            if not self.look(model).busy:
                if sum(self.look(other).busy for other in self._wanted) >= MOST_AT_ONCE:
                    raise VelaturaError(
                        "{count} bases are already being downloaded; wait for one, or pause it", count=MOST_AT_ONCE
                    )
                self._worker(model).start({"model": model})
            self._wanted.setdefault(model, set()).add(key)

    def models(self) -> list[str]:
        """All downloads of this studio."""
        return list(self._wanted)

    def arrived_for(self, key: str) -> str:
        """A finished download that `key` waited for, returned once; otherwise empty."""
        with self._lock:
            for model, keys in self._wanted.items():
                if key in keys and self.look(model).phase == "done":
                    keys.discard(key)
                    return model
        return ""

    def stop(self, model: str, key: str) -> None:
        """Pause a download for `key`; what has arrived is kept.

        It continues for others who wait for it. VelaturaError if only others do.
        """
        with self._lock:
            waiting = self._wanted.get(model, set())
            if waiting and key not in waiting:
                raise VelaturaError("somebody else started this download, so it continues")
            waiting.discard(key)
            if not waiting:
                self._worker(model).stop()

    def stop_all(self) -> None:
        """End all downloads of this studio."""
        for worker in self._workers.values():
            worker.stop()

    def stamp(self) -> object:
        """A value that differs after each change of a download."""
        return tuple(worker.stamp() for worker in tuple(self._workers.values()))

    def look(self, model: str) -> Download:
        """The state of a model's download."""
        worker = self._worker(model)
        if worker.request() is None:
            return Download()
        lives, events = worker.look()
        last: dict[str, Any] = events[-1] if events else {"type": "start"}
        counts = next((event for event in reversed(events) if event["type"] == "download"), {"done": 0, "of": 0})
        done, of = int(counts["done"]), int(counts["of"])
        match last["type"]:
            case "done":
                return Download("done")
            case "error":
                needs_token, is_offline = (last["kind"] == kind.__name__ for kind in (NeedsTokenError, OfflineError))
                error = Sentence.of(recorded(last.get("message"), last["sentence"]))
                return Download("failed", done, of, error, last["details"], needs_token, is_offline)
            case "download":
                state = Download("download", done, of)
            case _:
                state = Download("starting")
        if lives:
            return state
        return Download("stopped" if worker.was_stopped() else "failed", state.done, state.of, details=worker.log())

    def _worker(self, model: str) -> Worker:
        name = hashlib.sha256(model.encode()).hexdigest()[:16]
        return self._workers.setdefault(model, Worker(self._folder / name, DOWNLOADER))


def free_bytes() -> int:
    """Free space on the disk of the hub's cache."""
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE).expanduser().absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
