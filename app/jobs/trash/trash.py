"""The trash: deleted, restarted and replaced things, kept for 30 days in the folder of runs.

    .trash/ID/item.json   kind, owner, original place of each part, and the row of the queue
    .trash/ID/PART        its parts: the folder of a run, the file of a style …
    .trash/journal.json   the moves of an action, from its decision until it is complete

Each move within a file system is atomic. The journal makes several moves and the change of the queue's row one action:
after a kill, the next process completes it (`recover`). Nothing is copied into the trash.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from app.jobs.job import as_kept
from app.jobs.permissions import Actor
from app.jobs.store import Store
from app.jobs.trash.disk import missing
from app.jobs.trash.reading import NewerJournalError, is_id, read_item, read_plan
from trainers.atomic_files import sync_folder, sync_tree, whole_file
from trainers.errors import VelaturaError

FOLDER = ".trash"
DAYS = 30
"""Days for which an item is kept."""
RUN, RESTARTED, REPLACED = "run", "restarted", "replaced"
STYLE, DRAWING, PICTURES, DAMAGED, NEWER = "style", "drawing", "pictures", "damaged", "newer"
"""Kinds of items: a run; a run before it was restarted; a replaced run; a style; a drawing; pictures deleted
from a draft; an item whose file is damaged; an item of a newer Velatura."""
RUNS = (RUN, RESTARTED, REPLACED)
KINDS = (*RUNS, STYLE, DRAWING, PICTURES)
CONTENT, NEXT = "content", "next"
ITEM, JOURNAL, LOCK, GONE = "item.json", "journal.json", ".lock", ".gone-"
JOURNAL_ASIDE = "journal.damaged-{}.json"
PATIENCE = 20.0
"""Seconds to wait for another action on the trash."""

log = logging.getLogger(__name__)
Move = tuple[Path, Path]
RowChange = Mapping[str, Any]
"""A change of a row of the queue: `{"remove": number}`, `{"put": row}` or `{"wait": number, "wants": device}`."""


@dataclass(frozen=True)
class TrashItem:
    """An item of the trash."""

    id: str
    kind: str
    name: str
    owner: str
    """Login of its owner; empty for the machine's owner."""
    deleted: float
    """Unix seconds."""
    size: int
    """Bytes that deleting it frees, about: files with several links count by their share."""
    parts: dict[str, str]
    """Original place of each part, relative to the runs, by its name in the item's folder."""
    row: dict[str, Any] | None = None
    """Its row of the queue."""
    names: tuple[str, ...] = ()
    """Every name that its run has had."""

    @property
    def expires(self) -> float:
        """When it is deleted, in Unix seconds."""
        return self.deleted + DAYS * 86_400

    def plain(self) -> dict[str, Any]:
        """The item for programs, with times in Unix seconds."""
        facts = {"id": self.id, "kind": self.kind, "name": self.name, "owner": self.owner}
        return facts | {"deleted": self.deleted, "expires": self.expires, "bytes": self.size}


