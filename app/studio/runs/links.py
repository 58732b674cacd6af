"""Read-only links, which show a run's progress and pictures without a login.

`.studio/links.json` holds a random token for each linked run. A link belongs to the run's folder: it does not show a
later run of the same name.
"""

from __future__ import annotations

import json
import secrets

from filelock import FileLock

from app.jobs.trash.trash import CONTENT, RUN, Trash, TrashItem
from app.jobs.view import View
from app.studio.studio_queue import StudioQueue
from trainers.atomic_files import whole_file

FILE = "links.json"


class RunLinks:
    """The links of a studio; an unreadable file holds none."""

    def __init__(self, queue: StudioQueue) -> None:
        self.queue = queue
        self._file = queue.paths.root / FILE
        self._lock = FileLock(queue.paths.root / f"{FILE}.lock")

    def make(self, view: View) -> str:
        """The token of a run's link, created if needed."""
        with self._lock:
            links = self._read()
            known = _token_in(links, self._key(view))
            if known:
                return known
            token = secrets.token_urlsafe(16)
            self._write(links | {token: {"run": view.job.folder.name, "key": self._key(view)}})
        return token

    def end(self, view: View) -> None:
        """End a run's link."""
        with self._lock:
            links = self._read()
            token = _token_in(links, self._key(view))
            if token:
                self._write({other: link for other, link in links.items() if other != token})

    def token_of(self, view: View) -> str:
        """The token of a run's link; empty without one."""
        return _token_in(self._read(), self._key(view))

    def is_kept(self, item: TrashItem) -> bool:
        """Whether a run in the trash has a link, which works again after a restore under its name."""
        if item.kind != RUN:
            return False
        folder = Trash(self.queue.store).path(item)
        return bool(_token_in(self._read(), self.queue.public_name(folder, item.parts[CONTENT])))

    def find(self, token: str) -> View | None:
        """The run of an untrusted token; None if there is no such link or its run is gone."""
        link = self._read().get(token)
        view = self.queue.run(link["run"]) if link is not None else None
        return view if view is not None and link is not None and self._key(view) == link["key"] else None

    def _key(self, view: View) -> str:
        return self.queue.public_name(view.job.folder)

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            table = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            return {}
        links = table if isinstance(table, dict) else {}
        return {token: link for token, link in links.items() if _is_link(link)}

    def _write(self, links: dict[str, dict[str, str]]) -> None:
        with whole_file(self._file) as building:
            building.touch(mode=0o600)
            building.write_text(json.dumps(links, indent=1), encoding="utf-8")


def _token_in(links: dict[str, dict[str, str]], key: str) -> str:
    return next((token for token, link in links.items() if link["key"] == key), "")


def _is_link(link: object) -> bool:
    return isinstance(link, dict) and all(isinstance(link.get(name), str) for name in ("run", "key"))
