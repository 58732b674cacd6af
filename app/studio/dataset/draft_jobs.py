"""Small jobs of drafts, which end when no page waits for them."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.devices import wanted_by
from app.jobs.small_jobs import add_small_job
from app.jobs.states import ENDED
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.studio_queue import StudioQueue
from trainers.atomic_files import whole_file
from trainers.config.config import Config
from trainers.errors import VelaturaError

ATTEMPTS = 3


@dataclass(frozen=True)
class DraftJob:
    """A job of a draft."""

    number: int
    key: str
    """The state of the draft that it is about."""


class DraftJobs:
    """At most one job of a kind per draft, recorded in its folder."""

    kind: ClassVar[str]
    file: ClassVar[str]
    """File in a draft's folder with its job; its modification time is that of a page's last request."""
    pictures: ClassVar[str]
    """Folder in a draft's folder with the pictures of its job."""
    unseen: ClassVar[float]
    """Seconds after a page's last request until the job ends; hidden pages send none."""

    def __init__(self, drafts: Drafts, queue: StudioQueue) -> None:
        self._drafts, self._queue = drafts, queue
        self._lock = threading.Lock()

    def sweep(self) -> None:
        """End jobs without a page or a draft."""
        pending = self._pending()
        if not pending:
            return
        with self._lock:
            drafts = {
                path.parent: self._read(path.parent.name) for path in self._drafts.paths.drafts.glob(f"*/{self.file}")
            }
            numbers = {folder: job.number for folder, job in drafts.items() if job}
            for number in pending.difference(numbers.values()):
                self._end(number)
            for folder, number in numbers.items():
                if number in pending and abs(time.time() - (folder / self.file).stat().st_mtime) > self.unseen:
                    self._forget(folder.name)

    def forget(self, draft: Draft) -> None:
        """Cancel a draft's job."""
        with self._lock:
            self._forget(draft.id)

    def _pending(self) -> set[int]:
        store = self._queue.store
        jobs = (*store.line(), *store.active()) if store.exists() else ()
        return {job.id for job in jobs if job.kind == self.kind}

    def _begin(self, draft: Draft, config: Config, owner: str, key: str) -> None:
        """Replace a draft's job. LimitError if too many of its owner's small jobs wait."""
        self._forget(draft.id)
        pictures = self._dataset(draft.id)
        shutil.rmtree(pictures, ignore_errors=True)
        try:
            self._drafts.write_dataset(draft, pictures)
        except OSError:  # a full disk must not stay full
            shutil.rmtree(pictures, ignore_errors=True)
            raise
        data = config.data.model_copy(update={"images": str(pictures.absolute())})
        request = config.model_copy(update={"data": data})
        job = add_small_job(self._queue.store, self.kind, request, owner, wanted_by(config.train))
        with whole_file(self._file(draft.id)) as building:
            building.write_text(json.dumps(asdict(DraftJob(job.id, key))), encoding="utf-8")
        self._requested(draft)  # in the time of this computer: that of a network disk may differ

    def _requested(self, draft: Draft) -> DraftJob | None:
        """A draft's job, which a page requests now."""
        job, now = self._read(draft.id), time.time()
        if job:
            os.utime(self._file(draft.id), (now, now))
        return job

    def _read(self, draft: str) -> DraftJob | None:
        """A draft's job; None if its record is unreadable, since beginning again is cheap."""
        try:
            kept = json.loads(self._file(draft).read_text(encoding="utf-8"))
            return DraftJob(int(kept["number"]), str(kept["key"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _forget(self, draft: str) -> None:
        if job := self._read(draft):
            self._end(job.number)
            self._file(draft).unlink(missing_ok=True)
            shutil.rmtree(self._dataset(draft), ignore_errors=True)

    def _end(self, number: int) -> None:
        """End and delete a job, which may begin or end meanwhile."""
        store = self._queue.store
        for _ in range(ATTEMPTS):
            try:
                if self._queue.watcher.view(number).state not in ENDED:
                    actions.stop(store, number, "cancel", actor=MACHINE_OWNER)
                actions.delete(store, number, actor=MACHINE_OWNER)
                return
            except VelaturaError:
                continue  # it ends just now

    def _file(self, draft: str) -> Path:
        return self._drafts.paths.drafts / draft / self.file

    def _dataset(self, draft: str) -> Path:
        return self._drafts.paths.drafts / draft / self.pictures