class Trash:
    """The trash of a queue's runs; safe to use from many threads and processes."""

    def __init__(self, store: Store) -> None:
        self.store, self.runs = store, store.runs
        self.folder = self.runs / FOLDER

    # ---------------------------------------------------------------- looking
    def items(self, actor: Actor) -> list[TrashItem]:
        """Items that the actor may restore, newest first."""
        return [item for item in self._all() if actor.may_change(item.owner)]

    def own(self, actor: Actor) -> list[TrashItem]:
        """The actor's own items, newest first."""
        return [item for item in self._all() if actor.owns(item.owner)]

    def recent(self, seconds: float) -> list[TrashItem]:
        """Everybody's items of the last `seconds`, newest first."""
        return self._all(since=f"{int((time.time() - seconds) * 1e6):020d}")

    def item(self, id: str, actor: Actor) -> TrashItem:
        """The item with this untrusted id; VelaturaError if there is none that the actor may change."""
        item = self._find(id)
        actor.check(item.name, item.owner)
        return item

    def restarted(self, number: int) -> TrashItem | None:
        """The previous state of the job with this number, from before its last restart."""
        items = (item for item in self._all() if item.kind == RESTARTED and (item.row or {}).get("id") == number)
        return next(items, None)

    def size(self, actor: Actor) -> int:
        """Bytes of the items that the actor may restore."""
        return sum(item.size for item in self.items(actor))

    def path(self, item: TrashItem, part: str = CONTENT) -> Path:
        """Path of a part of an item."""
        return self.folder / item.id / part

    # ---------------------------------------------------------------- in and out
    def put(
        self,
        item: TrashItem,
        change: RowChange | None = None,
        build: Callable[[Path], None] | None = None,
    ) -> TrashItem:
        """Move the parts of a new item into the trash; `build` makes a replacement of the first part."""
        with self._held():
            moves = self._prepared(item)
            if build is not None:
                build(self.path(item, NEXT))
                sync_tree(self.folder / item.id)
                moves.append((self.path(item, NEXT), self.runs / item.parts[CONTENT]))
            self._carry_out(moves, change)
        return item

    def bring_back(
        self, item: TrashItem, place: Path, change: RowChange | None = None, aside: TrashItem | None = None
    ) -> None:
        """Move an item's first part to `place` and the others to their original places; `aside` goes into the trash.

        VelaturaError if another file is in the way.
        """
        with self._held():
            self._find(item.id)  # it may have been restored meanwhile
            moves = self._prepared(aside) if aside is not None else []
            places = {part: self.runs / where for part, where in item.parts.items()} | {CONTENT: place}
            for part, where in places.items():
                if where.exists() and not any(where == source for source, _ in moves):
                    raise VelaturaError("{name} already exists; move or delete it first", name=where.name)
                if not where.parent.is_dir():
                    raise VelaturaError(
                        "it belongs to “{name}”, which is not here; restore that first", name=where.parent.name
                    )
                if self.path(item, part).exists():
                    moves.append((self.path(item, part), where))
            self._carry_out(moves, change, (item.id,))

    # ---------------------------------------------------------------- for good
    def remove(self, items: Iterable[TrashItem]) -> int:
        """Permanently delete items; returns their bytes."""
        freed = 0
        with self._held():
            for item in items:
                freed += item.size
                self._drop(item.id)
        return freed

    def empty(self, actor: Actor) -> int:
        """Permanently delete the actor's own items; returns their bytes."""
        return self.remove(self.own(actor))

    def tidy(self, now: float | None = None) -> list[TrashItem]:
        """Permanently delete and return items older than 30 days and, on a nearly full disk, the oldest.

        NewerJournalError if a newer Velatura has left an unfinished action.
        """
        if not self.folder.is_dir():
            return []
        self.recover()
        with self._held():
            for left in self.folder.glob(f"{GONE}*"):
                shutil.rmtree(left, ignore_errors=True)
            for left in self.folder.glob("[0-9]*"):  # of an action that was killed before its journal
                if left.is_dir() and not any(path.name not in (ITEM, NEXT) for path in left.iterdir()):
                    self._drop(left.name)
        now = time.time() if now is None else now
        gone = [item for item in self._all() if item.expires <= now]
        self.remove(gone)
        return gone + self.make_room()

    def make_room(self) -> list[TrashItem]:
        """Permanently delete and return the oldest items until the disk has its reserve."""
        gone: list[TrashItem] = []
        for item in reversed(self._all() if self.folder.is_dir() and missing(self.runs) else []):
            if not missing(self.runs):
                break
            self.remove([item])
            gone.append(item)
        return gone

    # ---------------------------------------------------------------- after a kill
    def recover(self) -> bool:
        """Complete a killed action; returns whether there was one, or another is under way.

        An action of a newer Velatura is left to that version: the queue goes on, and actions on the trash are refused.
        """
        if not (self.folder / JOURNAL).exists():
            return False
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                return self._recover()
        except (Timeout, NewerJournalError):  # under way
            return True

    def _recover(self) -> bool:
        journal = self.folder / JOURNAL
        try:
            plan = read_plan(journal.read_text(encoding="utf-8"), str(journal))
        except FileNotFoundError:
            return False
        except ValueError as error:  # the action is lost; the queue must go on
            aside = journal.with_name(JOURNAL_ASIDE.format(new_id()))
            journal.replace(aside)
            log.warning("%s is damaged and was set aside as %s: %s", journal, aside.name, error)
            return False
        moves = [(self.runs / source, self.runs / target) for source, target in plan.moves]
        self._perform(moves, plan.change, plan.done)
        return True

    # ---------------------------------------------------------------- within
    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the lock of the trash, after completing a killed action."""
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self.runs)
        try:
            with FileLock(self.folder / LOCK, timeout=PATIENCE):
                self._recover()
                yield
        except Timeout:
            raise VelaturaError("the trash is busy with another action; try again in a moment") from None

    def _prepared(self, item: TrashItem) -> list[Move]:
        """Make an item's folder and file; returns the moves of its parts."""
        parts = {part: place for part, place in item.parts.items() if (self.runs / place).exists()}
        sized = replace(item, parts=parts, size=sum(_size(self.runs / place) for place in parts.values()))
        (self.folder / item.id).mkdir(mode=0o700)
        self.write(sized)
        return [(self.runs / place, self.path(item, part)) for part, place in parts.items()]

    def write(self, item: TrashItem) -> None:
        """Write an item's file."""
        _write_safely(self.folder / item.id / ITEM, asdict(item))

    def _carry_out(self, moves: Sequence[Move], change: RowChange | None, done: Sequence[str] = ()) -> None:
        """Write moves and the change of a row into the journal, then make them; `done` items are removed."""
        plan = {
            "moves": [[as_kept(path, self.runs) for path in move] for move in moves],
            "change": dict(change) if change else None,
            "done": list(done),
        }
        _write_safely(self.folder / JOURNAL, plan)
        try:
            self._perform(moves, change, done)
        except OSError as error:
            if moves and not moves[0][1].exists():  # nothing has happened, so nothing is left to complete
                (self.folder / JOURNAL).unlink(missing_ok=True)
                raise VelaturaError(
                    "{name} cannot be moved ({reason})", name=moves[0][0].name, reason=error.strerror or error
                ) from error
            raise

    def _perform(self, moves: Sequence[Move], change: RowChange | None, done: Sequence[str]) -> None:
        """Make the moves that are not made yet, change the row, and remove the journal; idempotent."""
        for source, target in moves:
            if source.exists() and not target.exists():
                source.rename(target)
        for folder in dict.fromkeys(path.parent for move in moves for path in move):
            if folder.is_dir():
                sync_folder(folder)  # before the row is on the disk
        if change:
            self.store.change_row(change)
        for id in done:
            self._drop(id)
        (self.folder / JOURNAL).unlink(missing_ok=True)

    def _drop(self, id: str) -> None:
        hidden = self.folder / f"{GONE}{id}"
        if (self.folder / id).exists():
            (self.folder / id).rename(hidden)  # hidden at once
        shutil.rmtree(hidden, ignore_errors=True)

    def _all(self, since: str = "") -> list[TrashItem]:
        """Everybody's items, newest first; only ids from `since` on, which sort by time."""
        items = (self._read(path) for path in self.folder.glob("[0-9]*") if path.name >= since)
        return sorted((item for item in items if item is not None), key=lambda item: item.id, reverse=True)

    def _find(self, id: str) -> TrashItem:
        item = self._read(self.folder / id) if is_id(id) else None
        if item is None:
            raise VelaturaError("this is no longer in the trash")
        return item

    def _read(self, folder: Path) -> TrashItem | None:
        """The item in a folder; None if it has no parts.

        Its kind is `DAMAGED` if its file is damaged, and `NEWER` if that has unknown keys.
        """
        if not (folder / CONTENT).exists():
            return None
        try:
            values, says_more = read_item((folder / ITEM).read_text(encoding="utf-8"), folder.name, CONTENT)
        except (OSError, ValueError):
            moved = folder.stat().st_mtime
            return TrashItem(folder.name, DAMAGED, "damaged item", "", moved, _size(folder), {})
        return TrashItem(**values | ({"kind": NEWER} if says_more or values["kind"] not in KINDS else {}))


def new_item(
    kind: str, name: str, owner: str, parts: Mapping[str, Path], runs: Path, row: dict[str, Any] | None = None
) -> TrashItem:
    """A new item with the parts at these paths."""
    places = {part: as_kept(path, runs) for part, path in parts.items()}
    names = (name,) if kind in RUNS else ()
    return TrashItem(new_id(), kind, name, owner, time.time(), 0, places, row, names)


def new_id() -> str:
    """An id that sorts by time."""
    return f"{time.time_ns() // 1000:020d}-{secrets.token_hex(4)}"


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    stats = [file.stat() for file in files]
    return sum(stat.st_size // max(1, stat.st_nlink) for stat in stats)


def _write_safely(path: Path, value: Any) -> None:
    with whole_file(path) as building:
        building.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
